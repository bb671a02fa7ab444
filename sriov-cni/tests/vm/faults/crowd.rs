//! Eight callers at once over all VFs, two networks, and whatever pods do.
//!
//! A table knows whose each VF may be. It's told of the end of an attachment before the call that brings it about,
//! and of its beginning after the call that made it: so an ADD that succeeds while someone else has the VF is seen.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use serde_json::Value;

use super::{Dice, all_vfs, assert_all_clean, gc, looks, number, with};
use crate::node::{Pod, Vf, add, del};

const CALLERS: usize = 8;
const NETWORKS: [&str; 2] = ["blue", "red"];

/// What is asked for, and the MTU and VLAN that it makes.
const WANTED: [(&str, u64, Option<u64>); 3] = [
    ("", 1500, None),
    (r#","vlan":9"#, 1500, Some(9)),
    (
        r#","vlan":100,"vlanQoS":3,"max_tx_rate":100,"spoofchk":"off","trust":"on","mtu":1400"#,
        1400,
        Some(100),
    ),
];

/// How a pod ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Deleted,
    NamespaceFirst,
    WithoutNamespace,
    /// Its namespace goes, and DEL comes when the VF may be another's.
    DeletedLate,
    /// It lives on, and no DEL comes: the runtime has forgotten it.
    Forgotten,
}

const FATES: [Fate; 8] = [
    Fate::Deleted,
    Fate::Deleted,
    Fate::Deleted,
    Fate::NamespaceFirst,
    Fate::NamespaceFirst,
    Fate::WithoutNamespace,
    Fate::DeletedLate,
    Fate::Forgotten,
];

/// Who has a VF.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Holder {
    container: String,
    network: &'static str,
    /// Whether it may be taken from it.
    leaving: bool,
    forgotten: bool,
}

/// A VF's holder, how many there have been, how many ADDs are going on, and how many have been.
#[derive(Clone, Debug, Default)]
struct Slot {
    holder: Option<Holder>,
    holders: usize,
    asking: usize,
    asked: usize,
}

/// An attachment.
#[derive(Debug)]
struct Attachment {
    vf: usize,
    container: String,
    pod: Pod,
    conf: String,
}

#[derive(Default)]
struct Crowd {
    vfs: Vec<Vf>,
    slots: Mutex<Vec<Slot>>,
    late: Mutex<Vec<Attachment>>,
    forgotten: Mutex<BTreeMap<String, Attachment>>,
    /// One GC at a time, as a runtime does it.
    collecting: Mutex<()>,
    next: AtomicU64,
    attached: AtomicU64,
}

impl Crowd {
    /// A VF's slot before the ADD that begins.
    fn asks(&self, vf: usize) -> Slot {
        let slot = &mut self.slots.lock().unwrap()[vf];
        let before = slot.clone();
        *slot = Slot { asking: slot.asking + 1, asked: slot.asked + 1, ..before.clone() };
        before
    }

    /// A VF's slot after an ADD.
    fn answered(&self, vf: usize) -> Slot {
        let slot = &mut self.slots.lock().unwrap()[vf];
        slot.asking -= 1;
        slot.clone()
    }

    fn begins(&self, vf: usize, container: &str, network: &'static str) {
        let slot = &mut self.slots.lock().unwrap()[vf];
        if let Some(holder) = &slot.holder {
            assert!(holder.leaving, "{container} got the VF of {holder:?}");
        }
        let holder = Holder { container: container.to_owned(), network, leaving: false, forgotten: false };
        (slot.holder, slot.holders) = (Some(holder), slot.holders + 1);
    }

    fn change(&self, vf: usize, container: &str, change: impl FnOnce(&mut Holder)) {
        let slot = &mut self.slots.lock().unwrap()[vf];
        if let Some(holder) = slot.holder.as_mut().filter(|holder| holder.container == container) {
            change(holder);
        }
    }

    fn ends(&self, vf: usize, container: &str) {
        let slot = &mut self.slots.lock().unwrap()[vf];
        if slot.holder.as_ref().is_some_and(|holder| holder.container == container) {
            slot.holder = None;
        }
    }

    fn play(&self, rounds: u64) {
        loop {
            let round = self.next.fetch_add(1, Ordering::Relaxed);
            if round >= rounds {
                return;
            }
            self.round(round, rounds, &mut Dice::of_round(round));
        }
    }

    fn round(&self, round: u64, rounds: u64, dice: &mut Dice) {
        if dice.below(4) == 0 {
            self.delete_one_late(dice);
        }
        if dice.below(8) == 0 {
            self.collect(dice.pick(&NETWORKS), rounds);
        }
        let index = usize::try_from(dice.below(14)).unwrap();
        let (vf, network, fate) = (self.vfs[index], dice.pick(&NETWORKS), dice.pick(&FATES));
        let (more, mtu, vlan) = dice.pick(&WANTED);
        let container = container(round);
        let conf = with(&vf.conf(more), "name", &network.into());
        let mine = Attachment { vf: index, pod: Pod::new(&container), container, conf };
        let at_first = self.asks(index);
        let added = add(&mine.container, &mine.pod, &mine.conf);
        let at_last = self.answered(index);
        match added {
            Ok(result) => {
                self.begins(index, &mine.container, network);
                self.attached.fetch_add(1, Ordering::Relaxed);
                self.assert_attached(&mine, &result, mtu, vlan);
                if dice.below(3) == 0 {
                    // Nobody else's DEL, nor one for another network, changes anything.
                    del("stranger", &mine.pod.path(), &mine.conf).unwrap();
                    let of_other = with(&mine.conf, "name", &"green".into());
                    del(&mine.container, &mine.pod.path(), &of_other).unwrap();
                    self.assert_attached(&mine, &result, mtu, vlan);
                }
                self.end(mine, fate);
            }
            Err(error) => {
                assert_eq!(error["code"], 11, "{error}");
                let contended = at_first.holder.is_some()
                    || at_first.holders != at_last.holders
                    || at_first.asking > 0
                    || at_last.asked > at_first.asked + 1;
                assert!(contended, "{} is refused a VF that nobody has: {error}", mine.container);
                del(&mine.container, &mine.pod.path(), &mine.conf).unwrap_or_else(|error| panic!("{error}"));
            }
        }
    }

