#![expect(clippy::disallowed_methods, reason = "a test's own files need no atomic writes")]

use std::os::unix::fs::MetadataExt;

use rstest::rstest;
use tempfile::TempDir;

use super::*;

fn request(container_id: &str, ifname: &str) -> CallRequest {
    let env = [("CNI_COMMAND", "DEL"), ("CNI_CONTAINERID", container_id), ("CNI_IFNAME", ifname)];
    CallRequest {
        env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        config: b"{\"x\": 1.50}".to_vec(),
    }
}

#[test]
fn a_del_is_kept_read_and_removed() {
    let directory = TempDir::new().unwrap();
    let intents = directory.path().join("var/lib/intents");
    assert!(list(&intents).unwrap().is_empty());
    let path = write(&intents, &request("c1", "net1")).unwrap();
    assert_eq!(path, intents.join("c1-net1.json"));
    assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
    assert_eq!(intents.metadata().unwrap().mode() & 0o777, 0o700);
    assert_eq!(read(&path).unwrap(), Some(Intent { format: FORMAT, request: request("c1", "net1") }));

    write(&intents, &request("c1", "net1")).unwrap();
    write(&intents, &request("c1", "eth0")).unwrap();
    write(&intents, &request("c0", "eth0")).unwrap();
    fs::write(intents.join(".123.tmp"), "left by a crash").unwrap();
    let names = ["c0-eth0.json", "c1-eth0.json", "c1-net1.json"];
    assert_eq!(list(&intents).unwrap(), names.map(|name| intents.join(name)));

    remove(&path).unwrap();
    remove(&path).unwrap();
    assert_eq!(read(&path).unwrap(), None);
}

#[rstest]
#[case("../../etc/passwd", "eth0")]
#[case("c1", "../eth0")]
#[case("", "eth0")]
#[case("c1", "")]
fn a_call_that_would_leave_the_directory_is_refused(#[case] container_id: &str, #[case] ifname: &str) {
    let directory = TempDir::new().unwrap();
    assert!(matches!(write(directory.path(), &request(container_id, ifname)), Err(Error::Args(_))));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_failed_write_leaves_nothing_behind() {
    let directory = TempDir::new().unwrap();
    fs::create_dir_all(directory.path().join("c1-eth0.json/in the way")).unwrap();
    let error = write(directory.path(), &request("c1", "eth0")).unwrap_err();
    assert!(matches!(error, Error::Write { .. }), "{error}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);

    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(write(&file, &request("c1", "eth0")), Err(Error::Write { .. })));
    assert!(matches!(list(&file), Err(Error::List { .. })));
}

#[test]
fn an_earlier_intent_stays_until_it_is_replaced_whole() {
    let directory = TempDir::new().unwrap();
    let path = write(directory.path(), &request("c1", "eth0")).unwrap();
    let held = File::open(&path).unwrap();
    write(directory.path(), &request("c1", "eth0")).unwrap();
    assert_ne!(held.metadata().unwrap().ino(), path.metadata().unwrap().ino(), "replaced, not rewritten");
}

#[rstest]
#[case("", true)]
#[case("{", true)]
#[case("{}", true)]
#[case(r#"{"format":1,"request":{"config":"?"}}"#, true)]
#[case(r#"{"format":2,"request":"of another shape"}"#, false)]
fn damaged_and_newer_files_are_told_apart(#[case] text: &str, #[case] damaged: bool) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("c1-eth0.json");
    fs::write(&path, text).unwrap();
    let error = read(&path).unwrap_err();
    assert_eq!(matches!(error, Error::Parse { .. }), damaged, "{error}");
    assert_eq!(matches!(error, Error::Newer { format: 2, .. }), !damaged, "{error}");
}
