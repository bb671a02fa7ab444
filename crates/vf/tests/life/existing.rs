//! VFs of the existing SR-IOV plugin, taken over with its pods running.

mod faults;
mod files;

use std::fs::{self, File};
use std::path::PathBuf;

use netlink::{Links, MacAddr, VfChange, VlanProto};
use pci::Driver;
use rstest::rstest;
use serde_json::json;
use testbed::links::DriverModel;
use testbed::sysfs::PfSpec;
use vf::{Detached, Error, Prepared, State, Swept, Wanted};

use crate::machine::{BOOT, MAC, Machine, name, owner, pod};

/// Gives the first VF to a pod as the existing plugin does: changes it, and leaves the same files.
pub(crate) fn give(machine: &Machine, number: u32) {
    give_with(machine, number, |_cache| {});
}

/// The same, with another record.
pub(crate) fn give_with(machine: &Machine, number: u32, edit: impl FnOnce(&mut serde_json::Value)) {
    let before = machine.look(machine.vf());
    let pf = machine
        .links
        .link_of_device(machine.links.host(), &machine.spec.address.to_string())
        .unwrap()
        .unwrap();
    for change in [
        VfChange::Vlan { id: 100, qos: 3, proto: VlanProto::Dot1q },
        VfChange::Mac(MAC),
        VfChange::Rate { min: 0, max: 500 },
        VfChange::SpoofCheck(false),
        VfChange::Trust(true),
    ] {
        machine.links.set_vf(pf.index, 0, &change).unwrap();
    }
    if let Some(link) = &before.link {
        let home = machine.links.host();
        let index = machine.links.link_of_device(home, &machine.vf().to_string()).unwrap().unwrap().index;
        machine.links.set_up(home, index, false).unwrap();
        let namespace = machine.links.open(&pod(number)).unwrap();
        let moved = machine.links.move_link(home, index, &namespace, &name("net1"), None).unwrap();
        machine.links.set_mac(&namespace, moved.index, MAC).unwrap();
        machine.links.set_up(&namespace, moved.index, true).unwrap();
        assert!(!link.up, "what the existing plugin doesn't restore");
    }
    let text = |mac: Option<MacAddr>| mac.map(|mac| mac.to_string()).unwrap_or_default();
    let mut cache = json!({
        "cniVersion": "1.0.0", "name": "blue", "type": "sriov", "dns": {}, "ipam": {},
        "deviceID": machine.vf().to_string(), "VFID": 0, "Master": "enp1s0", "MTU": 1500,
        "MAC": MAC.to_string(), "vlan": 100, "vlanQoS": 3, "vlanProto": "802.1q",
        "min_tx_rate": null, "max_tx_rate": 500, "spoofchk": "off", "trust": "on", "runtimeConfig": {},
        "OrigVfState": {
            "HostIFName": before.link.as_ref().map(|link| link.name.clone()).unwrap_or_default(),
            "SpoofChk": before.config.spoofchk, "Trust": before.config.trust,
            "AdminMAC": text(before.config.mac),
            "EffectiveMAC": text(before.link.as_ref().and_then(|link| link.mac)),
            "Vlan": before.config.vlan, "VlanQoS": before.config.qos, "VlanProto": 33024,
            "MinTxRate": before.config.min_tx_rate, "MaxTxRate": before.config.max_tx_rate, "LinkState": 0,
            "MTU": before.link.as_ref().map_or(0, |link| link.mtu),
        },
    });
    edit(&mut cache);
    put(machine, cache_file(machine, number), &cache.to_string());
    put(machine, allocation(machine), &pod(number).display().to_string());
    machine.links.clear_journal();
}

/// Writes a file as the existing plugin does, in place.
#[expect(clippy::disallowed_methods, reason = "the existing plugin doesn't write it whole")]
pub(crate) fn put(machine: &Machine, file: PathBuf, content: &str) {
    fs::create_dir_all(machine.host.existing_state.join("pci")).unwrap();
    fs::write(file, content).unwrap();
    fs::create_dir_all(&machine.host.proc).unwrap();
    fs::write(machine.host.proc.join("stat"), "cpu 1 2 3\nbtime 1000000\n").unwrap();
}