    fn assert_attached(&self, mine: &Attachment, result: &Value, mtu: u64, vlan: Option<u64>) {
        let vf = self.vfs[mine.vf];
        assert_eq!(result["interfaces"][0]["pciID"], vf.pci.to_string());
        let link = mine.pod.link("net1");
        assert_eq!(
            (&link["mtu"], &link["address"]),
            (&mtu.into(), &result["interfaces"][0]["mac"]),
            "{link}"
        );
        let of_pf = vf.look().pf;
        assert_eq!(of_pf["vlan_list"][0]["vlan"].as_u64(), vlan, "{of_pf}");
        assert!(vf.state().is_some_and(|state| state.contains(&format!("\"{}\"", mine.container))));
    }

    fn end(&self, mine: Attachment, fate: Fate) {
        let (vf, container) = (mine.vf, mine.container.clone());
        if fate == Fate::Forgotten {
            self.forgotten.lock().unwrap().insert(container.clone(), mine);
            self.change(vf, &container, |holder| holder.forgotten = true);
            return;
        }
        self.change(vf, &container, |holder| holder.leaving = true);
        if matches!(fate, Fate::NamespaceFirst | Fate::DeletedLate) {
            mine.pod.delete();
        }
        if fate == Fate::DeletedLate {
            self.late.lock().unwrap().push(mine);
            return;
        }
        let path = if fate == Fate::WithoutNamespace { String::new() } else { mine.pod.path() };
        del(&container, &path, &mine.conf).unwrap_or_else(|error| panic!("{container} {fate:?}: {error}"));
        self.ends(vf, &container);
    }

    fn delete_one_late(&self, dice: &mut Dice) {
        let attachment = {
            let mut late = self.late.lock().unwrap();
            let Some(most) = u64::try_from(late.len()).ok().filter(|most| *most > 0) else { return };
            late.swap_remove(usize::try_from(dice.below(most)).unwrap())
        };
        let Attachment { container, pod, conf, .. } = &attachment;
        del(container, &pod.path(), conf).unwrap_or_else(|error| panic!("late {container}: {error}"));
        self.ends(attachment.vf, container);
    }

    /// GC for a network, with a list of everyone who is or will be, but for the forgotten.
    fn collect(&self, network: &'static str, rounds: u64) {
        let _one = self.collecting.lock().unwrap();
        let forgotten = self.forget(network);
        let containers: Vec<String> = (0..rounds)
            .map(container)
            .filter(|container| forgotten.iter().all(|(_, holder)| holder.container != *container))
            .collect();
        let containers: Vec<&str> = containers.iter().map(String::as_str).collect();
        let conf = with(&self.vfs[0].conf(""), "name", &network.into());
        gc(&conf, &containers).unwrap_or_else(|error| panic!("{error}"));
        for (vf, Holder { container, network: of, .. }) in forgotten {
            let state = self.vfs[vf].state().unwrap_or_default();
            // What someone was just looking at is passed over, and stays as it was until the next time.
            if of == network && !state.contains(&format!("\"{container}\"")) {
                self.ends(vf, &container);
                self.forgotten.lock().unwrap().remove(&container);
            } else {
                self.change(vf, &container, |holder| holder.leaving = false);
                let forgotten = self.forgotten.lock().unwrap();
                assert_eq!(self.vfs[vf].home_name(), None, "{container} of {of} has lost its VF");
                assert_eq!(forgotten[&container].pod.link("net1")["ifname"], "net1");
            }
        }
    }

    /// The forgotten of all networks; those of this one may be taken from now on.
    fn forget(&self, network: &str) -> Vec<(usize, Holder)> {
        let mut forgotten = Vec::new();
        for (vf, slot) in self.slots.lock().unwrap().iter_mut().enumerate() {
            if let Some(holder) = slot.holder.as_mut().filter(|holder| holder.forgotten) {
                holder.leaving = holder.network == network;
                forgotten.push((vf, holder.clone()));
            }
        }
        forgotten
    }
}

fn container(round: u64) -> String {
    format!("r{round}")
}

/// 1,000 rounds in the long runs.
#[test]
fn a_crowd_leaves_every_vf_as_it_was() {
    let vfs = all_vfs();
    let before = looks(&vfs);
    let rounds = number("PATCHBAY_ROUNDS", 100);
    let crowd =
        Crowd { slots: Mutex::new(vec![Slot::default(); vfs.len()]), vfs: vfs.clone(), ..Crowd::default() };
    thread::scope(|scope| {
        for _ in 0..CALLERS {
            scope.spawn(|| crowd.play(rounds));
        }
    });
    let attached = crowd.attached.load(Ordering::Relaxed);
    assert!(attached >= rounds / 2, "only {attached} of {rounds} were attached");
    let mut dice = Dice::of_round(rounds);
    while !crowd.late.lock().unwrap().is_empty() {
        crowd.delete_one_late(&mut dice);
    }
    for network in NETWORKS {
        crowd.collect(network, rounds);
    }
    assert!(crowd.forgotten.lock().unwrap().is_empty());
    assert_all_clean(&vfs, &before);
}
