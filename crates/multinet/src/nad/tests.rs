use proptest::prelude::*;
use rstest::rstest;
use serde_json::Value;

use super::*;

fn nad(config: &str) -> Nad {
    Nad {
        namespace: "net".to_owned(),
        name: "blue".to_owned(),
        config: config.to_owned(),
        resource_name: Some("intel.com/sriov".to_owned()),
    }
}

#[rstest]
#[case(r#"{ "cniVersion":"0.3.1", "name":"x",  "type":"sriov", "vlan": 100 }"#)]
#[case(r#"{"name":"x","plugins":[ {"type":"sriov"} ]}"#)]
fn a_configuration_with_a_name_is_not_changed(#[case] config: &str) {
    assert_eq!(nad(config).delegate_config().unwrap().text(), config);
}

#[rstest]
#[case(r#"{"type":"sriov","vlan": 100}"#, r#"{"type":"sriov","vlan":100,"name":"blue"}"#)]
#[case(r#"{"name":"","type":"sriov"}"#, r#"{"name":"blue","type":"sriov"}"#)]
#[case(r#"{"plugins":[ {"type":"a","x":1.0} ]}"#, r#"{"plugins":[ {"type":"a","x":1.0} ],"name":"blue"}"#)]
fn a_configuration_without_a_name_gets_the_nads(#[case] config: &str, #[case] expected: &str) {
    let config = nad(config).delegate_config().unwrap();
    assert_eq!(config.text(), expected);
    assert_eq!(config.list().unwrap().name, "blue");
}

#[test]
fn a_single_configuration_gets_its_device() {
    let config = nad(r#"{"name":"x","type":"sriov","deviceID":"old","max_tx_rate":1e3}"#);
    let config = config.delegate_config().unwrap().with_device("0000:3b:02.1").unwrap();
    assert_eq!(
        config.text(),
        r#"{"name":"x","type":"sriov","deviceID":"0000:3b:02.1","max_tx_rate":1e3,"pciBusID":"0000:3b:02.1"}"#
    );
}

#[test]
fn every_plugin_of_a_list_gets_its_device_and_arguments() {
    let config = nad(
        r#"{"cniVersion":"1.0.0","name":"x","disableCheck":true,"plugins":[{"type":"sriov","rate":1.50},{"type":"tuning","args":{"a":0.10,"cni":{"keep":2.0,"over":1}}}]}"#,
    );
    let args = Object::parse(br#"{"over":3.0,"ips":["10.0.0.1"]}"#).unwrap();
    let config = config.delegate_config().unwrap();
    let config = config.with_device("0000:3b:02.1").unwrap().with_cni_args(&args).unwrap();
    assert_eq!(
        config.text(),
        r#"{"cniVersion":"1.0.0","name":"x","disableCheck":true,"plugins":[{"type":"sriov","rate":1.50,"deviceID":"0000:3b:02.1","pciBusID":"0000:3b:02.1","args":{"cni":{"over":3.0,"ips":["10.0.0.1"]}}},{"type":"tuning","args":{"a":0.10,"cni":{"keep":2.0,"over":3.0,"ips":["10.0.0.1"]}},"deviceID":"0000:3b:02.1","pciBusID":"0000:3b:02.1"}]}"#
    );
}

#[test]
fn no_arguments_change_nothing() {
    let text = r#"{ "name":"x", "type":"sriov" }"#;
    let config = nad(text).delegate_config().unwrap().with_cni_args(&Object::default()).unwrap();
    assert_eq!(config.text(), text);
}

#[rstest]
#[case("", "empty")]
#[case(" \n", "empty")]
#[case("{", "JSON")]
#[case("[]", "JSON")]
#[case("{}", "neither")]
#[case(r#"{"plugins":[]}"#, "plugins")]
#[case(r#"{"plugins":[{"type":"a"},{"kind":"b"}]}"#, "plugin 1")]
#[case(r#"{"type":"a","cniVersion":"9"}"#, "\"9\"")]
#[case(r#"{"type":5}"#, "type")]
fn what_cant_be_used_names_the_nad(#[case] config: &str, #[case] contains: &str) {
    let error = cni::Error::from(nad(config).delegate_config().unwrap_err());
    assert_eq!(error.code, cni::code::INVALID_CONFIG);
    assert!(error.msg.contains("net/blue") && error.msg.contains(contains), "{error}");
}

#[rstest]
#[case(r#"{"name":"x","type":"t","args":"text"}"#)]
#[case(r#"{"name":"x","type":"t","args":{"cni":[]}}"#)]
fn arguments_dont_fit_over_other_things(#[case] config: &str) {
    let args = Object::parse(br#"{"a":1}"#).unwrap();
    assert!(nad(config).delegate_config().unwrap().with_cni_args(&args).is_err());
}

const NUMBER: &str = r"-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?";

proptest! {
    #[test]
    fn numbers_of_any_size_survive_byte_for_byte(outer in NUMBER, inner in NUMBER, args in NUMBER, list: bool) {
        let plugin = format!(
            r#"{{"type":"t","name":"n","a":{outer},"deep":{{"b":[{inner}]}},"args":{{"cni":{{"c":{args}}}}}}}"#
        );
        let text = if list { format!(r#"{{"name":"n","plugins":[{plugin},{plugin}]}}"#) } else { plugin };
        let cni_args = Object::parse(br#"{"d":1}"#).unwrap();
        let config = nad(&text).delegate_config().unwrap();
        let config = config.with_device("0000:3b:02.1").unwrap().with_cni_args(&cni_args).unwrap();
        let plugins = config.list().unwrap().plugins;
        prop_assert_eq!(plugins.len(), if list { 2 } else { 1 });
        let deep = format!(r#"{{"b":[{inner}]}}"#);
        let args = format!(r#"{{"cni":{{"c":{args},"d":1}}}}"#);
        for plugin in plugins {
            prop_assert_eq!(plugin.get("a"), Some(outer.as_str()));
            prop_assert_eq!(plugin.get("deep"), Some(deep.as_str()));
            prop_assert_eq!(plugin.get("args"), Some(args.as_str()));
            prop_assert_eq!(plugin.get("deviceID"), Some("\"0000:3b:02.1\""));
        }
    }

    #[test]
    fn any_text_as_device_stays_a_string(id in ".{0,40}", config in r#"[\[\]{}",:a-z0-9 ]{0,60}"#) {
        let _either = nad(&config).delegate_config();
        let config = nad(r#"{"name":"n","type":"t"}"#).delegate_config().unwrap().with_device(&id).unwrap();
        let value: Value = serde_json::from_str(config.text()).unwrap();
        prop_assert_eq!(&value["deviceID"], &Value::from(id));
    }
}
