use super::*;

#[test]
fn the_same_namespace_needs_no_detour_and_another_one_goes_through_ourselves() {
    let proc = tempfile::tempdir().unwrap();
    for process in ["self", "1"] {
        fs::create_dir_all(proc.path().join(process).join("ns")).unwrap();
    }
    let link = |process: &str, target: &str| {
        let path = proc.path().join(process).join("ns/mnt");
        let _absent = fs::remove_file(&path);
        std::os::unix::fs::symlink(target, path).unwrap();
    };
    link("self", "mnt:[1]");
    link("1", "mnt:[1]");
    let same = reach(proc.path()).unwrap();
    assert_eq!(
        (&same.prefix[1..], same.root.as_path()),
        (&["run-plugin".into(), "--".into()][..], Path::new("/"))
    );
    link("self", "mnt:[2]");
    let other = reach(proc.path()).unwrap();
    assert_eq!(other.root, proc.path().join("1/root"));
    let mounts = proc.path().join("1/ns/mnt").into_os_string();
    assert_eq!(other.prefix[1..], ["run-plugin".into(), "--mounts".into(), mounts, "--".into()]);
    assert!(Path::new(&other.prefix[0]).is_absolute());
}
