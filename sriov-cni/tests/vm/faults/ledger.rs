//! Files of the ledger that are torn, empty, older or newer.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use rstest::rstest;
use serde_json::{Value, json};

use super::{assert_error, check, gc};
use crate::life::MORE;
use crate::node::{LEDGER, Pod, Vf, add, del, vf};

fn baseline_file(vf: Vf) -> PathBuf {
    Path::new(LEDGER).join(format!("{}.baseline", vf.pci))
}

/// Writes a file as a crash, or another version, leaves it.
fn put(path: &Path, content: &[u8]) {
    fs::File::create(path).unwrap().write_all(content).unwrap();
}

fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut content: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(&mut content);
    put(path, content.to_string().as_bytes());
}

/// What's left of a file that wasn't written to its end.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Empty,
    Torn,
    Overwritten,
}

impl Damage {
    fn do_to(self, path: &Path) {
        let content = fs::read(path).unwrap();
        match self {
            Self::Empty => put(path, b""),
            Self::Torn => put(path, &content[..content.len() / 2]),
            Self::Overwritten => put(path, &vec![0; content.len()]),
        }
    }
}

#[rstest]
fn a_damaged_state_is_put_right_by_the_pod_that_has_the_vf(
    #[values(Damage::Empty, Damage::Torn, Damage::Overwritten)] damage: Damage,
) {
    let vf = vf(1, 4);
    let before = vf.look();
    let (pod, other) = (Pod::new("torn"), Pod::new("other"));
    add("c1", &pod, &vf.conf(MORE)).unwrap();
    let attached = vf.look();
    damage.do_to(&vf.state_file());
    // Nobody knows whose it is, so nobody else gets it, and nobody takes it.
    assert_error(&add("c2", &other, &vf.conf("")).unwrap_err(), 11, &[&vf.pci.to_string()]);
    assert_error(&del("c2", &other.path(), &vf.conf("")).unwrap_err(), 11, &[&vf.pci.to_string()]);
    gc(&vf.conf(""), &[]).unwrap();
    assert_eq!((vf.look(), &pod.link("net1")["mtu"]), (attached, &json!(1400)));
    del("c1", &pod.path(), &vf.conf(MORE)).unwrap_or_else(|error| panic!("{error}"));
    vf.assert_clean(&before);
}

#[rstest]
fn a_damaged_state_of_a_pod_that_is_gone_is_put_right_by_whoever_comes_next(
    #[values(Damage::Empty, Damage::Torn)] damage: Damage,
    #[values(false, true)] next_adds: bool,
) {
    let vf = vf(1, 4);
    let before = vf.look();
    let (pod, next) = (Pod::new("torn"), Pod::new("next"));
    add("c1", &pod, &vf.conf(MORE)).unwrap();
    damage.do_to(&vf.state_file());
    pod.delete();
    if next_adds {
        let result = add("c2", &next, &vf.conf("")).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(result["interfaces"][0]["mac"], before.home.as_ref().unwrap()["address"]);
        assert_eq!(vf.look().pf, before.pf);
        del("c2", &next.path(), &vf.conf("")).unwrap();
    } else {
        del("c1", &pod.path(), &vf.conf(MORE)).unwrap_or_else(|error| panic!("{error}"));
    }
    vf.assert_clean(&before);
}

