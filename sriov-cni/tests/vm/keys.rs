//! Every key of the configuration: what it may be, what it may not, and that a refusal leaves nothing behind.

use std::fs;

use pci::{Driver, Sysfs};
use rstest::rstest;
use serde_json::{Value, json};

use crate::node::{Call, Pod, Vf, View, add, del, outcome, vf};

const LEASES: &str = "/tmp/key-leases";

/// An IPAM that leaves a file behind for each address that it gave.
fn ipam() -> String {
    format!(r#","ipam":{{"type":"host-local","dataDir":"{LEASES}","ranges":[[{{"subnet":"10.9.8.0/24"}}]]}}"#)
}

fn leases() -> usize {
    fs::read_dir(format!("{LEASES}/blue")).map_or(0, |files| {
        files.flatten().filter(|file| file.file_name().to_string_lossy().starts_with("10.")).count()
    })
}

/// What the PF says of a VF: VLAN, priority, highest rate, spoof check, trust.
fn attributes(view: &View) -> Value {
    let (tag, pf) = (&view.pf["vlan_list"][0], &view.pf);
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    json!([
        number(&tag["vlan"]),
        number(&tag["qos"]),
        number(&pf["rate"]["max_tx"]),
        pf["spoofchk"],
        pf["trust"]
    ])
}

/// What works, with what the PF says then.
#[rstest]
#[case::keys_in_any_case(
    r#","VLAN":5,"vlanqos":3,"VlanPROTO":"802.1Q","MAX_TX_RATE":100,"SpoofChk":"off","TRUST":"on""#,
    json!([5, 3, 100, false, true])
)]
#[case::values_in_any_case(r#","spoofchk":"OFF","trust":"On","vlan":1,"vlanProto":"802.1q""#, json!([1, 0, 0, false, true]))]
#[case::vlan_0_with_qos_0(r#","vlan":0,"vlanQoS":0,"vlanProto":"802.1q""#, json!([0, 0, 0, true, false]))]
#[case::highest_vlan(r#","vlan":4094,"vlanQoS":7"#, json!([4094, 7, 0, true, false]))]
#[case::rates_of_0(r#","min_tx_rate":0,"max_tx_rate":0"#, json!([0, 0, 0, true, false]))]
#[case::the_links_speed(r#","max_tx_rate":1000"#, json!([0, 0, 1000, true, false]))]
#[case::nulls(
    r#","vlan":null,"vlanQoS":null,"vlanProto":null,"mac":null,"min_tx_rate":null,"max_tx_rate":null,"spoofchk":null,"trust":null,"link_state":null,"mtu":null,"runtimeConfig":null,"dns":null,"prevResult":null,"capabilities":null,"logLevel":null,"logFile":null"#,
    json!([0, 0, 0, true, false])
)]
#[case::empty_texts(
    r#","mac":"","vlanProto":"","spoofchk":"","trust":"","link_state":"","logLevel":"","logFile":"","runtimeConfig":{},"dns":{},"capabilities":{}"#,
    json!([0, 0, 0, true, false])
)]
#[case::no_ipam(r#","vlan":6,"ipam":{}"#, json!([6, 0, 0, true, false]))]
#[case::ipam_without_type(r#","vlan":6,"ipam":{"type":""}"#, json!([6, 0, 0, true, false]))]
#[case::the_last_of_equal_keys(r#","vlan":7,"trust":"on","vlan":8"#, json!([8, 0, 0, true, true]))]
#[case::unknown_keys(
    r#","vlan":9,"master":"enp1s0","vfid":3,"origvfstate":{"VFID":1},"resourceName":"intel.com/x","spoofCheck":[1,{"a":[null]}],"args":{"cni":{"ips":["10.0.0.1"]}}"#,
    json!([9, 0, 0, true, false])
)]
#[case::white_space("\n\t, \"vlan\" :\r\n 10", json!([10, 0, 0, true, false]))]
#[case::escaped_key(r#","\u0076lan":11"#, json!([11, 0, 0, true, false]))]
fn a_configuration_that_clusters_have_works(#[case] more: &str, #[case] expected: Value) {
    for vfio in [false, true] {
        let vf = vf(0, 3);
        let untouched = vf.look();
        if vfio {
            Sysfs::host().bind(&vf.pci, &Driver::Named("vfio-pci".to_owned())).unwrap();
        }
        let before = vf.look();
        let pod = Pod::new("keys");
        let added = add("c1", &pod, &vf.conf(more));
        let shown = attributes(&vf.look());
        let deleted = del("c1", &pod.path(), &vf.conf(more));
        let after = vf.look();
        if vfio {
            Sysfs::host().bind(&vf.pci, &Driver::Kernel).unwrap();
        }
        added.unwrap_or_else(|error| panic!("{more}: {error}"));
        deleted.unwrap_or_else(|error| panic!("{more}: {error}"));
        assert_eq!(shown, expected, "{more}, vfio: {vfio}");
        assert_eq!((after, vf.state()), (before, None), "{more}, vfio: {vfio}");
        assert_eq!(attributes(&vf.look()), attributes(&untouched));
    }
}

