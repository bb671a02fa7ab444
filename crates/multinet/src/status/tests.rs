use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::deviceinfo::PciInfo;

fn entries_of(result: &Value, is_default: bool) -> Value {
    let result = AddResult::parse(result.to_string().as_bytes()).unwrap();
    let attachment = Attachment { name: "net/blue", ifname: "net1", is_default, device_info: None };
    let annotation = to_annotation(&entries(&result, &attachment)).unwrap();
    serde_json::from_str(&annotation).unwrap()
}

#[test]
fn one_interface_is_one_entry_with_everything() {
    let result = json!({
        "cniVersion": "1.1.0",
        "interfaces": [{"name": "net1", "mac": "02:00:00:00:00:01", "mtu": 9000, "sandbox": "/ns", "pciID": "0000:3b:02.1"}],
        "ips": [{"address": "10.1.0.5/16", "gateway": "10.1.0.1", "interface": 0}, {"address": "fd00::5/64"}],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0", "gw": "fd00::1"}, {"dst": "10.9.0.0/16", "gw": "10.1.0.9"}],
        "dns": {"nameservers": ["10.1.0.1"], "search": ["a"]}
    });
    let result = AddResult::parse(result.to_string().as_bytes()).unwrap();
    let info = DeviceInfo::pci(&PciInfo { address: "0000:3b:02.1", ..PciInfo::default() });
    let attachment =
        Attachment { name: "net/blue", ifname: "net1", is_default: false, device_info: Some(&info) };
    let entries = entries(&result, &attachment);
    let annotation = to_annotation(&entries).unwrap();
    assert_eq!(serde_json::from_str::<Vec<NetworkStatus>>(&annotation).unwrap(), entries);
    assert_eq!(
        serde_json::from_str::<Value>(&annotation).unwrap(),
        json!([{
            "name": "net/blue", "interface": "net1", "ips": ["10.1.0.5", "fd00::5"], "mac": "02:00:00:00:00:01",
            "mtu": 9000, "default": false, "dns": {"nameservers": ["10.1.0.1"], "search": ["a"]},
            "device-info": {"type": "pci", "version": "1.1.0", "pci": {"pci-address": "0000:3b:02.1"}},
            "gateway": ["10.1.0.1", "fd00::1"]
        }])
    );
}

#[test]
fn of_a_bridges_interfaces_those_in_the_pod_are_shown() {
    let result = json!({
        "interfaces": [{"name": "cni0"}, {"name": "veth1"}, {"name": "eth0", "mac": "02:00:00:00:00:01", "sandbox": "/ns"}],
        "ips": [{"address": "10.1.0.5/16", "interface": 2}, {"address": "10.2.0.1/16", "interface": 0}]
    });
    assert_eq!(
        entries_of(&result, true),
        json!([{
            "name": "net/blue", "interface": "eth0", "ips": ["10.1.0.5"], "mac": "02:00:00:00:00:01",
            "default": true, "dns": {}
        }])
    );
}

/// Three interfaces in the pod; the address with a gateway is on `gateway_on`.
#[rstest]
#[case(Some(0), [true, false, false])]
#[case(Some(2), [false, true, false])]
#[case(None, [true, false, false])]
fn one_interface_is_the_default_one(#[case] gateway_on: Option<u32>, #[case] expected: [bool; 3]) {
    let mut ips = vec![json!({"address": "10.0.0.1/8", "interface": 3}), json!({"address": "10.0.0.2/8"})];
    if let Some(interface) = gateway_on {
        ips.push(json!({"address": "10.0.0.3/8", "gateway": "10.0.0.9", "interface": interface}));
    }
    let result = json!({
        "interfaces": [
            {"name": "a", "sandbox": "/ns"}, {"name": "host"}, {"name": "b", "sandbox": "/ns"}, {"name": "c", "sandbox": "/ns"}
        ],
        "ips": ips
    });
    let flags = |is_default| {
        let entries = entries_of(&result, is_default);
        entries
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["default"].as_bool().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(flags(true), expected);
    assert_eq!(flags(false), [false; 3]);
    assert_eq!(entries_of(&result, true)[2]["ips"], json!(["10.0.0.1", "10.0.0.2"]));
}

#[rstest]
#[case(json!({}))]
#[case(json!({"interfaces": [{"name": "host-side"}]}))]
#[case(json!({"interfaces": [{"name": "cni0"}, {"name": "veth1"}]}))]
fn an_attachment_without_an_interface_in_the_pod_has_an_entry(#[case] result: Value) {
    assert_eq!(
        entries_of(&result, false),
        json!([{"name": "net/blue", "interface": "net1", "default": false, "dns": {}}])
    );
}

#[test]
fn a_result_of_the_first_versions_has_an_entry() {
    let result = json!({"cniVersion": "0.2.0", "ip4": {"ip": "10.1.0.5/16", "gateway": "10.1.0.1", "routes": [{"dst": "0.0.0.0/0"}]}});
    assert_eq!(
        entries_of(&result, true),
        json!([{
            "name": "net/blue", "interface": "net1", "ips": ["10.1.0.5"], "default": true, "dns": {},
            "gateway": ["10.1.0.1"]
        }])
    );
}

#[test]
fn a_default_route_without_any_gateway_shows_none() {
    let result =
        json!({"interfaces": [{"name": "ppp0", "sandbox": "/ns"}], "routes": [{"dst": "0.0.0.0/0"}]});
    assert_eq!(entries_of(&result, false)[0].get("gateway"), None);
}

#[test]
fn addresses_of_interfaces_that_dont_exist_are_left_out() {
    let result = json!({
        "interfaces": [{"name": "a", "sandbox": "/ns"}, {"name": "b", "sandbox": "/ns"}],
        "ips": [{"address": "10.0.0.1/8", "gateway": "10.0.0.9", "interface": 99}]
    });
    let entries = entries_of(&result, true);
    assert_eq!((&entries[0]["default"], entries[0].get("ips")), (&json!(true), None));
}
