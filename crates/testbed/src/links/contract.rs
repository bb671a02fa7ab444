//! What every [`Links`] does, the double as the kernel.
//!
//! Each check gets a bench of its own with a fresh, empty host namespace; [`links_contract!`](crate::links_contract)
//! makes a test of each.

mod addressing;
mod announcing;
mod events;
mod large;
mod moving;
mod rdma;
mod sriov;

use std::path::{Path, PathBuf};

use netlink::{IfName, Link, Links, MacAddr, NamespaceId};

pub use addressing::{
    addresses_are_read_back, carrier_comes_with_the_peer, carrier_of_nothing_is_gone, routes_are_read_back,
    routes_need_a_link_that_is_up,
};
pub use announcing::{nothing_is_announced_by_a_link_that_is_gone, what_a_link_has_is_announced};
pub use events::{
    a_burst_of_changes_is_told, a_change_before_the_wait_is_told, a_change_ends_a_wait,
    the_namespaces_that_were_named_are_watched,
};
pub use large::{
    LargeBench, MANY, a_change_to_one_of_many_vfs_shows_on_no_other, all_of_many_vfs_are_listed,
    beyond_the_last_of_many_vfs_is_none, every_attribute_is_read_back_on_the_first_and_the_last_vf,
};
pub use moving::{
    a_move_renames_and_sets_the_mtu, a_move_to_a_taken_altname_changes_nothing,
    a_move_to_a_taken_name_changes_nothing, a_move_with_a_wrong_mtu_changes_nothing, a_moved_link_is_bare,
    a_namespace_outlives_its_path, what_is_on_a_link_stays_behind_and_is_removed,
};

pub use rdma::{
    RdmaBench, an_rdma_device_is_renamed, an_rdma_device_that_is_held_stays,
    nothing_can_be_changed_of_an_rdma_device_that_is_gone, rdma_devices_are_seen_as_the_mode_says,
    rdma_is_read_also_where_there_is_none,
};

pub use sriov::{
    SriovBench, a_returning_vf_whose_name_is_taken_is_numbered, a_vf_is_found_by_its_device_wherever_it_is,
    a_vf_returns_when_its_namespace_ends, a_vf_that_is_up_has_a_carrier, an_admin_mac_is_guarded,
    an_admin_mac_takes_effect_on_the_way_down, an_admin_mac_takes_effect_with_another_mtu,
    every_change_is_read_back_and_restored, vfs_are_listed_by_index, what_the_driver_refuses_changes_nothing,
};

/// A machine whose host namespace is empty.
pub trait Bench {
    /// What's checked.
    type Links: Links;

    /// It.
    fn links(&self) -> &Self::Links;

    /// Makes a namespace, and returns a path to it.
    fn add_namespace(&self) -> PathBuf;

    /// Removes a namespace's path.
    fn remove_namespace(&self, path: &Path);

    /// Puts a file where a namespace was, and returns its path.
    fn add_plain_file(&self) -> PathBuf;

    /// Adds a veth pair to the host namespace.
    fn add_veth(&self, name: &str, peer: &str);

    /// Adds a macvlan on a link in the host namespace.
    fn add_macvlan(&self, on: &str, name: &str);

    /// Adds an alternative name to a link in the host namespace.
    fn add_altname(&self, name: &str, altname: &str);
}

/// A link in the host namespace.
fn link<B: Bench>(bench: &B, name: &str) -> Link {
    let links = bench.links();
    links.link_named(links.host(), name).expect("links can be read").expect("the link is there")
}

/// A veth pair `one` and `two` in the host namespace, and the link `one`.
fn pair<B: Bench>(bench: &B) -> Link {
    bench.add_veth("one", "two");
    link(bench, "one")
}

fn name(text: &str) -> IfName {
    text.parse().expect("a name")
}

/// A path without anything, and one with a file that's no namespace, have no namespace.
pub fn no_namespace_is_gone<B: Bench>(bench: &B) {
    let links = bench.links();
    let missing = links.open(Path::new("/run/netns/never-was"));
    assert!(missing.is_err_and(|error| error.is_gone()));
    let plain = links.open(&bench.add_plain_file());
    assert!(plain.is_err_and(|error| error.is_gone() && error.to_string().contains("no network namespace")));
}

/// An id is the namespace's, not the path's or the handle's.
pub fn ids_tell_namespaces_apart<B: Bench>(bench: &B) {
    let links = bench.links();
    let (one, two) = (bench.add_namespace(), bench.add_namespace());
    let open = |path: &Path| links.id(&links.open(path).expect("the namespace is there"));
    assert_eq!(open(&one), open(&one));
    assert_ne!(open(&one), open(&two));
    assert_ne!(open(&one), links.id(links.host()));
}

