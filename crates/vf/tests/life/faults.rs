//! Every step of attach and detach, failing and dying. The fault points come from what the double was asked, so
//! that a new step is covered without anyone remembering.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use netlink::{Errno, Verb};
use testbed::links::DriverModel;
use testbed::sysfs::PfSpec;
use vf::{Detached, Error, State, Wanted};

use crate::machine::{BOOT, Machine, everything, everything_with_rdma, owner, pod};

/// What is attached: a machine, and what's asked of its VF.
#[derive(Clone, Copy)]
struct Setup {
    machine: fn() -> Machine,
    wanted: fn() -> Wanted,
}

const IGB: Setup = Setup { machine: Machine::igb, wanted: everything };
const RDMA: Setup = Setup { machine: Machine::rdma, wanted: everything_with_rdma };
const SETUPS: [Setup; 2] = [IGB, RDMA];

/// Every call of an attach (and, with `detach`, of the detach after it), reads too: its verb, and how many calls
/// of that verb came before it.
fn calls(setup: Setup, detach: bool) -> Vec<(Verb, usize)> {
    let machine = (setup.machine)();
    machine.attach(&(setup.wanted)()).unwrap();
    if detach {
        machine.links.clear_journal();
        machine.detach(1).unwrap();
    }
    machine.calls()
}

fn changes(setup: Setup, detach: bool) -> usize {
    calls(setup, detach).iter().filter(|(verb, _)| verb.changes()).count()
}

/// An RDMA device is among what's moved, there and back.
#[test]
fn the_fault_points_have_rdma_too() {
    for detach in [false, true] {
        let verbs: Vec<Verb> = calls(RDMA, detach).into_iter().map(|(verb, _)| verb).collect();
        assert!(verbs.contains(&Verb::MoveRdma) && verbs.contains(&Verb::RdmaDevices), "{verbs:?}");
    }
}

#[test]
fn an_attach_that_fails_at_any_call_leaves_the_vf_at_its_baseline() {
    for setup in SETUPS {
        let calls = calls(setup, false);
        assert!(calls.len() > 10, "{calls:?}");
        for (verb, nth) in calls {
            for errno in [Errno::EIO, Errno::EBUSY, Errno::EOPNOTSUPP, Errno::EEXIST, Errno::ENODEV] {
                let machine = (setup.machine)();
                let before = machine.look(machine.vf());
                machine.links.fail_on(verb, nth, errno);
                match machine.attach(&(setup.wanted)()) {
                    // A refused MAC that the interface takes by itself is no failure, nor is a repeated read.
                    Ok(_) => assert_eq!(machine.detach(1).unwrap(), Detached::Released),
                    Err(Error::NotUndone { .. }) => {
                        panic!("{verb} {nth} {errno}: one failure, and not undone")
                    }
                    Err(_) => {}
                }
                assert_eq!(machine.look(machine.vf()), before, "{verb} {nth} {errno}");
                assert_eq!(machine.state(machine.vf()), None, "{verb} {nth} {errno}");
            }
        }
    }
}

