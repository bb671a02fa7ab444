//! DEL.

use cni::Command;
use netlink::{Links, Verb};

use crate::machine::{EVERYTHING, Machine, pod};

#[test]
fn twice_is_as_good_as_once() {
    let machine = Machine::igb();
    let before = machine.look();
    let conf = machine.conf_with_ipam(EVERYTHING);
    machine.add(1, &conf).unwrap();
    machine.del(1, &conf).unwrap();
    assert_eq!(machine.look(), before);
    assert_eq!(machine.state(), None);
    let changes = machine.links.changes().len();
    machine.del(1, &conf).unwrap();
    assert_eq!(machine.links.changes().len(), changes);
    assert_eq!(machine.look(), before);
}

#[test]
fn no_namespace_is_needed() {
    for gone in [false, true] {
        let machine = Machine::igb();
        let before = machine.look();
        let conf = machine.conf_with_ipam(EVERYTHING);
        machine.add(1, &conf).unwrap();
        if gone {
            machine.links.remove_namespace(&pod(1));
        }
        // CNI_NETNS is empty where the runtime has lost it.
        let args = cni::Args { netns: None, ..machine.args(Command::Del, 1) };
        machine.sriov().del(&args, &conf).unwrap();
        assert_eq!(machine.look(), before);
        assert_eq!(machine.state(), None);
        assert_eq!(machine.calls().last().unwrap(), "DEL sandbox1 net1 []");
    }
}

#[test]
fn with_nothing_in_the_ledger_ipam_is_still_asked() {
    let machine = Machine::igb();
    let conf = machine.conf_with_ipam("");
    machine.del(1, &conf).unwrap();
    assert_eq!(machine.calls(), ["DEL sandbox1 net1 [/run/netns/pod1]"]);
    assert_eq!(std::fs::read(machine.path("stdin.DEL")).unwrap(), conf);
    assert!(machine.links.changes().is_empty());
}

#[test]
fn a_late_one_for_an_old_sandbox_leaves_the_new_pods_vf_alone() {
    let machine = Machine::igb();
    machine.add(1, &machine.conf_with_ipam("")).unwrap();
    machine.del(1, &machine.conf_with_ipam("")).unwrap();
    machine.add(2, &machine.conf_with_ipam(EVERYTHING)).unwrap();
    let attached = machine.look();
    machine.del(1, &machine.conf_with_ipam("")).unwrap();
    assert_eq!(machine.look(), attached);
    assert!(machine.in_pod(2).is_some());
    // Another network's isn't meant either.
    let red = String::from_utf8(machine.conf("")).unwrap().replace("blue", "red");
    machine.del(2, red.as_bytes()).unwrap();
    assert!(machine.in_pod(2).is_some());
}

#[test]
fn what_was_refused_at_add_can_be_deleted() {
    let machine = Machine::igb();
    for more in
        [r#""vlan":9999,"#, r#""mac":"nonsense","#, r#""pciBusID":"0000:01:10.2","#, r#""spoofchk":7,"#]
    {
        let conf = machine.conf_with_ipam(more);
        machine.add(1, &conf).unwrap_err();
        machine.del(1, &conf).unwrap();
    }
    let no_device = br#"{"cniVersion":"1.0.0","name":"blue","type":"sriov"}"#;
    machine.add(1, no_device).unwrap_err();
    machine.del(1, no_device).unwrap();
}

#[test]
fn the_vf_is_found_in_the_ledger_if_the_configuration_does_not_name_it() {
    let machine = Machine::igb();
    let before = machine.look();
    machine.add(1, &machine.conf(EVERYTHING)).unwrap();
    machine.del(1, br#"{"cniVersion":"1.0.0","name":"blue","type":"sriov"}"#).unwrap();
    assert_eq!(machine.look(), before);
}

#[test]
fn both_parts_are_done_whatever_becomes_of_the_other() {
    // IPAM fails, and the VF is clean.
    let machine = Machine::igb();
    let before = machine.look();
    let conf = machine.conf_with_ipam(EVERYTHING);
    machine.add(1, &conf).unwrap();
    machine.put("fails", "DEL");
    let error = machine.del(1, &conf).unwrap_err();
    assert_eq!(error.code, 42, "{error}");
    assert_eq!(machine.look(), before);
    assert_eq!(machine.state(), None);
    std::fs::remove_file(machine.path("fails")).unwrap();
    machine.del(1, &conf).unwrap();

    // The VF can't be cleaned, and the address is free.
    machine.add(1, &conf).unwrap();
    machine.links.add_veth("/proc/1/ns/net".as_ref(), "enp1s0v0", "peer");
    let calls = machine.calls().len();
    let error = machine.del(1, &conf).unwrap_err();
    assert_eq!(error.code, cni::code::TRY_AGAIN, "{error}");
    assert!(error.msg.contains("enp1s0v0"), "{error}");
    assert_eq!(machine.calls().len(), calls + 1);

    // Both fail, and both are told.
    machine.put("fails", "DEL");
    let error = machine.del(1, &conf).unwrap_err();
    assert!(error.msg.contains("quarantined") && error.details.contains("no luck today"), "{error}");
}

#[test]
fn the_vf_goes_back_before_its_address() {
    let machine = Machine::igb();
    let conf = machine.conf_with_ipam("");
    machine.add(1, &conf).unwrap();
    machine.put("hangs", "DEL");
    let mut sriov = machine.sriov();
    sriov.ipam.deadline = std::time::Duration::from_secs(1);
    let error = sriov.del(&machine.args(Command::Del, 1), &conf).unwrap_err();
    assert_eq!(error.code, cni::code::PLUGIN_DEADLINE, "{error}");
    assert_eq!(machine.state(), None);
}

#[test]
fn the_name_is_given_back_when_it_was_in_the_way() {
    let machine = Machine::igb();
    let before = machine.look();
    let conf = machine.conf(EVERYTHING);
    machine.add(1, &conf).unwrap();
    machine.links.add_veth("/proc/1/ns/net".as_ref(), "enp1s0v0", "peer");
    machine.del(1, &conf).unwrap_err();
    let home = machine.links.host();
    let other = machine.links.link_named(home, "enp1s0v0").unwrap().unwrap();
    machine.links.rename(home, other.index, &"other".parse().unwrap()).unwrap();
    machine.del(1, &conf).unwrap();
    assert_eq!(machine.look(), before);
    assert!(machine.links.changes().iter().any(|call| call.verb == Verb::Rename));
}