pub(crate) fn cache_file(machine: &Machine, number: u32) -> PathBuf {
    machine.host.existing_state.join(format!("sandbox{number}-net1"))
}

pub(crate) fn allocation(machine: &Machine) -> PathBuf {
    machine.host.existing_state.join("pci").join(machine.vf().to_string())
}

pub(crate) fn assert_clean(machine: &Machine, before: &crate::machine::Look) {
    assert_eq!(&machine.look(machine.vf()), before);
    assert_eq!(machine.state(machine.vf()), None);
    assert!(!cache_file(machine, 1).exists() && !allocation(machine).exists(), "its files are still there");
}

pub(crate) fn vfio() -> Machine {
    let spec = PfSpec { vf_driver: Some("vfio-pci".to_owned()), ..PfSpec::igb("0000:01:00.0", "enp1s0") };
    Machine::new(spec, DriverModel::igb())
}

/// What may happen between its ADD and our DEL.
#[rstest]
#[case::nothing(|_: &Machine| {})]
#[case::namespace_deleted(|machine: &Machine| machine.links.remove_namespace(&pod(1)))]
#[case::namespace_deleted_and_its_name_taken_at_home(|machine: &Machine| {
    machine.links.add_veth("/proc/1/ns/net".as_ref(), "net1", "peer");
    machine.links.remove_namespace(&pod(1));
})]
#[case::path_reused_by_another_namespace(|machine: &Machine| {
    machine.links.remove_namespace(&pod(1));
    machine.links.add_namespace(pod(1));
})]
#[case::allocation_lost(|machine: &Machine| fs::remove_file(allocation(machine)).unwrap())]
#[case::renamed(|machine: &Machine| machine.links.rename_behind(&machine.vf().to_string(), "data0"))]
#[case::altnames_of_the_pod_and_of_a_link_at_home(|machine: &Machine| {
    machine.links.rename_behind(&machine.vf().to_string(), "data0");
    machine.links.add_altname(&machine.vf().to_string(), "net1");
    machine.links.add_altname(&machine.vf().to_string(), "enp1s0");
})]
#[case::mac_and_mtu(|machine: &Machine| {
    machine.links.change_mac_behind(&machine.vf().to_string(), MacAddr([0x02, 1, 1, 1, 1, 1]));
    let namespace = machine.links.open(&pod(1)).unwrap();
    machine.links.set_mtu(&namespace, machine.in_pod(1).unwrap().index, 9000).unwrap();
})]
#[case::other_driver(|machine: &Machine| {
    machine.tree.sysfs().bind(&machine.vf(), &Driver::Named(pci::VFIO_PCI.to_owned())).unwrap();
})]
#[case::changed_by_hand(|machine: &Machine| {
    machine.links.change_vf_behind(&machine.vf().to_string(), |config| config.vlan = 7);
})]
fn a_detach_restores_what_the_record_says(#[case] happens: fn(&Machine)) {
    for (number, netns) in [(1, Some(pod(1))), (1, None)] {
        let machine = Machine::igb();
        let before = machine.look(machine.vf());
        give(&machine, number);
        happens(&machine);
        if netns.is_none() && !allocation(&machine).exists() {
            // Nothing says where it is, and no process is in there.
            machine.links.remove_namespace(&pod(1));
        }
        let detach = || machine.host.detach(machine.vf(), &owner(1), netns.as_deref()).unwrap();
        assert_eq!(machine.host.existing_vf(&owner(1)).unwrap(), Some(machine.vf()));
        assert_eq!(detach(), Detached::Released);
        assert_clean(&machine, &before);
        let changes = machine.links.changes().len();
        assert_eq!(detach(), Detached::NotAttached);
        assert_eq!(machine.links.changes().len(), changes);
        machine.attach_to(2, &Wanted::default()).unwrap();
    }
}

