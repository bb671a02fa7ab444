//! Every step of taking a VF back for the existing plugin, failing and dying.

use netlink::{Errno, Verb};
use vf::{Detached, Error, ExistingError, State, Wanted};

use super::{allocation, assert_clean, cache_file, give};
use crate::faults::with_unwritable;
use crate::machine::{BOOT, Machine, owner, pod};

/// Every call of a detach: its verb, and how many calls of that verb came before it.
fn calls() -> Vec<(Verb, usize)> {
    let machine = Machine::igb();
    give(&machine, 1);
    machine.detach(1).unwrap();
    machine.calls()
}

fn changes() -> usize {
    calls().iter().filter(|(verb, _)| verb.changes()).count()
}

#[test]
fn a_detach_that_fails_at_any_call_is_clean_or_keeps_the_record_and_is_clean_when_repeated() {
    let calls = calls();
    assert!(calls.len() > 10, "{calls:?}");
    for (verb, nth) in calls {
        let machine = Machine::igb();
        let before = machine.look(machine.vf());
        give(&machine, 1);
        machine.links.fail_on(verb, nth, Errno::EIO);
        if let Err(error) = machine.detach(1) {
            let unseen = matches!(error, Error::Links { .. } | Error::Namespace { .. });
            assert!(unseen || matches!(error, Error::Quarantined { .. }), "{verb} {nth}: {error:?}");
            let quarantined = matches!(machine.state(machine.vf()), Some(State::Quarantined { .. }));
            assert_eq!(quarantined, !unseen, "{verb} {nth}");
            assert!(cache_file(&machine, 1).exists() && allocation(&machine).exists(), "{verb} {nth}");
            assert_eq!(machine.detach(1).unwrap(), Detached::Released, "{verb} {nth}");
        }
        assert_clean(&machine, &before);
    }
}

#[test]
fn a_detach_that_dies_after_any_step_is_finished_by_whoever_comes_next() {
    type Comes = fn(&Machine);
    let detach: Comes = |machine| {
        machine.next_process(BOOT).detach(machine.vf(), &owner(1), Some(&pod(1))).unwrap();
    };
    let late_detach: Comes = |machine| {
        machine.links.remove_namespace(&pod(1));
        machine.next_process(BOOT).detach(machine.vf(), &owner(1), None).unwrap();
    };
    let sweep: Comes = |machine| {
        machine.links.remove_namespace(&pod(1));
        for (_pci, swept) in machine.next_process(BOOT).sweep(&|_| true).unwrap() {
            swept.unwrap();
        }
    };
    let gc: Comes = |machine| {
        for (_pci, swept) in machine.next_process(BOOT).sweep_network("blue", &|_| false).unwrap() {
            swept.unwrap();
        }
    };
    let attach: Comes = |machine| {
        machine.links.remove_namespace(&pod(1));
        machine.attach_to(2, &Wanted::default()).unwrap();
        machine.detach(2).unwrap();
    };
    for step in 0..=changes() {
        for comes in [detach, late_detach, sweep, gc, attach] {
            let machine = Machine::igb();
            let before = machine.look(machine.vf());
            give(&machine, 1);
            machine.links.die_after(step);
            drop(machine.detach(1));
            machine.links.revive();
            comes(&machine);
            assert_clean(&machine, &before);
        }
    }
}

/// A crash after the VF is clean: between the removal of one file and the next, and before the claim is.
#[test]
fn what_is_half_forgotten_is_forgotten_by_the_next() {
    for (gone, entry) in [(0, true), (1, true), (1, false), (2, true)] {
        let machine = Machine::igb();
        let before = machine.look(machine.vf());
        give(&machine, 1);
        // The claim as the detach writes it, from before the last step.
        machine.links.die_after(changes() - 1);
        drop(machine.detach(1));
        machine.links.revive();
        let claim = std::fs::read_to_string(machine.file("state")).unwrap();
        let files = [allocation(&machine), cache_file(&machine, 1)].map(|file| {
            let content = std::fs::read_to_string(&file).unwrap();
            (file, content)
        });
        assert_eq!(machine.detach(1).unwrap(), Detached::Released);
        for (file, content) in files.into_iter().skip(gone) {
            super::put(&machine, file, &content);
        }
        if entry {
            machine.spoil("state", &claim);
        }
        let changes = machine.links.changes().len();
        assert_eq!(machine.detach(1).unwrap(), Detached::Released);
        assert_eq!(machine.links.changes().len(), changes);
        assert_clean(&machine, &before);
    }
}

#[test]
fn without_room_in_the_ledger_the_vf_is_restored_all_the_same() {
    let machine = Machine::igb();
    let before = machine.look(machine.vf());
    give(&machine, 1);
    // The lock is made in there.
    machine.host.take_baseline(machine.vf()).unwrap();
    let directory = machine.host.ledger.directory().to_owned();
    with_unwritable(&directory, || {
        // Nothing can be removed there either, not even a claim that isn't there.
        let error = machine.detach(1).unwrap_err();
        assert!(matches!(error, Error::Ledger { .. }), "{error:?}");
    });
    assert_eq!(machine.detach(1).unwrap(), Detached::NotAttached);
    assert_clean(&machine, &before);
}

#[test]
fn a_record_that_cannot_be_removed_is_an_error_until_it_can() {
    let machine = Machine::igb();
    let before = machine.look(machine.vf());
    give(&machine, 1);
    let directory = machine.host.existing_state.clone();
    with_unwritable(&directory, || {
        let error = machine.detach(1).unwrap_err();
        assert!(matches!(error, Error::Existing(ExistingError::File { .. })), "{error:?}");
        assert_eq!(machine.look(machine.vf()), before);
        assert!(matches!(machine.detach(1), Err(Error::Existing(ExistingError::File { .. }))));
    });
    assert_eq!(machine.detach(1).unwrap(), Detached::Released);
    assert_clean(&machine, &before);
}
