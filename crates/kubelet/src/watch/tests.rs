use std::fs::{self, File};
use std::time::Duration;

use super::*;

async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("an event")
}

#[tokio::test]
async fn every_kind_of_change_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    let watch = Directory::watch(dir.path()).unwrap();
    File::create(&one).unwrap();
    within(watch.changed()).await.unwrap();
    fs::rename(&one, &two).unwrap();
    within(watch.changed()).await.unwrap();
    fs::remove_file(&two).unwrap();
    within(watch.changed()).await.unwrap();
    let quiet = tokio::time::timeout(Duration::from_millis(50), watch.changed()).await;
    assert!(quiet.is_err(), "nothing has happened since");
}

#[tokio::test]
async fn a_directory_in_the_old_ones_place_is_another() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("watched");
    fs::create_dir(&path).unwrap();
    let watch = Directory::watch(&path).unwrap();
    fs::rename(&path, dir.path().join("old")).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(matches!(within(watch.changed()).await, Err(Error::Gone { .. })));
}

#[test]
fn a_file_made_again_has_another_identity() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kubelet.sock");
    assert_eq!(identity(&path), None);
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let first = identity(&path);
    assert!(first.is_some() && first == identity(&path));
    fs::remove_file(&path).unwrap();
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert_ne!(identity(&path), first);
}

#[tokio::test]
async fn what_is_no_directory_cannot_be_watched() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    File::create(&file).unwrap();
    let error = Directory::watch(&file).unwrap_err();
    assert!(error.to_string().contains("file"), "{error}");
}
