//! Moves between namespaces.

use netlink::{Errno, Link, Links};

use super::{Bench, link, name, pair};

/// Name and MTU are set on the way; the namespace that's left has the link no more.
pub fn a_move_renames_and_sets_the_mtu<B: Bench>(bench: &B) {
    let one = pair(bench);
    let links = bench.links();
    let pod = links.open(&bench.add_namespace()).expect("it was just made");
    let moved =
        links.move_link(links.host(), one.index, &pod, &name("net1"), Some(1400)).expect("it can move");
    assert_eq!((moved.name.as_str(), moved.mtu, moved.mac), ("net1", 1400, one.mac));
    assert_eq!(links.link(&pod, moved.index).expect("links can be read"), Some(moved.clone()));
    assert_eq!(links.link_named(links.host(), "one").expect("links can be read"), None);

    let back = links.move_link(&pod, moved.index, links.host(), &name("one"), None).expect("it can move");
    assert_eq!((back.name.as_str(), back.mtu), ("one", 1400));
    assert_eq!(links.link_named(&pod, "net1").expect("links can be read"), None);
}

/// A link arrives down and without addresses.
pub fn a_moved_link_is_bare<B: Bench>(bench: &B) {
    let one = pair(bench);
    let links = bench.links();
    let pod = links.open(&bench.add_namespace()).expect("it was just made");
    links.set_up(links.host(), one.index, true).expect("it's there");
    let net = "192.0.2.1/24".parse().expect("an address");
    links.add_address(links.host(), one.index, net).expect("it's new");
    let moved = links.move_link(links.host(), one.index, &pod, &name("net1"), None).expect("it can move");
    assert!(!moved.up);
    assert_eq!(links.addresses(&pod, moved.index).expect("addresses can be read"), []);
}

fn in_the_host<B: Bench>(bench: &B) -> Vec<Link> {
    bench.links().links(bench.links().host()).expect("links can be read")
}

/// A name that's taken where it should go keeps a link where and as it is.
pub fn a_move_to_a_taken_name_changes_nothing<B: Bench>(bench: &B) {
    let one = pair(bench);
    let links = bench.links();
    let pod = links.open(&bench.add_namespace()).expect("it was just made");
    let two = link(bench, "two");
    links.move_link(links.host(), two.index, &pod, &name("net1"), None).expect("the name is free");
    // Up, so that it shows if it was moved there and back.
    links.set_up(links.host(), one.index, true).expect("it's there");
    let before = (in_the_host(bench), links.links(&pod).expect("links can be read"));
    let error = links
        .move_link(links.host(), one.index, &pod, &name("net1"), Some(1400))
        .expect_err("the name is taken");
    assert!(error.is_taken(), "{error:?}");
    assert_eq!((in_the_host(bench), links.links(&pod).expect("links can be read")), before);
}

/// So does an alternative name of its own that's taken there.
pub fn a_move_to_a_taken_altname_changes_nothing<B: Bench>(bench: &B) {
    let one = pair(bench);
    let links = bench.links();
    let pod = links.open(&bench.add_namespace()).expect("it was just made");
    let two = link(bench, "two");
    links.move_link(links.host(), two.index, &pod, &name("other"), None).expect("the name is free");
    bench.add_altname("one", "other");
    links.set_up(links.host(), one.index, true).expect("it's there");
    let before = in_the_host(bench);
    let error =
        links.move_link(links.host(), one.index, &pod, &name("net1"), None).expect_err("a name is taken");
    assert!(error.is_taken(), "{error:?}");
    assert_eq!(in_the_host(bench), before);
    links.remove_altname(links.host(), one.index, "other".as_ref()).expect("it's there");
    links.move_link(links.host(), one.index, &pod, &name("net1"), None).expect("nothing is taken now");
}

/// An MTU that's refused keeps a link where it is, under its name.
pub fn a_move_with_a_wrong_mtu_changes_nothing<B: Bench>(bench: &B) {
    let one = pair(bench);
    let links = bench.links();
    let pod = links.open(&bench.add_namespace()).expect("it was just made");
    let error = links
        .move_link(links.host(), one.index, &pod, &name("net1"), Some(70_000))
        .expect_err("veth doesn't take the MTU");
    assert_eq!(error.errno(), Some(Errno::EINVAL), "{error:?}");
    let back = link(bench, "one");
    assert_eq!((back.mtu, back.mac), (one.mtu, one.mac));
    assert_eq!(links.link_named(&pod, "net1").expect("links can be read"), None);
    assert_eq!(links.link_named(&pod, "one").expect("links can be read"), None);
}

/// Who has a namespace open goes on using it when its path is removed, and opening it again finds nothing.
pub fn a_namespace_outlives_its_path<B: Bench>(bench: &B) {
    let one = pair(bench);
    let links = bench.links();
    let path = bench.add_namespace();
    let pod = links.open(&path).expect("it was just made");
    let id = links.id(&pod);
    let moved = links.move_link(links.host(), one.index, &pod, &name("net1"), None).expect("it can move");
    bench.remove_namespace(&path);
    assert!(links.open(&path).is_err_and(|error| error.is_gone()));
    assert_eq!(links.id(&pod), id);
    let found = links.link_named(&pod, "net1").expect("links can be read");
    assert_eq!(found.map(|link| link.index), Some(moved.index));
    links.move_link(&pod, moved.index, links.host(), &name("one"), None).expect("it can move");
}

/// A link that's on another stays behind when that one moves, and is on it still; it goes when it's removed.
pub fn what_is_on_a_link_stays_behind_and_is_removed<B: Bench>(bench: &B) {
    let one = pair(bench);
    bench.add_macvlan("one", "above");
    let links = bench.links();
    let host = links.host();
    let above = link(bench, "above");
    assert_eq!((above.lower, above.device.as_ref()), (Some(one.index), None));

    let pod = links.open(&bench.add_namespace()).expect("it was just made");
    let moved = links.move_link(host, one.index, &pod, &name("net1"), None).expect("it can move");
    assert_eq!(link(bench, "above").lower, None);
    let back = links.move_link(&pod, moved.index, host, &name("one"), None).expect("it can move");
    assert_eq!(link(bench, "above").lower, Some(back.index));

    links.remove_link(host, above.index).expect("it's there");
    assert_eq!(links.link_named(host, "above").expect("links can be read"), None);
    assert!(links.remove_link(host, above.index).expect_err("it's gone").is_gone());
    assert!(links.link_named(host, "one").expect("links can be read").is_some());
}
