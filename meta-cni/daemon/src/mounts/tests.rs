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
    assert_eq!(reach(proc.path()).unwrap(), Reach { prefix: Vec::new(), root: "/".into() });
    link("self", "mnt:[2]");
    let other = reach(proc.path()).unwrap();
    assert_eq!(other.root, proc.path().join("1/root"));
    assert_eq!(other.prefix[1..], ["enter-host", "--"]);
    assert!(Path::new(&other.prefix[0]).is_absolute());
}

#[test]
fn what_fails_is_named() {
    let namespace = Path::new("/nonexistent/ns/mnt");
    assert!(matches!(enter_host(namespace, &[]), Err(Error::NoProgram)));
    let error = enter_host(namespace, &["/bin/true".into()]).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/ns/mnt"), "{error}");
}
