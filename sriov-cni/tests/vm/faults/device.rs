//! The device or the namespace isn't the one that it was.

use std::fs;
use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use super::gc;
use crate::life::MORE;
use crate::node::{NO_MAC, PATIENCE, Pod, Vf, add, del, ip, vf};

/// Gives a PF another number of VFs, and waits for their interfaces.
fn make_vfs(pf: pci::PciAddress, number: u16) {
    let path = format!("/sys/bus/pci/devices/{pf}/sriov_numvfs");
    let mut file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all(number.to_string().as_bytes()).unwrap();
    let begun = Instant::now();
    while !has_interfaces(pf, number) {
        assert!(begun.elapsed() < PATIENCE, "{pf} doesn't get to {number} VFs with interfaces");
        thread::sleep(Duration::from_millis(50));
    }
    let vfs = pci::Sysfs::host().vfs(&pf).unwrap();
    for (index, pci) in vfs {
        let vf = Vf { pci, pf, index };
        if vf.look().pf["address"] == NO_MAC {
            vf.tell_mac();
        }
    }
}

fn has_interfaces(pf: pci::PciAddress, number: u16) -> bool {
    let vfs = pci::Sysfs::host().vfs(&pf).unwrap();
    vfs.len() == usize::from(number)
        && (0..number).all(|index| Vf { pci: vfs[&index], pf, index }.home_name().is_some())
}

/// A VF that's made anew isn't the pod's any more.
#[test]
fn a_pf_taken_through_zero_vfs_leaves_the_new_vfs_as_they_are() {
    for by_gc in [false, true] {
        let old = vf(0, 2);
        let pod = Pod::new("remade");
        let conf = old.conf(MORE);
        add("c1", &pod, &conf).unwrap();
        make_vfs(old.pf, 0);
        make_vfs(old.pf, 7);
        let new = vf(0, 2);
        let before = new.look();
        assert_eq!(new.pci, old.pci);
        if by_gc {
            gc(&conf, &[]).unwrap_or_else(|error| panic!("{error}"));
        } else {
            del("c1", &pod.path(), &conf).unwrap_or_else(|error| panic!("{error}"));
        }
        new.assert_clean(&before);

        let next = Pod::new("next");
        let result = add("c2", &next, &new.conf("")).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(result["interfaces"][0]["mac"], before.home.as_ref().unwrap()["address"]);
        del("c1", &pod.path(), &conf).unwrap();
        assert_eq!(next.link("net1")["mtu"], 1500);
        del("c2", &next.path(), &new.conf("")).unwrap();
        new.assert_clean(&before);
    }
}

#[test]
fn the_new_vf_is_given_to_the_next_pod_without_a_del_of_the_old_one() {
    let old = vf(0, 2);
    let pod = Pod::new("remade");
    add("c1", &pod, &old.conf(MORE)).unwrap();
    make_vfs(old.pf, 0);
    make_vfs(old.pf, 7);
    let before = old.look();
    let next = Pod::new("next");
    // The old pod lives, but what it had is gone.
    add("c2", &next, &old.conf("")).unwrap_or_else(|error| panic!("{error}"));
    del("c1", &pod.path(), &old.conf(MORE)).unwrap();
    assert_eq!(next.link("net1")["mtu"], 1500);
    del("c2", &next.path(), &old.conf("")).unwrap();
    old.assert_clean(&before);
}

#[test]
fn del_succeeds_where_the_device_is_gone() {
    let gone = vf(0, 2);
    let pods = ["one", "two"].map(Pod::new);
    let confs = [gone.conf(MORE), vf(0, 3).conf(MORE)];
    for (pod, conf) in pods.iter().zip(&confs) {
        add("c1", pod, conf).unwrap();
    }
    make_vfs(gone.pf, 0);
    let deleted = del("c1", &pods[0].path(), &confs[0]);
    let collected = gc(&confs[1], &[]);
    let added = add("c2", &pods[0], &confs[0]);
    make_vfs(gone.pf, 7);
    deleted.unwrap();
    collected.unwrap();
    assert!(added.unwrap_err().to_string().contains(&gone.pci.to_string()));
    assert_eq!((gone.state(), vf(0, 3).state()), (None, None));
}

/// A runtime may name the next sandbox's namespace as the former one's.
#[test]
fn a_namespace_path_that_is_reused_is_not_taken_for_the_old_namespace() {
    let vf = vf(1, 2);
    let before = vf.look();
    for next_adds in [false, true] {
        let old = Pod::new("reused");
        add("c1", &old, &vf.conf(MORE)).unwrap();
        old.delete();
        let new = Pod::new("reused");
        assert_eq!(old.path(), new.path());
        // What the new pod has under the old one's name isn't ours.
        ip(&["link", "add", "reused0", "type", "veth", "peer", "name", "reused1"]);
        ip(&["link", "set", "reused0", "netns", new.path().rsplit('/').next().unwrap(), "name", "net1"]);
        if next_adds {
            new.run(&["ip", "link", "set", "net1", "name", "eth0"]);
            add("c2", &new, &vf.conf("")).unwrap_or_else(|error| panic!("{error}"));
            del("c1", &new.path(), &vf.conf(MORE)).unwrap();
            assert_eq!(new.link("net1")["mtu"], 1500);
            del("c2", &new.path(), &vf.conf("")).unwrap();
            new.link("eth0");
        } else {
            del("c1", &new.path(), &vf.conf(MORE)).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(new.link("net1")["linkinfo"]["info_kind"], "veth");
        }
        vf.assert_clean(&before);
        ip(&["link", "del", "reused1"]);
    }
}
