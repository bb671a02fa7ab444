//! A VF that a program had in its hands is reset before it's free again.

use std::fs;

use netlink::{Errno, Verb};
use pci::Driver;
use rstest::rstest;
use testbed::links::DriverModel;
use testbed::sysfs::PfSpec;
use vf::{Detached, Error, State, Wanted};

use crate::machine::{BOOT, Machine, everything, owner, pod};

fn with_vf_driver(driver: &str, model: DriverModel) -> Machine {
    Machine::new(
        PfSpec { vf_driver: Some(driver.to_owned()), ..PfSpec::igb("0000:01:00.0", "enp1s0") },
        model,
    )
}

fn vfio() -> Machine {
    with_vf_driver(pci::VFIO_PCI, DriverModel::igb())
}

fn for_user_space() -> Wanted {
    Wanted { mtu: None, promisc: None, allmulti: None, ..everything() }
}

fn resets(machine: &Machine) -> usize {
    machine.kernel.resets(&machine.vf())
}

#[rstest]
#[case::vfio(pci::VFIO_PCI, DriverModel::igb(), 1)]
#[case::uio("uio_pci_generic", DriverModel::igb(), 1)]
#[case::a_network_driver_that_takes_part("hns3", DriverModel::iavf(), 1)]
#[case::one_that_does_not("igbvf", DriverModel::igb(), 0)]
#[case::one_that_nobody_has_heard_of("unheardvf", DriverModel::igb(), 0)]
fn it_is_reset_once_on_its_return_where_its_driver_outlives_that(
    #[case] driver: &str,
    #[case] model: DriverModel,
    #[case] expected: usize,
) {
    let machine = with_vf_driver(driver, model);
    if driver == "uio_pci_generic" {
        machine.links.unbind(&machine.vf().to_string());
    }
    let before = machine.look(machine.vf());
    let wanted = if before.link.is_some() { everything() } else { for_user_space() };
    machine.attach(&wanted).unwrap();
    machine.host.confirm(machine.vf(), &owner(1)).unwrap();
    assert_eq!(resets(&machine), 0);
    assert_eq!(machine.detach(1).unwrap(), Detached::Released);
    assert_eq!(resets(&machine), expected);
    assert_eq!(machine.look(machine.vf()), before);
    assert_eq!(machine.detach(1).unwrap(), Detached::NotAttached);
    assert_eq!(resets(&machine), expected);
    assert!((1..7).all(|other| machine.kernel.resets(&machine.vfs[other]) == 0), "a neighbour was reset");
}

/// The pod, or someone, gave it to a program meanwhile.
#[test]
fn a_vf_found_under_a_driver_for_user_space_is_reset_before_its_own_driver_gets_it() {
    let machine = Machine::igb();
    let before = machine.look(machine.vf());
    machine.attach(&everything()).unwrap();
    machine.tree.sysfs().bind(&machine.vf(), &Driver::Named(pci::VFIO_PCI.to_owned())).unwrap();
    machine.detach(1).unwrap_or_else(|error| panic!("{}", error.chain()));
    assert_eq!(resets(&machine), 1);
    assert_eq!(machine.look(machine.vf()), before);
}

#[test]
fn a_vf_found_under_another_network_driver_is_reset_once_its_own_has_it() {
    let machine = vfio();
    let before = machine.look(machine.vf());
    machine.attach(&for_user_space()).unwrap();
    machine.tree.set_driver(&machine.vf(), Some("igb"));
    machine.links.bind(&machine.vf().to_string());
    machine.detach(1).unwrap_or_else(|error| panic!("{}", error.chain()));
    assert_eq!(resets(&machine), 1);
    assert_eq!(machine.look(machine.vf()), before);
}

#[test]
fn a_vf_without_a_driver_is_reset() {
    let machine = vfio();
    machine.attach(&for_user_space()).unwrap();
    machine.tree.set_driver(&machine.vf(), None);
    machine.detach(1).unwrap_or_else(|error| panic!("{}", error.chain()));
    assert_eq!(resets(&machine), 1);
}

#[test]
fn one_that_cannot_be_reset_is_restored_all_the_same_and_quarantined_until_it_can() {
    let machine = vfio();
    let vf = machine.vf();
    let before = machine.look(vf);
    machine.attach(&for_user_space()).unwrap();
    machine.tree.refuse_resets(&vf);
    let error = machine.detach(1).unwrap_err();
    let Error::Quarantined { reason, .. } = &error else { panic!("{error:?}") };
    assert!(reason.contains("can't reset 0000:01:10.0 by flr"), "{reason}");
    assert_eq!(machine.look(vf), before);
    assert!(matches!(machine.state(vf), Some(State::Quarantined { claim: Some(_), .. })));
    assert!(matches!(machine.attach_to(2, &for_user_space()), Err(Error::Quarantined { .. })));

    machine.tree.allow_resets(&vf);
    let swept = machine.host.sweep(&|_| true).unwrap();
    assert!(matches!(swept.as_slice(), [(_, Ok(vf::Swept::Healed))]), "{swept:?}");
    assert_eq!((machine.state(vf), resets(&machine)), (None, 1));
}

/// An older kernel, or a device that can't.
#[test]
fn where_no_reset_is_offered_the_rest_is_enough() {
    let machine = vfio();
    let device = machine.tree.root().join("bus/pci/devices").join(machine.vf().to_string());
    fs::remove_file(device.join("reset_method")).unwrap();
    machine.attach(&for_user_space()).unwrap();
    assert_eq!(machine.detach(1).unwrap(), Detached::Released);
    assert_eq!(resets(&machine), 0);
}

/// Nobody can read back that it was done, so whoever goes on does it again.
#[test]
fn a_return_that_dies_after_the_reset_is_finished_with_a_reset() {
    let machine = vfio();
    let before = machine.look(machine.vf());
    machine.attach(&for_user_space()).unwrap();
    machine.links.die_after(0);
    machine.detach(1).unwrap_err();
    let next = machine.next_process(BOOT);
    next.detach(machine.vf(), &owner(1), Some(&pod(1))).unwrap();
    assert!(resets(&machine) >= 1);
    assert_eq!(machine.look(machine.vf()), before);
    assert_eq!(machine.state(machine.vf()), None);
}

/// What fails after it isn't a reason to reset it anew in each round.
#[test]
fn a_return_that_needs_several_rounds_resets_once() {
    let machine = vfio();
    machine.attach(&for_user_space()).unwrap();
    machine.links.fail_on(Verb::SetVf, 1, Errno::EBUSY);
    machine.detach(1).unwrap_or_else(|error| panic!("{}", error.chain()));
    assert_eq!(resets(&machine), 1);
}
