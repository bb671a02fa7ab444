use proptest::prelude::*;
use rstest::rstest;

use super::*;

fn parse(annotation: &str) -> Vec<Selection> {
    parse_networks(annotation, "apps").unwrap()
}

fn refused(annotation: &str) -> String {
    cni::Error::from(parse_networks(annotation, "apps").unwrap_err()).msg
}

fn plain(namespace: &str, name: &str, interface: Option<&str>) -> Selection {
    Selection {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        interface: interface.map(str::to_owned),
        ..Selection::default()
    }
}

#[rstest]
#[case("", vec![])]
#[case(" \n", vec![])]
#[case("blue", vec![plain("apps", "blue", None)])]
#[case("net/blue", vec![plain("net", "blue", None)])]
#[case("blue@eth1", vec![plain("apps", "blue", Some("eth1"))])]
#[case("net/blue@my_if", vec![plain("net", "blue", Some("my_if"))])]
#[case(" net / blue.v2 @ eth1 , red ,blue", vec![
    plain("net", "blue.v2", Some("eth1")), plain("apps", "red", None), plain("apps", "blue", None)])]
#[case("blue,blue", vec![plain("apps", "blue", None), plain("apps", "blue", None)])]
#[case("/blue@", vec![plain("apps", "blue", None)])]
#[case("[]", vec![])]
#[case(r#"[{"name":"blue"},{"name":"red","namespace":"net","interface":"eth1"}]"#, vec![
    plain("apps", "blue", None), plain("net", "red", Some("eth1"))])]
#[case(r#"[{"name":"blue","interfaceRequest":"eth1"}]"#, vec![plain("apps", "blue", Some("eth1"))])]
#[case(r#"[{"name":"blue","interface":"eth2","interfaceRequest":"eth1"}]"#, vec![plain("apps", "blue", Some("eth2"))])]
#[case(r#"[{"name":"blue","namespace":"","interface":"","mac":"","ips":null}]"#, vec![plain("apps", "blue", None)])]
fn both_forms_are_read(#[case] annotation: &str, #[case] expected: Vec<Selection>) {
    assert_eq!(parse(annotation), expected);
}

