use rstest::rstest;

use super::*;

/// A directory with these files.
fn dir(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        file::write_whole(&path, text.as_bytes(), file::Durability::Tmpfs).unwrap();
    }
    dir
}

const OURS: (&str, &str) = (OWN_FILE, r#"{"name": "patchbay", "plugins": [{"type": "patchbay"}]}"#);
const FLANNEL: (&str, &str) =
    ("10-flannel.conflist", r#"{"name": "flannel", "plugins": [{"type": "flannel"}]}"#);

#[rstest]
#[case::only_one(&[FLANNEL], "flannel")]
#[case::ours_is_passed_over(&[OURS, FLANNEL], "flannel")]
#[case::first_by_name(&[FLANNEL, ("05-a.conf", r#"{"name": "a", "type": "a"}"#)], "a")]
#[case::other_meta_plugins_are_what_we_replace(
    &[("00-multus.conf", r#"{"name": "multus-cni-network", "type": "multus-shim"}"#), FLANNEL], "flannel"
)]
#[case::other_files_do_not_count(&[("01-x.conf.old", "{"), ("02-y", "{"), FLANNEL], "flannel")]
fn the_clusters_own_is_the_first_that_is_not_ours(#[case] files: &[(&str, &str)], #[case] expected: &str) {
    assert_eq!(primary(dir(files).path(), None).unwrap().list.name, expected);
}

#[test]
fn a_pinned_file_is_taken_and_waited_for() {
    let dir = dir(&[FLANNEL, ("20-b.conf", r#"{"name": "b", "type": "b"}"#)]);
    assert_eq!(primary(dir.path(), Some("20-b.conf")).unwrap().list.name, "b");
    let error = primary(dir.path(), Some("30-c.conf")).unwrap_err();
    assert_eq!(cni::Error::from(error).code, cni::code::TRY_AGAIN);
}

#[rstest]
#[case::torn(&[("01-a.conflist", r#"{"name": "a", "plug"#), FLANNEL], cni::code::INVALID_CONFIG, "01-a.conflist")]
#[case::empty(&[("01-a.conflist", ""), FLANNEL], cni::code::INVALID_CONFIG, "01-a.conflist")]
#[case::no_name(&[("01-a.conf", r#"{"type": "a"}"#)], cni::code::INVALID_CONFIG, "01-a.conf")]
#[case::ourselves_under_another_name(
    &[("01-a.conflist", r#"{"name": "a", "plugins": [{"type": "x"}, {"type": "patchbay"}]}"#)],
    cni::code::INVALID_CONFIG, "call itself"
)]
#[case::nothing_yet(&[OURS], cni::code::TRY_AGAIN, "install the cluster's network")]
fn what_can_not_be_the_clusters_own_is_an_error(
    #[case] files: &[(&str, &str)],
    #[case] code: u32,
    #[case] text: &str,
) {
    let error = cni::Error::from(primary(dir(files).path(), None).unwrap_err());
    assert_eq!(error.code, code);
    assert!(error.msg.contains(text), "{error}");
}

#[test]
fn plugins_beside_a_list_are_appended_unless_it_says_otherwise() {
    let inlined = r#"{"name": "in", "loadOnlyInlinedPlugins": true, "plugins": [{"type": "a"}]}"#;
    let dir = dir(&[
        ("10-a.conflist", r#"{"name": "net", "odd": 1.50, "plugins": [{"type": "a"}]}"#),
        ("net/20-tuning.conf", r#"{"type": "tuning", "sysctl": {}}"#),
        ("net/10-sbr.conf", r#"{"type": "sbr"}"#),
        ("net/README", "no"),
        ("in/10-sbr.conf", r#"{"type": "sbr"}"#),
        ("20-b.conflist", inlined),
    ]);
    let found = primary(dir.path(), None).unwrap();
    let types: Vec<String> = found.list.plugins.iter().map(|p| p.read("type").unwrap().unwrap()).collect();
    assert_eq!(types, ["a", "sbr", "tuning"]);
    assert!(found.config.text().contains("\"odd\":1.50"));
    assert_eq!(by_name(dir.path(), "in").unwrap().list.plugins.len(), 1);
}

#[test]
fn a_network_by_name_passes_broken_files_over_and_prefers_lists() {
    let dir = dir(&[
        ("01-broken.conflist", "{"),
        ("10-a.conf", r#"{"name": "n", "type": "single"}"#),
        ("20-b.conflist", r#"{"name": "n", "plugins": [{"type": "list"}]}"#),
    ]);
    let found = by_name(dir.path(), "n").unwrap();
    assert_eq!(found.path, dir.path().join("20-b.conflist"));
    let error = by_name(dir.path(), "other").unwrap_err().to_string();
    assert!(error.contains("\"other\""), "{error}");
    assert!(by_name(Path::new("/nonexistent"), "n").is_err());
}

#[test]
fn a_directory_stands_for_its_first_file() {
    let dir = dir(&[FLANNEL]);
    assert_eq!(load(dir.path()).unwrap().list.name, "flannel");
    assert_eq!(load(&dir.path().join(FLANNEL.0)).unwrap().list.name, "flannel");
}

#[test]
fn files_before_ours_are_told() {
    let dir = dir(&[OURS, FLANNEL, ("00-multus.conf", "{}")]);
    assert_eq!(before_ours(dir.path()).unwrap(), ["00-multus.conf"]);
}
