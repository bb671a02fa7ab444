//! The plugin's surroundings.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::Output;
use std::thread::JoinHandle;
use std::time::Duration;

use assert_cmd::Command;
use meta_cni_shim::intent::{self, Intent};
use meta_cni_shim::protocol::CallRequest;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A node with a socket and a directory for intents, and perhaps a daemon.
pub(crate) struct Node {
    pub(crate) directory: TempDir,
}

impl Node {
    pub(crate) fn new() -> Self {
        Node { directory: TempDir::new().unwrap() }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("patchbayd.sock")
    }

    pub(crate) fn intents(&self) -> PathBuf {
        self.directory.path().join("intents")
    }

    pub(crate) fn conf(&self) -> Value {
        json!({
            "cniVersion": "0.4.0", "name": "patchbay", "type": "patchbay",
            "socket": self.socket(), "intents": self.intents(), "daemonWaitSeconds": 1, "answerSeconds": 2
        })
    }

    pub(crate) fn call(&self, command: &str) -> Output {
        call_with(command, self.conf().to_string().as_bytes())
    }

    /// A daemon that reads one request and gives the connection to `answer`.
    pub(crate) fn daemon(&self, answer: impl FnOnce(UnixStream) + Send + 'static) -> JoinHandle<CallRequest> {
        let listener = UnixListener::bind(self.socket()).unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let request = read_request(&mut stream);
            answer(stream);
            request
        })
    }

    /// A daemon that answers with a status and a body.
    pub(crate) fn answering(&self, status: &'static str, body: &'static str) -> JoinHandle<CallRequest> {
        self.daemon(move |mut stream| {
            let length = body.len();
            write!(stream, "HTTP/1.0 {status}\r\ncontent-length: {length}\r\n\r\n{body}").unwrap();
        })
    }

    pub(crate) fn kept(&self) -> Vec<Intent> {
        let paths = intent::list(&self.intents()).unwrap();
        paths.iter().map(|path| intent::read(path).unwrap().unwrap()).collect()
    }
}

/// Runs the plugin.
pub(crate) fn call_with(command: &str, stdin: &[u8]) -> Output {
    Command::cargo_bin("patchbay")
        .unwrap()
        .env_clear()
        .envs([
            ("CNI_COMMAND", command),
            ("CNI_CONTAINERID", "c1"),
            ("CNI_NETNS", "/var/run/netns/blue"),
            ("CNI_IFNAME", "eth0"),
            ("CNI_ARGS", "K8S_POD_NAME=web"),
            ("CNI_PATH", "/opt/cni/bin"),
            ("PATH", "/usr/bin"),
            ("SECRET", "not for the daemon"),
        ])
        .write_stdin(stdin)
        .timeout(Duration::from_mins(1))
        .output()
        .unwrap()
}

pub(crate) fn read_request(stream: &mut UnixStream) -> CallRequest {
    let mut received = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "the request ends early");
        received.extend_from_slice(&buffer[..count]);
        let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8(received[..end].to_vec()).unwrap();
        assert!(head.starts_with("POST /cni HTTP/1.0\r\n"), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
        if received.len() - end - 4 == length.parse::<usize>().unwrap() {
            return serde_json::from_slice(&received[end + 4..]).unwrap();
        }
    }
}

pub(crate) fn printed(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
}

/// The code of the error that was printed.
pub(crate) fn code(output: &Output) -> u64 {
    assert!(!output.status.success(), "{output:?}");
    printed(output)["code"].as_u64().unwrap()
}

pub(crate) fn succeeded_silently(output: &Output) {
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
}
