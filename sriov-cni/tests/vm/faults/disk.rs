//! A ledger without room, or that can't be written at all.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{about_none, assert_error, check, gc};
use crate::life::MORE;
use crate::node::{LEDGER, Pod, add, del, run, vf};

/// A file system over the ledger's directory, until it's dropped.
struct SmallLedger;

impl SmallLedger {
    fn mount() -> Self {
        fs::create_dir_all(LEDGER).unwrap();
        run("mount", &["-t", "tmpfs", "-o", "size=64k,mode=0700", "none", LEDGER]);
        Self
    }

    fn fill() -> PathBuf {
        let path = Path::new(LEDGER).join("filler");
        let mut filler = fs::File::create(&path).unwrap();
        while filler.write_all(&[0; 4096]).is_ok() {}
        path
    }
}

impl Drop for SmallLedger {
    fn drop(&mut self) {
        drop(Command::new("umount").args(["-l", LEDGER]).status());
    }
}

#[test]
fn a_full_disk_stops_add_before_anything_is_changed_and_does_not_stop_del() {
    let vf = vf(0, 6);
    let before = vf.look();
    let pod = Pod::new("full");
    let small = SmallLedger::mount();
    let result = add("c1", &pod, &vf.conf(MORE)).unwrap();
    let filler = SmallLedger::fill();
    check("c1", &pod, &vf.conf(MORE), &result).unwrap();
    del("c1", &pod.path(), &vf.conf(MORE)).unwrap_or_else(|error| panic!("{error}"));
    vf.assert_clean(&before);

    drop(SmallLedger::fill());
    let error = add("c1", &pod, &vf.conf(MORE)).unwrap_err();
    assert_eq!(error["code"], 5, "{error}");
    vf.assert_clean(&before);
    fs::remove_file(filler).unwrap();
    add("c1", &pod, &vf.conf(MORE)).unwrap();
    del("c1", &pod.path(), &vf.conf(MORE)).unwrap();
    vf.assert_clean(&before);
    drop(small);
}

#[test]
fn a_full_disk_does_not_stop_gc() {
    let vf = vf(0, 6);
    let before = vf.look();
    let small = SmallLedger::mount();
    for delete in [false, true] {
        let pod = Pod::new("full");
        add("c1", &pod, &vf.conf(MORE)).unwrap();
        let filler = SmallLedger::fill();
        if delete {
            pod.delete();
        }
        gc(&vf.conf(""), &[]).unwrap_or_else(|error| panic!("{error}"));
        vf.assert_clean(&before);
        fs::remove_file(filler).unwrap();
    }
    drop(small);
}

/// The claim can't be removed, so DEL has to fail; the VF is clean all the same, and a second DEL ends it.
#[test]
fn a_ledger_that_cannot_be_written_fails_one_del_and_not_the_next() {
    let vf = vf(0, 6);
    let before = vf.look();
    let pod = Pod::new("fixed");
    let small = SmallLedger::mount();
    add("c1", &pod, &vf.conf(MORE)).unwrap();
    run("mount", &["-o", "remount,ro", LEDGER]);
    let error = del("c1", &pod.path(), &vf.conf(MORE)).unwrap_err();
    let meanwhile = (vf.look(), vf.state().is_some());
    let refused = add("c2", &pod, &vf.conf("")).unwrap_err();
    run("mount", &["-o", "remount,rw", LEDGER]);

    assert_error(&error, 5, &[LEDGER, &vf.pci.to_string()]);
    assert_eq!(meanwhile, (before.clone(), true));
    assert_ne!(refused["code"], 0);
    del("c1", &pod.path(), &vf.conf(MORE)).unwrap();
    vf.assert_clean(&before);
    drop(small);
}

#[test]
fn status_tells_whether_the_ledger_can_be_used() {
    let vf = vf(0, 6);
    let before = vf.look();
    about_none("STATUS", &vf.conf("")).unwrap();
    let aside = format!("{LEDGER}.aside");
    fs::create_dir_all(LEDGER).unwrap();
    fs::rename(LEDGER, &aside).unwrap();
    fs::File::create(LEDGER).unwrap();
    let pod = Pod::new("status");
    let status = about_none("STATUS", &vf.conf(""));
    let added = add("c1", &pod, &vf.conf(MORE));
    fs::remove_file(LEDGER).unwrap();
    fs::rename(&aside, LEDGER).unwrap();

    assert_error(&status.unwrap_err(), 50, &[LEDGER]);
    assert_error(&added.unwrap_err(), 5, &[LEDGER]);
    vf.assert_clean(&before);
    let ipam = vf.conf(r#","ipam":{"type":"nowhere"}"#);
    assert!(about_none("STATUS", &ipam).unwrap_err().to_string().contains("nowhere"));
}