/// A namespace that has ended isn't the next one, though that may have its inode.
pub fn an_id_is_not_used_again<B: Bench>(bench: &B) {
    let links = bench.links();
    let mut ids = Vec::<NamespaceId>::new();
    for _ in 0..20 {
        let path = bench.add_namespace();
        let id = links.id(&links.open(&path).expect("the namespace is there"));
        bench.remove_namespace(&path);
        assert!(ids.iter().all(|former| !former.is(id)), "{id:?} was one of {ids:?}");
        ids.push(id);
    }
}

/// A link is found by index, name and alternative name, and what isn't there is none.
pub fn links_are_found<B: Bench>(bench: &B) {
    let one = pair(bench);
    let long = "a-name-longer-than-an-interface-may-have";
    bench.add_altname("one", "other");
    bench.add_altname("one", long);
    let links = bench.links();
    let host = links.host();
    let found = links.link(host, one.index).expect("links can be read").expect("it's there");
    assert_eq!(found.altnames, [long, "other"]);
    assert_eq!(
        (found.name.as_str(), found.device.as_ref(), found.master, found.hardware),
        ("one", None, None, 1)
    );
    for any in ["one", "other", long] {
        assert_eq!(links.link_named(host, any).expect("links can be read").as_ref(), Some(&found), "{any}");
    }
    assert!(links.links(host).expect("links can be read").contains(&found));
    assert_eq!(links.link(host, 9999).expect("links can be read"), None);
    assert_eq!(links.link_named(host, "three").expect("links can be read"), None);
    assert_eq!(links.link_of_device(host, "0000:01:10.0").expect("links can be read"), None);
}

/// A link is renamed, but not to a name that's taken.
pub fn a_rename_is_read_back<B: Bench>(bench: &B) {
    let one = pair(bench);
    bench.add_altname("two", "second");
    let links = bench.links();
    for taken in ["two", "second"] {
        let error = links.rename(links.host(), one.index, &name(taken)).expect_err("the name is taken");
        assert!(error.is_taken(), "{error}");
    }
    assert_eq!(link(bench, "one"), one);
    links.rename(links.host(), one.index, &name("net1")).expect("the name is free");
    assert_eq!(link(bench, "net1").index, one.index);
}

/// An alternative name is removed; one that isn't there can't be.
pub fn an_altname_is_removed<B: Bench>(bench: &B) {
    let one = pair(bench);
    bench.add_altname("one", "other");
    let links = bench.links();
    links.remove_altname(links.host(), one.index, "other".as_ref()).expect("it's there");
    assert_eq!(link(bench, "one"), one);
    links.remove_altname(links.host(), one.index, "other".as_ref()).expect_err("it's gone");
}

/// A MAC is read back; a group address is refused.
pub fn a_mac_is_read_back<B: Bench>(bench: &B) {
    let one = pair(bench);
    let links = bench.links();
    let mac = MacAddr([0x02, 1, 2, 3, 4, 5]);
    links.set_mac(links.host(), one.index, mac).expect("it's a unicast address");
    assert_eq!(link(bench, "one").mac, Some(mac));
    let group = MacAddr([0x01, 0, 0x5e, 0, 0, 1]);
    links.set_mac(links.host(), one.index, group).expect_err("it's a group address");
    assert_eq!(link(bench, "one").mac, Some(mac));
}

/// An MTU is read back; one beyond what the link takes is refused.
pub fn an_mtu_is_read_back<B: Bench>(bench: &B) {
    let one = pair(bench);
    let links = bench.links();
    links.set_mtu(links.host(), one.index, 9000).expect("veth takes it");
    assert_eq!(link(bench, "one").mtu, 9000);
    links.set_mtu(links.host(), one.index, 70_000).expect_err("veth doesn't take it");
    assert_eq!(link(bench, "one").mtu, 9000);
}

/// What a link takes besides its own frames is read back, each alone, and stays when the link moves.
pub fn what_a_link_takes_is_read_back_and_moves_along<B: Bench>(bench: &B) {
    let one = pair(bench);
    let links = bench.links();
    let host = links.host();
    let flags = |link: &Link| (link.promisc, link.allmulti);
    assert_eq!(flags(&one), (false, false));
    links.set_promisc(host, one.index, true).expect("any link takes it");
    assert_eq!(flags(&link(bench, "one")), (true, false));
    links.set_allmulti(host, one.index, true).expect("any link takes it");
    links.set_allmulti(host, one.index, true).expect("it's on already");
    links.set_promisc(host, one.index, false).expect("it's on");
    assert_eq!(flags(&link(bench, "one")), (false, true));
    links.set_promisc(host, one.index, true).expect("any link takes it");
    links.set_up(host, one.index, true).expect("it's there");
    assert_eq!(flags(&link(bench, "one")), (true, true));

    let pod = links.open(&bench.add_namespace()).expect("it was just made");
    let moved = links.move_link(host, one.index, &pod, &name("net1"), None).expect("it can move");
    assert_eq!(flags(&moved), (true, true));
    links.set_promisc(&pod, moved.index, false).expect("it's on");
    links.set_allmulti(&pod, moved.index, false).expect("it's on");
    let back = links.move_link(&pod, moved.index, host, &name("one"), None).expect("it can move");
    assert_eq!(flags(&back), (false, false));
}

