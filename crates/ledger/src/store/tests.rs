use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::{Claim, NamespaceRecord, Owner, Pod, State};

type Wanted = serde_json::Value;

const SHORT: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_mins(1);

fn device() -> Device {
    "0000:01:10.0".parse().unwrap()
}

fn claim() -> Claim<Wanted> {
    Claim {
        owner: Owner { network: "blue".into(), container_id: "c1".into(), ifname: "net1".into() },
        resource: Some("example.com/vfs".into()),
        netns: Some(NamespaceRecord {
            path: "/run/netns/a".into(),
            dev: 4,
            ino: u64::MAX,
            cookie: Some(u64::MAX),
        }),
        pod: Some(Pod { namespace: "default".into(), name: "web".into(), uid: None }),
        wanted: serde_json::json!({"vlan": 100}),
    }
}

fn states() -> Vec<State<Wanted>> {
    vec![
        State::Prepared { resource: "example.com/vfs".into() },
        State::Claimed { claim: claim() },
        State::Attached { claim: claim() },
        State::Releasing { claim: claim() },
        State::Quarantined { reason: "mtu is 9000".into(), claim: Some(claim()) },
        State::Quarantined { reason: "state file is damaged".into(), claim: None },
    ]
}

fn ledger() -> (tempfile::TempDir, Ledger) {
    let directory = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(directory.path().join("vf")).unwrap();
    (directory, ledger)
}

#[test]
fn every_state_is_read_back_as_written() {
    let (_directory, ledger) = ledger();
    for state in states() {
        let entry = Entry { boot_id: "b".into(), state };
        let locked = ledger.lock(&device(), LONG).unwrap();
        locked.write_entry(&entry).unwrap();
        assert_eq!(locked.entry::<Wanted>().unwrap().as_ref(), Some(&entry));
        let listed = ledger.entries::<Wanted>().unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].0, device());
        assert_eq!(listed[0].1.as_ref().unwrap(), &entry);
        assert!(fs::read_to_string(ledger.path(&device(), "state")).unwrap().contains(entry.state.name()));
    }
}

#[test]
fn free_is_the_absence_of_a_state() {
    let (_directory, ledger) = ledger();
    let locked = ledger.lock(&device(), LONG).unwrap();
    assert!(locked.entry::<Wanted>().unwrap().is_none());
    locked.clear().unwrap();
    locked.write_entry(&Entry { boot_id: "b".into(), state: State::Claimed { claim: claim() } }).unwrap();
    locked.clear().unwrap();
    assert!(ledger.entries::<Wanted>().unwrap().is_empty());
    assert!(ledger.path(&device(), "lock").exists());
}

#[test]
fn baselines_are_of_the_callers_type() {
    let (_directory, ledger) = ledger();
    let locked = ledger.lock(&device(), LONG).unwrap();
    assert!(locked.baseline::<Wanted>().unwrap().is_none());
    locked.write_baseline(&serde_json::json!({"mtu": 1500})).unwrap();
    // The format is beside the content, in one object.
    let baseline = locked.baseline::<Wanted>().unwrap().unwrap();
    assert_eq!(baseline, serde_json::json!({"format": FORMAT, "mtu": 1500}));
    locked.forget_baseline().unwrap();
    assert!(locked.baseline::<Wanted>().unwrap().is_none());
}

#[rstest]
#[case::empty("")]
#[case::zeros("\0\0\0\0")]
#[case::no_object("[]")]
#[case::no_format("{}")]
#[case::negative_format(r#"{"format":-1}"#)]
#[case::no_state(r#"{"format":1,"bootId":"b"}"#)]
#[case::unknown_state(r#"{"format":1,"bootId":"b","state":"borrowed"}"#)]
#[case::no_claim(r#"{"format":1,"bootId":"b","state":"claimed"}"#)]
fn what_cannot_be_read_is_damaged_and_not_free(#[case] content: &str) {
    let (_directory, ledger) = ledger();
    file::write_whole(&ledger.path(&device(), "state"), content.as_bytes(), Durability::Tmpfs).unwrap();
    let error = ledger.entry::<Wanted>(&device()).unwrap_err();
    assert!(error.is_damaged() && !error.is_newer(), "{error:?}");
    assert!(error.to_string().contains("0000:01:10.0.state"), "{error}");
    assert!(ledger.entries::<Wanted>().unwrap()[0].1.is_err());
}

