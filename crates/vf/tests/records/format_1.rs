//! Format 1.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ledger::{Device, Ledger, Owner, Pod};
use netlink::{LinkState, MacAddr, VlanProto};
use tempfile::TempDir;
use vf::{Baseline, Claim, Entry, Intent, Rate, Settings, State, Vlan, Wanted};

const BOOT: &str = "5d1c5c1e-0000-4000-8000-000000000001";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/records/format-1")
}

/// A ledger with that record in it.
fn ledger(record: &str) -> (TempDir, Ledger, Device) {
    let directory = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(directory.path()).unwrap();
    let kind = Path::new(record).extension().unwrap().to_str().unwrap();
    fs::copy(folder().join(record), directory.path().join(format!("0000:01:10.0.{kind}"))).unwrap();
    (directory, ledger, "0000:01:10.0".parse().unwrap())
}

fn state(record: &str) -> State {
    let (_directory, ledger, device) = ledger(record);
    let entry: Entry = ledger.entry::<Intent>(&device).unwrap().unwrap();
    assert_eq!(entry.boot_id, BOOT);
    entry.state
}

fn baseline(record: &str) -> Baseline {
    let (_directory, ledger, device) = ledger(record);
    ledger.baseline(&device).unwrap().unwrap()
}

/// What all the claims say.
fn is_whole(claim: &Claim) {
    let owner = Owner { network: "blue".into(), container_id: "sandbox1".into(), ifname: "net1".into() };
    assert_eq!(claim.owner, owner);
    assert_eq!(claim.resource.as_deref(), Some("intel.com/sriov_a"));
    let uid = Some("0b52ef07-3b52-4d0e-9b0d-3a5ad8fa4c21".to_owned());
    assert_eq!(claim.pod, Some(Pod { namespace: "default".into(), name: "web".into(), uid }));
    let netns = claim.netns.as_ref().unwrap();
    assert_eq!(netns.path, Path::new("/run/netns/pod1"));
    assert!(netns.ino != 0);

    let wanted = &claim.wanted.wanted;
    let vlan = Vlan { id: 100, qos: 3, proto: VlanProto::Dot1q };
    let asked = Wanted {
        mac: Some(MacAddr([2, 0, 0, 0, 0, 0x0a])),
        vlan: Some(vlan),
        rate: Some(Rate { min: 0, max: 500 }),
        spoofchk: Some(false),
        trust: Some(true),
        mtu: Some(1400),
        ..Wanted::default()
    };
    assert_eq!(*wanted, asked);
    is_igbvf(&claim.wanted.baseline);
}

fn is_igbvf(baseline: &Baseline) {
    assert_eq!(baseline.boot_id, BOOT);
    assert!(baseline.incarnation != 0);
    let Settings { driver, netdev, admin, rdma } = &baseline.settings;
    assert_eq!(*rdma, None);
    assert_eq!(driver.as_deref(), Some("igbvf"));
    let netdev = netdev.as_ref().unwrap();
    assert_eq!((netdev.mtu, netdev.up, netdev.altnames.len()), (1500, false, 0));
    assert!(!netdev.name.is_empty() && netdev.mac.is_some_and(MacAddr::is_unicast));
    let admin = admin.as_ref().unwrap();
    assert_eq!((admin.vlan, admin.rate), (Vlan::default(), Rate::default()));
    assert_eq!((admin.spoofchk, admin.trust), (Some(true), Some(false)));
    assert_eq!(admin.link_state, Some(LinkState::Auto));
}

#[test]
fn every_state_is_read() {
    assert_eq!(state("prepared.state"), State::Prepared { resource: "intel.com/sriov_a".into() });
    for record in ["claimed.state", "attached.state", "releasing.state", "quarantined.state"] {
        let state = state(record);
        assert_eq!(format!("{}.state", state.name()), record);
        is_whole(state.claim().unwrap());
    }
    let State::Quarantined { reason, claim: None } = state("quarantined-without-claim.state") else {
        panic!("a claim where there was none");
    };
    assert_eq!(reason, "the state file is damaged");
}

#[test]
fn what_was_left_out_is_nothing_asked() {
    let state = state("attached-with-nothing-said.state");
    let claim = state.claim().unwrap();
    assert_eq!((&claim.resource, &claim.netns, &claim.pod), (&None, &None, &None));
    assert_eq!(claim.wanted.wanted, Wanted::default());
    assert_eq!(claim.wanted.baseline, baseline("vfio.baseline"));
}

#[test]
fn baselines_are_read() {
    is_igbvf(&baseline("igbvf.baseline"));
    let vfio = baseline("vfio.baseline").settings;
    assert_eq!(vfio.driver.as_deref(), Some("vfio-pci"));
    assert!(vfio.netdev.is_none() && vfio.admin.is_none());
}

#[test]
fn every_committed_record_is_read_and_written_again() {
    let mut count = 0;
    for entry in fs::read_dir(folder()).unwrap() {
        let record = entry.unwrap().file_name().into_string().unwrap();
        let (_directory, ledger, device) = ledger(&record);
        let locked = ledger.lock(&device, Duration::from_secs(1)).unwrap();
        if Path::new(&record).extension().is_some_and(|kind| kind == "state") {
            let entry: Entry = locked.entry::<Intent>().unwrap().unwrap();
            locked.write_entry(&entry).unwrap();
            assert_eq!(locked.entry::<Intent>().unwrap(), Some(entry), "{record}");
        } else {
            let baseline: Baseline = locked.baseline().unwrap().unwrap();
            locked.write_baseline(&baseline).unwrap();
            assert_eq!(locked.baseline::<Baseline>().unwrap(), Some(baseline), "{record}");
        }
        count += 1;
    }
    assert!(count >= 9, "{count} records");
}
