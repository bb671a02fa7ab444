//! CHECK, GC and STATUS.

use cni::{Args, Command, Version};
use netlink::{Links, MacAddr};
use sriov_cni::error::CHECK_DIFFERS;

use crate::machine::{EVERYTHING, Machine, pod};

/// The configuration with the result of an ADD in it.
fn with_result(machine: &Machine) -> Vec<u8> {
    let conf = machine.conf_with_ipam(EVERYTHING);
    let result = machine.add(1, &conf).unwrap().to_version(Version::V1_1_0);
    let mut object = cni::Object::parse(&conf).unwrap();
    object.set_object("prevResult", &result);
    object.to_string().into_bytes()
}

#[test]
fn check_finds_what_was_changed() {
    let machine = Machine::igb();
    let conf = with_result(&machine);
    let args = machine.args(Command::Check, 1);
    machine.sriov().check(&args, &conf).unwrap();
    assert!(machine.calls().last().unwrap().starts_with("CHECK sandbox1"));

    machine.links.change_vf_behind(&machine.vf().to_string(), |config| config.vlan = 9);
    let error = machine.sriov().check(&args, &conf).unwrap_err();
    assert_eq!(error.code, CHECK_DIFFERS);
    assert!(error.msg.contains("vlan is 9 in place of 100"), "{error}");
    machine.links.change_vf_behind(&machine.vf().to_string(), |config| config.vlan = 100);
    machine.sriov().check(&args, &conf).unwrap();

    machine.links.change_mac_behind(&machine.vf().to_string(), MacAddr([2; 6]));
    let error = machine.sriov().check(&args, &conf).unwrap_err();
    assert!(error.msg.contains("mac is 02:02:02:02:02:02"), "{error}");
}

#[test]
fn check_finds_a_missing_address_and_a_missing_result() {
    let machine = Machine::igb();
    let conf = with_result(&machine);
    let more = String::from_utf8(conf).unwrap().replace("10.100.0.10/24", "10.100.0.11/24");
    let error = machine.sriov().check(&machine.args(Command::Check, 1), more.as_bytes()).unwrap_err();
    assert!(error.msg.contains("10.100.0.11/24"), "{error}");
    let error = machine.sriov().check(&machine.args(Command::Check, 1), &machine.conf("")).unwrap_err();
    assert!(error.msg.contains("prevResult"), "{error}");
}

#[test]
fn check_of_what_was_never_added_fails() {
    let machine = Machine::igb();
    let conf = with_result(&machine);
    let args = Args { netns: Some(pod(2)), ..machine.args(Command::Check, 2) };
    let error = machine.sriov().check(&args, &conf).unwrap_err();
    assert_eq!(error.code, sriov_cni::error::VF_NOT_OWNED, "{error}");
}

fn valid(machine: &Machine, list: &str) -> Vec<u8> {
    machine.conf(&format!(r#""cni.dev/valid-attachments":{list},"#))
}

#[test]
fn gc_takes_back_what_the_runtime_does_not_know_and_nothing_of_other_networks() {
    let machine = Machine::igb();
    let before = machine.look();
    machine.add(1, &machine.conf(EVERYTHING)).unwrap();
    let args = machine.args(Command::Gc, 1);

    let known = valid(&machine, r#"[{"containerID":"sandbox1","ifname":"net1"}]"#);
    machine.sriov().gc(&args, &known).unwrap();
    assert!(machine.in_pod(1).is_some());

    let red = String::from_utf8(valid(&machine, "[]")).unwrap().replace("blue", "red");
    machine.sriov().gc(&args, red.as_bytes()).unwrap();
    assert!(machine.in_pod(1).is_some());

    let error = machine.sriov().gc(&args, &machine.conf("")).unwrap_err();
    assert!(error.msg.contains("valid-attachments"), "{error}");
    assert!(machine.in_pod(1).is_some());

    machine.sriov().gc(&args, &valid(&machine, r#"[{"containerID":"sandbox1","ifname":"net2"}]"#)).unwrap();
    assert!(machine.links.open(&pod(1)).is_ok());
    assert_eq!(machine.look(), before);
    assert_eq!(machine.state(), None);
}

#[test]
fn status_is_whether_the_ledger_and_ipam_are_ready() {
    let machine = Machine::igb();
    let args = machine.args(Command::Status, 1);
    machine.sriov().status(&args, &machine.conf("")).unwrap();
    machine.sriov().status(&args, &machine.conf_with_ipam("")).unwrap();
    machine.put("fails", "STATUS");
    let error = machine.sriov().status(&args, &machine.conf_with_ipam("")).unwrap_err();
    assert_eq!(error.code, 42);
    std::fs::remove_dir_all(machine.host.ledger.directory()).unwrap();
    let error = machine.sriov().status(&args, &machine.conf("")).unwrap_err();
    assert_eq!(error.code, cni::code::NOT_AVAILABLE);
}