#[test]
fn a_newer_state_is_left_alone_by_every_command() {
    let vf = vf(1, 4);
    let before = vf.look();
    let (pod, other) = (Pod::new("newer"), Pod::new("other"));
    let conf = vf.conf(MORE);
    let result = add("c1", &pod, &conf).unwrap();
    let attached = vf.look();
    let ours = fs::read(vf.state_file()).unwrap();
    edit(&vf.state_file(), |content| {
        content["format"] = json!(2);
        content["state"] = json!("unheard");
    });
    let newer = vf.state();
    for (command, outcome) in [
        ("ADD", add("c2", &other, &conf)),
        ("DEL", del("c1", &pod.path(), &conf)),
        ("DEL of another", del("c2", &other.path(), &conf)),
        ("CHECK", check("c1", &pod, &conf, &result)),
        ("GC", gc(&conf, &[])),
    ] {
        let error = outcome.expect_err(command);
        assert_error(&error, 11, &["format 2", &vf.state_file().display().to_string()]);
        assert_eq!((vf.look(), vf.state()), (attached.clone(), newer.clone()), "{command}");
    }
    put(&vf.state_file(), &ours);
    del("c1", &pod.path(), &conf).unwrap();
    vf.assert_clean(&before);
}

/// A VF doesn't outlive a reboot, so what was noted before it counts no more.
#[rstest]
#[case::add(|vf: Vf, pod: &Pod| {
    add("c2", pod, &vf.conf(MORE)).unwrap_or_else(|error| panic!("{error}"));
    assert!(vf.state().unwrap().contains("\"c2\""));
    del("c1", &pod.path(), &vf.conf(MORE)).unwrap();
    assert_eq!(pod.link("net1")["mtu"], 1400);
    del("c2", &pod.path(), &vf.conf(MORE)).unwrap();
})]
#[case::del(|vf: Vf, pod: &Pod| drop(del("c1", &pod.path(), &vf.conf(MORE)).unwrap()))]
#[case::gc(|vf: Vf, _: &Pod| drop(gc(&vf.conf(MORE), &["c1"]).unwrap()))]
fn a_state_of_an_earlier_boot_counts_no_more(#[case] then: fn(Vf, &Pod)) {
    let vf = vf(1, 4);
    let before = vf.look();
    let pod = Pod::new("rebooted");
    add("c1", &pod, &vf.conf(MORE)).unwrap();
    let state = fs::read(vf.state_file()).unwrap();
    del("c1", &pod.path(), &vf.conf(MORE)).unwrap();
    put(&vf.state_file(), &state);
    edit(&vf.state_file(), |content| content["bootId"] = json!("another"));
    then(vf, &pod);
    vf.assert_clean(&before);
}

/// The keys that the first version wrote.
const FIRST: [&str; 39] = [
    "format",
    "bootId",
    "state",
    "claim",
    "owner",
    "network",
    "containerId",
    "ifname",
    "netns",
    "path",
    "dev",
    "ino",
    "pod",
    "namespace",
    "name",
    "wanted",
    "mac",
    "vlan",
    "id",
    "qos",
    "proto",
    "rate",
    "min",
    "max",
    "spoofchk",
    "trust",
    "linkState",
    "mtu",
    "baseline",
    "incarnation",
    "settings",
    "driver",
    "netdev",
    "up",
    "altnames",
    "admin",
    "uid",
    "resource",
    "Unix",
];

fn keep_first(content: &mut Value) {
    if let Value::Object(object) = content {
        object.retain(|key, _| FIRST.contains(&key.as_str()));
        object.values_mut().for_each(keep_first);
    }
}

