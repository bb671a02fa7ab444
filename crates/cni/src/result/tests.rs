use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::version::SUPPORTED;

fn parse(value: &Value) -> AddResult {
    AddResult::parse(value.to_string().as_bytes()).unwrap()
}

fn write(result: &AddResult, version: Version) -> Value {
    serde_json::from_str(&result.to_version(version).to_string()).unwrap()
}

/// The bridge plugin's answer in the specification's appendix.
fn specification() -> Value {
    json!({
        "cniVersion": "1.1.0",
        "interfaces": [
            {"name": "cni0", "mac": "00:11:22:33:44:55"},
            {"name": "veth3243", "mac": "55:44:33:22:11:11"},
            {"name": "eth0", "mac": "99:88:77:66:55:44", "sandbox": "/var/run/netns/blue"}
        ],
        "ips": [{"address": "10.1.0.5/16", "gateway": "10.1.0.1", "interface": 2}],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dns": {"nameservers": ["10.1.0.1"]}
    })
}

/// Everything that 1.1.0 knows.
fn full() -> Value {
    json!({
        "cniVersion": "1.1.0",
        "interfaces": [{
            "name": "net1", "mac": "02:00:00:00:00:01", "mtu": 9000, "sandbox": "/proc/7/ns/net",
            "socketPath": "/run/vhost.sock", "pciID": "0000:3b:02.1"
        }],
        "ips": [
            {"address": "10.1.0.5/16", "gateway": "10.1.0.1", "interface": 0},
            {"address": "fd00::5/64", "interface": 0},
            {"address": "10.2.0.5/16"}
        ],
        "routes": [
            {"dst": "0.0.0.0/0", "gw": "10.1.0.1", "mtu": 1400, "advmss": 1360, "priority": 100, "table": 7, "scope": 253},
            {"dst": "fd01::/48", "gw": "fd00::1"}
        ],
        "dns": {"nameservers": ["10.1.0.1"], "domain": "example.org", "search": ["a", "b"], "options": ["ndots:2"]}
    })
}

#[rstest]
#[case(specification())]
#[case(full())]
#[case(json!({"cniVersion": "1.1.0"}))]
fn version_1_1_0_round_trips(#[case] value: Value) {
    assert_eq!(write(&parse(&value), Version::V1_1_0), value);
}

#[test]
fn version_1_0_0_differs_in_its_version_alone() {
    let mut expected = full();
    expected["cniVersion"] = json!("1.0.0");
    assert_eq!(write(&parse(&full()), Version::V1_0_0), expected);
}

#[rstest]
#[case(Version::V0_3_0)]
#[case(Version::V0_3_1)]
#[case(Version::V0_4_0)]
fn addresses_had_a_version_before_1_0_0(#[case] version: Version) {
    let expected = json!({
        "cniVersion": version.as_str(),
        "interfaces": [{"name": "net1", "mac": "02:00:00:00:00:01", "sandbox": "/proc/7/ns/net"}],
        "ips": [
            {"version": "4", "address": "10.1.0.5/16", "gateway": "10.1.0.1", "interface": 0},
            {"version": "6", "address": "fd00::5/64", "interface": 0},
            {"version": "4", "address": "10.2.0.5/16"}
        ],
        "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.0.1"}, {"dst": "fd01::/48", "gw": "fd00::1"}],
        "dns": {"nameservers": ["10.1.0.1"], "domain": "example.org", "search": ["a", "b"], "options": ["ndots:2"]}
    });
    let old = write(&parse(&full()), version);
    assert_eq!(old, expected);
    assert_eq!(write(&parse(&old), version), expected);
}

#[rstest]
#[case(Version::V0_1_0)]
#[case(Version::V0_2_0)]
fn the_first_versions_had_one_address_of_each_family(#[case] version: Version) {
    let expected = json!({
        "cniVersion": version.as_str(),
        "ip4": {"ip": "10.1.0.5/16", "gateway": "10.1.0.1", "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.0.1"}]},
        "ip6": {"ip": "fd00::5/64", "routes": [{"dst": "fd01::/48", "gw": "fd00::1"}]},
        "dns": {"nameservers": ["10.1.0.1"], "domain": "example.org", "search": ["a", "b"], "options": ["ndots:2"]}
    });
    let old = write(&parse(&full()), version);
    assert_eq!(old, expected);
    assert_eq!(write(&parse(&old), version), expected);

    let new = write(&parse(&old), Version::V1_1_0);
    assert_eq!(
        new["ips"],
        json!([{"address": "10.1.0.5/16", "gateway": "10.1.0.1"}, {"address": "fd00::5/64"}])
    );
    assert_eq!(
        new["routes"],
        json!([{"dst": "0.0.0.0/0", "gw": "10.1.0.1"}, {"dst": "fd01::/48", "gw": "fd00::1"}])
    );
}

