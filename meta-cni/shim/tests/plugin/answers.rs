//! Daemons that answer.

use std::io::Write;

use rstest::rstest;
use serde_json::json;

use crate::node::{Node, call_with, code, printed, succeeded_silently};

#[test]
fn add_goes_to_the_daemon_untouched_and_comes_back_in_the_version_asked_for() {
    let node = Node::new();
    let daemon = node.answering(
        "200 OK",
        r#"{"Result":{"cniVersion":"1.1.0","interfaces":[{"name":"eth0","mtu":1500,"sandbox":"/ns"}],"ips":[{"address":"10.0.0.5/8","interface":0}]}}"#,
    );
    let stdin = format!(" {}\n", node.conf());
    let output = call_with("ADD", stdin.as_bytes());
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        printed(&output),
        json!({
            "cniVersion": "0.4.0",
            "interfaces": [{"name": "eth0", "sandbox": "/ns"}],
            "ips": [{"version": "4", "address": "10.0.0.5/8", "interface": 0}],
            "dns": {}
        })
    );
    let request = daemon.join().unwrap();
    assert_eq!(request.config, stdin.as_bytes());
    let names: Vec<&str> = request.env.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        ["CNI_ARGS", "CNI_COMMAND", "CNI_CONTAINERID", "CNI_IFNAME", "CNI_NETNS", "CNI_PATH", "PATH"]
    );
}

#[rstest]
#[case("DEL")]
#[case("CHECK")]
#[case("GC")]
#[case("STATUS")]
fn the_other_commands_succeed_with_an_empty_answer(#[case] command: &str) {
    let node = Node::new();
    let daemon = node.answering("200 OK", "");
    succeeded_silently(&node.call(command));
    assert_eq!(daemon.join().unwrap().env["CNI_COMMAND"], command);
    assert!(node.kept().is_empty());
}

#[rstest]
#[case("ADD")]
#[case("DEL")]
#[case("STATUS")]
fn the_daemons_error_is_the_plugins(#[case] command: &str) {
    let node = Node::new();
    let daemon = node.answering("400 Bad Request", r#"{"code":50,"msg":"no","details":"really"}"#);
    let output = node.call(command);
    assert_eq!(code(&output), 50);
    assert_eq!(
        printed(&output),
        json!({"cniVersion": "0.4.0", "code": 50, "msg": "no", "details": "really"})
    );
    daemon.join().unwrap();
    assert!(node.kept().is_empty());
}

#[rstest]
#[case("ADD")]
#[case("DEL")]
fn a_refusal_in_other_words_is_shown(#[case] command: &str) {
    let node = Node::new();
    let daemon = node.answering("503 Service Unavailable", "overloaded, sorry");
    let output = node.call(command);
    assert_eq!(code(&output), 999);
    let message = printed(&output)["msg"].as_str().unwrap().to_owned();
    assert!(message.contains("503") && message.contains("overloaded, sorry"), "{message}");
    daemon.join().unwrap();
}

#[rstest]
#[case("SSH-2.0-OpenSSH_9.9\r\n")]
#[case("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")]
#[case("HTTP/1.1 200 OK\r\nContent-Length: 123456789\r\n\r\n")]
fn an_answer_from_something_else(#[case] answer: &'static str) {
    for command in ["ADD", "DEL"] {
        let node = Node::new();
        let daemon = node.daemon(move |mut stream| stream.write_all(answer.as_bytes()).unwrap());
        let output = node.call(command);
        daemon.join().unwrap();
        if command == "ADD" {
            assert_eq!(code(&output), 6);
        } else {
            succeeded_silently(&output);
            assert_eq!(node.kept().len(), 1);
        }
    }
}

#[rstest]
#[case("")]
#[case("{}")]
#[case("garbage")]
#[case(r#"{"Result":null}"#)]
#[case(r#"{"Result":{"ips":[{"address":"x"}]}}"#)]
fn add_needs_a_result(#[case] body: &'static str) {
    let node = Node::new();
    let daemon = node.answering("200 OK", body);
    assert_eq!(code(&node.call("ADD")), 6);
    daemon.join().unwrap();
}
