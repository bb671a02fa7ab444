//! DELs that are kept for later.

use std::fs;
use std::time::Duration;

use assert_cmd::Command;

use crate::node::{Node, call_with, code, printed, succeeded_silently};

#[test]
fn del_without_a_daemon_is_kept_and_succeeds_each_time() {
    let node = Node::new();
    let stdin = node.conf().to_string();
    for _ in 0..2 {
        succeeded_silently(&call_with("DEL", stdin.as_bytes()));
    }
    let kept = node.kept();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].request.config, stdin.as_bytes());
    let args = kept[0].request.args().unwrap();
    assert_eq!((args.command, args.container_id.as_str()), (cni::Command::Del, "c1"));
    assert!(!kept[0].request.env.contains_key("SECRET"));
}

#[test]
fn del_that_cant_be_kept_is_an_error() {
    let node = Node::new();
    fs::write(node.intents(), "a file where the directory should be").unwrap();
    let output = node.call("DEL");
    assert_eq!(code(&output), 5);
    let error = printed(&output).to_string();
    assert!(error.contains(node.intents().to_str().unwrap()) && error.contains("patchbayd"), "{error}");
}

#[test]
fn del_on_a_full_disk_is_an_error() {
    let node = Node::new();
    fs::create_dir(node.intents()).unwrap();
    // The limit on a file's size stands for the full disk: writing fails in the same place.
    let script = format!("ulimit -f 0; trap '' XFSZ; exec {}", env!("CARGO_BIN_EXE_patchbay"));
    let output = Command::new("/bin/sh")
        .args(["-c", &script])
        .envs([("CNI_COMMAND", "DEL"), ("CNI_CONTAINERID", "c1"), ("CNI_IFNAME", "eth0")])
        .write_stdin(node.conf().to_string())
        .timeout(Duration::from_mins(1))
        .output()
        .unwrap();
    assert_eq!(code(&output), 5, "{output:?}");
    assert_eq!(fs::read_dir(node.intents()).unwrap().count(), 0, "nothing half written is left");
}
