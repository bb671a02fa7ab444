//! Waits are ended by what is waited for: the deadlines here are too long for anyone to see them.

use std::path::Path;
use std::thread;
use std::time::Duration;

use netlink::{Errno, Links, Verb};
use testbed::links::DriverModel;
use testbed::sysfs::PfSpec;
use vf::{Detached, Error, Wanted};

use crate::machine::{MAC, Machine, everything, owner, pod};

const NEVER: Duration = Duration::from_hours(1);

/// A machine whose VFs take a MAC neither from the PF nor, the first time, as their own.
fn stubborn() -> Machine {
    let spec = PfSpec {
        driver: "unheard".to_owned(),
        vf_driver: Some("unheardvf".to_owned()),
        ..PfSpec::igb("0000:01:00.0", "enp1s0")
    };
    let machine = Machine::new(spec, DriverModel::mlx5());
    machine.links.fail_on(Verb::SetMac, 1, Errno::EADDRNOTAVAIL);
    machine
}

/// Waits until somebody waits for events of links.
fn until_watched(machine: &Machine) {
    while !machine.links.journal().iter().any(|call| call.verb == Verb::Events) {
        thread::yield_now();
    }
}

fn with_mac() -> Wanted {
    Wanted { mac: Some(MAC), ..Wanted::default() }
}

#[test]
fn a_mac_that_is_taken_later_is_waited_for() {
    let mut machine = stubborn();
    machine.host.deadlines.read_back = NEVER;
    let attached = thread::scope(|scope| {
        let attach = scope.spawn(|| machine.attach(&with_mac()));
        until_watched(&machine);
        machine.links.change_mac_behind(&machine.vf().to_string(), MAC);
        attach.join().unwrap().unwrap()
    });
    assert_eq!(attached.mac, Some(MAC));
}

#[test]
fn a_mac_that_is_never_taken_is_waited_for_until_the_deadline() {
    let machine = stubborn();
    let before = machine.look(machine.vf());
    let error = machine.attach(&with_mac()).unwrap_err();
    assert!(matches!(error, Error::Step { .. }), "{error:?}");
    assert!(machine.links.journal().iter().any(|call| call.verb == Verb::Events));
    assert_eq!(machine.look(machine.vf()), before);
}

#[test]
fn what_cannot_be_waited_for_is_undone() {
    let machine = stubborn();
    let before = machine.look(machine.vf());
    machine.links.fail_on(Verb::Events, 1, Errno::EMFILE);
    let error = machine.attach(&with_mac()).unwrap_err();
    assert!(matches!(error, Error::Links { .. }), "{error:?}");
    assert_eq!(machine.look(machine.vf()), before);
    assert_eq!(machine.state(machine.vf()), None);
}

#[test]
fn an_interface_that_the_kernel_is_bringing_home_is_waited_for() {
    let mut machine = Machine::igb();
    machine.host.deadlines.home_coming = NEVER;
    let before = machine.look(machine.vf());
    machine.attach(&everything()).unwrap();
    // The kernel is not done yet with a namespace that nothing leads to.
    let ending = machine.links.open(&pod(1)).unwrap();
    machine.links.remove_namespace(&pod(1));
    let detached = thread::scope(|scope| {
        let detach = scope.spawn(|| machine.detach(1));
        until_watched(&machine);
        drop(ending);
        detach.join().unwrap().unwrap()
    });
    assert_eq!(detached, Detached::Released);
    assert_eq!(machine.look(machine.vf()), before);
}

#[test]
fn a_vf_is_waited_for_until_its_owner_gives_it_back_or_dies() {
    let mut machine = Machine::igb();
    machine.host.deadlines.turn = NEVER;
    for round in 0..10 {
        let (now, next) = (1 + round % 2, 2 - round % 2);
        machine.attach_to(now, &everything()).unwrap();
        machine.host.confirm(machine.vf(), &owner(now)).unwrap();
        thread::scope(|scope| {
            let waiter = scope.spawn(|| machine.attach_to(next, &Wanted::default()));
            machine.detach(now).unwrap();
            waiter.join().unwrap().unwrap();
        });
        machine.detach(next).unwrap();
    }
    machine.attach_to(1, &everything()).unwrap();
    machine.host.confirm(machine.vf(), &owner(1)).unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| machine.attach_to(2, &Wanted::default()));
        machine.links.remove_namespace(Path::new(&pod(1)));
        waiter.join().unwrap().unwrap();
    });
    assert!(machine.in_pod(2).is_some());
}