#[test]
fn every_key_of_the_json_form_is_read() {
    let selections = parse(
        r#"[{
            "name": "blue", "namespace": "net", "interface": "eth1",
            "ips": ["10.1.0.5/16", "fd00::5", "10.1.0.6"],
            "mac": "02:00:00:00:00:01",
            "infiniband-guid": "24:8a:07:03:00:8d:ae:2e",
            "portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": "10.0.0.1"}],
            "bandwidth": {"ingressRate": 2048, "ingressBurst": 1600, "egressRate": 4096, "egressBurst": 1600},
            "deviceID": "0000:3b:02.1",
            "cni-args": {"rate": 1.50, "labels": ["a"]},
            "default-route": ["10.1.0.1", "fd00::1"],
            "example.org/choose": {"numa": 0}
        }]"#,
    );
    let [selection] = selections.as_slice() else { panic!("{selections:?}") };
    assert_eq!(selection.full_name(), "net/blue");
    assert_eq!(selection.interface.as_deref(), Some("eth1"));
    assert_eq!(selection.ips, ["10.1.0.5/16", "fd00::5", "10.1.0.6"]);
    assert_eq!(selection.mac.as_deref(), Some("02:00:00:00:00:01"));
    assert_eq!(selection.infiniband_guid.as_deref(), Some("24:8a:07:03:00:8d:ae:2e"));
    assert_eq!(selection.port_mappings[0].get("hostPort"), Some("8080"));
    assert_eq!(selection.bandwidth.as_ref().and_then(|limits| limits.get("egressRate")), Some("4096"));
    assert_eq!(selection.device_id.as_deref(), Some("0000:3b:02.1"));
    assert_eq!(selection.cni_args.to_string(), r#"{"rate":1.50,"labels":["a"]}"#);
    assert_eq!(selection.default_route, Some(vec!["10.1.0.1".parse().unwrap(), "fd00::1".parse().unwrap()]));
    assert_eq!(selection.other.to_string(), r#"{"example.org/choose":{"numa": 0}}"#);

    let args = selection.capability_args(None, None);
    let keys: Vec<&str> = args.keys().collect();
    assert_eq!(keys, ["portMappings", "bandwidth", "ips", "mac", "infinibandGUID", "deviceID"]);
    assert_eq!(args.get("deviceID"), Some("\"0000:3b:02.1\""));
    let args = selection.capability_args(Some("0000:3b:02.2"), Some("/devinfo/x"));
    assert_eq!(args.get("deviceID"), Some("\"0000:3b:02.2\""));
    assert_eq!(args.get("CNIDeviceInfoFile"), Some("\"/devinfo/x\""));
    assert_eq!(
        selection.legacy_args(),
        [
            ("MAC".to_owned(), "02:00:00:00:00:01".to_owned()),
            ("IP".to_owned(), "10.1.0.5/16,fd00::5,10.1.0.6".to_owned())
        ]
    );
}

#[test]
fn a_selection_without_wishes_asks_for_nothing() {
    let selection = plain("apps", "blue", None);
    assert!(selection.capability_args(None, None).is_empty());
    assert!(selection.legacy_args().is_empty());
}

#[test]
fn an_empty_list_of_default_routes_differs_from_none() {
    let selections =
        parse(r#"[{"name":"a","default-route":[]},{"name":"b","default-route":null},{"name":"c"}]"#);
    let routes: Vec<_> = selections.into_iter().map(|selection| selection.default_route).collect();
    assert_eq!(routes, [Some(vec![]), None, None]);
}

#[test]
fn an_ipam_claim_is_read_and_goes_without_addresses() {
    let claim = parse(r#"[{"name":"a","ipam-claim-reference":"vm-a.net"}]"#);
    assert_eq!(claim[0].ipam_claim_reference.as_deref(), Some("vm-a.net"));
    let error = refused(r#"[{"name":"a","ips":["10.0.0.1"],"ipam-claim-reference":"vm-a.net"}]"#);
    assert!(error.contains("ipam-claim-reference"), "{error}");
}

#[rstest]
#[case("a/b/c", "\"a/b/c\" (number 1)", "more than one '/'")]
#[case("ok,a@b@c", "\"a@b@c\" (number 2)", "more than one '@'")]
#[case("ok,,ok", "number 2", "no name")]
#[case("ok,", "number 2", "no name")]
#[case("net/", "\"net/\"", "no name")]
#[case("Blue", "\"Blue\"", "name \"Blue\"")]
#[case("-blue", "\"-blue\"", "name \"-blue\"")]
#[case("a b", "\"a b\"", "name \"a b\"")]
#[case("n_s/blue", "n_s/blue", "namespace \"n_s\"")]
#[case("blue@a-very-long-interface", "number 1", "a-very-long-interface")]
#[case("blue@a b", "number 1", "\"a b\"")]
#[case("a@eth1,b@eth1", "\"b@eth1\" (number 2)", "eth1")]
#[case(r#"{"name":"blue"}"#, "networks", "list of objects")]
#[case(r#"["blue"]"#, "networks", "list of objects")]
#[case("[", "networks", "list of objects")]
#[case("\"blue\"", "networks", "list of objects")]
#[case("[{}]", "number 1", "no name")]
#[case(r#"[{"name":"a"},{"name":7}]"#, "number 2", "name")]
#[case(r#"[{"name":"a","interface":".."}]"#, "\"a\" (number 1)", "..")]
#[case(r#"[{"name":"a","ips":["10.0.0.256"]}]"#, "\"a\"", "10.0.0.256")]
#[case(r#"[{"name":"a","ips":["10.0.0.1/33"]}]"#, "\"a\"", "10.0.0.1/33")]
#[case(r#"[{"name":"a","ips":["fd00::1/129"]}]"#, "\"a\"", "fd00::1/129")]
#[case(r#"[{"name":"a","ips":["10.0.0.1/"]}]"#, "\"a\"", "10.0.0.1/")]
#[case(r#"[{"name":"a","ips":"10.0.0.1"}]"#, "\"a\"", "\"ips\"")]
#[case(r#"[{"name":"a","mac":"02:00:00:00:00"}]"#, "\"a\"", "02:00:00:00:00")]
#[case(r#"[{"name":"a","mac":"02:00:00:00:00:0g"}]"#, "\"a\"", "0g")]
#[case(r#"[{"name":"a","infiniband-guid":"x"}]"#, "\"a\"", "infiniband-guid")]
#[case(r#"[{"name":"a","portMappings":[{"hostPort":"80"}]}]"#, "\"a\"", "hostPort")]
#[case(r#"[{"name":"a","portMappings":{}}]"#, "\"a\"", "portMappings")]
#[case(r#"[{"name":"a","bandwidth":{"egressRate":"fast"}}]"#, "\"a\"", "egressRate")]
#[case(r#"[{"name":"a","cni-args":[]}]"#, "\"a\"", "cni-args")]
#[case(r#"[{"name":"a","default-route":["gw"]}]"#, "\"a\"", "\"gw\"")]
fn what_cant_be_used_is_named(#[case] annotation: &str, #[case] element: &str, #[case] problem: &str) {
    let error = refused(annotation);
    assert!(error.contains(crate::NETWORKS_ANNOTATION), "{error}");
    assert!(error.contains(element) && error.contains(problem), "{error}");
}

#[test]
fn the_number_of_networks_is_bounded() {
    let many = |count| vec!["a"; count].join(",");
    assert_eq!(parse(&many(MAX_NETWORKS)).len(), MAX_NETWORKS);
    let error = refused(&many(MAX_NETWORKS + 1));
    assert!(error.contains("257") && error.contains("256"), "{error}");
}

#[rstest]
#[case("", None)]
#[case("calico", Some(plain("kube-system", "calico", None)))]
#[case(r#"[{"name":"calico","namespace":"net"}]"#, Some(plain("net", "calico", None)))]
fn one_network_may_replace_the_default(#[case] annotation: &str, #[case] expected: Option<Selection>) {
    assert_eq!(parse_default_network(annotation, "kube-system").unwrap(), expected);
}

#[test]
fn two_networks_cant_both_be_the_default() {
    let error = cni::Error::from(parse_default_network("a,b", "kube-system").unwrap_err());
    assert_eq!(error.code, cni::code::INVALID_CONFIG);
    assert!(
        error.msg.contains("exactly one") && error.msg.contains(crate::DEFAULT_NETWORK_ANNOTATION),
        "{error}"
    );
}

#[rstest]
#[case("02:00:5e:00:53:01", true)]
#[case("02-00-5E-00-53-01", true)]
#[case("0200.5e00.5301", true)]
#[case("02:00:5e:10:00:00:00:01", true)]
#[case("0200.5e10.0000.0001", true)]
#[case("80:00:00:48:fe:80:00:00:00:00:00:00:24:8a:07:03:00:8d:ae:2e", true)]
#[case("02:00:5e:00:53", false)]
#[case("2:0:5e:0:53:1", false)]
#[case("02:00-5e:00:53:01", false)]
#[case("02005e005301", false)]
#[case("", false)]
#[case("02:00:5e:00:53:0é", false)]
fn hardware_addresses(#[case] text: &str, #[case] valid: bool) {
    assert_eq!(is_hardware_address(text), valid);
}

proptest! {
    #[test]
    fn parsing_never_panics(annotation in ".{0,200}") {
        let _either = parse_networks(&annotation, "apps");
        let _either = parse_default_network(&annotation, "apps");
    }

    #[test]
    fn parsing_what_looks_like_json_never_panics(annotation in r#"[\[\]{}",:/@a-z0-9.\\ -]{0,120}"#) {
        let _either = parse_networks(&annotation, "apps");
    }

    #[test]
    fn odd_values_never_panic(
        key in "name|namespace|interface|ips|mac|infiniband-guid|portMappings|bandwidth|deviceID|cni-args|default-route",
        value in r#"null|true|-1|1e999|""|"x"|\[\]|\[""\]|\["é/"\]|\[null\]|\[1\]|\{\}|\{"hostPort":1e99\}"#,
    ) {
        let _either = parse_networks(&format!(r#"[{{"name":"a","{key}":{value}}}]"#), "apps");
    }

    #[test]
    fn the_comma_form_round_trips(
        elements in prop::collection::vec(("[a-z0-9]{1,8}", "[a-z0-9]([a-z0-9.-]{0,8}[a-z0-9])?"), 0..6),
    ) {
        let annotation: Vec<String> =
            elements.iter().enumerate().map(|(index, (ns, name))| format!("{ns}/{name}@if{index}")).collect();
        let read: Vec<String> = parse_networks(&annotation.join(", "), "apps")
            .unwrap()
            .iter()
            .map(|selection| format!("{}@{}", selection.full_name(), selection.interface.as_deref().unwrap()))
            .collect();
        prop_assert_eq!(read, annotation);
    }
}