/// Nested deeper than any NAD, under a key that nobody reads.
fn nested(depth: usize) -> String {
    format!(r#","elsewhere":{}{}"#, "[".repeat(depth), "]".repeat(depth))
}

/// What can't work: the key that the error names, and its code.
const REFUSED: &[(&str, &str, u64)] = &[
    (r#","vlan":4095"#, "vlan", 7),
    (r#","vlan":-1"#, "vlan", 7),
    (r#","vlan":65636"#, "vlan", 7),
    (r#","vlan":99999999999999999999999"#, "vlan", 6),
    (r#","vlan":1e2"#, "vlan", 6),
    (r#","vlan":100.0"#, "vlan", 6),
    (r#","vlan":"100""#, "vlan", 6),
    (r#","vlan":true"#, "vlan", 6),
    (r#","vlan":[100]"#, "vlan", 6),
    (r#","VLAN":"x""#, "vlan", 6),
    (r#","vlan":0,"vlanQoS":1"#, "vlanQoS", 7),
    (r#","vlan":0,"vlanProto":"802.1ad""#, "vlanProto", 7),
    (r#","vlan":5,"vlanQoS":8"#, "vlanQoS", 7),
    (r#","vlan":5,"vlanQoS":-1"#, "vlanQoS", 7),
    (r#","vlan":5,"vlanQoS":"3""#, "vlanQoS", 6),
    (r#","vlan":null,"vlanQoS":3"#, "vlanQoS", 7),
    (r#","vlanQoS":3"#, "vlanQoS", 7),
    (r#","vlanProto":"802.1q""#, "vlanProto", 7),
    (r#","vlan":5,"vlanProto":"802.1x""#, "vlanProto", 7),
    (r#","vlan":5,"vlanProto":8021"#, "vlanProto", 6),
    (r#","vlan":5,"vlanProto":"802.1AD""#, "igb can't set vlanProto 802.1ad", 7),
    (r#","min_tx_rate":10"#, "igb can't set min_tx_rate", 7),
    (r#","min_tx_rate":10,"max_tx_rate":100,"vlan":5"#, "igb can't set min_tx_rate", 7),
    (r#","min_tx_rate":-1"#, "min_tx_rate", 7),
    (r#","min_tx_rate":200,"max_tx_rate":100"#, "min_tx_rate", 7),
    (r#","max_tx_rate":-100"#, "max_tx_rate", 7),
    (r#","max_tx_rate":4294967296"#, "max_tx_rate", 7),
    (r#","max_tx_rate":18446744073709551616"#, "max_tx_rate", 6),
    (r#","max_tx_rate":0.5"#, "max_tx_rate", 6),
    (r#","max_tx_rate":"100""#, "max_tx_rate", 6),
    (r#","max_tx_rate":1001,"vlan":5,"trust":"on""#, "max_tx_rate 1001", 111),
    (r#","max_tx_rate":4294967295,"mac":"02:00:00:00:0e:01""#, "max_tx_rate 4294967295", 111),
    (r#","spoofchk":"yes""#, "spoofchk", 7),
    (r#","spoofchk":true"#, "spoofchk", 6),
    (r#","spoofchk":1"#, "spoofchk", 6),
    (r#","trust":"true""#, "trust", 7),
    (r#","trust":false"#, "trust", 6),
    (r#","link_state":"up""#, "link_state", 7),
    (r#","link_state":1"#, "link_state", 6),
    (r#","link_state":"auto""#, "igb can't set link_state", 7),
    (r#","link_state":"Enable","vlan":5"#, "igb can't set link_state", 7),
    (r#","link_state":"disable""#, "igb can't set link_state", 7),
    (r#","mtu":67"#, "mtu", 7),
    (r#","mtu":1501"#, "mtu", 7),
    (r#","mtu":9000,"vlan":5"#, "mtu", 7),
    (r#","mtu":-1"#, "mtu", 7),
    (r#","mtu":"1400""#, "mtu", 6),
    (r#","mac":"02:00:00:00:0e""#, "mac", 7),
    (r#","mac":"02:00:00:00:0e:1""#, "mac", 7),
    (r#","mac":"02:00:00:00:0e:0g""#, "mac", 7),
    (r#","mac":"00:00:00:00:00:00""#, "mac", 7),
    (r#","mac":"01:00:5e:00:00:01""#, "mac", 7),
    (r#","mac":"ff:ff:ff:ff:ff:ff""#, "mac", 7),
    (r#","mac":20"#, "mac", 6),
    (r#","mac":"02:00:00:00:0e:01","runtimeConfig":{"mac":"nonsense"}"#, "runtimeConfig.mac", 7),
    (r#","runtimeConfig":"mac""#, "runtimeConfig", 6),
    (r#","pciBusID":"0000:01:10.2""#, "pciBusID", 7),
    (r#","deviceID":"0000:01:00.0""#, "is not a VF", 7),
    (r#","deviceID":5"#, "deviceID", 6),
    (r#","deviceID":"../../etc""#, "deviceID", 7),
    (r#","dns":"10.0.0.1""#, "dns", 6),
    (r#","ipam":[]"#, "ipam", 6),
    (r#","ipam":{"type":"nowhere"},"vlan":5"#, "nowhere", 102),
    (r#","ipam":{"type":"../bin/host-local"}"#, "host-local", 7),
    (r#","ipam":{"type":"static","addresses":[]},"vlan":5"#, "static", 7),
    (r#","name":"../blue""#, "name", 7),
    (r#","name":"""#, "name", 7),
    (r#","cniVersion":"2.0.0""#, "2.0.0", 1),
    (r#","cniVersion":1.0"#, "cniVersion", 6),
    (r#","vlan":5}"#, "JSON", 6),
    (r#","vlan":"#, "JSON", 6),
];

fn assert_refused(pod: &Pod, vf: Vf, before: &View, conf: &str, named: &str, code: u64) {
    let error = match add("c1", pod, conf) {
        Ok(result) => panic!("{conf} was taken: {result}"),
        Err(error) => error,
    };
    let text = format!("{} {}", error["msg"], error["details"]);
    assert!(text.contains(named), "{conf}: {error}");
    assert_eq!(error["code"], code, "{conf}: {error}");
    assert_eq!(leases(), 0, "{conf}");
    vf.assert_clean(before);
}

#[test]
fn a_configuration_that_cannot_work_is_refused_by_key_and_leaves_nothing() {
    let vf = vf(0, 2);
    let before = vf.look();
    let (pod, ipam) = (Pod::new("refused"), ipam());
    let refused = |conf: &str, named: &str, code| assert_refused(&pod, vf, &before, conf, named, code);
    for (more, named, code) in REFUSED {
        // Keys that come again count as they come last.
        refused(&vf.conf(&format!("{ipam}{more}")), named, *code);
    }
    refused(&format!(r#"{{"cniVersion":"1.0.0","name":"blue","plugins":[{}]}}"#, vf.conf("")), "deviceID", 7);
    for conf in ["", "null", "[]", "\u{feff}{}", "{} {}"] {
        refused(conf, "JSON", 6);
    }
    refused(&vf.conf(&format!(r#","pad":"{}""#, "x".repeat(2 << 20))), "longer than", 6);
    refused("{}", "name", 7);
    assert_eq!(pod.run(&["ip", "-o", "link"]).lines().count(), 1);
    // All the same, the VF and its addresses can be had.
    let conf = vf.conf(&format!("{ipam}{}", nested(100)));
    add("c1", &pod, &conf).unwrap();
    assert_eq!(leases(), 1);
    del("c1", &pod.path(), &conf).unwrap();
    assert_eq!(leases(), 0);
    vf.assert_clean(&before);
}

/// What was refused at ADD can be deleted, and that changes nothing.
#[test]
fn what_was_refused_can_be_deleted() {
    let vf = vf(0, 2);
    let before = vf.look();
    for more in [
        r#","vlan":4095"#,
        r#","vlan":"x""#,
        r#","mac":5"#,
        r#","link_state":"auto""#,
        r#","runtimeConfig":"mac""#,
        r#","pciBusID":"0000:01:10.2""#,
        r#","deviceID":"0000:01:00.0""#,
        r#","deviceID":5"#,
    ] {
        del("c1", "/run/netns/never-was", &vf.conf(more)).unwrap_or_else(|error| panic!("{more}: {error}"));
    }
    vf.assert_clean(&before);
}

#[test]
fn a_key_that_nobody_reads_may_hold_anything() {
    let vf = vf(0, 2);
    let before = vf.look();
    let pod = Pod::new("nested");
    for more in [nested(100_000), format!(r#","elsewhere":{}"#, "9".repeat(400)), r#","":{"":1}"#.to_owned()]
    {
        add("c1", &pod, &vf.conf(&more)).unwrap_or_else(|error| panic!("{error}"));
        del("c1", &pod.path(), &vf.conf(&more)).unwrap_or_else(|error| panic!("{error}"));
        vf.assert_clean(&before);
    }
}

#[test]
fn a_vf_without_interface_takes_no_mtu() {
    let vf = vf(1, 3);
    let untouched = vf.look();
    Sysfs::host().bind(&vf.pci, &Driver::Named("vfio-pci".to_owned())).unwrap();
    let before = vf.look();
    let pod = Pod::new("mtuless");
    let refused = add("c1", &pod, &vf.conf(r#","mtu":1400,"vlan":5"#));
    let after = (vf.look(), vf.state());
    Sysfs::host().bind(&vf.pci, &Driver::Kernel).unwrap();
    let error = refused.unwrap_err();
    assert!(error["msg"].as_str().unwrap().contains("mtu") && error["code"] == 7, "{error}");
    assert_eq!(after, (before, None));
    assert_eq!(vf.look().driver, untouched.driver);
}

/// The nearest to the pod counts, in whatever way it's written.
#[test]
fn the_mac_of_the_pod_goes_before_that_of_the_arguments_and_that_before_the_networks() {
    let vf = vf(1, 4);
    let before = vf.look();
    let network = r#","mac":"02-00-00-00-0E-11""#;
    let runtime = r#","runtimeConfig":{"mac":"0200.0000.0e13"}"#;
    let none = r#","mac":"02:00:00:00:0e:11","runtimeConfig":{"mac":""}"#;
    for (more, args, mac) in [
        (network.to_owned(), "", "02:00:00:00:0e:11"),
        (network.to_owned(), "IgnoreUnknown=true;X=1;MAC=02:00:00:00:0E:12", "02:00:00:00:0e:12"),
        (network.to_owned(), "MAC=", "02:00:00:00:0e:11"),
        (none.to_owned(), "", "02:00:00:00:0e:11"),
        (format!("{network}{runtime}"), "MAC=02:00:00:00:0e:12", "02:00:00:00:0e:13"),
        (runtime.to_owned(), "K8S_POD_NAME=web;K8S_POD_NAMESPACE=default;K8S_POD_UID=1", "02:00:00:00:0e:13"),
    ] {
        let pod = Pod::new("mac");
        let conf = vf.conf(&more);
        let call = Call { command: "ADD", container: "c1", netns: &pod.path(), conf: &conf };
        let mut command = call.command();
        command.env("CNI_ARGS", args);
        let result = outcome(call.start(command)).unwrap_or_else(|error| panic!("{more} {args}: {error}"));
        assert_eq!(result["interfaces"][0]["mac"], mac, "{more} {args}");
        assert_eq!((&vf.look().pf["address"], &pod.link("net1")["address"]), (&json!(mac), &json!(mac)));
        del("c1", &pod.path(), &conf).unwrap();
        vf.assert_clean(&before);
    }
}

#[test]
fn arguments_that_nobody_knows_are_refused_unless_they_may_be_ignored() {
    let vf = vf(1, 4);
    let before = vf.look();
    let pod = Pod::new("arguments");
    let conf = vf.conf(r#","vlan":5"#);
    let call = Call { command: "ADD", container: "c1", netns: &pod.path(), conf: &conf };
    for (args, code, named) in [
        ("COLOUR=red", 4, "COLOUR"),
        ("IgnoreUnknown=0;COLOUR=red", 4, "COLOUR"),
        ("IgnoreUnknown=1;COLOUR", 4, "COLOUR"),
        ("MAC=nonsense", 7, "CNI_ARGS"),
    ] {
        let mut command = call.command();
        command.env("CNI_ARGS", args);
        let error = outcome(call.start(command)).unwrap_err();
        assert_eq!(error["code"], code, "{args}: {error}");
        assert!(error["msg"].as_str().unwrap().contains(named), "{args}: {error}");
        vf.assert_clean(&before);
    }
}

/// None, each alone, each with each other one, and all, on an interface and on vfio.
#[test]
fn attributes_are_set_and_given_back_in_any_pair_and_all_together() {
    let parts = [
        r#","mac":"02:00:00:00:0e:21""#,
        r#","vlan":77,"vlanQoS":2"#,
        r#","max_tx_rate":150"#,
        r#","spoofchk":"off""#,
        r#","trust":"on""#,
        r#","mtu":1400"#,
    ];
    for vfio in [false, true] {
        let vf = vf(1, 2);
        if vfio {
            Sysfs::host().bind(&vf.pci, &Driver::Named("vfio-pci".to_owned())).unwrap();
        }
        let (before, pod) = (vf.look(), Pod::new("combined"));
        let possible = parts.len() - usize::from(vfio);
        // The first eight rows have each pair of attributes with both, either and neither of them, twice (the columns
        // of a Hadamard matrix); the last has all.
        for row in 0..=8_usize {
            let has = |part: usize| part < possible && (row == 8 || ((part + 1) & row).count_ones() % 2 == 1);
            let more: String = (0..parts.len()).filter(|part| has(*part)).map(|part| parts[part]).collect();
            let conf = vf.conf(&more);
            let result = add("c1", &pod, &conf).unwrap_or_else(|error| panic!("{more}: {error}"));
            let if_has = |part, value: u16| if has(part) { value } else { 0 };
            let after = vf.look();
            let expected = json!([if_has(1, 77), if_has(1, 2), if_has(2, 150), !has(3), has(4)]);
            assert_eq!(attributes(&after), expected, "{more}");
            if has(0) {
                let mac = json!("02:00:00:00:0e:21");
                assert_eq!((&after.pf["address"], &result["interfaces"][0]["mac"]), (&mac, &mac));
            }
            assert_eq!(result["interfaces"][0]["mtu"], if has(5) { 1400 } else { 1500 }, "{more}");
            del("c1", &pod.path(), &conf).unwrap_or_else(|error| panic!("{more}: {error}"));
            vf.assert_clean(&before);
        }
        Sysfs::host().bind(&vf.pci, &Driver::Kernel).unwrap();
    }
}
