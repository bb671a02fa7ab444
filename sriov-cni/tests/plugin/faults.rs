//! ADD and DEL with every call to the kernel failing, and dying after every step.

use netlink::{Errno, Verb};

use crate::machine::{EVERYTHING, Machine};

/// Every call of an ADD (with `del`: of the DEL after it): its verb, and how many of it came before.
fn calls(del: bool) -> Vec<(Verb, usize)> {
    let machine = Machine::igb();
    let conf = machine.conf_with_ipam(EVERYTHING);
    machine.add(1, &conf).unwrap();
    if del {
        machine.links.clear_journal();
        machine.del(1, &conf).unwrap();
    }
    let mut seen: Vec<Verb> = Vec::new();
    let journal = machine.links.journal();
    journal
        .into_iter()
        .map(|call| {
            seen.push(call.verb);
            (call.verb, seen.iter().filter(|verb| **verb == call.verb).count())
        })
        .collect()
}

#[test]
fn an_add_that_fails_at_any_call_leaves_nothing_behind() {
    for (verb, nth) in calls(false) {
        let machine = Machine::igb();
        let before = machine.look();
        let conf = machine.conf_with_ipam(EVERYTHING);
        machine.links.fail_on(verb, nth, Errno::EIO);
        if machine.add(1, &conf).is_ok() {
            // The kernel did by itself what it refused.
            machine.del(1, &conf).unwrap();
        }
        assert_eq!(machine.look(), before, "{verb} {nth}");
        assert_eq!(machine.state(), None, "{verb} {nth}");
        let calls = machine.calls();
        let count = |command: &str| calls.iter().filter(|call| call.starts_with(command)).count();
        assert_eq!(count("ADD"), count("DEL"), "{verb} {nth}: an address is left: {calls:?}");
        // The runtime calls DEL after a failed ADD.
        machine.del(1, &conf).unwrap();
    }
}

#[test]
fn a_del_that_fails_at_any_call_is_done_when_it_is_repeated() {
    for (verb, nth) in calls(true) {
        let machine = Machine::igb();
        let before = machine.look();
        let conf = machine.conf_with_ipam(EVERYTHING);
        machine.add(1, &conf).unwrap();
        machine.links.fail_on(verb, nth, Errno::EIO);
        if machine.del(1, &conf).is_err() {
            machine.del(1, &conf).unwrap();
        }
        assert_eq!(machine.look(), before, "{verb} {nth}");
        assert_eq!(machine.state(), None, "{verb} {nth}");
    }
}

#[test]
fn an_add_that_dies_after_any_step_is_undone_by_del() {
    let steps = calls(false).iter().filter(|(verb, _)| verb.changes()).count();
    assert!(steps > 8, "{steps}");
    for step in 0..=steps {
        let machine = Machine::igb();
        let before = machine.look();
        let conf = machine.conf_with_ipam(EVERYTHING);
        machine.links.die_after(step);
        drop(machine.add(1, &conf));
        machine.links.revive();
        machine.del(1, &conf).unwrap();
        assert_eq!(machine.look(), before, "step {step}");
        assert_eq!(machine.state(), None, "step {step}");
    }
}