#[test]
fn a_result_without_addresses_has_a_form_in_every_version() {
    let result = parse(&json!({"interfaces": [{"name": "net1", "sandbox": "/x"}]}));
    for version in SUPPORTED {
        let written = write(&result, version);
        assert_eq!(written["cniVersion"], version.as_str());
        assert_eq!(written.get("dns").is_some(), version < Version::V1_0_0);
        assert_eq!(written.get("ip4"), None);
    }
}

#[test]
fn unknown_keys_are_kept_with_their_text() {
    let text = r#"{"cniVersion":"1.1.0","interfaces":[{"name":"a","speed":1.50}],"ips":[{"address":"10.0.0.1/8","lease":12345678901234567890123}],"routes":[{"dst":"10.0.0.0/8","via":{"x":0.10}}],"dns":{"domain":"d","ttl":1e3},"vendor.example":{"a":1.0}}"#;
    let result = AddResult::parse(text.as_bytes()).unwrap();
    assert_eq!(result.to_version(Version::V1_1_0).to_string(), text);
    let old = result.to_version(Version::V0_4_0).to_string();
    for kept in
        ["\"speed\":1.50", "\"lease\":12345678901234567890123", "{\"x\":0.10}", "\"ttl\":1e3", "{\"a\":1.0}"]
    {
        assert!(old.contains(kept), "{old}");
    }
}

#[test]
fn a_key_of_the_other_form_does_not_stand_for_the_address() {
    let result = parse(&json!({"ips": [{"address": "10.0.0.1/8", "IP": "x", "ip": "10.9.9.9/8"}]}));
    let old = write(&result, Version::V0_2_0);
    assert_eq!(old["ip4"], json!({"ip": "10.0.0.1/8"}));
    let result = parse(&json!({"ip4": {"ip": "10.0.0.1/8", "address": "10.9.9.9/8", "interface": 3}}));
    assert_eq!(write(&result, Version::V1_1_0)["ips"], json!([{"address": "10.0.0.1/8"}]));
}

#[test]
fn what_plugins_in_use_write_is_read() {
    let result = parse(&json!({
        "cniVersion": "0.3.1",
        "interfaces": null,
        "ips": [{"version": "4", "interface": -1, "address": "10.0.0.1/8", "gateway": ""}],
        "routes": [{"dst": "::/0", "gw": "", "mtu": 0}],
        "dns": {"nameservers": null}
    }));
    assert!(result.interfaces.is_empty() && result.dns.is_empty());
    assert_eq!((result.ips[0].interface, result.ips[0].gateway), (None, None));
    assert_eq!((result.routes[0].gw, result.routes[0].mtu), (None, None));
    assert!(result.routes[0].is_default());
}

#[rstest]
#[case("no json", "not a JSON object")]
#[case(r#"{"ips":[{"address":"10.0.0.1"}]}"#, "10.0.0.1")]
#[case(r#"{"ips":[{}]}"#, "address")]
#[case(r#"{"ips":[{"address":"10.0.0.1/8","gateway":"gw"}]}"#, "\"gw\"")]
#[case(r#"{"ips":{}}"#, "ips")]
#[case(r#"{"routes":[{"dst":"default"}]}"#, "default")]
#[case(r#"{"interfaces":[{"name":5}]}"#, "name")]
#[case(r#"{"interfaces":[{"name":"a","mtu":-1}]}"#, "mtu")]
#[case(r#"{"ip4":{"ip":"10.0.0.0"}}"#, "10.0.0.0")]
fn what_is_no_result_is_explained(#[case] text: &str, #[case] contains: &str) {
    let error = crate::Error::from(AddResult::parse(text.as_bytes()).unwrap_err());
    assert_eq!(error.code, crate::code::DECODE);
    assert!(error.msg.contains(contains), "{error}");
}

fn address() -> impl Strategy<Value = IpNet> {
    prop_oneof![
        (any::<[u8; 4]>(), 0..=32u8).prop_map(|(ip, length)| IpNet::new(IpAddr::from(ip), length).unwrap()),
        (any::<[u16; 8]>(), 0..=128u8).prop_map(|(ip, length)| IpNet::new(IpAddr::from(ip), length).unwrap()),
    ]
}

proptest! {
    #[test]
    fn any_result_survives_the_versions_that_can_hold_it(
        addresses in prop::collection::vec((address(), prop::option::of(0..9usize)), 0..5),
        routes in prop::collection::vec(address(), 0..5),
        name in ".{0,15}",
    ) {
        let result = AddResult {
            interfaces: vec![Interface { name, sandbox: "/ns".to_owned(), ..Interface::default() }],
            ips: addresses
                .into_iter()
                .map(|(address, interface)| Ip { address, gateway: None, interface, other: Object::default() })
                .collect(),
            routes: routes.into_iter().map(|dst| Route::new(dst, None)).collect(),
            ..AddResult::default()
        };
        for version in SUPPORTED.into_iter().filter(|version| *version >= Version::V0_3_0) {
            let text = result.to_version(version).to_string();
            prop_assert_eq!(&AddResult::parse(text.as_bytes()).unwrap(), &result);
        }
    }
}
