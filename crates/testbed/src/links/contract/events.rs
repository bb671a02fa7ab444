//! Being told of changes.

use std::thread;
use std::time::{Duration, Instant};

use netlink::{LinkEvents, Links};

use super::{Bench, link, name, pair};

/// Nobody waits for it: a wait that isn't ended by an event makes the test hang.
const NEVER: Duration = Duration::from_hours(1);

/// A deadline that is to be reached.
const SOON: Duration = Duration::from_millis(50);

fn next<E: LinkEvents>(events: &mut E, limit: Duration) -> bool {
    events.wait(Instant::now() + limit).expect("it can be waited for")
}

/// Takes what's told of changes that were made before; those come to an end.
fn quiet<E: LinkEvents>(events: &mut E) {
    let few = 100;
    assert!((0..few).any(|_| !next(events, SOON)), "there are more events than changes");
}

/// A change ends a wait, and a wait without one ends at its deadline.
pub fn a_change_ends_a_wait<B: Bench>(bench: &B)
where
    B::Links: Sync,
{
    let one = pair(bench);
    let links = bench.links();
    let host = links.host();
    let mut events = links.events(&[host]).expect("links can be watched");
    for round in 0..20 {
        quiet(&mut events);
        thread::scope(|scope| {
            let waiter = scope.spawn(|| next(&mut events, NEVER));
            links.set_mtu(host, one.index, 1400 + round).expect("veth takes it");
            assert!(waiter.join().expect("it doesn't panic"));
        });
    }
}

/// What changes between the beginning and the wait is told, and a change before the beginning isn't waited for.
pub fn a_change_before_the_wait_is_told<B: Bench>(bench: &B) {
    let one = pair(bench);
    let links = bench.links();
    let host = links.host();
    let mut events = links.events(&[host]).expect("links can be watched");
    quiet(&mut events);
    links.rename(host, one.index, &name("net1")).expect("the name is free");
    links.rename(host, one.index, &name("one")).expect("the name is free");
    assert!(next(&mut events, NEVER));
    quiet(&mut events);
    // Also where the time is up already.
    links.set_mac(host, one.index, netlink::MacAddr([2, 0, 0, 0, 0, 1])).expect("it's a unicast address");
    assert!(next(&mut events, Duration::ZERO));
}

/// Each of several namespaces is watched, and no other.
pub fn the_namespaces_that_were_named_are_watched<B: Bench>(bench: &B) {
    let one = pair(bench);
    let links = bench.links();
    let host = links.host();
    let [near, far] =
        [(); 2].map(|()| links.open(&bench.add_namespace()).expect("the namespace was just made"));
    let mut both = links.events(&[host, &near, host]).expect("links can be watched");
    let mut other = links.events(&[&far]).expect("links can be watched");
    quiet(&mut both);
    let moved = links.move_link(host, one.index, &near, &name("net1"), None).expect("the name is free");
    assert!(next(&mut both, NEVER));
    quiet(&mut both);
    links.set_mtu(&near, moved.index, 1400).expect("veth takes it");
    assert!(next(&mut both, NEVER));
    quiet(&mut both);
    links.set_mtu(host, link(bench, "two").index, 1400).expect("veth takes it");
    assert!(next(&mut both, NEVER));
    assert!(!next(&mut other, SOON), "nothing happened there");
}

/// More changes than are kept for who doesn't wait are told once, as that there were some.
pub fn a_burst_of_changes_is_told<B: Bench>(bench: &B) {
    let one = pair(bench);
    let links = bench.links();
    let host = links.host();
    let mut events = links.events(&[host]).expect("links can be watched");
    for round in 0..2000 {
        links.set_mtu(host, one.index, 1400 + round % 2).expect("veth takes it");
    }
    assert!(next(&mut events, NEVER));
    quiet(&mut events);
    links.set_mtu(host, one.index, 1300).expect("veth takes it");
    assert!(next(&mut events, NEVER));
}
