use rstest::rstest;
use serde_json::{Value, json};

use super::*;

fn config(json: &Value) -> Config {
    let text = json.to_string();
    crate::config::parse(Path::new("test.json"), text.as_bytes(), Some("n".to_owned())).unwrap().0
}

fn write(path: &Path, content: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    write_whole(path, content, Durability::Tmpfs).unwrap();
}

/// Directories with the image's binaries and the node's, and a configuration for them.
fn node(more: &Value) -> (tempfile::TempDir, Config) {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    write(&dir.path().join("image/patchbay"), b"the shim");
    write(&dir.path().join("image/sriov"), b"ours: /run/patchbay/vf, new");
    let mut json =
        json!({"installFrom": path("image"), "binDir": path("bin"), "cniConfigDir": path("net.d")});
    for (key, value) in more.as_object().unwrap() {
        json[key] = value.clone();
    }
    let config = config(&json);
    (dir, config)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn plugins_are_placed_executable_and_replaced_by_rename() {
    let (_dir, config) = node(&json!({}));
    let shim = config.bin_dir.join("patchbay");
    binaries(&config).unwrap();
    assert_eq!(fs::read(&shim).unwrap(), b"the shim");
    assert_eq!((mode(&shim), mode(&config.bin_dir.join("sriov"))), (0o755, 0o755));
    // Somebody executes the old one meanwhile: it stays what it was.
    write(&shim, b"an older shim");
    let mut old = File::open(&shim).unwrap();
    binaries(&config).unwrap();
    let mut text = String::new();
    old.read_to_string(&mut text).unwrap();
    assert_eq!(text, "an older shim");
    assert_eq!(fs::read(&shim).unwrap(), b"the shim");
    assert_eq!(fs::read_dir(&config.bin_dir).unwrap().count(), 2, "nothing else is left");
}

#[rstest]
#[case::ours(b"ours: /run/patchbay/vf, old", false, true)]
#[case::foreign(b"another program's", false, false)]
#[case::foreign_and_told_so(b"another program's", true, true)]
fn a_foreign_sriov_is_left_alone_unless_told_otherwise(
    #[case] present: &[u8],
    #[case] overwrite: bool,
    #[case] replaced: bool,
) {
    let (_dir, config) = node(&json!({"overwriteSriov": overwrite}));
    let sriov = config.bin_dir.join("sriov");
    write(&sriov, present);
    let outcome = binaries(&config);
    if replaced {
        outcome.unwrap();
        assert_eq!(fs::read(&sriov).unwrap(), b"ours: /run/patchbay/vf, new");
    } else {
        let error = outcome.unwrap_err().to_string();
        assert!(error.contains("overwriteSriov") && error.contains("sriov"), "{error}");
        assert_eq!(fs::read(&sriov).unwrap(), present);
    }
    assert!(config.bin_dir.join("patchbay").exists(), "the other is placed either way");
}

#[test]
fn the_mark_is_found_across_the_pieces_that_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("program");
    for before in [0, 1, (1 << 16) - 20, (1 << 16) - 8, (1 << 16) - 1, 1 << 16, (1 << 17) + 3] {
        let mut content = vec![b'x'; before];
        content.extend_from_slice(MARK);
        write(&path, &content);
        assert!(is_ours(&path).unwrap(), "{before}");
        content.pop();
        write(&path, &content);
        assert!(!is_ours(&path).unwrap(), "{before}");
    }
}

#[test]
fn without_a_source_nothing_is_installed_and_a_wrong_one_is_an_error() {
    let (_dir, mut config) = node(&json!({}));
    config.install_from = None;
    binaries(&config).unwrap();
    assert!(!config.bin_dir.exists());
    config.install_from = Some("/nonexistent".into());
    let error = binaries(&config).unwrap_err().to_string();
    assert!(error.contains("/nonexistent/patchbay"), "{error}");
}

fn generated(primary: &str, more: &Value) -> Value {
    let list = NetConfList::parse(primary.as_bytes()).unwrap();
    let (_dir, config) = node(more);
    serde_json::from_slice(&configuration(&list, Path::new("/etc/cni/net.d/10-a.conflist"), &config).unwrap())
        .unwrap()
}

#[test]
fn the_configuration_has_the_union_of_capabilities() {
    let primary = r#"{"cniVersion": "1.0.0", "name": "k8s", "plugins": [
        {"type": "a", "capabilities": {"ips": true, "mac": false}},
        {"type": "portmap", "capabilities": {"portMappings": true}}]}"#;
    let more =
        json!({"capabilities": {"bandwidth": true, "dns": false}, "socket": "/run/s", "stateDir": "/state"});
    insta::assert_json_snapshot!(generated(primary, &more));
}

#[rstest]
#[case::as_the_clusters_own(r#"{"cniVersion": "1.1.0", "name": "k8s", "type": "a"}"#, json!({}), "1.1.0", "patchbay")]
#[case::too_old(r#"{"cniVersion": "0.2.0", "name": "k8s", "type": "a"}"#, json!({}), "0.4.0", "patchbay")]
#[case::none(r#"{"name": "k8s", "type": "a"}"#, json!({}), "0.4.0", "patchbay")]
#[case::as_configured(
    r#"{"cniVersion": "0.3.1", "name": "k8s", "type": "a"}"#,
    json!({"cniVersion": "1.1.0", "overrideNetworkName": true}), "1.1.0", "k8s"
)]
fn version_and_name(#[case] primary: &str, #[case] more: Value, #[case] version: &str, #[case] name: &str) {
    let list = generated(primary, &more);
    assert_eq!((&list["cniVersion"], &list["name"]), (&json!(version), &json!(name)));
}

#[test]
fn the_file_is_written_only_when_something_changes_and_never_without_a_default_network() {
    let (_dir, config) = node(&json!({}));
    fs::create_dir_all(&config.cni_config_dir).unwrap();
    let own = own_file(&config);
    assert!(matches!(conf_file(&config), Err(Error::Default(_))));
    assert!(!own.exists(), "an empty file would make the node unusable");
    write(&config.cni_config_dir.join("10-a.conf"), br#"{"cniVersion": "1.0.0", "name": "a", "type": "a"}"#);
    assert_eq!(conf_file(&config).unwrap(), Placed { written: true, before: Vec::new() });
    assert_eq!(mode(&own), 0o600);
    write(&config.cni_config_dir.join("00-calico.conflist"), br#"{"name": "c", "plugins": [{"type": "c"}]}"#);
    let placed = conf_file(&config).unwrap();
    assert_eq!((placed.written, placed.before), (true, vec!["00-calico.conflist".to_owned()]));
    assert!(!conf_file(&config).unwrap().written);
    // What was good stays while the cluster's own is torn.
    let before = fs::read(&own).unwrap();
    write(&config.cni_config_dir.join("00-calico.conflist"), b"{");
    assert!(conf_file(&config).is_err());
    assert_eq!(fs::read(&own).unwrap(), before);
}

#[test]
fn an_unknown_version_is_named() {
    let list = NetConfList::parse(br#"{"name": "a", "type": "a"}"#).unwrap();
    let (_dir, config) = node(&json!({"cniVersion": "9.9.9"}));
    let error = configuration(&list, Path::new("/a"), &config).unwrap_err();
    assert!(error.to_string().contains("9.9.9"), "{error}");
}
