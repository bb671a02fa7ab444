//! GC takes back what is left of the network that it's called for, and nothing else.

use std::path::Path;

use serde_json::json;

use super::{about_none, assert_error, gc, with};
use crate::life::MORE;
use crate::node::{Pod, Vf, add, del, vf};

const LEASES: &str = "/tmp/gc-leases";

/// Two networks, each with addresses from a range of its own.
fn conf(vf: Vf, network: &str) -> String {
    let subnet = if network == "blue" { "10.9.4.0/24" } else { "10.9.5.0/24" };
    let ipam = json!({"type": "host-local", "dataDir": LEASES, "ranges": [[{"subnet": subnet}]]});
    with(&with(&vf.conf(MORE), "name", &network.into()), "ipam", &ipam)
}

fn leases(network: &str) -> usize {
    super::leases(Path::new(LEASES), network)
}

#[test]
fn it_takes_back_what_is_left_of_its_network_and_leaves_the_other_network_alone() {
    let vfs = [vf(0, 0), vf(0, 1), vf(1, 0), vf(1, 1)];
    let before = vfs.map(Vf::look);
    let [left, kept, other, dead] = vfs;
    let pods = ["left", "kept", "other", "dead"].map(Pod::new);
    let confs = [conf(left, "blue"), conf(kept, "blue"), conf(other, "red"), conf(dead, "red")];
    for (container, (pod, conf)) in ["left", "kept", "other", "dead"].iter().zip(pods.iter().zip(&confs)) {
        add(container, pod, conf).unwrap_or_else(|error| panic!("{container}: {error}"));
    }
    pods[3].delete();
    let attached = [kept.look(), other.look()];
    let of_dead = dead.look();

    gc(&confs[0], &["kept"]).unwrap_or_else(|error| panic!("{error}"));
    left.assert_clean(&before[0]);
    assert_eq!([kept.look(), other.look()], attached);
    // Its owner is dead, but it's the other network's.
    assert_eq!((dead.look(), dead.state().is_some()), (of_dead, true));
    for index in [1, 2] {
        assert_eq!(pods[index].link("net1")["mtu"], 1400);
    }

    // A list that names it doesn't keep what's dead: its namespace is gone.
    gc(&confs[2], &["other", "dead"]).unwrap_or_else(|error| panic!("{error}"));
    dead.assert_clean(&before[3]);
    assert_eq!([kept.look(), other.look()], attached);

    gc(&confs[2], &[]).unwrap();
    gc(&confs[0], &[]).unwrap();
    for (vf, before) in vfs.iter().zip(&before) {
        vf.assert_clean(before);
    }
    // host-local knows no GC: a runtime calls DEL for what it remembers, too.
    for (container, (pod, conf)) in ["left", "kept", "other", "dead"].iter().zip(pods.iter().zip(&confs)) {
        del(container, &pod.path(), conf).unwrap();
    }
    assert_eq!((leases("blue"), leases("red")), (0, 0));
}

/// Without the list, every VF of the network would be taken for left over.
#[test]
fn without_a_list_it_takes_nothing() {
    let vf = vf(0, 0);
    let before = vf.look();
    let pod = Pod::new("listless");
    add("c1", &pod, &vf.conf(MORE)).unwrap();
    let error = about_none("GC", &vf.conf("")).unwrap_err();
    assert_error(&error, 7, &["cni.dev/valid-attachments"]);
    assert_eq!(pod.link("net1")["mtu"], 1400);
    del("c1", &pod.path(), &vf.conf(MORE)).unwrap();
    vf.assert_clean(&before);
}
