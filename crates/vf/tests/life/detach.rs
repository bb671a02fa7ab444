//! Taking a VF back, whatever happened to it.

use std::fs;

use netlink::{Errno, Links, MacAddr, Verb};
use pci::Driver;
use rstest::rstest;
use testbed::links::DriverModel;
use testbed::sysfs::PfSpec;
use vf::{Detached, Error, State, Wanted};

use crate::machine::{BOOT, Machine, everything, name, owner, pod};

#[test]
fn twice_is_as_good_as_once() {
    let machine = Machine::igb();
    machine.attach(&everything()).unwrap();
    assert_eq!(machine.detach(1).unwrap(), Detached::Released);
    let changes = machine.links.changes().len();
    assert_eq!(machine.detach(1).unwrap(), Detached::NotAttached);
    assert_eq!(machine.links.changes().len(), changes);
}

#[test]
fn what_was_never_attached_is_left_alone() {
    let machine = Machine::igb();
    assert_eq!(machine.detach(1).unwrap(), Detached::NotAttached);
    assert!(machine.links.changes().is_empty());
}

/// What a pod, an administrator or the kernel may do between ADD and DEL.
#[rstest]
#[case::namespace_deleted(|machine: &Machine| machine.links.remove_namespace(&pod(1)))]
#[case::namespace_deleted_and_its_name_taken_at_home(|machine: &Machine| {
    machine.links.add_veth("/proc/1/ns/net".as_ref(), "net1", "peer");
    machine.links.remove_namespace(&pod(1));
})]
#[case::file_left_in_place_of_the_namespace(|machine: &Machine| {
    machine.links.remove_namespace(&pod(1));
    machine.links.add_plain_file(pod(1));
})]
#[case::path_reused_by_another_namespace(|machine: &Machine| {
    machine.links.remove_namespace(&pod(1));
    machine.links.add_namespace(pod(1));
})]
#[case::renamed(|machine: &Machine| machine.links.rename_behind(&machine.vf().to_string(), "data0"))]
#[case::renamed_beyond_utf8(|machine: &Machine| machine.links.rename_behind(&machine.vf().to_string(), "a\u{fffd}%d"))]
#[case::macvlans(|machine: &Machine| {
    machine.links.add_macvlan_behind(&machine.vf().to_string(), "mv0");
    machine.links.add_macvlan_behind(&machine.vf().to_string(), "mv1");
})]
#[case::macvlan_and_namespace_deleted(|machine: &Machine| {
    machine.links.add_macvlan_behind(&machine.vf().to_string(), "mv0");
    machine.links.remove_namespace(&pod(1));
})]
#[case::altnames(|machine: &Machine| {
    machine.links.add_altname(&machine.vf().to_string(), "left-behind");
    machine.links.add_altname(&machine.vf().to_string(), "enp1s0");
})]
#[case::mac(|machine: &Machine| {
    machine.links.change_mac_behind(&machine.vf().to_string(), MacAddr([0x02, 1, 1, 1, 1, 1]));
})]
#[case::mtu(|machine: &Machine| {
    let namespace = machine.links.open(&pod(1)).unwrap();
    machine.links.set_mtu(&namespace, machine.in_pod(1).unwrap().index, 9000).unwrap();
})]
#[case::left_promiscuous(|machine: &Machine| {
    let namespace = machine.links.open(&pod(1)).unwrap();
    let ifindex = machine.in_pod(1).unwrap().index;
    machine.links.set_promisc(&namespace, ifindex, true).unwrap();
    machine.links.set_allmulti(&namespace, ifindex, true).unwrap();
})]
#[case::down(|machine: &Machine| {
    let namespace = machine.links.open(&pod(1)).unwrap();
    machine.links.set_up(&namespace, machine.in_pod(1).unwrap().index, false).unwrap();
})]
#[case::attributes_nobody_asked_for(|machine: &Machine| {
    machine.links.change_vf_behind(&machine.vf().to_string(), |config| {
        (config.vlan, config.qos) = (7, 7);
        (config.max_tx_rate, config.trust, config.spoofchk) = (10, Some(true), Some(false));
        config.mac = Some(MacAddr([0x02, 2, 2, 2, 2, 2]));
    });
})]
#[case::other_driver(|machine: &Machine| {
    let vfio = Driver::Named(pci::VFIO_PCI.to_owned());
    machine.tree.sysfs().bind(&machine.vf(), &vfio).unwrap();
})]
#[case::no_driver(|machine: &Machine| {
    machine.links.unbind(&machine.vf().to_string());
    machine.tree.set_driver(&machine.vf(), None);
})]
#[case::pf_renamed(|machine: &Machine| {
    let pf = machine.links.link_named(machine.links.host(), "enp1s0").unwrap().unwrap();
    machine.links.rename(machine.links.host(), pf.index, &name("uplink")).unwrap();
})]
#[case::back_at_home_already(|machine: &Machine| {
    let namespace = machine.links.open(&pod(1)).unwrap();
    let link = machine.in_pod(1).unwrap();
    machine.links.move_link(&namespace, link.index, machine.links.host(), &name("stray"), None).unwrap();
})]
fn it_comes_back_whatever_happened(#[case] happens: fn(&Machine)) {
    for wanted in [Wanted::default(), everything()] {
        let machine = Machine::igb();
        let before = machine.look(machine.vf());
        machine.attach(&wanted).unwrap();
        happens(&machine);
        machine.detach(1).unwrap_or_else(|error| panic!("{}", error.chain()));
        let mut after = machine.look(machine.vf());
        // A driver that was bound anew gave the interface a new index, and the double a new address first.
        if let (Some(after), Some(before)) = (&mut after.link, &before.link) {
            assert_eq!(after.mac, before.mac);
        }
        assert_eq!(after, before);
        assert_eq!(machine.state(machine.vf()), None);
        assert_eq!(machine.detach(1).unwrap(), Detached::NotAttached);
    }
}

