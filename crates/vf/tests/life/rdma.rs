//! RDMA devices, which go into the pod with their VFs' interfaces. On the double only: no driver of the VM node's
//! kernel lets a device go without a NIC of its own.

use netlink::{Errno, Links, RdmaMode, Verb};
use pci::Driver;
use rstest::rstest;
use vf::{Attribute, Detached, Error, Place, State, Unable, Unmovable, Wanted};

use crate::machine::{Machine, everything, everything_with_rdma, owner, pod};

fn rdma() -> Wanted {
    Wanted { rdma: true, ..Wanted::default() }
}

#[test]
fn the_rdma_device_follows_the_interface_and_leads_it_back() {
    let machine = Machine::rdma();
    let before = machine.look(machine.vf());
    assert_eq!(before.rdma, ["mlx5_2"]);
    machine.attach(&rdma()).unwrap();
    assert_eq!(machine.look(machine.vf()).rdma, [""; 0]);
    let device = machine.rdma_in_pod(1).remove(0);
    assert_eq!(device.name, "mlx5_2");
    machine.host.confirm(machine.vf(), &owner(1)).unwrap();
    assert_eq!(machine.host.verify(machine.vf(), &owner(1)).unwrap(), []);
    // Where to find it is in the claim, and in the baseline where the claim is lost.
    let claim = machine.state(machine.vf()).unwrap().claim().cloned().unwrap();
    let known = claim.wanted.baseline.settings.rdma.unwrap();
    assert_eq!((known.index, known.name.as_str(), known.place), (device.index, "mlx5_2", Place::Home));
    machine.detach(1).unwrap();
    assert_eq!(machine.look(machine.vf()), before);
    let verbs: Vec<Verb> = machine.links.changes().iter().map(|call| call.verb).collect();
    let there = [Verb::Move, Verb::SetAnnounce, Verb::SetUp, Verb::MoveRdma];
    assert_eq!(verbs, [there.as_slice(), &[Verb::MoveRdma, Verb::SetUp, Verb::Move]].concat());
}

#[test]
fn who_does_not_ask_for_it_leaves_rdma_alone() {
    let machine = Machine::rdma();
    machine.attach(&everything()).unwrap();
    assert_eq!(machine.look(machine.vf()).rdma, ["mlx5_2"]);
    // As a plugin does that is chained after this one.
    let home = machine.links.host();
    let device = machine.links.rdma_devices(home).unwrap().remove(0);
    let namespace = machine.links.open(&pod(1)).unwrap();
    machine.links.move_rdma(home, device.index, &namespace).unwrap();
    assert_eq!(machine.host.verify(machine.vf(), &owner(1)).unwrap(), []);
    machine.links.clear_journal();
    machine.detach(1).unwrap();
    let rdma = [Verb::RdmaMode, Verb::RdmaDevices, Verb::MoveRdma, Verb::RenameRdma];
    assert!(machine.links.journal().iter().all(|call| !rdma.contains(&call.verb)));
    assert_eq!(machine.rdma_in_pod(1), [device]);
}

