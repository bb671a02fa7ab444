//! What is told of what's done.

use std::sync::{Arc, Mutex};

use netlink::{Errno, Verb};
use vf::{Deed, Witness};

use crate::machine::{Machine, everything, owner};

fn listen(machine: &mut Machine) -> Arc<Mutex<Vec<String>>> {
    let told = Arc::new(Mutex::new(Vec::new()));
    let list = Arc::clone(&told);
    machine.host.witness = Witness::new(move |pci, deed| {
        let kind = match deed {
            Deed::Baseline(_) => "baseline",
            Deed::State(_) => "state",
            Deed::Step(_) => "step",
            Deed::Refused(..) => "refused",
        };
        list.lock().unwrap().push(format!("{pci} {kind}: {deed}"));
    });
    told
}

/// Whoever ends a process after each thing that it's told of has ended it after each change.
#[test]
fn every_change_is_told_of_right_after_it() {
    let mut machine = Machine::igb();
    let told = listen(&mut machine);
    machine.attach(&everything()).unwrap();
    machine.host.confirm(machine.vf(), &owner(1)).unwrap();
    machine.detach(1).unwrap();

    let told = told.lock().unwrap();
    let (pci, about) = (machine.vf(), |kind: &str| told.iter().filter(|line| line.contains(kind)).count());
    // What announces an interface's addresses goes along with its being set up.
    let changes = machine.links.changes().into_iter().filter(|call| call.verb != Verb::SetAnnounce).count();
    assert_eq!(about(" step: "), changes, "{told:#?}");
    assert_eq!(about(" refused: "), 0, "{told:#?}");
    let states: Vec<&str> = told.iter().filter_map(|line| Some(line.split_once(" state: ")?.1)).collect();
    assert_eq!(states, ["it's claimed", "it's attached", "it's releasing", "it's free"]);
    assert_eq!(told.first(), Some(&format!("{pci} baseline: the baseline is taken")));
    assert!(told.contains(&format!("{pci} step: done: set vlan 100 qos 3 proto 802.1q")), "{told:#?}");
}

#[test]
fn what_is_refused_is_told_of_with_the_reason() {
    let mut machine = Machine::igb();
    let told = listen(&mut machine);
    machine.links.fail_on(Verb::Move, 1, Errno::EBUSY);
    machine.attach(&everything()).unwrap_err();
    let told = told.lock().unwrap();
    let refused: Vec<_> = told.iter().filter(|line| line.contains(" refused: ")).collect();
    assert_eq!(refused.len(), 1, "{told:#?}");
    assert!(refused[0].contains("refused: move the interface to the pod as net1"), "{told:#?}");
    assert!(refused[0].contains("Device or resource busy"), "{told:#?}");
}
