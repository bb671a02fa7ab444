//! Pods of the existing SR-IOV plugin's, on real VFs: `ip` does to them what that plugin does, and its files are
//! written as it writes them.

use std::fs;
use std::path::{Path, PathBuf};

use pci::{Driver, Sysfs};
use rstest::rstest;
use serde_json::{Value, json};

use crate::node::{Call, Pod, Vf, View, add, del, ip, vf};

const STATE: &str = "/var/lib/cni/sriov";
const MAC: &str = "02:00:00:00:0d:01";

fn cache() -> PathBuf {
    Path::new(STATE).join("c1-net1")
}

fn allocation(vf: Vf) -> PathBuf {
    Path::new(STATE).join("pci").join(vf.pci.to_string())
}

/// Gives a VF to a pod: VLAN, MAC, rate, spoof check and trust through the PF, then the interface into the pod.
fn give(vf: Vf, pod: &Pod) {
    let before = vf.look();
    let (pf, index) = (vf.pf_name(), vf.index.to_string());
    for change in [
        &["vlan", "100", "qos", "3"][..],
        &["mac", MAC],
        &["max_tx_rate", "100"],
        &["spoofchk", "off"],
        &["trust", "on"],
    ] {
        ip(&[&["link", "set", &pf, "vf", &index], change].concat());
    }
    let home = before.home.clone().unwrap_or_default();
    if let Some(name) = home["ifname"].as_str() {
        ip(&["link", "set", name, "down"]);
        ip(&["link", "set", name, "netns", &pod.path(), "name", "net1"]);
        pod.run(&["ip", "link", "set", "net1", "address", MAC]);
        pod.run(&["ip", "link", "set", "net1", "up"]);
    }
    let file = record(vf, &before, &home);
    put(&cache(), &file.to_string());
    put(&allocation(vf), &pod.path());
}

fn record(vf: Vf, before: &View, home: &Value) -> Value {
    let View { pf, .. } = before;
    json!({
        "cniVersion": "1.1.0", "name": "blue", "type": "sriov", "dns": {}, "ipam": {}, "runtimeConfig": {},
        "deviceID": vf.pci.to_string(), "VFID": vf.index, "Master": vf.pf_name(), "MTU": 1500, "MAC": MAC,
        "vlan": 100, "vlanQoS": 3, "vlanProto": "802.1q", "min_tx_rate": null, "max_tx_rate": 100,
        "spoofchk": "off", "trust": "on",
        "OrigVfState": {
            "HostIFName": home["ifname"].as_str().unwrap_or_default(),
            "SpoofChk": pf["spoofchk"], "Trust": pf["trust"], "AdminMAC": pf["address"],
            "EffectiveMAC": home["address"].as_str().unwrap_or_default(),
            "Vlan": 0, "VlanQoS": 0, "VlanProto": 33024, "MinTxRate": 0, "MaxTxRate": 0, "LinkState": 0,
            "MTU": home["mtu"].as_u64().unwrap_or_default(),
        },
    })
}

#[expect(clippy::disallowed_methods, reason = "the existing plugin doesn't write it whole")]
fn put(file: &Path, content: &str) {
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, content).unwrap();
}

fn assert_clean(vf: Vf, before: &View) {
    vf.assert_clean(before);
    assert!(!cache().exists() && !allocation(vf).exists(), "the existing plugin's files are still there");
}

/// The VF as it's to be: not up at home, which the existing plugin doesn't restore.
fn down(vf: Vf) -> View {
    if let Some(name) = vf.home_name() {
        ip(&["link", "set", &name, "down"]);
    }
    vf.look()
}