fn links_in_pod(machine: &Machine) -> usize {
    machine.links.links(&machine.links.open(&pod(1)).unwrap()).unwrap().len()
}

/// A macvlan would stay on the VF, and see what that one's next pod sends.
#[test]
fn what_a_pod_has_put_on_its_interface_is_removed() {
    let machine = Machine::igb();
    machine.attach(&everything()).unwrap();
    machine.links.add_macvlan_behind(&machine.vf().to_string(), "mv0");
    machine.links.add_macvlan_behind(&machine.vf().to_string(), "mv1");
    assert_eq!(links_in_pod(&machine), 3);
    machine.detach(1).unwrap_or_else(|error| panic!("{}", error.chain()));
    assert_eq!(links_in_pod(&machine), 0);
}

#[test]
fn what_cannot_be_removed_from_it_keeps_a_vf_from_its_next_pod() {
    let machine = Machine::igb();
    let before = machine.look(machine.vf());
    machine.attach(&everything()).unwrap();
    machine.links.add_macvlan_behind(&machine.vf().to_string(), "mv0");
    for nth in 1..=8 {
        machine.links.fail_on(Verb::RemoveLink, nth, Errno::EIO);
    }
    let error = machine.detach(1).unwrap_err();
    assert!(matches!(&error, Error::Quarantined { reason, .. } if reason.contains("remove mv0")), "{error}");
    assert_eq!(machine.in_pod(1).unwrap().mtu, 1400);
    assert!((0..8).any(|_| machine.detach(1).is_ok()));
    assert_eq!(machine.look(machine.vf()), before);
    assert_eq!((links_in_pod(&machine), machine.state(machine.vf())), (0, None));
}

#[test]
fn a_vf_for_user_space_comes_back_under_that_driver() {
    let spec = PfSpec { vf_driver: Some("vfio-pci".to_owned()), ..PfSpec::igb("0000:01:00.0", "enp1s0") };
    let machine = Machine::new(spec, DriverModel::igb());
    machine.tree.set_driver(&machine.vf(), Some("igbvf"));
    machine.tree.set_driver(&machine.vf(), Some("vfio-pci"));
    let before = machine.look(machine.vf());
    machine.attach(&Wanted { mtu: None, promisc: None, allmulti: None, ..everything() }).unwrap();
    machine.tree.set_driver(&machine.vf(), Some("uio_pci_generic"));
    machine.tree.set_driver(&machine.vf(), None);
    machine.detach(1).unwrap_or_else(|error| panic!("{}", error.chain()));
    assert_eq!(machine.look(machine.vf()), before);
}

