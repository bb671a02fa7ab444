//! Properties of ledger files and of plans, for the fuzzer and for the replay of its corpus.

#![expect(clippy::expect_used, reason = "what can't fail here is a finding when it does")]

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use ledger::{Device, Ledger};
use netlink::{IfName, LinkState, MacAddr, VlanProto};
use pci::Vlans;

use crate::record::{Baseline, Entry, Intent};
use crate::settings::{Admin, Netdev, Place, Rate, Rdma, Settings, Situation, Vlan, describe, differences};
use crate::step::{model, steps};
use crate::wanted::Wanted;

/// The device whose files are written.
const DEVICE: &str = "0000:01:10.0";

/// A lock that nobody else takes.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Reads bytes as a state file and as a baseline, in a ledger at `directory` that nobody else uses.
///
/// # Panics
/// If a property doesn't hold.
pub fn ledger_file(directory: &Path, bytes: &[u8]) {
    let ledger = Ledger::open(directory).expect("the ledger opens");
    let device: Device = DEVICE.parse().expect("an address is a device");
    let locked = ledger.lock(&device, AT_ONCE).expect("nobody holds the lock");
    let put = |kind: &str| {
        let path = directory.join(format!("{device}.{kind}"));
        ledger::file::write_whole(&path, bytes, ledger::file::Durability::Tmpfs)
            .expect("the file is written");
    };

    put("state");
    let listed = ledger.entries::<Intent>().expect("the ledger is listed");
    assert!(matches!(listed.as_slice(), [(only, _)] if *only == device));
    match locked.entry::<Intent>() {
        Ok(entry) => {
            let entry = entry.expect("a file that's there counts as free");
            locked.write_entry(&entry).expect("what was read is written");
            assert_eq!(locked.entry::<Intent>().expect("what was written is read"), Some(entry.clone()));
            planned(&entry);
        }
        Err(error) => refused(&error, "0000:01:10.0.state"),
    }
    locked.clear().expect("the state is removed");
    assert!(matches!(locked.entry::<Intent>(), Ok(None)));

    put("baseline");
    match locked.baseline::<Baseline>() {
        Ok(baseline) => {
            let baseline = baseline.expect("a file that's there counts as none");
            locked.write_baseline(&baseline).expect("what was read is written");
            assert_eq!(locked.baseline::<Baseline>().expect("what was written is read"), Some(baseline));
        }
        Err(error) => refused(&error, "0000:01:10.0.baseline"),
    }
    locked.forget_baseline().expect("the baseline is removed");
}

fn refused(error: &ledger::Error, file: &str) {
    assert!(error.is_damaged() != error.is_newer(), "{error:?}");
    assert!(error.to_string().contains(file), "{error}");
}

/// Whatever a file says, there's a plan for it, and none where nothing differs.
fn planned(entry: &Entry) {
    let Some(claim) = entry.state.claim() else { return };
    let before = &claim.wanted.baseline.settings;
    let home = Situation { settings: before.clone(), place: Place::Home };
    stays(&home);
    if let Ok(ifname) = claim.owner.ifname.parse::<IfName>() {
        let goal = claim.wanted.wanted.goal(before, &ifname);
        stays(&goal);
        for step in [steps(&home, &goal), steps(&goal, &home)].concat() {
            assert!(!step.to_string().is_empty());
        }
        describe(&differences(&goal, &home));
    }
}

fn stays(situation: &Situation) {
    assert_eq!(steps(situation, situation), []);
    assert_eq!(differences(situation, situation), []);
}

/// Draws a VF, what is asked of it and what somebody else makes of it, and takes the VF there and home again.
///
/// # Panics
/// If a property doesn't hold.
pub fn plan(bytes: &[u8]) {
    let mut draw = Draw(bytes);
    let home = model::at_home(draw.settings(None));
    let wanted = draw.wanted();
    let goal = wanted.goal(&home.settings, &"net1".parse().expect("a name"));
    stays(&home);
    stays(&goal);

    let there = steps(&home, &goal);
    let stop = usize::from(draw.byte());
    let mut vf = home.clone();
    let mut interrupted = None;
    for (place, step) in there.iter().enumerate() {
        if place == stop {
            interrupted = Some(vf.clone());
        }
        model::take(&mut vf, step);
    }
    assert_eq!(differences(&goal, &vf), [], "handed over from {home:?}");

    for mut vf in [Some(vf), interrupted].into_iter().flatten() {
        model::arrive(&mut vf, &home);
        assert_eq!(differences(&home, &vf), [], "returned");
    }

    // Whatever is found in the end, but for what the driver says and whether there's a PF.
    let found = draw.settings(Some(&home.settings));
    let place = if found.netdev.is_some() { draw.of(&[Place::Home, Place::Pod]) } else { Place::Home };
    let mut vf = Situation { settings: found, place };
    model::arrive(&mut vf, &home);
    assert_eq!(differences(&home, &vf), [], "found and returned");
}

/// Choices, made by the bytes in order; when they've run out, the first of all.
struct Draw<'a>(&'a [u8]);

