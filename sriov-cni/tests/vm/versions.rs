//! Each version of the CNI specification: the result of ADD in its shape, DEL, CHECK where there is one, VERSION.

use std::fs;

use serde_json::{Value, json};

use crate::node::{Call, Pod, Vf, add, del, outcome, vf};

const VERSIONS: [&str; 7] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
const MAC: &str = "02:00:00:00:0f:01";

/// Two addresses, a gateway, two routes and a name server.
const IPAM: &str = r#","mac":"02:00:00:00:0F:01","ipam":{"type":"static",
    "addresses":[{"address":"10.9.6.2/24","gateway":"10.9.6.1"},{"address":"fd00:6::2/64"}],
    "routes":[{"dst":"10.60.0.0/16"},{"dst":"fd00:60::/64","gw":"fd00:6::1"}],
    "dns":{"nameservers":["10.9.6.53"],"search":["example.org"]}}"#;

fn conf(vf: Vf, version: Option<&str>, more: &str) -> String {
    let version = version.map(|version| format!(r#""cniVersion":"{version}","#)).unwrap_or_default();
    format!(r#"{{{version}"name":"blue","type":"sriov","deviceID":"{}"{more}}}"#, vf.pci)
}

fn dns() -> Value {
    json!({"nameservers": ["10.9.6.53"], "search": ["example.org"]})
}

/// What the specification has in that version, key by key; nothing more may be there.
fn expected(version: &str, vf: Vf, pod: &Pod) -> Value {
    let routes = json!([{"dst": "10.60.0.0/16"}, {"dst": "fd00:60::/64", "gw": "fd00:6::1"}]);
    match version {
        "0.1.0" | "0.2.0" => json!({
            "cniVersion": version,
            "ip4": {"ip": "10.9.6.2/24", "gateway": "10.9.6.1", "routes": [routes[0]]},
            "ip6": {"ip": "fd00:6::2/64", "routes": [routes[1]]},
            "dns": dns(),
        }),
        "0.3.0" | "0.3.1" | "0.4.0" => json!({
            "cniVersion": version,
            "interfaces": [{"name": "net1", "mac": MAC, "sandbox": pod.path()}],
            "ips": [
                {"version": "4", "interface": 0, "address": "10.9.6.2/24", "gateway": "10.9.6.1"},
                {"version": "6", "interface": 0, "address": "fd00:6::2/64"},
            ],
            "routes": routes,
            "dns": dns(),
        }),
        // The CNI library writes 1.0.0 as it writes 1.1.0, and so does the existing plugin: who reads `mtu` has it.
        _ => json!({
            "cniVersion": version,
            "interfaces": [
                {"name": "net1", "mac": MAC, "mtu": 1500, "sandbox": pod.path(), "pciID": vf.pci.to_string()},
            ],
            "ips": [
                {"interface": 0, "address": "10.9.6.2/24", "gateway": "10.9.6.1"},
                {"interface": 0, "address": "fd00:6::2/64"},
            ],
            "routes": routes,
            "dns": dns(),
        }),
    }
}

/// As the runtime calls it for CHECK, and for DEL since 0.4.0: with the result of ADD.
fn with_result(conf: &str, result: &Value) -> String {
    let mut conf: Value = serde_json::from_str(conf).unwrap();
    conf["prevResult"] = result.clone();
    conf.to_string()
}

#[test]
fn a_result_has_the_shape_of_the_version_that_was_asked_for() {
    let vf = vf(0, 5);
    let before = vf.look();
    for version in VERSIONS {
        let pod = Pod::new("versions");
        let conf = conf(vf, Some(version), IPAM);
        let result = add("c1", &pod, &conf).unwrap_or_else(|error| panic!("{version}: {error}"));
        assert_eq!(result, expected(version, vf, &pod), "{version}");
        let addresses = pod.link("net1")["addr_info"].to_string();
        assert!(addresses.contains("10.9.6.2") && addresses.contains("fd00:6::2"), "{version}: {addresses}");

        let has_check = version >= "0.4.0";
        let later = if has_check { with_result(&conf, &result) } else { conf.clone() };
        if has_check {
            let check =
                |conf: &str| Call { command: "CHECK", container: "c1", netns: &pod.path(), conf }.run();
            check(&later).unwrap_or_else(|error| panic!("{version}: {error}"));
            pod.run(&["ip", "addr", "del", "10.9.6.2/24", "dev", "net1"]);
            let error = check(&later).unwrap_err();
            assert_eq!((&error["code"], &error["cniVersion"]), (&json!(113), &json!(version)), "{error}");
            assert!(error["msg"].as_str().unwrap().contains("10.9.6.2/24"), "{error}");
            assert_eq!(check(&conf).unwrap_err()["code"], 7, "{version}: without the result of ADD");
        }
        assert_eq!(del("c1", &pod.path(), &later).unwrap(), Value::Null, "{version}: DEL has no result");
        vf.assert_clean(&before);
        assert_eq!(del("c1", &pod.path(), &later).unwrap(), Value::Null, "{version}");
    }
}

#[test]
fn without_addresses_a_result_has_its_interface_and_no_more() {
    let vf = vf(0, 5);
    let before = vf.look();
    for (version, keys) in [
        (None, "cniVersion dns"),
        (Some("0.3.1"), "cniVersion dns interfaces"),
        (Some("1.1.0"), "cniVersion interfaces"),
    ] {
        let pod = Pod::new("bare");
        let conf = conf(vf, version, "");
        let result = add("c1", &pod, &conf).unwrap();
        let mut found: Vec<&str> = result.as_object().unwrap().keys().map(String::as_str).collect();
        found.sort_unstable();
        assert_eq!(found.join(" "), keys);
        assert_eq!(result["cniVersion"], version.unwrap_or("0.1.0"));
        del("c1", &pod.path(), &conf).unwrap();
        vf.assert_clean(&before);
    }
}

/// An error has the version of the call, and the keys that the specification gives it.
#[test]
fn an_error_has_the_version_that_was_asked_for() {
    let vf = vf(0, 5);
    let before = vf.look();
    let pod = Pod::new("errors");
    for version in VERSIONS {
        let error = add("c1", &pod, &conf(vf, Some(version), r#","vlan":4095"#)).unwrap_err();
        assert_eq!((&error["cniVersion"], &error["code"]), (&json!(version), &json!(7)), "{error}");
        for key in error.as_object().unwrap().keys() {
            assert!(["cniVersion", "code", "msg", "details"].contains(&key.as_str()), "{error}");
        }
    }
    let error = add("c1", &pod, &conf(vf, Some("0.5.0"), "")).unwrap_err();
    assert_eq!(error["code"], 1, "{error}");
    vf.assert_clean(&before);
}

#[test]
fn version_lists_them_all_in_the_version_of_the_question() {
    let ask = |conf: &str| Call { command: "VERSION", container: "", netns: "", conf }.run().unwrap();
    for version in VERSIONS {
        let answer = ask(&format!(r#"{{"cniVersion":"{version}"}}"#));
        assert_eq!(answer, json!({"cniVersion": version, "supportedVersions": VERSIONS}));
    }
    assert_eq!(ask("{}")["supportedVersions"], json!(VERSIONS));
}

/// A VF that a program drives: its addresses are in the result, and nothing is set.
#[test]
fn the_addresses_of_a_vf_without_interface_are_only_reported() {
    let vf = vf(1, 5);
    let driver = format!("/sys/bus/pci/devices/{}", vf.pci);
    pci::Sysfs::host().bind(&vf.pci, &pci::Driver::Named("vfio-pci".to_owned())).unwrap();
    let pod = Pod::new("reported");
    let conf = conf(vf, Some("1.1.0"), IPAM);
    let added = add("c1", &pod, &conf);
    let wanted = expected("1.1.0", vf, &pod);
    let inside = pod.run(&["ip", "-o", "link"]);
    let deleted = del("c1", &pod.path(), &conf);
    pci::Sysfs::host().bind(&vf.pci, &pci::Driver::Kernel).unwrap();
    assert_eq!(added.unwrap(), wanted);
    assert_eq!(inside.lines().count(), 1, "{inside}");
    deleted.unwrap();
    assert_eq!(vf.state(), None);
    assert!(fs::exists(driver).unwrap());
}

/// DEL since 1.1.0 comes with whatever ADD got, also where nothing of it can be read any more.
#[test]
fn del_needs_no_result_and_no_valid_attributes() {
    let vf = vf(0, 5);
    let before = vf.look();
    let pod = Pod::new("spoilt");
    add("c1", &pod, &conf(vf, Some("1.1.0"), r#","vlan":5"#)).unwrap();
    let spoilt = conf(vf, Some("1.1.0"), r#","vlan":"x","mac":5,"prevResult":{"ips":"none"}"#);
    let call = Call { command: "DEL", container: "c1", netns: &pod.path(), conf: &spoilt };
    let mut command = call.command();
    command.env("CNI_ARGS", "COLOUR=red");
    outcome(call.start(command)).unwrap_or_else(|error| panic!("{error}"));
    vf.assert_clean(&before);
}
