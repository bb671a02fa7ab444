use std::fs::File;
use std::process::Command;

use super::*;
use crate::file::{self, Durability};

/// Nobody waits for it: a wait that isn't ended by an event makes the test hang.
const NEVER: Duration = Duration::from_hours(1);

/// A limit that is to be reached.
const SHORT: Duration = Duration::from_millis(20);

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn a_close_ends_a_wait() {
    let directory = directory();
    let path = directory.path().join("lock");
    let held = File::create(&path).unwrap();
    let mut watch = Watch::of_close(&path);
    assert!(!watch.wait(SHORT));
    for held in [held, File::open(&path).unwrap()] {
        thread::scope(|scope| {
            let waiter = scope.spawn(|| watch.wait(NEVER));
            drop(held);
            assert!(waiter.join().unwrap());
        });
    }
    assert!(!watch.wait(SHORT), "it was told before");
}

#[test]
fn the_end_of_a_process_ends_a_wait() {
    let directory = directory();
    let path = directory.path().join("lock");
    let held = File::create(&path).unwrap();
    let mut watch = Watch::of_close(&path);
    // Its standard input is ours, and the last to be closed.
    let mut holder = Command::new("sleep").arg("600").stdin(held).spawn().unwrap();
    assert!(!watch.wait(SHORT));
    holder.kill().unwrap();
    assert!(watch.wait(NEVER));
    holder.wait().unwrap();
}

#[test]
fn a_file_that_is_replaced_or_removed_ends_a_wait_and_another_does_not() {
    let directory = directory();
    let (mine, other) = (directory.path().join("a.state"), directory.path().join("b.state"));
    let write = |path| file::write_whole(path, b"{}", Durability::Tmpfs).unwrap();
    write(&mine);
    let mut watch = Watch::of_entry(directory.path(), "a.state".into());
    write(&other);
    assert!(!watch.wait(SHORT));
    write(&mine);
    assert!(watch.wait(NEVER));
    file::remove(&other, Durability::Tmpfs).unwrap();
    file::remove(&mine, Durability::Tmpfs).unwrap();
    assert!(watch.wait(NEVER));
    assert!(!watch.wait(SHORT), "it was told before");
}

#[test]
fn where_nothing_is_told_a_wait_ends_soon() {
    let directory = directory();
    let missing = directory.path().join("missing");
    let mut unwatched = Watch::of_close(&missing);
    assert!(unwatched.inotify.is_none());
    assert!(!unwatched.wait(NEVER));
    assert!(!Watch::of_entry(&missing, "a.state".into()).wait(NEVER));
}