#[test]
fn a_name_taken_at_home_quarantines_until_it_is_free_again() {
    let machine = Machine::igb();
    let before = machine.look(machine.vf());
    machine.attach(&everything()).unwrap();
    machine.links.add_veth("/proc/1/ns/net".as_ref(), "enp1s0v0", "peer");
    let error = machine.detach(1).unwrap_err();
    assert!(matches!(&error, Error::Quarantined { reason, .. } if reason.contains("enp1s0v0")), "{error}");
    // It's out of the pod's hands and clean but for the name.
    assert!(machine.in_pod(1).is_none());
    let meanwhile = machine.look(machine.vf());
    assert_eq!(meanwhile.config, before.config);
    assert_eq!(meanwhile.link.unwrap().name, "v0-01100");
    assert!(matches!(machine.state(machine.vf()), Some(State::Quarantined { claim: Some(_), .. })));
    // Nobody gets it meanwhile.
    let refused = machine.attach_to(2, &Wanted::default()).unwrap_err();
    assert!(matches!(refused, Error::Quarantined { .. }) && refused.is_transient(), "{refused:?}");

    let taken = machine.links.link_named(machine.links.host(), "enp1s0v0").unwrap().unwrap();
    machine.links.rename(machine.links.host(), taken.index, &name("other")).unwrap();
    assert_eq!(machine.detach(1).unwrap(), Detached::Released);
    assert_eq!(machine.look(machine.vf()), before);
}

#[test]
fn a_detach_that_fails_once_succeeds_when_it_is_repeated() {
    for verb in [Verb::SetVf, Verb::Move, Verb::SetMac, Verb::Links, Verb::Vfs] {
        let machine = Machine::igb();
        let before = machine.look(machine.vf());
        machine.attach(&everything()).unwrap();
        // As often as it's tried.
        for nth in 1..=40 {
            machine.links.fail_on(verb, nth, Errno::EIO);
        }
        let error = machine.detach(1).unwrap_err();
        assert!(matches!(error, Error::Quarantined { .. }), "{verb}: {error:?}");
        assert!(matches!(machine.state(machine.vf()), Some(State::Quarantined { .. })), "{verb}");
        // The faults of this process end with it.
        let exhausted = (0..80).any(|_| machine.detach(1).is_ok());
        assert!(exhausted, "{verb}");
        assert_eq!(machine.look(machine.vf()), before, "{verb}");
        assert_eq!(machine.state(machine.vf()), None, "{verb}");
    }
}

#[test]
fn a_device_that_was_removed_leaves_nothing_to_restore() {
    let machine = Machine::igb();
    machine.attach(&everything()).unwrap();
    machine.links.unbind(&machine.vf().to_string());
    machine.tree.remove(&machine.vf());
    assert_eq!(machine.detach(1).unwrap(), Detached::DeviceGone);
    assert_eq!(machine.state(machine.vf()), None);
    assert!(!machine.file("baseline").exists());
}

#[test]
fn a_device_that_was_made_again_is_not_the_one_that_was_attached() {
    let machine = Machine::igb();
    machine.attach(&everything()).unwrap();
    remake(&machine);
    let changes = machine.links.changes().len();
    assert_eq!(machine.detach(1).unwrap(), Detached::DeviceGone);
    assert_eq!(machine.links.changes().len(), changes);
    assert_eq!(machine.state(machine.vf()), None);
}

/// Takes the VF's device away and makes another at the same address.
pub(crate) fn remake(machine: &Machine) {
    let device = machine.tree.root().join("bus/pci/devices").join(machine.vf().to_string());
    // Held open, so that its inode isn't given to the new one at once: sysfs counts on.
    let held = fs::File::open(&device).unwrap();
    machine.links.unbind(&machine.vf().to_string());
    machine.tree.remove(&machine.vf());
    machine.tree.add_vf(&machine.spec, 0);
    machine.links.change_vf_behind(&machine.vf().to_string(), |config| {
        (config.vlan, config.qos, config.max_tx_rate) = (0, 0, 0);
        (config.spoofchk, config.trust, config.mac) = (Some(true), Some(false), Some(MacAddr::default()));
    });
    machine.links.bind(&machine.vf().to_string());
    drop(held);
}

#[test]
fn after_a_reboot_there_is_nothing_to_restore() {
    let machine = Machine::igb();
    machine.attach(&everything()).unwrap();
    let changes = machine.links.changes().len();
    let rebooted = machine.next_process("another boot");
    assert_eq!(rebooted.detach(machine.vf(), &owner(1), None).unwrap(), Detached::NotAttached);
    assert_eq!(machine.links.changes().len(), changes);
    assert!(!machine.file("state").exists() && !machine.file("baseline").exists());
    assert!(machine.next_process(BOOT).ledger.entries::<vf::Intent>().unwrap().is_empty());
}
