//! Calls that no daemon is needed for, and wrong ones.

use std::fs;

use assert_cmd::Command;
use rstest::rstest;
use serde_json::json;

use crate::node::{Node, call_with, code, printed};

#[test]
fn version_needs_no_daemon() {
    let output = call_with("VERSION", br#"{"cniVersion":"1.0.0"}"#);
    assert!(output.status.success());
    assert_eq!(printed(&output)["supportedVersions"].as_array().unwrap().len(), 7);
}

#[test]
fn the_program_says_which_it_is() {
    let output = Command::cargo_bin("patchbay").unwrap().arg("--version").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text, format!("patchbay {}\n", env!("CARGO_PKG_VERSION")));
}

#[rstest]
#[case(b"".as_slice(), 6)]
#[case(b"\x00\xff\xfe", 6)]
#[case(b"[[[[[[[[", 6)]
#[case(br#"{"cniVersion":"9.9.9","name":"n"}"#, 1)]
#[case(br#"{"cniVersion":"1.0.0","name":"n","socket":"relative"}"#, 7)]
#[case(br#"{"cniVersion":"1.0.0","name":"n","daemonWaitSeconds":1e999}"#, 7)]
#[case(br#"{"cniVersion":"1.0.0"}"#, 7)]
fn hostile_configurations_are_answered_with_an_error(#[case] stdin: &[u8], #[case] expected: u64) {
    for command in ["ADD", "DEL", "STATUS"] {
        assert_eq!(code(&call_with(command, stdin)), expected, "{command}");
    }
    let nested = "[".repeat(500_000);
    assert_eq!(code(&call_with("ADD", nested.as_bytes())), 6);
    assert_eq!(code(&call_with("ADD", &vec![b' '; 2 << 20])), 6);
}

#[test]
fn failures_and_intents_are_logged_where_the_configuration_says() {
    let node = Node::new();
    let log = node.directory.path().join("log");
    let mut conf = node.conf();
    conf["logFile"] = json!(log);
    conf["logToStderr"] = json!(true);
    let add = call_with("ADD", conf.to_string().as_bytes());
    let del = call_with("DEL", conf.to_string().as_bytes());
    let text = fs::read_to_string(&log).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].contains("ADD c1 eth0: ") && lines[1].contains("DEL is kept"), "{text}");
    assert_eq!(String::from_utf8([add.stderr, del.stderr].concat()).unwrap(), text);
}