impl Draw<'_> {
    fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *byte
    }

    fn of<T: Clone>(&mut self, options: &[T]) -> T {
        let place = usize::from(self.byte()) % options.len();
        options.get(place).expect("there is an option").clone()
    }

    fn flag(&mut self) -> bool {
        self.of(&[false, true])
    }

    fn mac(&mut self) -> MacAddr {
        MacAddr([2, 0, 0, 0, 0, self.of(&[1, 2, 3])])
    }

    fn maybe<T>(&mut self, draw: impl Fn(&mut Self) -> T) -> Option<T> {
        self.flag().then(|| draw(self))
    }

    /// A VF, or with `before` the same VF as somebody else left it: its driver says as much as it did.
    fn settings(&mut self, before: Option<&Settings>) -> Settings {
        let driver = match before {
            Some(before) => before.driver.clone(),
            None => Some(self.of(&["igbvf", "iavf", "mlx5_core", "unheard", "vfio-pci"]).to_owned()),
        };
        let netdev = (driver.as_deref() != Some("vfio-pci")).then(|| self.netdev());
        let admin = match before {
            None => (!self.flag()).then(|| self.admin()),
            Some(before) => before.admin.as_ref().map(|before| {
                let now = self.admin();
                Admin {
                    trunk: before.trunk.as_ref().and(now.trunk.or(Some(Vlans::default()))),
                    spoofchk: before.spoofchk.and(now.spoofchk.or(Some(false))),
                    trust: before.trust.and(now.trust.or(Some(false))),
                    link_state: before.link_state.and(now.link_state.or(Some(LinkState::Auto))),
                    ..now
                }
            }),
        };
        let has_rdma = match before {
            None => netdev.is_some() && self.flag(),
            Some(before) => before.rdma.is_some(),
        };
        let rdma = has_rdma.then(|| self.rdma());
        Settings { driver, netdev, admin, rdma }
    }

    fn netdev(&mut self) -> Netdev {
        let altnames = self.of(&[&[][..], &["a"], &["b", "net1"]]);
        Netdev {
            name: self.of(&["eth0", "net1", "a"]).to_owned(),
            mac: Some(self.mac()),
            guid: None,
            mtu: self.mtu(),
            up: self.flag(),
            promisc: self.flag(),
            allmulti: self.flag(),
            altnames: altnames.iter().map(OsString::from).collect(),
        }
    }

    fn rdma(&mut self) -> Rdma {
        let name = self.of(&["mlx5_2", "a"]).to_owned();
        Rdma { index: 1, name, place: self.of(&[Place::Home, Place::Pod]) }
    }

    fn admin(&mut self) -> Admin {
        let (vlan, trunk) = (self.vlan(), self.maybe(Self::trunk));
        Admin {
            mac: Some(self.maybe(Self::mac).unwrap_or_default()),
            vlan,
            guids: None,
            // Beside a VLAN there's none in it.
            trunk: trunk.map(|trunk| if vlan.tags() { Vlans::default() } else { trunk }),
            rate: self.rate(),
            spoofchk: self.maybe(Self::flag),
            trust: self.maybe(Self::flag),
            link_state: self.maybe(Self::link_state),
        }
    }

    fn wanted(&mut self) -> Wanted {
        let vlan = self.maybe(Self::vlan);
        Wanted {
            mac: self.maybe(Self::mac),
            vlan,
            guid: None,
            pkey: None,
            trunk: self.maybe(Self::trunk).filter(|_| vlan.is_none_or(|vlan| !vlan.tags())),
            promisc: self.maybe(Self::flag),
            allmulti: self.maybe(Self::flag),
            rate: self.maybe(Self::rate),
            spoofchk: self.maybe(Self::flag),
            trust: self.maybe(Self::flag),
            link_state: self.maybe(Self::link_state),
            mtu: self.maybe(Self::mtu),
            rdma: self.flag(),
        }
    }

    fn mtu(&mut self) -> u32 {
        self.of(&[1500, 1400, 9000])
    }

    fn vlan(&mut self) -> Vlan {
        let proto = self.of(&[VlanProto::Dot1q, VlanProto::Dot1ad]);
        Vlan { id: self.of(&[0, 100, 4094]), qos: self.of(&[0, 7]), proto }
    }

    fn trunk(&mut self) -> Vlans {
        self.of(&["", "100", "1-3,100", "2"]).parse().unwrap_or_default()
    }

    fn rate(&mut self) -> Rate {
        Rate { min: self.of(&[0, 10]), max: self.of(&[0, 100]) }
    }

    fn link_state(&mut self) -> LinkState {
        self.of(&[LinkState::Auto, LinkState::Enable, LinkState::Disable])
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_corpus_of_ledger_files_is_replayed() {
        let directory = tempfile::tempdir().unwrap();
        testbed::corpus::replay("ledger", |bytes| super::ledger_file(directory.path(), bytes)).unwrap();
    }

    #[test]
    fn the_corpus_of_plans_is_replayed() {
        testbed::corpus::replay("plan", super::plan).unwrap();
    }
}
