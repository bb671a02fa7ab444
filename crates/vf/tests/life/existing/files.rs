//! The existing plugin's files, whole or not, and its lock.

use std::fs::{self, File, FileTimes};
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime};

use rstest::rstest;
use vf::{Detached, Error, ExistingError, Wanted};

use super::{allocation, assert_clean, cache_file, give, give_with, put, vfio};
use crate::machine::{Machine, owner, pod};

#[rstest]
#[case::empty("")]
#[case::cut_off(r#"{"cniVersion":"1.0.0","name":"blue","OrigVf"#)]
#[case::foreign(r#"{"type":"bridge","name":"blue"}"#)]
#[case::without_state(r#"{"deviceID":"0000:01:10.0","name":"blue"}"#)]
fn a_record_that_says_nothing_stops_the_detach_and_is_named(#[case] content: &str) {
    let machine = Machine::igb();
    give(&machine, 1);
    put(&machine, cache_file(&machine, 1), content);
    let error = machine.host.existing_vf(&owner(1)).unwrap_err();
    assert!(matches!(error, Error::Existing(ExistingError::Unusable { .. })), "{error:?}");
    assert!(error.to_string().contains(&cache_file(&machine, 1).display().to_string()), "{error}");
    // The VF is in the pod's namespace, and nobody knows what it was like.
    let error = machine.detach(1).unwrap_err();
    assert!(matches!(error, Error::LeftByExistingPlugin { .. }), "{error:?}");
    // A sandbox that never had it can be deleted.
    assert_eq!(machine.detach(2).unwrap(), Detached::NotAttached);
    let error = machine.attach_to(2, &Wanted::default()).unwrap_err();
    assert!(matches!(error, Error::OfExistingPlugin { .. }), "{error:?}");
    assert!(machine.host.left_by_existing().is_empty());

    machine.links.remove_namespace(&pod(1));
    let error = machine.attach_to(2, &Wanted::default()).unwrap_err();
    assert!(matches!(error, Error::LeftByExistingPlugin { .. }), "{error:?}");
    assert!(error.to_string().contains(&allocation(&machine).display().to_string()), "{error}");
    assert!(machine.host.left_by_existing().contains_key(&machine.vf()));
    assert!(machine.host.sweep(&|_| false).unwrap().is_empty());
    assert!(machine.links.changes().is_empty());

    // What the error says to do.
    fs::remove_file(cache_file(&machine, 1)).unwrap();
    fs::remove_file(allocation(&machine)).unwrap();
    assert_eq!(machine.detach(1).unwrap(), Detached::NotAttached);
    machine.attach_to(2, &Wanted::default()).unwrap();
}

#[test]
fn a_record_of_an_older_release_restores_what_it_has() {
    let machine = Machine::igb();
    let before = machine.look(machine.vf());
    give_with(&machine, 1, |cache| {
        let saved = cache["OrigVfState"].as_object_mut().unwrap();
        saved.retain(|key, _| !["Trust", "VlanProto", "MTU"].contains(&key.as_str()));
        cache["ContIFNames"] = "net1".into();
    });
    assert_eq!(machine.detach(1).unwrap(), Detached::Released);
    assert_clean(&machine, &before);
}

#[test]
fn what_is_older_than_the_boot_says_nothing() {
    for torn in [false, true] {
        let machine = Machine::igb();
        give(&machine, 1);
        if torn {
            put(&machine, cache_file(&machine, 1), "{");
        }
        machine.links.remove_namespace(&pod(1));
        let given = machine.look(machine.vf());
        age(&cache_file(&machine, 1));
        age(&allocation(&machine));
        assert_eq!(machine.host.existing_owner(machine.vf()).unwrap(), None);
        assert_eq!(machine.host.existing_vf(&owner(1)).unwrap(), None);
        assert_eq!(machine.detach(1).unwrap(), Detached::NotAttached);
        assert_eq!(machine.look(machine.vf()), given);
        assert!(!cache_file(&machine, 1).exists());
        // A torn record doesn't say which allocation goes with it; that says nothing either.
        assert_eq!(allocation(&machine).exists(), torn);
        machine.attach_to(2, &Wanted::default()).unwrap();
    }
}

fn age(file: &Path) {
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(999_999);
    File::options().write(true).open(file).unwrap().set_times(FileTimes::new().set_modified(old)).unwrap();
}

#[test]
fn a_name_that_is_no_files_is_no_record() {
    let machine = Machine::igb();
    give(&machine, 1);
    let odd = ledger::Owner { container_id: "../sriov/sandbox1".to_owned(), ..owner(1) };
    assert_eq!(machine.host.existing_vf(&odd).unwrap(), None);
}

/// Nothing beside it says what driver it had.
#[test]
fn a_changed_driver_that_nothing_tells_of_is_an_error() {
    let machine = vfio();
    give_with(&machine, 1, |cache| cache["OrigVfState"]["HostIFName"] = "eth4".into());
    let error = machine.detach(1).unwrap_err();
    assert!(error.chain().contains("bound to vfio-pci now"), "{}", error.chain());
    assert!(machine.links.changes().is_empty());
}

#[test]
fn both_plugins_never_work_on_one_vf() {
    let mut machine = Machine::igb();
    let before = machine.look(machine.vf());
    give(&machine, 1);
    let lock = machine.host.existing_state.join("pci/vf_lock").join(format!("{}.lock", machine.vf()));
    fs::create_dir_all(lock.parent().unwrap()).unwrap();
    let theirs = File::create(&lock).unwrap();
    theirs.lock().unwrap();
    machine.host.deadlines.lock = Duration::from_millis(30);
    for error in [machine.detach(1).unwrap_err(), machine.attach_to(2, &Wanted::default()).unwrap_err()] {
        assert!(
            matches!(error, Error::Existing(ExistingError::Locked { .. })) && error.is_transient(),
            "{error:?}"
        );
        assert!(error.to_string().contains(&lock.display().to_string()), "{error}");
    }
    assert!(machine.host.sweep(&|_| false).unwrap().is_empty());
    assert!(machine.links.changes().is_empty());

    machine.host.deadlines.lock = Duration::from_mins(1);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| machine.detach(1));
        thread::sleep(Duration::from_millis(20));
        assert!(machine.links.changes().is_empty());
        drop(theirs);
        assert_eq!(waiter.join().unwrap().unwrap(), Detached::Released);
    });
    assert_clean(&machine, &before);
    // It's given back, also where a wait for it was given up.
    File::open(&lock).unwrap().try_lock().unwrap();
}

#[test]
fn their_lock_is_made_where_only_their_other_files_are() {
    let machine = Machine::igb();
    let lock = machine.host.existing_state.join("pci/vf_lock").join(format!("{}.lock", machine.vf()));
    machine.host.take_baseline(machine.vf()).unwrap();
    assert!(!lock.exists());
    give(&machine, 1);
    machine.detach(1).unwrap();
    assert!(lock.exists());
}