#[test]
fn every_part_of_a_state_file_is_damaged_and_not_free() {
    let (_directory, ledger) = ledger();
    let locked = ledger.lock(&device(), LONG).unwrap();
    let path = ledger.path(&device(), "state");
    locked.write_entry(&Entry { boot_id: "b".into(), state: State::Claimed { claim: claim() } }).unwrap();
    let whole = fs::read(&path).unwrap();
    let end = whole.iter().rposition(|byte| *byte == b'}').unwrap();
    for length in 0..=end {
        file::write_whole(&path, &whole[..length], Durability::Tmpfs).unwrap();
        assert!(locked.entry::<Wanted>().unwrap_err().is_damaged(), "{length} bytes");
    }
}

#[test]
fn a_newer_file_is_left_alone_whatever_else_it_holds() {
    let (_directory, ledger) = ledger();
    let path = ledger.path(&device(), "state");
    file::write_whole(&path, br#"{"format":2,"state":["new"]}"#, Durability::Tmpfs).unwrap();
    let error = ledger.entry::<Wanted>(&device()).unwrap_err();
    assert!(error.is_newer() && !error.is_damaged(), "{error:?}");
}

#[test]
fn a_lock_is_waited_for_and_the_wait_is_bounded() {
    let (_directory, ledger) = ledger();
    let held = ledger.lock(&device(), LONG).unwrap();
    let refused = ledger.lock(&device(), SHORT).unwrap_err();
    assert!(refused.is_locked(), "{refused:?}");
    // Another device isn't concerned.
    ledger.lock(&"0000:01:10.2".parse().unwrap(), SHORT).unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| ledger.lock(&device(), LONG).map(|_| ()));
        drop(held);
        waiter.join().unwrap().unwrap();
    });
}

#[test]
fn the_lock_of_a_killed_process_is_free() {
    let (_directory, ledger) = ledger();
    drop(ledger.lock(&device(), LONG).unwrap());
    let held = File::open(ledger.path(&device(), "lock")).unwrap();
    held.lock().unwrap();
    let mut holder = std::process::Command::new("sleep").arg("600").stdin(held).spawn().unwrap();
    assert!(ledger.lock(&device(), SHORT).unwrap_err().is_locked());
    thread::scope(|scope| {
        let waiter = scope.spawn(|| ledger.lock(&device(), LONG).map(|_| ()));
        holder.kill().unwrap();
        waiter.join().unwrap().unwrap();
    });
    holder.wait().unwrap();
}

#[test]
fn a_lock_excludes_threads_with_ledgers_of_their_own() {
    let (directory, _ledger) = ledger();
    let inside = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let ledger = Ledger::open(directory.path().join("vf")).unwrap();
                for _ in 0..20 {
                    let _locked = ledger.lock(&device(), LONG).unwrap();
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                    assert_eq!(inside.fetch_sub(1, Ordering::SeqCst), 1);
                }
            });
        }
    });
}

#[test]
fn the_directory_and_its_files_are_the_owners_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run/patchbay/vf");
    DirBuilder::new().recursive(true).mode(0o755).create(&path).unwrap();
    let ledger = Ledger::open(&path).unwrap();
    let locked = ledger.lock(&device(), LONG).unwrap();
    locked.write_baseline(&serde_json::json!({})).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    assert_eq!(mode(&ledger.path(&device(), "baseline")), 0o600);
    assert_eq!(mode(&ledger.path(&device(), "lock")), 0o600);
}

#[test]
fn other_files_in_the_directory_are_passed_over() {
    let (_directory, ledger) = ledger();
    for name in ["README", ".state", "a b.state", "0000:01:10.0.baseline"] {
        file::write_whole(&ledger.directory().join(name), b"x", Durability::Tmpfs).unwrap();
    }
    assert!(ledger.entries::<Wanted>().unwrap().is_empty());
}

proptest! {
    #[test]
    fn no_content_panics_or_counts_as_free(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let (_directory, ledger) = ledger();
        file::write_whole(&ledger.path(&device(), "state"), &bytes, Durability::Tmpfs).unwrap();
        prop_assert!(!matches!(ledger.entry::<Wanted>(&device()), Ok(None)));
    }
}