#[test]
fn a_vf_for_user_space_is_restored_through_its_pf() {
    let machine = vfio();
    let before = machine.look(machine.vf());
    give(&machine, 1);
    assert_ne!(machine.look(machine.vf()), before);
    assert_eq!(machine.detach(1).unwrap(), Detached::Released);
    assert_clean(&machine, &before);
}

#[test]
fn a_living_pod_keeps_its_vf() {
    for machine in [Machine::igb(), vfio()] {
        give(&machine, 1);
        let given = machine.look(machine.vf());
        let error = machine.attach_to(2, &Wanted::default()).unwrap_err();
        assert!(matches!(&error, Error::Busy { owner, .. } if owner.container_id == "sandbox1"), "{error:?}");
        assert!(error.is_transient());
        let error = machine.host.prepare(machine.vf(), "example.com/vfs").unwrap_err();
        assert!(matches!(error, Error::Busy { .. }), "{error:?}");
        assert_eq!(machine.host.take_baseline(machine.vf()).unwrap(), None);
        assert_eq!(machine.host.existing_owner(machine.vf()).unwrap(), Some(owner(1)));
        assert!(machine.host.sweep(&|_| true).unwrap().is_empty());
        // A DEL for a sandbox that never got it.
        assert_eq!(machine.detach(2).unwrap(), Detached::NotOwner);
        assert!(machine.links.changes().is_empty());
        assert_eq!(machine.look(machine.vf()), given);
        assert!(!machine.file("state").exists() && allocation(&machine).exists());
    }
}

#[test]
fn a_vf_whose_namespace_is_gone_is_restored_by_whoever_comes_first() {
    type Comes = fn(&Machine);
    let attach: Comes = |machine| {
        machine.attach_to(2, &Wanted::default()).unwrap();
        machine.detach(2).unwrap();
    };
    let sweep: Comes = |machine| {
        let swept = machine.host.sweep(&|_| true).unwrap();
        assert!(
            matches!(&swept[..], [(_, Ok(Swept::Released { owner: gone }))] if *gone == owner(1)),
            "{swept:?}"
        );
    };
    let prepare: Comes = |machine| {
        let prepared = machine.host.prepare(machine.vf(), "example.com/vfs").unwrap();
        assert!(matches!(prepared, Prepared::Marked(_)));
        machine.host.unprepare(machine.vf()).unwrap();
    };
    for comes in [attach, sweep, prepare] {
        let machine = Machine::igb();
        let before = machine.look(machine.vf());
        give(&machine, 1);
        machine.links.remove_namespace(&pod(1));
        comes(&machine);
        assert_clean(&machine, &before);
    }
}

#[test]
fn a_mark_for_the_next_pod_is_kept_through_the_taking_back() {
    let machine = Machine::igb();
    machine.host.prepare(machine.vf(), "example.com/vfs").unwrap();
    give(&machine, 1);
    machine.links.remove_namespace(&pod(1));
    machine.attach_to(2, &Wanted::default()).unwrap();
    let state = machine.state(machine.vf()).unwrap();
    assert_eq!(state.claim().unwrap().resource.as_deref(), Some("example.com/vfs"));
}

#[test]
fn gc_takes_back_what_is_its_networks_and_not_in_the_list() {
    for machine in [Machine::igb(), vfio()] {
        let before = machine.look(machine.vf());
        give(&machine, 1);
        assert!(machine.host.sweep_network("red", &|_| false).unwrap().is_empty());
        assert!(machine.host.sweep_network("blue", &|listed| *listed == owner(1)).unwrap().is_empty());
        assert!(machine.links.changes().is_empty());
        let swept = machine.host.sweep_network("blue", &|listed| *listed == owner(2)).unwrap();
        assert!(matches!(&swept[..], [(_, Ok(Swept::Released { .. }))]), "{swept:?}");
        assert_clean(&machine, &before);
    }
}

