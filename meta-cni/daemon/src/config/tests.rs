use std::path::Path;
use std::time::Duration;

use rstest::rstest;

use super::*;

const FILE: &str = "/etc/patchbay/patchbayd.json";

fn parsed(json: &str) -> Result<(Config, Vec<String>), Error> {
    parse(Path::new(FILE), json.as_bytes(), Some("node-a".to_owned()))
}

/// The error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[test]
fn an_absent_file_is_all_defaults() {
    let dir = tempfile::tempdir().unwrap();
    let (config, warnings) = load(&dir.path().join("none.json"), Some("n".to_owned())).unwrap();
    assert_eq!(config, parsed("{}").map(|(c, _)| Config { node_name: "n".to_owned(), ..c }).unwrap());
    assert!(warnings.is_empty());
    assert_eq!(config.autoconfig_dir, Path::new("/etc/cni/net.d"));
    assert_eq!(config.global_namespaces, ["default"]);
    assert_eq!(config.plugin_deadline, Duration::from_mins(1));
    assert!(config.in_process_sriov && !config.overwrite_sriov);
}

#[test]
fn keys_are_matched_without_regard_to_case_and_null_is_absent() {
    let (config, warnings) = parsed(
        r#"{"CLUSTERNETWORK": "/etc/cni/net.d/10-a.conflist", "NamespaceIsolation": true,
            "globalNamespaces": " a ,b,, ", "binDir": null, "multusautoconfigdir": "/x"}"#,
    )
    .unwrap();
    assert_eq!(config.cluster_network.as_deref(), Some("/etc/cni/net.d/10-a.conflist"));
    assert!(config.namespace_isolation);
    assert_eq!(config.global_namespaces, ["a", "b"]);
    assert_eq!(config.bin_dir, Path::new("/opt/cni/bin"));
    assert_eq!(config.autoconfig_dir, Path::new("/x"));
    assert!(warnings.is_empty(), "{warnings:?}");
}

#[test]
fn unknown_keys_and_keys_without_effect_are_warned_about() {
    let (_, warnings) = parsed(r#"{"chrootdir": "/hostroot", "nonsense": 1}"#).unwrap();
    assert_eq!(
        warnings,
        [
            format!(
                "configuration {FILE}: chrootDir has no effect: plugins run in the host's mount namespace"
            ),
            format!("configuration {FILE}: key \"nonsense\" is unknown and ignored"),
        ]
    );
}

#[rstest]
#[case::not_json("{", "is not a JSON object")]
#[case::not_an_object("[]", "is not a JSON object")]
#[case::wrong_type(r#"{"defaultNetworks": "a"}"#, "key \"defaultNetworks\" has a wrong value")]
#[case::number_as_text(r#"{"addWorkers": "4"}"#, "key \"addWorkers\" has a wrong value")]
#[case::no_workers(r#"{"delWorkers": 0}"#, "key \"delWorkers\" must be from 1 to 1024")]
#[case::no_time(r#"{"pluginSeconds": 0}"#, "key \"pluginSeconds\" must be a number of seconds")]
#[case::a_copied_file(
    r#"{"multusConfigFile": "/a"}"#,
    "key \"multusConfigFile\" must be \"auto\" or \"none\""
)]
#[case::a_path(r#"{"multusMasterCNI": "../a"}"#, "key \"multusMasterCNI\" must be a file name")]
#[case::a_level(r#"{"logLevel": "loud"}"#, "key \"logLevel\" must be")]
fn a_wrong_value_names_file_and_key(#[case] json: &str, #[case] expected: &str) {
    let error = parsed(json).unwrap_err();
    let text = chain(&error);
    assert!(text.contains(expected) && text.contains(FILE), "{text}");
}

#[test]
fn the_environment_names_the_node_and_without_a_name_nothing_starts() {
    let file = Path::new(FILE);
    let named = parse(file, br#"{"nodeName": "b"}"#, Some("a".to_owned())).unwrap();
    assert_eq!(named.0.node_name, "a");
    let named = parse(file, br#"{"nodeName": "b"}"#, None).unwrap();
    assert_eq!(named.0.node_name, "b");
    let error = parse(file, b"{}", Some(String::new())).unwrap_err();
    assert!(error.to_string().contains("set NODE_NAME"), "{error}");
}