#[test]
fn a_detach_that_fails_at_any_call_is_clean_or_quarantined_and_clean_when_repeated() {
    for setup in SETUPS {
        for (verb, nth) in calls(setup, true) {
            let machine = (setup.machine)();
            let before = machine.look(machine.vf());
            machine.attach(&(setup.wanted)()).unwrap();
            machine.links.fail_on(verb, nth, Errno::EIO);
            if let Err(error) = machine.detach(1) {
                assert!(matches!(error, Error::Quarantined { .. }), "{verb} {nth}: {error:?}");
                let state = machine.state(machine.vf());
                assert!(matches!(state, Some(State::Quarantined { .. })), "{verb} {nth}");
                machine.detach(1).unwrap();
            }
            assert_eq!(machine.look(machine.vf()), before, "{verb} {nth}");
            assert_eq!(machine.state(machine.vf()), None, "{verb} {nth}");
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Rescue {
    Detach,
    DetachWithoutNamespace,
    SweepOfTheDead,
    NextAttach,
    SameAttach,
}

const RESCUES: [Rescue; 5] = [
    Rescue::Detach,
    Rescue::DetachWithoutNamespace,
    Rescue::SweepOfTheDead,
    Rescue::NextAttach,
    Rescue::SameAttach,
];

fn rescue(machine: &Machine, rescue: Rescue) {
    let next = machine.next_process(BOOT);
    let vf = machine.vf();
    match rescue {
        Rescue::Detach => {
            next.detach(vf, &owner(1), Some(&pod(1))).unwrap();
        }
        Rescue::DetachWithoutNamespace => {
            machine.links.remove_namespace(&pod(1));
            next.detach(vf, &owner(1), None).unwrap();
        }
        Rescue::SweepOfTheDead => {
            machine.links.remove_namespace(&pod(1));
            for (_pci, swept) in next.sweep(&|_| true).unwrap() {
                swept.unwrap();
            }
        }
        Rescue::NextAttach => {
            machine.links.remove_namespace(&pod(1));
            machine.attach_to(2, &Wanted::default()).unwrap();
            machine.detach(2).unwrap();
        }
        Rescue::SameAttach => {
            machine.attach_to(1, &Wanted::default()).unwrap();
            machine.detach(1).unwrap();
        }
    }
}

#[test]
fn an_attach_that_dies_after_any_step_is_healed_by_whoever_comes_next() {
    for setup in SETUPS {
        for step in 0..=changes(setup, false) {
            for way in RESCUES {
                let machine = (setup.machine)();
                let before = machine.look(machine.vf());
                machine.links.die_after(step);
                // The last step's death is after the attach.
                drop(machine.attach(&(setup.wanted)()));
                machine.links.revive();
                rescue(&machine, way);
                assert_eq!(machine.look(machine.vf()), before, "step {step}, {way:?}");
                assert_eq!(machine.state(machine.vf()), None, "step {step}, {way:?}");
            }
        }
    }
}

#[test]
fn a_detach_that_dies_after_any_step_is_healed_by_whoever_comes_next() {
    for setup in SETUPS {
        for step in 0..=changes(setup, true) {
            for way in RESCUES {
                let machine = (setup.machine)();
                let before = machine.look(machine.vf());
                machine.attach(&(setup.wanted)()).unwrap();
                machine.host.confirm(machine.vf(), &owner(1)).unwrap();
                machine.links.die_after(step);
                drop(machine.detach(1));
                machine.links.revive();
                rescue(&machine, way);
                assert_eq!(machine.look(machine.vf()), before, "step {step}, {way:?}");
                assert_eq!(machine.state(machine.vf()), None, "step {step}, {way:?}");
            }
        }
    }
}

/// The claim is on disk before the first change: whenever the process dies, there's either nothing changed or a
/// claim. (A double that dies fails its reads too, so the undoing that follows can't change anything either.)
#[test]
fn nothing_is_changed_before_the_claim_is_in_the_ledger() {
    for setup in SETUPS {
        for step in 0..changes(setup, false) {
            let machine = (setup.machine)();
            let before = machine.look(machine.vf());
            machine.links.die_after(step);
            machine.attach(&(setup.wanted)()).unwrap_err();
            machine.links.revive();
            let claimed = machine.state(machine.vf()).is_some_and(|state| state.claim().is_some());
            assert!(claimed || machine.look(machine.vf()) == before, "step {step}");
        }
    }
}

#[test]
fn without_room_for_the_claim_nothing_is_changed() {
    let machine = Machine::igb();
    machine.host.take_baseline(machine.vf()).unwrap();
    let blocked = machine.host.ledger.directory().to_owned();
    with_unwritable(&blocked, || {
        let error = machine.attach(&everything()).unwrap_err();
        assert!(matches!(error, Error::Ledger { .. }), "{error:?}");
        assert!(machine.links.changes().is_empty());
    });
    machine.attach(&everything()).unwrap();
}

#[test]
fn a_detach_restores_the_vf_even_if_nothing_can_be_written() {
    let machine = Machine::igb();
    let before = machine.look(machine.vf());
    machine.attach(&everything()).unwrap();
    let directory = machine.host.ledger.directory().to_owned();
    with_unwritable(&directory, || {
        // The claim can't be removed either, so it's an error; the VF is clean all the same.
        let error = machine.detach(1).unwrap_err();
        assert!(matches!(error, Error::Ledger { .. }), "{error:?}");
        assert_eq!(machine.look(machine.vf()), before);
    });
    assert_eq!(machine.detach(1).unwrap(), Detached::Released);
    assert_eq!(machine.state(machine.vf()), None);
}

/// Runs with a directory that nobody can write to, root included.
pub(crate) fn with_unwritable(directory: &std::path::Path, run: impl FnOnce()) {
    fs::set_permissions(directory, Permissions::from_mode(0o500)).unwrap();
    if tempfile::tempfile_in(directory).is_ok() {
        // Root passes over the mode, so it's done with a read-only view of it.
        read_only(directory, run);
    } else {
        run();
    }
    fs::set_permissions(directory, Permissions::from_mode(0o700)).unwrap();
}

fn read_only(directory: &std::path::Path, run: impl FnOnce()) {
    use nix::mount::{MntFlags, MsFlags, mount, umount2};
    let none = None::<&str>;
    mount(Some(directory), directory, none, MsFlags::MS_BIND, none).unwrap();
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(none, directory, none, flags, none).unwrap();
    run();
    umount2(directory, MntFlags::MNT_DETACH).unwrap();
}

#[test]
fn other_drivers_survive_dying_too() {
    for (vf_driver, model) in [("iavf", DriverModel::iavf()), ("mlx5_core", DriverModel::mlx5())] {
        for step in 0..=changes(IGB, false) + 2 {
            let spec = PfSpec {
                driver: "unheard".to_owned(),
                vf_driver: Some(vf_driver.to_owned()),
                ..PfSpec::igb("0000:01:00.0", "enp1s0")
            };
            let machine = Machine::new(spec, model.clone());
            let before = machine.look(machine.vf());
            machine.links.die_after(step);
            drop(machine.attach(&everything()));
            machine.links.revive();
            rescue(&machine, Rescue::Detach);
            let after = machine.look(machine.vf());
            assert_eq!(after, before, "{vf_driver}, step {step}");
            assert_eq!(machine.state(machine.vf()), None, "{vf_driver}, step {step}");
        }
    }
}