/// A record's name is container ID and interface with a dash between them, and either may have one.
#[test]
fn gc_spares_whoever_a_records_name_may_mean() {
    let machine = Machine::igb();
    give(&machine, 1);
    let dashed = machine.host.existing_state.join("sand-box-1-net1");
    fs::rename(cache_file(&machine, 1), &dashed).unwrap();
    let listed = ledger::Owner { container_id: "sand-box-1".to_owned(), ..owner(1) };
    assert!(machine.host.sweep_network("blue", &|owner| *owner == listed).unwrap().is_empty());
    assert_eq!(machine.host.existing_vf(&listed).unwrap(), Some(machine.vf()));
    assert_eq!(machine.host.detach(machine.vf(), &listed, Some(&pod(1))).unwrap(), Detached::Released);
    assert!(!dashed.exists());
}

#[test]
fn check_compares_with_what_the_record_says_was_asked_for() {
    let machine = Machine::igb();
    give(&machine, 1);
    assert_eq!(machine.host.verify(machine.vf(), &owner(1)).unwrap(), []);
    machine.links.change_vf_behind(&machine.vf().to_string(), |config| config.vlan = 7);
    let found = machine.host.verify(machine.vf(), &owner(1)).unwrap();
    assert_eq!(vf::describe(&found), "vlan is 7 in place of 100");
    assert!(matches!(machine.host.verify(machine.vf(), &owner(2)), Err(Error::NotOwned { .. })));
}

/// An attachment whose DEL never came: the next one took what that left for the VF's own.
#[test]
fn the_oldest_record_says_what_the_vf_was_like() {
    let machine = Machine::igb();
    let before = machine.look(machine.vf());
    give(&machine, 1);
    machine.links.remove_namespace(&pod(1));
    // By an hour, since a file system may count in seconds.
    let earlier = std::time::SystemTime::now() - std::time::Duration::from_hours(1);
    let file = File::options().write(true).open(cache_file(&machine, 1)).unwrap();
    file.set_times(fs::FileTimes::new().set_modified(earlier)).unwrap();
    give(&machine, 2);
    assert_eq!(machine.detach(1).unwrap(), Detached::NotOwner);
    assert_eq!(machine.detach(2).unwrap(), Detached::Released);
    assert_clean(&machine, &before);
    assert!(!cache_file(&machine, 2).exists());
}

#[test]
fn a_vf_that_was_given_away_again_while_it_was_quarantined_is_its_new_owners() {
    let machine = Machine::igb();
    let before = machine.look(machine.vf());
    give(&machine, 1);
    machine.links.add_veth("/proc/1/ns/net".as_ref(), "enp1s0v0", "peer");
    machine.detach(1).unwrap_err();
    assert!(matches!(machine.state(machine.vf()), Some(State::Quarantined { .. })));
    fs::remove_file(cache_file(&machine, 1)).unwrap();
    give(&machine, 2);
    assert!(machine.host.sweep(&|_| true).unwrap().is_empty());
    assert_eq!(machine.detach(1).unwrap(), Detached::NotOwner);
    let rival = machine.links.link_named(machine.links.host(), "enp1s0v0").unwrap().unwrap();
    machine.links.rename(machine.links.host(), rival.index, &name("other")).unwrap();
    assert_eq!(machine.detach(2).unwrap(), Detached::Released);
    assert_clean(&machine, &before);
}

#[test]
fn a_device_that_is_gone_has_nothing_to_restore() {
    let machine = Machine::igb();
    give(&machine, 1);
    let device = machine.tree.sysfs().root().join("bus/pci/devices").join(machine.vf().to_string());
    fs::remove_file(device).unwrap();
    assert_eq!(machine.detach(1).unwrap(), Detached::DeviceGone);
    assert!(!cache_file(&machine, 1).exists() && !allocation(&machine).exists());
    assert!(machine.next_process(BOOT).sweep(&|_| true).unwrap().is_empty());
}
