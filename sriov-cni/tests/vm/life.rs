//! A VF comes back as it was, whatever happened to it.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use pci::{Driver, Sysfs};
use rstest::rstest;

use crate::node::{Call, PATIENCE, Pod, Vf, add, del, ip, vf};

pub(crate) const MORE: &str = r#","mac":"02:00:00:00:0b:01","vlan":100,"vlanQoS":3,"max_tx_rate":100,"spoofchk":"off","trust":"on","mtu":1400,"promisc":"on""#;

/// What may happen between ADD and DEL.
#[rstest]
#[case::nothing(|_: Vf, _: &Pod| {})]
#[case::namespace_deleted(|_: Vf, pod: &Pod| pod.delete())]
#[case::renamed(|_: Vf, pod: &Pod| {
    pod.run(&["ip", "link", "set", "net1", "down"]);
    pod.run(&["ip", "link", "set", "net1", "name", "data0", "up"]);
})]
#[case::altname(|_: Vf, pod: &Pod| {
    pod.run(&["ip", "link", "property", "add", "dev", "net1", "altname", "enp1s0"]);
})]
#[case::mac_and_mtu(|_: Vf, pod: &Pod| {
    pod.run(&["ip", "link", "set", "net1", "down"]);
    // Without trust it's refused once an admin MAC was set.
    pod.run(&["sh", "-c", "ip link set net1 address 02:00:00:00:0b:99 || true"]);
    pod.run(&["ip", "link", "set", "net1", "mtu", "9000", "up"]);
})]
#[case::left_promiscuous(|_: Vf, pod: &Pod| {
    pod.run(&["ip", "link", "set", "net1", "promisc", "on", "allmulticast", "on"]);
})]
#[case::left_promiscuous_and_deleted(|_: Vf, pod: &Pod| {
    pod.run(&["ip", "link", "set", "net1", "promisc", "on", "allmulticast", "on"]);
    pod.delete();
})]
#[case::changed_and_deleted(|_: Vf, pod: &Pod| {
    pod.run(&["ip", "link", "set", "net1", "mtu", "9000"]);
    pod.delete();
})]
#[case::changed_by_hand(|vf: Vf, _: &Pod| {
    let index = vf.index.to_string();
    ip(&["link", "set", &vf.pf_name(), "vf", &index, "vlan", "7", "qos", "1"]);
    ip(&["link", "set", &vf.pf_name(), "vf", &index, "mac", "02:00:00:00:0b:77"]);
})]
#[case::brought_home_by_hand(|_: Vf, pod: &Pod| {
    pod.run(&["ip", "link", "set", "net1", "netns", "1"]);
})]
#[case::other_driver(|vf: Vf, _: &Pod| {
    Sysfs::host().bind(&vf.pci, &Driver::Named("vfio-pci".to_owned())).unwrap();
})]
#[case::other_driver_and_deleted(|vf: Vf, pod: &Pod| {
    Sysfs::host().bind(&vf.pci, &Driver::Named("vfio-pci".to_owned())).unwrap();
    pod.delete();
})]
#[case::member_of_a_bridge(|_: Vf, pod: &Pod| {
    pod.run(&["ip", "link", "add", "br0", "type", "bridge"]);
    pod.run(&["ip", "link", "set", "net1", "master", "br0"]);
})]
#[case::member_of_a_bond(|_: Vf, pod: &Pod| {
    pod.run(&["ip", "link", "add", "bond0", "type", "bond"]);
    pod.run(&["ip", "link", "set", "net1", "down"]);
    pod.run(&["ip", "link", "set", "net1", "master", "bond0"]);
})]
#[case::pf_renamed(|vf: Vf, _: &Pod| {
    let (name, renamed) = (vf.pf_name(), format!("r{}", vf.pf_name()));
    ip(&["link", "set", &name, "name", &renamed]);
})]
fn it_comes_back_whatever_happened(#[case] happens: fn(Vf, &Pod)) {
    for more in ["", MORE] {
        let vf = vf(0, 2);
        let before = vf.look();
        let pod = Pod::new("life");
        let conf = vf.conf(more);
        add("c1", &pod, &conf).unwrap();
        happens(vf, &pod);
        del("c1", &pod.path(), &conf).unwrap_or_else(|error| panic!("{error}"));
        vf.assert_clean(&before);
        del("c1", &pod.path(), &conf).unwrap();
        del("c1", "", &conf).unwrap();
        vf.assert_clean(&before);
    }
}

/// They would stay on the VF, in the namespace of a pod that has it no more.
#[test]
fn what_a_pod_has_put_on_its_interface_goes_with_it() {
    let vf = vf(0, 2);
    let before = vf.look();
    let pod = Pod::new("uppers");
    add("c1", &pod, &vf.conf("")).unwrap();
    pod.run(&["ip", "link", "add", "link", "net1", "name", "mv0", "type", "macvlan"]);
    pod.run(&["ip", "link", "add", "link", "net1", "name", "v5", "type", "vlan", "id", "5"]);
    pod.run(&["ip", "link", "add", "link", "v5", "name", "mv5", "type", "macvlan"]);
    del("c1", &pod.path(), &vf.conf("")).unwrap_or_else(|error| panic!("{error}"));
    vf.assert_clean(&before);
    let left = pod.run(&["ip", "-br", "link"]);
    assert!(left.lines().all(|line| line.starts_with("lo ")), "{left}");
}

#[test]
fn an_empty_namespace_on_del_changes_nothing_about_it() {
    let vf = vf(0, 2);
    let before = vf.look();
    let pod = Pod::new("empty");
    add("c1", &pod, &vf.conf(MORE)).unwrap();
    del("c1", "", &vf.conf(MORE)).unwrap();
    vf.assert_clean(&before);
}

