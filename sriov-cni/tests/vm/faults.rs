//! Faults that leave every VF at its baseline: processes killed, files spoiled, IPAM that doesn't answer, devices
//! and namespaces that go, and everything at once.

mod changes;
mod crowd;
mod device;
mod disk;
mod gc;
mod ipam;
mod ledger;
mod moments;
mod rescue;
mod steps;

use std::env;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::node::{Call, LEDGER, Pod, Vf, View, vf};

/// All 14 VFs.
fn all_vfs() -> Vec<Vf> {
    (0..14).map(|number| vf(number % 2, u16::try_from(number / 2).unwrap())).collect()
}

fn looks(vfs: &[Vf]) -> Vec<View> {
    vfs.iter().map(|vf| vf.look()).collect()
}

/// Each has to be as it was, and free; and the ledger has a state of none.
fn assert_all_clean(vfs: &[Vf], before: &[View]) {
    for (vf, before) in vfs.iter().zip(before) {
        vf.assert_clean(before);
    }
    let states: Vec<_> = fs::read_dir(LEDGER)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "state"))
        .collect();
    assert!(states.is_empty(), "{states:?}");
}

/// A configuration with one more key.
fn with(conf: &str, key: &str, value: &Value) -> String {
    let mut object: Value = serde_json::from_str(conf).unwrap();
    object[key] = value.clone();
    object.to_string()
}

/// Compares an attachment with what ADD made of it.
fn check(container: &str, pod: &Pod, conf: &str, added: &Value) -> Result<Value, Value> {
    let conf = with(conf, "prevResult", added);
    Call { command: "CHECK", container, netns: &pod.path(), conf: &conf }.run()
}

/// Collects what isn't in the list of containers that have an attachment, as a runtime calls it: about no one of
/// them.
fn gc(conf: &str, valid: &[&str]) -> Result<Value, Value> {
    let valid: Vec<Value> =
        valid.iter().map(|container| json!({"containerID": container, "ifname": "net1"})).collect();
    let conf = with(conf, "cni.dev/valid-attachments", &valid.into());
    about_none("GC", &conf)
}

/// A command without an attachment.
fn about_none(command: &str, conf: &str) -> Result<Value, Value> {
    let call = Call { command, container: "", netns: "", conf };
    let mut command = call.command();
    for variable in ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS"] {
        command.env_remove(variable);
    }
    crate::node::outcome(call.start(command))
}

/// How many addresses of a network `host-local` has given away, by its directory.
fn leases(directory: &Path, network: &str) -> usize {
    fs::read_dir(directory.join(network)).map_or(0, |files| {
        files.flatten().filter(|file| file.file_name().to_string_lossy().starts_with("10.")).count()
    })
}

/// Has to name its code and some words.
fn assert_error(error: &Value, code: u32, words: &[&str]) {
    assert_eq!(error["code"], code, "{error}");
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "no {word:?} in {text}");
    }
}

/// A number from the environment, for the long runs.
fn number(variable: &str, usual: u64) -> u64 {
    env::var(variable).map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{variable}={text}")))
}

/// Chance that can be had again: a `SplitMix64` generator, seeded by `PATCHBAY_SEED`.
struct Dice(u64);

impl Dice {
    /// The chance of one of a test's rounds.
    fn of_round(round: u64) -> Self {
        let mut seed = Self(number("PATCHBAY_SEED", 1));
        Self(seed.roll() ^ round)
    }

    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.roll() % limit
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len().try_into().unwrap())).unwrap()]
    }
}