#[test]
fn in_shared_mode_it_is_refused_with_the_remedy_before_anything_is_touched() {
    let machine = Machine::rdma();
    machine.links.set_rdma_mode(Some(RdmaMode::Shared));
    let error = machine.attach(&everything_with_rdma()).unwrap_err();
    assert!(matches!(error, Error::Rdma(Unmovable::Shared { .. })) && !error.is_transient(), "{error:?}");
    for part in ["mlx5_2", "0000:01:00.2", "rdma system set netns exclusive", "netns_mode=0", "rdmaIsolation"]
    {
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
    assert!(machine.links.changes().is_empty());
    assert_eq!(machine.state(machine.vf()), None);
}

#[test]
fn a_vf_without_an_rdma_device_or_with_two_is_refused() {
    let machine = Machine::igb();
    let error = machine.attach(&rdma()).unwrap_err();
    assert!(matches!(error, Error::Rdma(Unmovable::Absent { .. })), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("rdmaIsolation") && text.contains("igbvf"), "{text}");

    let machine = Machine::rdma();
    machine.links.add_rdma(&machine.vf().to_string(), "mlx5_99");
    let error = machine.attach(&rdma()).unwrap_err();
    assert!(matches!(error, Error::Rdma(Unmovable::Several { .. })), "{error:?}");
    assert!(error.to_string().contains("mlx5_2, mlx5_99"), "{error}");
    assert!(machine.links.changes().is_empty());
}

#[test]
fn a_device_that_its_driver_holds_is_an_unsupported_attribute_and_all_is_undone() {
    let machine = Machine::rdma();
    machine.links.hold_rdma(&machine.vf().to_string());
    let before = machine.look(machine.vf());
    let error = machine.attach(&everything_with_rdma()).unwrap_err();
    assert!(
        matches!(error, Error::Unable(Unable::Unsupported { attribute: Attribute::Rdma, .. })),
        "{error:?}"
    );
    let text = error.to_string();
    assert!(text.contains("mlx5_core") && text.contains("rdmaIsolation"), "{text}");
    assert_eq!(machine.look(machine.vf()), before);
    assert_eq!(machine.state(machine.vf()), None);
}

#[rstest]
#[case::namespace_deleted(|machine: &Machine| machine.links.remove_namespace(&pod(1)))]
#[case::renamed(|machine: &Machine| rename(machine, "data"))]
#[case::renamed_and_namespace_deleted(|machine: &Machine| {
    rename(machine, "data");
    machine.links.remove_namespace(&pod(1));
})]
#[case::back_at_home_already(|machine: &Machine| {
    let namespace = machine.links.open(&pod(1)).unwrap();
    let index = machine.rdma_in_pod(1)[0].index;
    machine.links.move_rdma(&namespace, index, machine.links.host()).unwrap();
})]
#[case::made_anew_with_its_driver(|machine: &Machine| {
    rename(machine, "data");
    let vfio = Driver::Named(pci::VFIO_PCI.to_owned());
    machine.tree.sysfs().bind(&machine.vf(), &vfio).unwrap();
})]
#[case::claim_torn(|machine: &Machine| machine.spoil("state", ""))]
fn it_comes_back_whatever_happened(#[case] happens: fn(&Machine)) {
    let machine = Machine::rdma();
    let before = machine.look(machine.vf());
    machine.attach(&everything_with_rdma()).unwrap();
    happens(&machine);
    machine.detach(1).unwrap_or_else(|error| panic!("{}", error.chain()));
    assert_eq!(machine.look(machine.vf()), before);
    assert_eq!(machine.state(machine.vf()), None);
    assert_eq!(machine.detach(1).unwrap(), Detached::NotAttached);
}

fn rename(machine: &Machine, name: &str) {
    let namespace = machine.links.open(&pod(1)).unwrap();
    machine.links.rename_rdma(&namespace, machine.rdma_in_pod(1)[0].index, name).unwrap();
}

#[test]
fn a_check_finds_it_gone_from_the_pod() {
    let machine = Machine::rdma();
    machine.attach(&rdma()).unwrap();
    let namespace = machine.links.open(&pod(1)).unwrap();
    let index = machine.rdma_in_pod(1)[0].index;
    machine.links.move_rdma(&namespace, index, machine.links.host()).unwrap();
    let found = machine.host.verify(machine.vf(), &owner(1)).unwrap();
    assert_eq!(vf::describe(&found), "RDMA device's namespace is the host in place of the pod");
}

/// A driver may take its time, or for ever.
#[test]
fn what_does_not_come_back_is_quarantined_until_it_does() {
    let machine = Machine::rdma();
    let before = machine.look(machine.vf());
    machine.attach(&rdma()).unwrap();
    for nth in 1..=8 {
        machine.links.fail_on(Verb::MoveRdma, nth, Errno::EBUSY);
    }
    let error = machine.detach(1).unwrap_err();
    let Error::Quarantined { reason, .. } = &error else { panic!("{error:?}") };
    assert!(
        reason.contains("RDMA device's namespace is the pod") && reason.contains("move the RDMA"),
        "{reason}"
    );
    // The interface is at home meanwhile, and nobody gets the VF.
    assert!(machine.in_pod(1).is_none());
    assert!(matches!(machine.state(machine.vf()), Some(State::Quarantined { claim: Some(_), .. })));
    assert!((0..3).any(|_| machine.detach(1).is_ok()));
    assert_eq!(machine.look(machine.vf()), before);
    assert_eq!(machine.state(machine.vf()), None);
}

/// The baseline with its RDMA device and the one without are of the same VF.
#[test]
fn asking_for_it_or_not_does_not_replace_the_baseline() {
    let machine = Machine::rdma();
    for wanted in [Wanted::default(), rdma(), Wanted::default(), rdma()] {
        let attached = machine.attach(&wanted).unwrap();
        assert!(!matches!(attached.baseline, vf::Freshness::Replaced(_)), "{attached:?}");
        machine.detach(1).unwrap();
    }
    assert_eq!(machine.host.take_baseline(machine.vf()).unwrap(), Some(vf::Freshness::Kept));
}
