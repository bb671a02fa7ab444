//! The test list of the existing SR-IOV plugin, from outside: what its users can count on, seen by `ip` on real VFs.
//! The names that its shell tests have are kept.
//!
//! What a VF gets and gives back, attribute by attribute, is in `attributes`; the keys of the configuration are in
//! `keys`. What needs a kernel that refuses at a given step (a link that doesn't come up, a MAC that isn't taken) is
//! in the tests of the library, at every step there is.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use pci::{Driver, Sysfs};
use serde_json::{Value, json};

use crate::node::{Call, Pod, Vf, add, del, ip, outcome, run, vf};

const MAC: &str = "02:00:00:00:0d:01";

fn vlan_of(vf: Vf) -> Value {
    vf.look().pf["vlan_list"][0]["vlan"].clone()
}

fn set_by_hand(vf: Vf, words: &[&str]) {
    let (pf, index) = (vf.pf_name(), vf.index.to_string());
    ip(&[&["link", "set", &pf, "vf", &index], words].concat());
}

/// A VF on `vfio-pci`, which gets its kernel driver back at the end.
struct OnVfio(Vf);

impl OnVfio {
    fn bind(vf: Vf) -> Self {
        Sysfs::host().bind(&vf.pci, &Driver::Named("vfio-pci".to_owned())).unwrap();
        Self(vf)
    }
}

impl Drop for OnVfio {
    fn drop(&mut self) {
        drop(Sysfs::host().bind(&self.0.pci, &Driver::Kernel));
    }
}

