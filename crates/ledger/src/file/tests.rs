use std::fs::FileTimes;
use std::os::unix::fs::PermissionsExt;
use std::time::SystemTime;

use rstest::rstest;

use super::*;

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[rstest]
#[case(Durability::Tmpfs)]
#[case(Durability::Disk)]
fn replaces_the_whole_content(#[case] durability: Durability) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a");
    write_whole(&path, b"long content", durability).unwrap();
    write_whole(&path, b"short", durability).unwrap();
    assert_eq!(read_bounded(&path, 100).unwrap().unwrap(), b"short");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(names(directory.path()), ["a"]);
    assert!(remove(&path, durability).unwrap());
    assert!(!remove(&path, durability).unwrap());
}

#[test]
fn reads_nothing_where_there_is_nothing_and_refuses_what_is_too_large() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a");
    assert!(read_bounded(&path, 5).unwrap().is_none());
    write_whole(&path, b"12345", Durability::Tmpfs).unwrap();
    assert_eq!(read_bounded(&path, 5).unwrap().unwrap(), b"12345");
    assert!(matches!(read_bounded(&path, 4), Err(Error::TooLarge { limit: 4, .. })));
}

#[test]
fn a_write_that_fails_leaves_the_former_content_and_no_temporary_file() {
    let directory = tempfile::tempdir().unwrap();
    // A directory can't be replaced by a file, so the rename at the end fails.
    let path = directory.path().join("a");
    fs::create_dir(&path).unwrap();
    assert!(matches!(write_whole(&path, b"x", Durability::Tmpfs), Err(Error::Write { .. })));
    assert_eq!(names(directory.path()), ["a"]);
}

#[test]
fn only_temporary_files_of_dead_writers_are_cleared_away() {
    let directory = tempfile::tempdir().unwrap();
    let old = SystemTime::now() - Duration::from_mins(2);
    for (name, modified) in
        [(".patchbay-tmp-old", old), (".patchbay-tmp-new", SystemTime::now()), ("0000:01:10.0.state", old)]
    {
        let file = File::create(directory.path().join(name)).unwrap();
        file.set_times(FileTimes::new().set_modified(modified)).unwrap();
    }
    assert_eq!(clean_stale(directory.path()), 1);
    assert_eq!(names(directory.path()), [".patchbay-tmp-new", "0000:01:10.0.state"]);
}
