//! A PF with hundreds of VFs in sight, and none at all.

use std::fs;

use netlink::{Errno, Links, Route, Verb};
use rstest::rstest;
use testbed::links::DriverModel;
use testbed::sysfs::PfSpec;
use vf::{Attach, Detached, Error, Wanted};

use crate::machine::{MAC, Machine, everything, owner, pod};

const MANY: u16 = 256;

/// Each list of links and of VFs is as long as the PF is large.
#[test]
fn of_256_vfs_the_last_is_attached_and_detached_with_few_lists() {
    let spec = PfSpec { total_vfs: MANY, num_vfs: MANY, ..PfSpec::connectx("0000:03:00.0", "enp1s0") };
    let machine = Machine::new(spec, DriverModel::mlx5());
    let last = machine.vfs[usize::from(MANY - 1)];
    let before: Vec<_> = machine.vfs.iter().map(|vf| machine.look(*vf)).collect();
    let owner = owner(1);
    let (netns, wanted) = (pod(1), everything());
    let request =
        Attach { pci: last, owner: &owner, netns: &netns, wanted: &wanted, pod: None, resource: None };
    let lists = |verb| machine.links.journal().iter().filter(|call| call.verb == verb).count();

    machine.links.clear_journal();
    machine.host.attach(&request).unwrap();
    machine.host.confirm(last, &owner).unwrap();
    // Before and after.
    assert_eq!(lists(Verb::Vfs), 2);
    assert_eq!(lists(Verb::Links), 3);
    assert_eq!(machine.look(last).config.vlan, 100);

    machine.links.clear_journal();
    assert_eq!(machine.host.detach(last, &owner, Some(&netns)).unwrap(), Detached::Released);
    assert!(lists(Verb::Vfs) <= 3, "{} lists of VFs", lists(Verb::Vfs));
    let after: Vec<_> = machine.vfs.iter().map(|vf| machine.look(*vf)).collect();
    assert_eq!(after, before);
}

fn hide_pf(machine: &Machine) {
    let device = machine.tree.root().join("bus/pci/devices").join(machine.vf().to_string());
    fs::remove_file(device.join("physfn")).unwrap();
}

#[test]
fn whether_a_pf_is_in_sight_is_told() {
    let machine = Machine::igb();
    assert_eq!(machine.attach(&Wanted::default()).unwrap().pf.as_deref(), Some("enp1s0"));
    machine.detach(1).unwrap();
    hide_pf(&machine);
    assert_eq!(machine.attach(&Wanted { mac: Some(MAC), ..Wanted::default() }).unwrap().pf, None);
    machine.detach(1).unwrap();
}

/// A driver may do more with an attribute that's set than its value says, so that what isn't asked for isn't set, not
/// even to what it is.
#[test]
fn nothing_is_set_through_a_pf_that_is_not_asked_for() {
    let machine = Machine::igb();
    let set = || machine.links.journal().iter().filter(|call| call.verb == Verb::SetVf).count();
    machine.attach(&Wanted::default()).unwrap();
    assert_eq!(set(), 0);
    machine.detach(1).unwrap();
    machine.links.clear_journal();
    machine.attach(&Wanted { mac: None, ..everything() }).unwrap();
    assert_eq!(set(), 4);
}

/// Without a PF, the machine's own uplink looks like a VF.
#[rstest]
#[case("0.0.0.0/0")]
#[case("::/0")]
fn what_the_host_has_its_default_route_by_is_not_given_away(#[case] dst: &str) {
    let machine = Machine::igb();
    hide_pf(&machine);
    let home = machine.links.host();
    let link = machine.links.link_of_device(home, &machine.vf().to_string()).unwrap().unwrap();
    machine.links.set_up(home, link.index, true).unwrap();
    machine.links.add_route(home, &Route::new("198.51.100.0/24".parse().unwrap(), None, link.index)).unwrap();
    machine.attach(&Wanted::default()).unwrap();
    machine.detach(1).unwrap();

    let link = machine.links.link_of_device(home, &machine.vf().to_string()).unwrap().unwrap();
    machine.links.set_up(home, link.index, true).unwrap();
    machine.links.add_route(home, &Route::new(dst.parse().unwrap(), None, link.index)).unwrap();
    machine.links.clear_journal();
    let error = machine.attach(&Wanted::default()).unwrap_err();
    assert!(matches!(error, Error::Uplink { .. }) && error.to_string().contains(&link.name), "{error}");
    assert!(machine.links.changes().is_empty());
    assert_eq!(machine.state(machine.vf()), None);
}

/// What can't be looked at isn't given away either.
#[test]
fn routes_that_cannot_be_read_stop_the_hand_over() {
    let machine = Machine::igb();
    hide_pf(&machine);
    machine.links.fail_on(Verb::Routes, 1, Errno::ENOMEM);
    let error = machine.attach(&Wanted::default()).unwrap_err();
    assert!(matches!(error, Error::Links { .. }), "{error:?}");
    assert!(machine.links.changes().is_empty());
    assert_eq!(machine.state(machine.vf()), None);
}