#[test]
fn a_state_of_the_first_version_is_understood() {
    let vf = vf(1, 4);
    let before = vf.look();
    // What the first version could be asked for.
    let more = MORE.replace(r#","promisc":"on""#, "");
    for (by_gc, deleted) in [(false, false), (false, true), (true, false)] {
        let pod = Pod::new("older");
        let conf = vf.conf(&more);
        let result = add("c1", &pod, &conf).unwrap();
        edit(&vf.state_file(), keep_first);
        check("c1", &pod, &conf, &result).unwrap_or_else(|error| panic!("{error}"));
        if deleted {
            pod.delete();
        }
        if by_gc { gc(&conf, &[]) } else { del("c1", &pod.path(), &conf) }
            .unwrap_or_else(|error| panic!("{error}"));
        vf.assert_clean(&before);
    }
}

/// What a baseline may look like that's of no use.
#[rstest]
#[case::empty(|path: &Path| Damage::Empty.do_to(path))]
#[case::torn(|path: &Path| Damage::Torn.do_to(path))]
#[case::overwritten(|path: &Path| Damage::Overwritten.do_to(path))]
#[case::earlier_boot(|path: &Path| edit(path, |content| content["bootId"] = json!("another")))]
#[case::earlier_device(|path: &Path| edit(path, |content| content["incarnation"] = json!(1)))]
#[case::first_version(|path: &Path| edit(path, keep_first))]
#[case::removed(|path: &Path| fs::remove_file(path).unwrap())]
fn a_baseline_that_is_of_no_use_does_no_harm(#[case] spoil: fn(&Path)) {
    let vf = vf(1, 4);
    let before = vf.look();
    let pod = Pod::new("baseline");
    let conf = vf.conf(MORE);
    for deleted in [false, true] {
        add("c1", &pod, &conf).unwrap();
        // The claim holds a copy.
        spoil(&baseline_file(vf));
        if deleted {
            pod.delete();
        }
        del("c1", &pod.path(), &conf).unwrap_or_else(|error| panic!("{error}"));
        vf.assert_clean(&before);
        if !baseline_file(vf).exists() {
            continue;
        }
        // A free VF's is taken anew.
        spoil(&baseline_file(vf));
    }
    let next = Pod::new("next");
    add("c2", &next, &conf).unwrap_or_else(|error| panic!("{error}"));
    serde_json::from_slice::<Value>(&fs::read(baseline_file(vf)).unwrap()).unwrap();
    del("c2", &next.path(), &conf).unwrap();
    vf.assert_clean(&before);
}

#[test]
fn a_newer_baseline_of_a_free_vf_is_left_alone() {
    let vf = vf(1, 4);
    let before = vf.look();
    let pod = Pod::new("newer");
    add("c1", &pod, &vf.conf(MORE)).unwrap();
    edit(&baseline_file(vf), |content| content["format"] = json!(2));
    let newer = fs::read(baseline_file(vf)).unwrap();
    // The claim's copy is ours.
    del("c1", &pod.path(), &vf.conf(MORE)).unwrap_or_else(|error| panic!("{error}"));
    vf.assert_clean(&before);
    let error = add("c2", &pod, &vf.conf(MORE)).unwrap_err();
    let left = fs::read(baseline_file(vf)).unwrap();
    fs::remove_file(baseline_file(vf)).unwrap();
    assert_error(&error, 11, &["format 2", &baseline_file(vf).display().to_string()]);
    assert_eq!(left, newer);
    vf.assert_clean(&before);
}

/// With both lost, nobody knows what the VF was: it's out of service, and its pod keeps it.
#[test]
fn with_state_and_baseline_lost_the_vf_is_left_as_it_is() {
    let vf = vf(1, 4);
    let before = vf.look();
    let (pod, other) = (Pod::new("lost"), Pod::new("other"));
    add("c1", &pod, &vf.conf(MORE)).unwrap();
    let (attached, state) = (vf.look(), fs::read(vf.state_file()).unwrap());
    let baseline = fs::read(baseline_file(vf)).unwrap();
    Damage::Torn.do_to(&vf.state_file());
    Damage::Torn.do_to(&baseline_file(vf));
    let outcomes = [del("c1", &pod.path(), &vf.conf(MORE)), add("c2", &other, &vf.conf(""))];
    let meanwhile = vf.look();
    put(&vf.state_file(), &state);
    put(&baseline_file(vf), &baseline);
    for outcome in outcomes {
        assert_error(&outcome.unwrap_err(), 11, &[&vf.state_file().display().to_string()]);
    }
    assert_eq!(meanwhile, attached);
    del("c1", &pod.path(), &vf.conf(MORE)).unwrap();
    vf.assert_clean(&before);
}
