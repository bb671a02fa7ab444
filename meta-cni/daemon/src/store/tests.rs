use std::os::unix::fs::PermissionsExt;

use cni::{Chain, Version};
use serde_json::json;

use super::*;

fn plan(container_id: &str) -> Plan {
    let chain = Chain {
        name: "n".to_owned(),
        cni_version: Version::V1_0_0,
        disable_check: false,
        disable_gc: false,
        plugins: Vec::new(),
    };
    let attachment = Attachment {
        name: "ns/n".to_owned(),
        ifname: "net1".to_owned(),
        resource: None,
        device: None,
        device_info: None,
        default_route: None,
        args: vec![("K8S_POD_NAME".to_owned(), "web".to_owned())],
        chain,
    };
    Plan {
        pod: PodRef { namespace: "ns".to_owned(), name: "web".to_owned(), uid: "u".to_owned() },
        container_id: container_id.to_owned(),
        netns: Some("/run/netns/x".into()),
        ifname: "eth0".to_owned(),
        path: vec!["/opt/cni/bin".into()],
        attachments: vec![attachment],
    }
}

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("attachments"), "boot-1").unwrap();
    (dir, store)
}

#[test]
fn a_record_comes_back_as_it_was_written() {
    let (_dir, store) = store();
    let mut record = Record::new(plan("c1"), store.boot_id());
    assert!(!record.attachments[0].is_begun());
    for progress in [Progress::Adding, Progress::Added { result: r#"{"a": 1.50}"#.to_owned() }] {
        record.attachments[0].progress = progress;
        store.write(&record).unwrap();
        assert_eq!(store.read("c1").unwrap().as_ref(), Some(&record));
    }
    assert_eq!(record.attachments[0].result(), Some(r#"{"a": 1.50}"#));
    let mode = std::fs::metadata(store.path("c1")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(store.sandboxes().unwrap(), ["c1"]);
    store.remove("c1").unwrap();
    store.remove("c1").unwrap();
    assert_eq!(store.read("c1").unwrap(), None);
}

#[test]
fn a_newer_format_is_left_alone_and_told_to_try_again() {
    let (_dir, store) = store();
    let newer = json!({"format": FORMAT + 1, "something": "else"});
    std::fs::File::create(store.path("c1")).unwrap();
    file::write_whole(&store.path("c1"), newer.to_string().as_bytes(), Durability::Tmpfs).unwrap();
    let error = store.read("c1").unwrap_err();
    assert!(!error.is_damaged());
    assert_eq!(cni::Error::from(error).code, cni::code::TRY_AGAIN);
}

#[test]
fn a_torn_file_is_damaged_and_can_be_set_aside() {
    let (_dir, store) = store();
    store.write(&Record::new(plan("c1"), "boot-1")).unwrap();
    let whole = std::fs::read(store.path("c1")).unwrap();
    for length in [0, 1, whole.len() / 2, whole.len() - 1] {
        file::write_whole(&store.path("c1"), &whole[..length], Durability::Tmpfs).unwrap();
        let error = store.read("c1").unwrap_err();
        assert!(error.is_damaged(), "{length}: {error}");
    }
    let kept = store.set_aside("c1").unwrap();
    assert!(kept.exists());
    assert_eq!(store.read("c1").unwrap(), None);
    assert_eq!(store.sandboxes().unwrap(), Vec::<String>::new());
}

#[test]
fn other_files_are_no_sandboxes() {
    let (_dir, store) = store();
    for name in ["README", ".hidden.json", "a b.json", "c2.json.tmp"] {
        std::fs::File::create(store.dir.join(name)).unwrap();
    }
    assert_eq!(store.sandboxes().unwrap(), Vec::<String>::new());
}