#[test]
fn the_pods_name_taken_at_home_is_no_obstacle() {
    let vf = vf(0, 2);
    let before = vf.look();
    for delete in [false, true] {
        let pod = Pod::new("taken");
        ip(&["link", "add", "net1", "type", "veth", "peer", "name", "net1peer"]);
        let added = add("c1", &pod, &vf.conf(MORE));
        if delete {
            pod.delete();
        }
        let deleted = del("c1", &pod.path(), &vf.conf(MORE));
        ip(&["link", "del", "net1"]);
        added.unwrap();
        deleted.unwrap();
        vf.assert_clean(&before);
    }
}

#[test]
fn its_own_name_taken_at_home_quarantines_it_until_it_is_free() {
    let vf = vf(0, 2);
    let before = vf.look();
    let name = vf.home_name().unwrap();
    let pod = Pod::new("clash");
    add("c1", &pod, &vf.conf(MORE)).unwrap();
    ip(&["link", "add", &name, "type", "veth", "peer", "name", "clashpeer"]);
    let error = del("c1", &pod.path(), &vf.conf(MORE)).unwrap_err();
    let meanwhile = vf.look();
    let refused = add("c2", &pod, &vf.conf("")).unwrap_err();
    ip(&["link", "del", &name]);

    assert!(error["msg"].as_str().unwrap().contains(&name), "{error}");
    assert_eq!((&error["code"], &refused["code"]), (&11.into(), &11.into()));
    assert_eq!(meanwhile.pf, before.pf);
    assert_ne!(meanwhile.home, None);
    del("c1", &pod.path(), &vf.conf(MORE)).unwrap();
    vf.assert_clean(&before);
}

#[test]
fn a_late_del_for_an_old_sandbox_leaves_the_new_pod_alone() {
    let vf = vf(1, 0);
    let before = vf.look();
    let (old, new) = (Pod::new("old"), Pod::new("new"));
    add("old", &old, &vf.conf("")).unwrap();
    let error = add("new", &new, &vf.conf(MORE)).unwrap_err();
    assert_eq!(error["code"], 11, "{error}");
    del("old", &old.path(), &vf.conf("")).unwrap();
    add("new", &new, &vf.conf(MORE)).unwrap();
    let attached = vf.look();
    del("old", &old.path(), &vf.conf("")).unwrap();
    assert_eq!(vf.look(), attached);
    assert_eq!(new.link("net1")["mtu"], 1400);
    del("new", &new.path(), &vf.conf(MORE)).unwrap();
    vf.assert_clean(&before);
}

#[test]
fn a_dead_owner_is_released_by_the_next_add() {
    let vf = vf(1, 1);
    let before = vf.look();
    let (dead, next) = (Pod::new("dead"), Pod::new("next"));
    add("dead", &dead, &vf.conf(MORE)).unwrap();
    dead.delete();
    let result = add("next", &next, &vf.conf("")).unwrap();
    assert_eq!(result["interfaces"][0]["mac"], before.home.as_ref().unwrap()["address"]);
    assert_eq!(vf.look().pf, before.pf);
    del("dead", &dead.path(), &vf.conf(MORE)).unwrap();
    assert_eq!(next.link("net1")["mtu"], 1500);
    del("next", &next.path(), &vf.conf("")).unwrap();
    vf.assert_clean(&before);
}

/// A process in a namespace of its own, ended with the test.
struct Hermit(Child);

impl Hermit {
    fn new() -> Self {
        let child =
            Command::new("unshare").args(["-n", "sleep", "600"]).stdout(Stdio::null()).spawn().unwrap();
        let hermit = Self(child);
        let begun = Instant::now();
        while fs::read_link(hermit.ns()).unwrap() == fs::read_link("/proc/self/ns/net").unwrap() {
            assert!(begun.elapsed() < PATIENCE, "unshare doesn't get to its namespace");
            thread::sleep(Duration::from_millis(10));
        }
        hermit
    }

    fn ns(&self) -> String {
        format!("/proc/{}/ns/net", self.0.id())
    }
}

impl Drop for Hermit {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A privileged pod may move its interface on.
#[test]
fn an_interface_in_a_namespace_without_a_name_is_found() {
    let vf = vf(1, 2);
    let before = vf.look();
    for delete in [false, true] {
        let pod = Pod::new("nested");
        add("c1", &pod, &vf.conf(MORE)).unwrap();
        let hermit = Hermit::new();
        pod.run(&["ip", "link", "set", "net1", "netns", &hermit.0.id().to_string()]);
        if delete {
            pod.delete();
        }
        del("c1", &pod.path(), &vf.conf(MORE)).unwrap_or_else(|error| panic!("{error}"));
        vf.assert_clean(&before);
        drop(hermit);
    }
}

/// The runtime removes the path, and a process of the pod lives on in the namespace.
#[test]
fn a_namespace_without_a_path_is_found() {
    let vf = vf(1, 2);
    let before = vf.look();
    let hermit = Hermit::new();
    let pod = Pod::new("pathless");
    fs::remove_file(pod.path()).ok();
    let path = format!("/run/netns/by-hand-{}", std::process::id());
    fs::File::create(&path).unwrap();
    crate::node::run("mount", &["--bind", &hermit.ns(), &path]);
    Call { command: "ADD", container: "c1", netns: &path, conf: &vf.conf(MORE) }.run().unwrap();
    crate::node::run("umount", &[&path]);
    fs::remove_file(&path).unwrap();
    // Its owner isn't dead, so nobody else gets it.
    let other = Pod::new("other");
    assert_eq!(add("c2", &other, &vf.conf("")).unwrap_err()["code"], 11);
    del("c1", &path, &vf.conf(MORE)).unwrap_or_else(|error| panic!("{error}"));
    vf.assert_clean(&before);
}
