use rstest::rstest;

use super::*;
use crate::error::code;

#[test]
fn a_configuration_of_version_0_2_0_is_read() {
    let text = r#"{"cniVersion":"0.2.0","name":"dbnet","type":"bridge","bridge":"cni0",
        "ipam":{"type":"host-local","subnet":"10.1.0.0/16","gateway":"10.1.0.1"},"dns":{"nameservers":["10.1.0.1"]}}"#;
    let conf = NetConf::parse(text.as_bytes()).unwrap();
    assert_eq!(conf.cni_version(), Version::V0_2_0);
    assert_eq!((conf.name(), conf.kind(), conf.ipam_type()), ("dbnet", "bridge", Some("host-local")));
    assert_eq!(conf.object().get("bridge"), Some("\"cni0\""));
    assert_eq!(conf.prev_result(), None);
    assert_eq!(conf.require_name().unwrap(), "dbnet");
}

#[rstest]
#[case(r#"{"name":"n","type":"t","ipam":{}}"#)]
#[case(r#"{"name":"n","type":"t","ipam":{"type":""}}"#)]
#[case(r#"{"name":"n","type":"t","ipam":null,"prevResult":null,"cniVersion":""}"#)]
fn what_is_empty_is_missing(#[case] text: &str) {
    let conf = NetConf::parse(text.as_bytes()).unwrap();
    assert_eq!((conf.ipam_type(), conf.prev_result(), conf.cni_version()), (None, None, Version::V0_1_0));
}

#[test]
fn the_previous_result_keeps_its_text() {
    let conf = NetConf::parse(br#"{"cniVersion":"1.0.0","prevResult":{"x": 1.0 }}"#).unwrap();
    assert_eq!(conf.prev_result(), Some(r#"{"x": 1.0 }"#));
}

#[rstest]
#[case("[]", code::DECODE, "not a JSON object")]
#[case(r#"{"cniVersion":1}"#, code::DECODE, "cniVersion")]
#[case(r#"{"cniVersion":"2.0.0"}"#, code::INCOMPATIBLE_VERSION, "2.0.0")]
#[case(r#"{"ipam":"host-local"}"#, code::DECODE, "ipam")]
#[case(r#"{"ipam":{"type":5}}"#, code::DECODE, "type")]
fn what_cant_be_used_is_explained(#[case] text: &str, #[case] code: u32, #[case] contains: &str) {
    let error = Error::from(NetConf::parse(text.as_bytes()).unwrap_err());
    assert_eq!(error.code, code, "{error}");
    assert!(error.msg.contains(contains), "{error}");
}

#[rstest]
#[case("")]
#[case("-a")]
#[case("a/b")]
#[case("a b")]
fn a_name_that_isnt_one_is_refused(#[case] name: &str) {
    let conf = NetConf::parse(format!(r#"{{"name":"{name}"}}"#).as_bytes()).unwrap();
    assert_eq!(Error::from(conf.require_name().unwrap_err()).code, code::INVALID_CONFIG);
}

#[test]
fn a_single_configuration_is_a_list_of_one() {
    let text = r#"{"cniVersion":"0.3.1","name":"n","type":"macvlan","mtu":9000.0}"#;
    let list = NetConfList::parse(text.as_bytes()).unwrap();
    assert_eq!((list.name.as_str(), list.cni_version), ("n", Some(Version::V0_3_1)));
    assert_eq!(list.plugins.len(), 1);
    assert_eq!(list.plugins[0].to_string(), text);
}

#[test]
fn a_list_is_read_with_its_switches() {
    let text = r#"{"cniVersion":"1.1.0","name":"n","disableCheck":true,"disableGC":"true","loadOnlyInlinedPlugins":true,
        "plugins":[{"type":"a","x":0.10},{"type":"b"}]}"#;
    let list = NetConfList::parse(text.as_bytes()).unwrap();
    assert!(list.disable_check && list.disable_gc && list.load_only_inlined_plugins);
    let plugins: Vec<String> = list.plugins.iter().map(Object::to_string).collect();
    assert_eq!(plugins, [r#"{"type":"a","x":0.10}"#, r#"{"type":"b"}"#]);
    let list = NetConfList::parse(br#"{"name":"n","plugins":[{"type":"a"}]}"#).unwrap();
    assert!(!list.disable_check && !list.disable_gc && !list.load_only_inlined_plugins);
    assert_eq!((list.cni_version, list.version()), (None, Version::V0_1_0));
}

#[rstest]
#[case(r#""cniVersion":"0.3.1""#, Some(Version::V0_3_1))]
#[case(r#""cniVersion":"1.0.0","cniVersions":["0.3.1","1.1.0","9.9.9"]"#, Some(Version::V1_1_0))]
#[case(r#""cniVersion":"1.1.0","cniVersions":["0.3.1"]"#, Some(Version::V1_1_0))]
#[case(r#""cniVersion":"9.0.0","cniVersions":["0.4.0","9.0.0"]"#, Some(Version::V0_4_0))]
#[case(r#""cniVersions":["0.4.0"]"#, Some(Version::V0_4_0))]
#[case(r#""cniVersion":"","cniVersions":[]"#, None)]
fn the_newest_version_that_is_known_is_chosen(#[case] keys: &str, #[case] version: Option<Version>) {
    let text = format!(r#"{{{keys},"name":"n","plugins":[{{"type":"a"}}]}}"#);
    assert_eq!(NetConfList::parse(text.as_bytes()).unwrap().cni_version, version);
}

#[rstest]
#[case(r#"{"name":"n"}"#, "neither")]
#[case(r#"{"name":"n","type":"","plugins":null}"#, "neither")]
#[case(r#"{"name":"n","plugins":[]}"#, "empty")]
#[case(r#"{"name":"n","plugins":[{"type":"a"},{}]}"#, "plugin 1")]
#[case(r#"{"name":"n","plugins":{"type":"a"}}"#, "plugins")]
#[case(r#"{"name":"n","plugins":["a"]}"#, "plugins")]
#[case(r#"{"name":"n","type":"a","cniVersion":"9.0.0"}"#, "9.0.0")]
fn lists_without_plugins_are_explained(#[case] text: &str, #[case] contains: &str) {
    let error = Error::from(NetConfList::parse(text.as_bytes()).unwrap_err());
    assert!(error.msg.contains(contains), "{error}");
}