/// Whatever is asked of a link that isn't there fails, and says that it's gone.
pub fn nothing_can_be_changed_of_a_link_that_is_gone<B: Bench>(bench: &B) {
    let links = bench.links();
    let host = links.host();
    let other = links.open(&bench.add_namespace()).expect("it was just made");
    let net: ipnet::IpNet = "192.0.2.1/24".parse().expect("an address");
    for outcome in [
        links.rename(host, 9999, &name("net1")),
        links.remove_link(host, 9999),
        links.set_mac(host, 9999, MacAddr([2, 0, 0, 0, 0, 1])),
        links.set_mtu(host, 9999, 1500),
        links.set_up(host, 9999, true),
        links.set_promisc(host, 9999, true),
        links.set_allmulti(host, 9999, true),
        links.add_address(host, 9999, net),
        links.move_link(host, 9999, &other, &name("net1"), None).map(drop),
    ] {
        let error = outcome.expect_err("there's no such link");
        assert!(error.is_gone(), "{error:?}");
    }
    assert!(links.vfs(9999).is_err_and(|error| error.is_gone()));
    assert_eq!(links.addresses(host, 9999).expect("there are none"), []);
}

/// A link that's no PF has no VFs, and none can be set.
pub fn what_is_no_pf_has_no_vfs<B: Bench>(bench: &B) {
    let one = pair(bench);
    let links = bench.links();
    assert_eq!(links.vfs(one.index).expect("links can be read"), []);
    assert!(links.vf(one.index, 0).is_err_and(|error| error.is_gone()));
    let change = netlink::VfChange::Trust(true);
    let error = links.set_vf(one.index, 0, &change).expect_err("it has no VFs");
    assert!(error.is_unsupported(), "{error:?}");
    assert!(error.to_string().contains("VF 0") && error.to_string().contains("trust on"), "{error}");
}

/// Makes a test of each check: `links_contract!(module, make)`, where `make` is an expression for an
/// `Option<impl Bench>`; none means that this place can't run them, and has said so.
#[macro_export]
macro_rules! links_contract {
    ($module:ident, $make:expr) => {
        $crate::links_contract!(@module $module, $make,
            no_namespace_is_gone, ids_tell_namespaces_apart, an_id_is_not_used_again,
            links_are_found, a_rename_is_read_back, an_altname_is_removed, a_mac_is_read_back, an_mtu_is_read_back,
            what_a_link_takes_is_read_back_and_moves_along,
            nothing_can_be_changed_of_a_link_that_is_gone, what_is_no_pf_has_no_vfs,
            a_move_renames_and_sets_the_mtu, a_moved_link_is_bare, a_move_to_a_taken_name_changes_nothing,
            a_move_to_a_taken_altname_changes_nothing, a_move_with_a_wrong_mtu_changes_nothing,
            a_namespace_outlives_its_path, what_is_on_a_link_stays_behind_and_is_removed,
            addresses_are_read_back, routes_are_read_back,
            routes_need_a_link_that_is_up, carrier_comes_with_the_peer, carrier_of_nothing_is_gone,
            a_change_ends_a_wait, a_change_before_the_wait_is_told,
            the_namespaces_that_were_named_are_watched, a_burst_of_changes_is_told,
            rdma_is_read_also_where_there_is_none,
            what_a_link_has_is_announced, nothing_is_announced_by_a_link_that_is_gone
        );
    };
    (@module $module:ident, $make:expr, $($check:ident),+) => {
        mod $module {
            $(
                #[test]
                fn $check() {
                    if let Some(bench) = $make {
                        $crate::links::contract::$check(&bench);
                    }
                }
            )+
        }
    };
}

/// Makes a test of each check on VFs, where `make` is an expression for an `Option<impl SriovBench>`.
#[macro_export]
macro_rules! sriov_contract {
    ($module:ident, $make:expr) => {
        $crate::links_contract!(@module $module, $make,
            vfs_are_listed_by_index, every_change_is_read_back_and_restored,
            what_the_driver_refuses_changes_nothing, a_vf_is_found_by_its_device_wherever_it_is,
            an_admin_mac_takes_effect_on_the_way_down, an_admin_mac_takes_effect_with_another_mtu,
            an_admin_mac_is_guarded, a_vf_returns_when_its_namespace_ends,
            a_returning_vf_whose_name_is_taken_is_numbered, a_vf_that_is_up_has_a_carrier
        );
    };
}
