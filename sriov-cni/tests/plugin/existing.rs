//! Attachments of the existing SR-IOV plugin's.

use std::fs;
use std::path::PathBuf;

use cni::{Command, code};
use netlink::Links;
use sriov_cni::error::{CHECK_DIFFERS, VF_NOT_OWNED, VF_UNUSABLE};

use crate::machine::{EVERYTHING, Machine, pod};

/// The first VF in the first pod as the existing plugin leaves it: ours attaches it, and forgets.
fn given() -> (Machine, (Option<String>, netlink::VfConfig, Option<netlink::Link>)) {
    let machine = Machine::igb();
    let before = machine.look();
    machine.add(1, &machine.conf(r#""vlan":100,"spoofchk":"off","#)).unwrap();
    let ledger = machine.host.ledger.directory();
    fs::remove_file(ledger.join(format!("{}.state", machine.vf()))).unwrap();
    fs::remove_file(ledger.join(format!("{}.baseline", machine.vf()))).unwrap();
    let link = before.2.clone().unwrap();
    let cache = serde_json::json!({
        "cniVersion": "1.0.0", "name": "blue", "type": "sriov", "deviceID": machine.vf().to_string(), "MAC": "",
        "vlan": 100, "vlanQoS": 0, "vlanProto": "802.1q", "spoofchk": "off",
        "OrigVfState": {
            "HostIFName": link.name, "EffectiveMAC": link.mac.unwrap().to_string(), "MTU": link.mtu,
            "AdminMAC": "00:00:00:00:00:00", "SpoofChk": true, "Trust": false, "Vlan": 0, "VlanQoS": 0,
        },
    });
    fs::create_dir_all(machine.host.existing_state.join("pci")).unwrap();
    machine.put("sriov/sandbox1-net1", &cache.to_string());
    machine.put(&format!("sriov/pci/{}", machine.vf()), &pod(1).display().to_string());
    machine.links.clear_journal();
    (machine, before)
}

fn cache(machine: &Machine) -> PathBuf {
    machine.path("sriov/sandbox1-net1")
}

#[test]
fn del_restores_the_vf_frees_the_address_and_removes_the_record() {
    let without_device = br#"{"cniVersion":"1.1.0","name":"blue","type":"sriov","ipam":{"type":"scripted"}}"#;
    for named in [true, false] {
        let (machine, before) = given();
        assert_ne!(machine.look(), before);
        let conf = if named { machine.conf_with_ipam("") } else { without_device.to_vec() };
        machine.del(1, &conf).unwrap();
        assert_eq!(machine.look(), before);
        assert_eq!(machine.state(), None);
        assert!(!cache(&machine).exists());
        assert_eq!(machine.calls(), ["DEL sandbox1 net1 [/run/netns/pod1]"]);
        machine.del(1, &conf).unwrap();
        machine.add(2, &machine.conf(EVERYTHING)).unwrap();
    }
}

#[test]
fn del_with_a_record_that_says_nothing_fails_and_frees_the_address_all_the_same() {
    let (machine, _) = given();
    machine.put("sriov/sandbox1-net1", "");
    let error = machine.del(1, &machine.conf_with_ipam("")).unwrap_err();
    assert_eq!(error.code, VF_UNUSABLE, "{error}");
    assert!(error.msg.contains("sandbox1-net1") && error.msg.contains("ip link show"), "{error}");
    assert!(error.details.contains(&machine.vf().to_string()), "{error}");
    assert_eq!(machine.calls(), ["DEL sandbox1 net1 [/run/netns/pod1]"]);
    assert!(machine.links.changes().is_empty() && cache(&machine).exists());
    // Another's is none of its business.
    machine.del(2, &machine.conf_with_ipam("")).unwrap();
}

#[test]
fn add_waits_for_a_living_pods_vf_and_restores_a_dead_ones() {
    let (machine, before) = given();
    let error = machine.add(2, &machine.conf(EVERYTHING)).unwrap_err();
    assert_eq!(error.code, code::TRY_AGAIN, "{error}");
    assert!(error.msg.contains("sandbox1"), "{error}");
    machine.del(2, &machine.conf(EVERYTHING)).unwrap();
    assert!(machine.links.changes().is_empty());

    machine.links.remove_namespace(&pod(1));
    machine.add(2, &machine.conf(EVERYTHING)).unwrap();
    assert!(!cache(&machine).exists());
    machine.del(2, &machine.conf(EVERYTHING)).unwrap();
    assert_eq!(machine.look(), before);
}

#[test]
fn check_looks_at_what_was_asked_of_the_existing_plugin() {
    let (machine, _) = given();
    let conf = machine.conf(r#""prevResult":{"cniVersion":"1.0.0"},"#);
    machine.sriov().check(&machine.args(Command::Check, 1), &conf).unwrap();
    machine.links.change_vf_behind(&machine.vf().to_string(), |config| config.vlan = 9);
    let error = machine.sriov().check(&machine.args(Command::Check, 1), &conf).unwrap_err();
    assert_eq!(error.code, CHECK_DIFFERS, "{error}");
    let error = machine.sriov().check(&machine.args(Command::Check, 2), &conf).unwrap_err();
    assert_eq!(error.code, VF_NOT_OWNED, "{error}");
}

#[test]
fn gc_takes_back_what_is_not_in_its_networks_list() {
    let (machine, before) = given();
    let gc = |network: &str, list: &str| {
        let conf = machine.conf(&format!(r#""cni.dev/valid-attachments":{list},"#));
        let conf = String::from_utf8(conf).unwrap().replace("blue", network);
        machine.sriov().gc(&machine.args(Command::Gc, 1), conf.as_bytes()).unwrap();
    };
    gc("red", "[]");
    gc("blue", r#"[{"containerID":"sandbox1","ifname":"net1"}]"#);
    assert!(machine.links.changes().is_empty() && machine.in_pod(1).is_some());
    gc("blue", r#"[{"containerID":"sandbox1","ifname":"net2"}]"#);
    assert_eq!(machine.look(), before);
    assert!(!cache(&machine).exists() && machine.links.open(&pod(1)).is_ok());
}
