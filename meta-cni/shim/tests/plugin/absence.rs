//! Daemons that are away, or go away.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, SystemTime};

use meta_cni_shim::intent::{self, Intent};
use rstest::rstest;
use serde_json::json;

use crate::node::{Node, call_with, code, printed, read_request, succeeded_silently};

#[rstest]
#[case("ADD")]
#[case("CHECK")]
#[case("GC")]
fn without_a_daemon_the_runtime_is_told_to_try_again(#[case] command: &str) {
    let node = Node::new();
    let output = node.call(command);
    assert_eq!(code(&output), 11);
    let message = printed(&output)["msg"].as_str().unwrap().to_owned();
    assert!(message.contains(node.socket().to_str().unwrap()) && message.contains("patchbayd"), "{message}");
}

#[test]
fn add_waits_for_a_daemon_that_is_just_starting() {
    let node = Node::new();
    // A socket on which nobody listens any more.
    drop(UnixListener::bind(node.socket()).unwrap());
    let socket = node.socket();
    let daemon = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(500));
        fs::remove_file(&socket).unwrap();
        let listener = UnixListener::bind(&socket).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        read_request(&mut stream);
        stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 13\r\n\r\n{\"Result\":{}}").unwrap();
    });
    let mut conf = node.conf();
    conf["daemonWaitSeconds"] = json!(30);
    let output = call_with("ADD", conf.to_string().as_bytes());
    assert!(output.status.success(), "{output:?}");
    daemon.join().unwrap();
}

/// What daemons do that can't answer any more.
#[rstest]
#[case::dies_before_the_answer("")]
#[case::dies_in_the_head("HTTP/1.0 200 OK\r\nContent-")]
#[case::dies_in_the_body("HTTP/1.0 200 OK\r\nContent-Length: 100\r\n\r\n{\"Result\":")]
fn a_broken_connection(#[case] answer: &'static str) {
    for (command, expected) in [("ADD", Some(11)), ("CHECK", Some(11)), ("DEL", None)] {
        let node = Node::new();
        let daemon = node.daemon(move |mut stream| stream.write_all(answer.as_bytes()).unwrap());
        let output = node.call(command);
        let request = daemon.join().unwrap();
        if let Some(expected) = expected {
            assert_eq!(code(&output), expected, "{output:?}");
        } else {
            succeeded_silently(&output);
            assert_eq!(node.kept(), [Intent { format: intent::FORMAT, request }]);
        }
    }
}

#[test]
fn a_daemon_that_never_answers_is_given_up() {
    for command in ["ADD", "DEL", "STATUS"] {
        let node = Node::new();
        let (done, wait) = std::sync::mpsc::channel::<()>();
        let daemon = node.daemon(move |_stream| wait.recv().unwrap_or_default());
        let output = node.call(command);
        drop(done);
        daemon.join().unwrap();
        match command {
            "ADD" => assert_eq!(code(&output), 11),
            "STATUS" => assert_eq!(code(&output), 50),
            _ => {
                succeeded_silently(&output);
                assert_eq!(node.kept().len(), 1);
            }
        }
    }
}

#[test]
fn a_daemon_whose_queue_is_full_is_given_up() {
    let node = Node::new();
    let _listener = UnixListener::bind(node.socket()).unwrap();
    // The kernel makes whoever comes after these wait without end.
    let (sender, receiver) = std::sync::mpsc::channel();
    let socket = node.socket();
    std::thread::spawn(move || {
        while let Ok(stream) = UnixStream::connect(&socket) {
            if sender.send(stream).is_err() {
                break;
            }
        }
    });
    let mut queued = Vec::new();
    while let Ok(stream) = receiver.recv_timeout(Duration::from_secs(1)) {
        queued.push(stream);
    }
    assert_eq!(code(&node.call("ADD")), 11);
    succeeded_silently(&node.call("DEL"));
    assert_eq!(node.kept().len(), 1);
}

/// How long ago the daemon was alive, if ever, and what STATUS says while it is away.
#[rstest]
#[case(None, Some(50))]
#[case(Some(-5), None)]
#[case(Some(-3600), Some(50))]
#[case(Some(3600), Some(50))]
fn status_gives_the_daemon_a_grace_time(#[case] alive: Option<i64>, #[case] expected: Option<u64>) {
    let node = Node::new();
    if let Some(seconds) = alive {
        let distance = Duration::from_secs(seconds.unsigned_abs());
        let now = SystemTime::now();
        let time = if seconds < 0 { now - distance } else { now + distance };
        File::create(node.directory.path().join("alive")).unwrap().set_modified(time).unwrap();
    }
    let output = node.call("STATUS");
    match expected {
        Some(expected) => assert_eq!(code(&output), expected),
        None => succeeded_silently(&output),
    }
}
