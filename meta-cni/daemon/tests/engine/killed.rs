//! The program itself, killed in the middle of its work.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::json;
use testbed::api::Kind;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::node::{NODE, Node};

/// patchbayd as a process.
struct Daemon {
    process: Child,
    api: JoinHandle<()>,
}

impl Daemon {
    async fn start(node: &Node) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": server}}],
            "users": [{"name": "c", "user": {}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
        });
        node.write("kubeconfig", &kubeconfig.to_string());
        let mut config = node.json.clone();
        config["kubeconfig"] = node.dir.path().join("kubeconfig").display().to_string().into();
        node.write("patchbayd.json", &config.to_string());
        let api = node.api.clone();
        let api = tokio::spawn(async move { api.serve(listener).await.unwrap() });
        let process = Command::new(env!("CARGO_BIN_EXE_patchbayd"))
            .arg("--config")
            .arg(node.dir.path().join("patchbayd.json"))
            .env("NODE_NAME", NODE)
            .env("RUST_LOG", "debug")
            .stderr(Stdio::from(fs::File::create(node.dir.path().join("log")).unwrap()))
            .spawn()
            .unwrap();
        Self { process, api }
    }

    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _gone = self.process.wait();
        self.api.abort();
    }
}

fn is_running(node: &Node, key: &str) -> bool {
    let pid = fs::read_to_string(node.plugins().join(format!("{key}.pid"))).unwrap();
    Path::new("/proc").join(pid.trim()).exists()
}

#[tokio::test]
async fn killed_in_an_add_it_undoes_that_when_it_is_back_and_its_plugin_dies_with_it() {
    let node = Node::prepared(&json!({}));
    node.nad("plain", r#"{"cniVersion": "1.0.0", "type": "vf"}"#, None);
    node.pod("web", "plain, plain");
    let daemon = Daemon::start(&node).await;
    node.until("the socket is there", || node.config.socket.exists()).await;
    node.write("plugins/hang-ADD-net1", "");
    let request = node.request("ADD", "web");
    let socket = node.config.socket.clone();
    let patience =
        meta_cni_shim::client::Patience { connect: crate::node::PATIENCE, answer: crate::node::PATIENCE };
    let call = tokio::task::spawn_blocking(move || meta_cni_shim::client::call(&socket, &request, patience));
    node.until("net1 is being attached", || node.journal().len() == 2).await;
    node.until("its plugin hangs", || node.plugins().join("ADD-net1.pid").exists()).await;
    assert!(is_running(&node, "ADD-net1"));
    daemon.kill();
    assert!(call.await.unwrap().is_err());
    node.until("the plugin is dead", || !is_running(&node, "ADD-net1")).await;
    assert!(node.store().read("sandbox-web").unwrap().is_some());

    node.remove("plugins/hang-ADD-net1");
    let daemon = Daemon::start(&node).await;
    node.until("the ADD is undone", || node.store().read("sandbox-web").unwrap().is_none()).await;
    assert_eq!(node.journal(), ["ADD base eth0", "ADD vf net1", "DEL vf net1", "DEL base eth0"]);
    node.forget_journal();
    node.add("web").await;
    node.del("web").await;
    assert_eq!(
        node.journal(),
        ["ADD base eth0", "ADD vf net1", "ADD vf net2", "DEL vf net2", "DEL vf net1", "DEL base eth0"]
    );
    daemon.kill();
}

#[tokio::test]
async fn killed_in_a_del_it_finishes_that_when_it_is_back() {
    let node = Node::prepared(&json!({}));
    node.nad("plain", r#"{"cniVersion": "1.0.0", "type": "vf"}"#, None);
    node.pod("web", "plain");
    let daemon = Daemon::start(&node).await;
    node.add("web").await;
    node.forget_journal();
    node.write("plugins/hang-DEL-eth0", "");
    let request = node.request("DEL", "web");
    let socket = node.config.socket.clone();
    let patience =
        meta_cni_shim::client::Patience { connect: crate::node::PATIENCE, answer: crate::node::PATIENCE };
    let call = tokio::task::spawn_blocking(move || meta_cni_shim::client::call(&socket, &request, patience));
    node.until("the last DEL runs", || node.plugins().join("DEL-eth0.pid").exists()).await;
    daemon.kill();
    assert!(call.await.unwrap().is_err());
    node.remove("plugins/hang-DEL-eth0");
    // Nothing is needed but the record.
    node.api.delete(Kind::Pod, "default", "web");
    let daemon = Daemon::start(&node).await;
    node.until("the DEL is finished", || node.store().read("sandbox-web").unwrap().is_none()).await;
    assert_eq!(node.journal().last().unwrap(), "DEL base eth0");
    daemon.kill();
}

#[test]
fn wrong_usage_ends_with_64_and_says_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("patchbayd.json");
    fs::write(&file, r#"{"addWorkers": "many"}"#).unwrap();
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_patchbayd"));
    let assert = command.arg("--config").arg(&file).env("NODE_NAME", NODE).assert().code(64);
    let text = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
    assert!(text.contains("addWorkers") && text.contains("patchbayd.json"), "{text}");
}

#[test]
fn a_plugin_that_cannot_be_executed_is_a_cni_error() {
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_patchbayd"));
    let assert = command.args(["run-plugin", "--", "/nonexistent/plugin"]).assert().failure();
    let error = cni::Error::parse(&assert.get_output().stdout).unwrap();
    assert_eq!(error.code, cni::code::PLUGIN_NOT_STARTED);
    assert!(error.msg.contains("/nonexistent/plugin"), "{error}");
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_patchbayd"));
    let arguments = ["run-plugin", "--mounts", "/nonexistent/mnt", "--", "/bin/true"];
    let assert = command.args(arguments).assert().failure();
    let error = cni::Error::parse(&assert.get_output().stdout).unwrap();
    assert!(error.msg.contains("/nonexistent/mnt"), "{error}");
}

/// A process in a mount namespace of its own that has a file which nobody else sees; `None` without the
/// privilege to make one, which `REQUIRE_NETNS=1` doesn't accept.
fn other_mounts(dir: &Path) -> Option<Child> {
    let script = r#"mount -t tmpfs none "$0" && echo seen > "$0/file" && echo ready && exec sleep 600"#;
    let mut process = Command::new("unshare")
        .args(["-m", "sh", "-c", script])
        .arg(dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(process.stdout.take().unwrap()), &mut line)
        .unwrap();
    if line == "ready\n" {
        return Some(process);
    }
    process.wait().unwrap();
    let required = std::env::var_os("REQUIRE_NETNS").is_some_and(|value| value == "1");
    assert!(!required, "no mount namespace can be made here");
    println!("skipped: no mount namespace can be made here");
    None
}

#[test]
fn a_plugin_sees_the_files_of_the_mount_namespace_it_is_run_in() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mut other) = other_mounts(dir.path()) else { return };
    let file = dir.path().join("file");
    let run = |mounts: Option<String>| {
        let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_patchbayd"));
        command.arg("run-plugin");
        if let Some(mounts) = mounts {
            command.args(["--mounts", &mounts]);
        }
        command.args(["--", "/bin/cat"]).arg(&file).assert()
    };
    run(None).failure();
    run(Some(format!("/proc/{}/ns/mnt", other.id()))).success().stdout("seen\n");
    other.kill().unwrap();
    other.wait().unwrap();
}