/// `test_macaddress`.
#[test]
fn test_macaddress() {
    let vf = vf(0, 0);
    let before = vf.look();
    let pod = Pod::new("macaddress");
    let conf = vf.conf(&format!(r#","mac":"{MAC}""#));
    let result = add("c1", &pod, &conf).unwrap();
    assert_eq!((&pod.link("net1")["address"], &result["interfaces"][0]["mac"]), (&json!(MAC), &json!(MAC)));
    assert_eq!(vf.home_name(), None);
    del("c1", &pod.path(), &conf).unwrap();
    assert_eq!(vf.home_name().as_deref(), before.home.as_ref().unwrap()["ifname"].as_str());
    vf.assert_clean(&before);
}

/// `test_vlan`.
#[test]
fn test_vlan() {
    let vf = vf(0, 1);
    let before = vf.look();
    let pod = Pod::new("vlan");
    let conf = vf.conf(r#","vlan":1234"#);
    add("c1", &pod, &conf).unwrap();
    assert_eq!(vlan_of(vf), 1234);
    del("c1", &pod.path(), &conf).unwrap();
    assert_eq!(vlan_of(vf), Value::Null);
    vf.assert_clean(&before);
}

/// `test_mtu_reset`.
#[test]
fn test_mtu_reset() {
    let vf = vf(0, 2);
    let before = vf.look();
    let pod = Pod::new("mtu");
    add("c1", &pod, &vf.conf("")).unwrap();
    pod.run(&["ip", "link", "set", "net1", "mtu", "1280"]);
    del("c1", &pod.path(), &vf.conf("")).unwrap();
    vf.assert_clean(&before);
}

/// `test_concurrent_add_calls`: of two ADDs for one VF at the same moment, one has it.
#[test]
fn test_concurrent_add_calls() {
    let vf = vf(0, 3);
    let before = vf.look();
    let pods = [Pod::new("first"), Pod::new("second")];
    let confs = [vf.conf(r#","vlan":11"#), vf.conf(r#","vlan":12"#)];
    let outcomes: Vec<Result<Value, Value>> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..2)
            .map(|turn| {
                let (pod, conf) = (&pods[turn], &confs[turn]);
                scope.spawn(move || add(&format!("c{turn}"), pod, conf))
            })
            .collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    let winner = outcomes.iter().position(Result::is_ok).expect("one of them has it");
    let error = outcomes[1 - winner].as_ref().unwrap_err();
    assert_eq!(error["code"], 11, "{error}");
    let text = error["msg"].as_str().unwrap();
    assert!(text.contains(&vf.pci.to_string()) && text.contains(&format!("c{winner}")), "{text}");
    assert_eq!(vlan_of(vf), 11 + winner);
    // Its DEL leaves the winner alone, then the winner's own.
    del(&format!("c{}", 1 - winner), &pods[1 - winner].path(), &confs[1 - winner]).unwrap();
    assert_eq!(vlan_of(vf), 11 + winner);
    del(&format!("c{winner}"), &pods[winner].path(), &confs[winner]).unwrap();
    vf.assert_clean(&before);
}

/// An IPAM plugin whose DEL says that it has begun, and ends when it's told to.
struct SlowIpam(PathBuf);

impl SlowIpam {
    #[expect(clippy::disallowed_methods, reason = "a script, not the ledger")]
    fn new() -> Self {
        let directory = PathBuf::from(format!("/tmp/slow-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        for pipe in ["begun", "end"] {
            run("mkfifo", &[directory.join(pipe).to_str().unwrap()]);
        }
        let script = directory.join("slow");
        let here = directory.display();
        fs::write(
            &script,
            format!(
                "#!/bin/sh\ncat >/dev/null\ncase $CNI_COMMAND in\nADD) echo '{}' ;;\nDEL) echo begun >{here}/begun; read -r word <{here}/end ;;\nesac\n",
                r#"{"cniVersion":"1.0.0","ips":[{"address":"10.9.7.1/24"}]}"#
            ),
        )
        .unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        Self(directory)
    }

    fn command(&self, call: &Call<'_>) -> Command {
        let mut command = call.command();
        command.env("CNI_PATH", &self.0);
        command
    }

    fn wait_begun(&self) {
        let mut word = String::new();
        fs::File::open(self.0.join("begun")).unwrap().read_to_string(&mut word).unwrap();
        assert_eq!(word, "begun\n");
    }

    fn end(&self) {
        fs::OpenOptions::new().write(true).open(self.0.join("end")).unwrap().write_all(b"end\n").unwrap();
    }
}

impl Drop for SlowIpam {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// `test_long_running_ipam`: the old pod's DEL is at IPAM for long; the new pod on the same VF keeps its VLAN.
#[test]
fn test_long_running_ipam() {
    let vf = vf(0, 4);
    let before = vf.look();
    let (old, new) = (Pod::new("old"), Pod::new("new"));
    let slow = SlowIpam::new();
    let conf = vf.conf(r#","vlan":21,"ipam":{"type":"slow"}"#);
    let netns = old.path();
    let call = |command| Call { command, container: "old", netns: &netns, conf: &conf };
    outcome(call("ADD").start(slow.command(&call("ADD")))).unwrap();

    let deleting = call("DEL").start(slow.command(&call("DEL")));
    slow.wait_begun();
    let wanted = vf.conf(r#","vlan":22"#);
    let added = add("new", &new, &wanted);
    slow.end();
    let deleted = outcome(deleting);
    added.unwrap();
    deleted.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(vlan_of(vf), 22);
    assert_eq!(vf.home_name(), None);
    del("new", &new.path(), &wanted).unwrap();
    vf.assert_clean(&before);
}

/// Configuration: a device that isn't there, or that isn't named, and JSON that's none.
#[test]
fn what_names_no_device_is_refused() {
    let pod = Pod::new("absent");
    let named = |device: &str| format!(r#"{{"cniVersion":"1.0.0","name":"blue","type":"sriov"{device}}}"#);
    for (conf, code, word) in [
        (named(""), 7, "deviceID"),
        (named(r#","deviceID":"0000:af:06.3""#), 7, "0000:af:06.3"),
        (named(r#","deviceID":"enp1s0""#), 7, "enp1s0"),
        (r#"{"name":"blue","deviceID":"0000:01:10.0""#.to_owned(), 6, "JSON"),
        (String::new(), 6, "JSON"),
    ] {
        let error = add("c1", &pod, &conf).unwrap_err();
        assert_eq!(error["code"], code, "{conf}: {error}");
        assert!(error.to_string().contains(word), "{conf}: {error}");
    }
}

/// Configuration: a device that the existing plugin gave to a pod, whose namespace is alive.
#[test]
#[expect(clippy::disallowed_methods, reason = "the existing plugin writes it like that")]
fn a_device_that_the_existing_plugin_allocated_is_refused() {
    let vf = vf(0, 5);
    let before = vf.look();
    let (theirs, ours) = (Pod::new("theirs"), Pod::new("ours"));
    let record = Path::new("/var/lib/cni/sriov/pci").join(vf.pci.to_string());
    fs::create_dir_all(record.parent().unwrap()).unwrap();
    fs::write(&record, theirs.path()).unwrap();
    let refused = add("c1", &ours, &vf.conf(r#","vlan":5"#));
    fs::remove_file(&record).unwrap();
    let error = refused.unwrap_err();
    assert_eq!(error["code"], 11, "{error}");
    assert!(error["msg"].as_str().unwrap().contains(record.to_str().unwrap()), "{error}");
    vf.assert_clean(&before);
}

/// Result: without a MAC of the network's, it's the interface's own.
#[test]
fn the_results_mac_is_the_effective_one() {
    let vf = vf(1, 0);
    let own = vf.look().home.unwrap()["address"].clone();
    let pod = Pod::new("effective");
    let result = add("c1", &pod, &vf.conf("")).unwrap();
    assert_eq!((&result["interfaces"][0]["mac"], &pod.link("net1")["address"]), (&own, &own));
    del("c1", &pod.path(), &vf.conf("")).unwrap();
}

/// Result of a VF for DPDK: the MAC that's asked for, else the admin MAC, else none; and the PF's MTU.
#[test]
fn the_results_mac_of_a_vf_without_interface_is_the_admin_mac_if_there_is_one() {
    let vf = vf(1, 1);
    let before = vf.look();
    let bound = OnVfio::bind(vf);
    let pod = Pod::new("dpdk");
    for (admin, more, expected) in [
        ("00:00:00:00:00:00", String::new(), Value::Null),
        ("02:00:00:00:0d:11", String::new(), json!("02:00:00:00:0d:11")),
        ("02:00:00:00:0d:11", format!(r#","mac":"{MAC}""#), json!(MAC)),
        ("00:00:00:00:00:00", format!(r#","mac":"{MAC}""#), json!(MAC)),
    ] {
        set_by_hand(vf, &["mac", admin]);
        let at_home = vf.look();
        let result =
            add("c1", &pod, &vf.conf(&more)).unwrap_or_else(|error| panic!("{admin} {more}: {error}"));
        assert_eq!(result["interfaces"][0]["mac"], expected, "{admin} {more}");
        assert_eq!(result["interfaces"][0]["mtu"], 1500);
        assert_eq!(pod.run(&["ip", "-o", "link"]).lines().count(), 1, "nothing but lo is in the pod");
        del("c1", &pod.path(), &vf.conf(&more)).unwrap();
        vf.assert_clean(&at_home);
    }
    set_by_hand(vf, &["mac", "00:00:00:00:00:00"]);
    drop(bound);
    assert_eq!(vf.look().driver, before.driver);
}

/// Hand-over: the interface is in the pod, up, with the name asked for and none of the host's.
#[test]
fn an_interface_is_handed_over_up_and_with_one_name() {
    let vf = vf(1, 2);
    let before = vf.look();
    let home = vf.home_name().unwrap();
    let pod = Pod::new("normal");
    let result = add("c1", &pod, &vf.conf("")).unwrap();
    let link = pod.link("net1");
    assert!(link["flags"].to_string().contains("\"UP\""), "{link}");
    assert!(!link.to_string().contains(&home), "{link}");
    assert_eq!(result["interfaces"][0]["mtu"], link["mtu"]);
    del("c1", &pod.path(), &vf.conf("")).unwrap();
    vf.assert_clean(&before);
}

/// Hand-over: where the move fails, the interface stays with the host.
#[test]
fn an_interface_that_cannot_move_stays_with_the_host() {
    let vf = vf(1, 3);
    let before = vf.look();
    let pod = Pod::new("taken");
    pod.run(&["ip", "link", "add", "net1", "type", "dummy"]);
    let error = add("c1", &pod, &vf.conf(&format!(r#","vlan":9,"trust":"on","mac":"{MAC}""#))).unwrap_err();
    assert!(error["msg"].as_str().unwrap().contains("net1"), "{error}");
    vf.assert_clean(&before);
}

/// Hand-over: a VF whose interface can't be looked up, since no driver gives it one.
#[test]
fn a_vf_without_a_driver_is_refused() {
    let vf = vf(1, 4);
    let before = vf.look();
    let unbind = format!("/sys/bus/pci/devices/{}/driver/unbind", vf.pci);
    fs::OpenOptions::new()
        .write(true)
        .open(unbind)
        .unwrap()
        .write_all(vf.pci.to_string().as_bytes())
        .unwrap();
    let pod = Pod::new("driverless");
    let refused = add("c1", &pod, &vf.conf(r#","vlan":9"#));
    Sysfs::host().bind(&vf.pci, &Driver::Kernel).unwrap();
    let error = refused.unwrap_err();
    assert_eq!(error["code"], 110, "{error}");
    assert_eq!((vlan_of(vf), vf.look().driver, vf.state()), (Value::Null, before.driver, None));
}

/// Giving back: what was set before ADD comes back, and what the network doesn't name isn't touched at all.
#[test]
fn what_was_set_before_comes_back_and_the_rest_is_never_touched() {
    let vf = vf(1, 5);
    let untouched = vf.look();
    set_by_hand(vf, &["vlan", "7", "qos", "2"]);
    set_by_hand(vf, &["max_tx_rate", "300"]);
    set_by_hand(vf, &["trust", "on"]);
    let before = vf.look();
    let pod = Pod::new("before");
    for (more, vlan) in
        [("", 7), (r#","vlan":8"#, 8), (r#","vlan":0"#, 0), (r#","trust":"off","spoofchk":"off""#, 7)]
    {
        add("c1", &pod, &vf.conf(more)).unwrap();
        assert_eq!(vlan_of(vf).as_u64().unwrap_or(0), vlan, "{more}");
        assert_eq!(vf.look().pf["rate"], before.pf["rate"], "{more}");
        del("c1", &pod.path(), &vf.conf(more)).unwrap();
        vf.assert_clean(&before);
    }
    set_by_hand(vf, &["vlan", "0"]);
    set_by_hand(vf, &["max_tx_rate", "0"]);
    set_by_hand(vf, &["trust", "off"]);
    assert_eq!(vf.look(), untouched);
}

/// Giving back: the pod's own change of the MAC is undone, whether or not the network had asked for one.
#[test]
fn the_effective_mac_comes_back() {
    let vf = vf(1, 6).without_admin_mac();
    let before = vf.look();
    for more in ["", r#","trust":"on""#, r#","trust":"on","mac":"02:00:00:00:0d:21""#] {
        let pod = Pod::new("own");
        add("c1", &pod, &vf.conf(more)).unwrap();
        pod.run(&["ip", "link", "set", "net1", "down"]);
        pod.run(&["ip", "link", "set", "net1", "address", "02:00:00:00:0d:22"]);
        pod.run(&["ip", "link", "set", "net1", "up"]);
        del("c1", &pod.path(), &vf.conf(more)).unwrap_or_else(|error| panic!("{more}: {error}"));
        vf.assert_clean(&before);
    }
}