/// A new pod gets it, and gives it back.
fn assert_usable(vf: Vf, before: &View) {
    let pod = Pod::new("after");
    let conf = vf.conf(r#","mac":"02:00:00:00:0d:02","vlan":200"#);
    add("c2", &pod, &conf).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(pod.link("net1")["address"], "02:00:00:00:0d:02");
    del("c2", &pod.path(), &conf).unwrap_or_else(|error| panic!("{error}"));
    vf.assert_clean(before);
}

#[rstest]
#[case::nothing(|_: Vf, _: &Pod| {})]
#[case::namespace_deleted(|_: Vf, pod: &Pod| pod.delete())]
#[case::renamed_and_changed(|_: Vf, pod: &Pod| {
    pod.run(&["ip", "link", "set", "net1", "down"]);
    pod.run(&["ip", "link", "set", "net1", "mtu", "1400"]);
    pod.run(&["ip", "link", "set", "net1", "name", "data0", "up"]);
})]
#[case::allocation_lost(|vf: Vf, _: &Pod| fs::remove_file(allocation(vf)).unwrap())]
#[case::other_driver(|vf: Vf, _: &Pod| {
    Sysfs::host().bind(&vf.pci, &Driver::Named("vfio-pci".to_owned())).unwrap();
})]
fn its_pod_is_deleted_by_ours(#[case] happens: fn(Vf, &Pod)) {
    let vf = vf(0, 3);
    let before = down(vf);
    let pod = Pod::new("existing");
    give(vf, &pod);
    assert_ne!(vf.look(), before);
    happens(vf, &pod);
    del("c1", &pod.path(), &vf.conf("")).unwrap_or_else(|error| panic!("{error}"));
    assert_clean(vf, &before);
    del("c1", &pod.path(), &vf.conf("")).unwrap();
    del("c1", "", &vf.conf("")).unwrap();
    assert_clean(vf, &before);
    assert_usable(vf, &before);
}

#[test]
fn no_namespace_is_named_on_del() {
    let vf = vf(0, 3);
    let before = down(vf);
    let pod = Pod::new("unnamed");
    give(vf, &pod);
    del("c1", "", &vf.conf("")).unwrap_or_else(|error| panic!("{error}"));
    assert_clean(vf, &before);
}

#[test]
fn a_vf_for_user_space() {
    let vf = vf(0, 3);
    let home = down(vf);
    Sysfs::host().bind(&vf.pci, &Driver::Named("vfio-pci".to_owned())).unwrap();
    let before = vf.look();
    let pod = Pod::new("vfio");
    give(vf, &pod);
    let refused = add("c2", &pod, &vf.conf("")).unwrap_err();
    let deleted = del("c1", &pod.path(), &vf.conf(""));
    let after = vf.look();
    Sysfs::host().bind(&vf.pci, &Driver::Kernel).unwrap();
    assert_eq!(refused["code"], 11, "{refused}");
    deleted.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(after, before);
    assert_clean(vf, &home);
}

#[test]
fn a_living_pod_keeps_its_vf_until_its_namespace_is_gone() {
    let vf = vf(0, 3);
    let before = down(vf);
    let (old, new) = (Pod::new("old"), Pod::new("new"));
    give(vf, &old);
    let given = vf.look();
    let error = add("c2", &new, &vf.conf("")).unwrap_err();
    assert_eq!(error["code"], 11, "{error}");
    del("c2", &new.path(), &vf.conf("")).unwrap();
    assert_eq!(vf.look(), given);
    old.delete();
    add("c2", &new, &vf.conf(r#","vlan":200"#)).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(vf.look().pf["vlan_list"][0]["vlan"], 200);
    del("c2", &new.path(), &vf.conf("")).unwrap();
    assert_clean(vf, &before);
}

#[test]
fn gc_takes_back_what_the_runtime_does_not_know() {
    let vf = vf(0, 3);
    let before = down(vf);
    let pod = Pod::new("gc");
    give(vf, &pod);
    let given = vf.look();
    let gc = |list: &str| {
        let conf = vf.conf(&format!(r#","cni.dev/valid-attachments":{list}"#));
        Call { command: "GC", container: "", netns: "", conf: &conf }.run().unwrap();
    };
    gc(r#"[{"containerID":"c1","ifname":"net1"}]"#);
    assert_eq!(vf.look(), given);
    gc("[]");
    assert_clean(vf, &before);
}

#[rstest]
#[case::empty("")]
#[case::cut_off(r#"{"cniVersion":"1.1.0","name":"blue","Orig"#)]
fn a_record_that_says_nothing(#[case] content: &str) {
    let vf = vf(0, 3);
    let before = down(vf);
    let pod = Pod::new("torn");
    give(vf, &pod);
    let whole = fs::read_to_string(cache()).unwrap();
    let given = vf.look();
    put(&cache(), content);
    let error = del("c1", &pod.path(), &vf.conf("")).unwrap_err();
    let meanwhile = vf.look();
    put(&cache(), &whole);
    let repaired = del("c1", &pod.path(), &vf.conf(""));

    assert_eq!(error["code"], 110, "{error}");
    assert!(error["msg"].as_str().unwrap().contains("/var/lib/cni/sriov/c1-net1"), "{error}");
    assert_eq!(meanwhile, given);
    repaired.unwrap();
    assert_clean(vf, &before);
    assert_usable(vf, &before);
}
