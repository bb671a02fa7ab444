//! DEL and CHECK.

use std::fs;

use meta_cni_daemon::store::Phase;
use serde_json::{Value, json};
use testbed::api::{Fault, Kind};

use crate::node::Node;

/// The value without `prevResult`, and that.
fn split(mut stdin: Value) -> (Value, Value) {
    let previous = stdin.as_object_mut().unwrap().remove("prevResult").unwrap_or_default();
    (stdin, previous)
}

#[tokio::test]
async fn del_needs_neither_api_server_nor_kubelet_nor_namespace() {
    let mut node = Node::start().await;
    let config = r#"{"cniVersion": "1.0.0", "type": "vf", "big": 12345678901234567890123, "odd": 1.50}"#;
    node.nad("fast", config, Some("intel.com/a"));
    node.allocate("web", "one", "intel.com/a", &["0000:03:10.0"]).await;
    node.write("devinfo/dp/intel.com-a-0000:03:10.0-device.json", r#"{"type":"pci"}"#);
    node.pod("web", "fast");
    node.add("web").await;
    let added = node.stdin("ADD-net1");

    node.api.set_fault(Some(Fault::Away));
    node.kubelet.stop().await;
    node.remove("netns");
    // What it was made from is gone, or different.
    node.api.delete(Kind::Pod, "default", "web");
    node.nad("fast", r#"{"type": "other"}"#, None);
    fs::remove_file(node.dir.path().join("net.d/10-cluster.conflist")).unwrap();
    node.forget_journal();
    let mut request = node.request("DEL", "web");
    request.env.remove("CNI_NETNS");
    node.send(request).await.unwrap();

    assert_eq!(node.journal(), ["DEL vf net1", "DEL base eth0"]);
    let (deleted, previous) = split(node.stdin("DEL-net1"));
    assert_eq!(deleted, added, "the same as on ADD");
    assert!(node.stdin_text("DEL-net1").contains("12345678901234567890123"), "to the letter");
    assert_eq!(previous["ips"][0]["address"], "10.0.0.5/24");
    assert!(node.stdin_text("DEL-net1").contains("\"kept\":1.50"), "the result too");
    assert_eq!(node.variable("DEL-net1", "CNI_NETNS").as_deref(), Some(""));
    assert_eq!(node.record("web"), None);
    assert!(!node.dir.path().join("devinfo/cni/default-fast-sandbox-web_net1").exists());
}

#[tokio::test]
async fn a_second_del_is_the_default_networks_again() {
    let node = Node::start().await;
    node.pod("web", "");
    node.add("web").await;
    node.del("web").await;
    node.del("web").await;
    assert_eq!(node.journal(), ["ADD base eth0", "DEL base eth0", "DEL base eth0"]);
    assert_eq!(node.record("web"), None);
}

#[tokio::test]
async fn del_goes_on_after_failures_returns_them_all_and_repeats_only_those() {
    let node = Node::start().await;
    node.nad("plain", r#"{"cniVersion": "1.0.0", "type": "vf"}"#, None);
    node.pod("web", "plain, plain");
    node.add("web").await;
    node.forget_journal();
    node.fail("DEL-net2", 77);
    node.fail("DEL-eth0", 5);
    let error = node.call("DEL", "web").await.unwrap_err();
    assert_eq!(error.code, 77);
    assert!(error.msg.contains("asked to fail: DEL-net2") && error.msg.contains("DEL-eth0"), "{error}");
    assert_eq!(node.journal(), ["DEL vf net2", "DEL vf net1", "DEL base eth0"]);
    let record = node.record("web").unwrap();
    assert_eq!((record.phase, record.attachments.len()), (Phase::Deleting, 2));

    node.succeed("DEL-net2");
    node.succeed("DEL-eth0");
    node.forget_journal();
    node.del("web").await;
    assert_eq!(node.journal(), ["DEL vf net2", "DEL base eth0"]);
    assert!(!split(node.stdin("DEL-net2")).1.is_null(), "with the result of its ADD");
    assert_eq!(node.record("web"), None);
}

#[tokio::test]
async fn a_sandbox_without_record_gets_its_default_networks_del() {
    let node = Node::start().await;
    let mut request = node.request("DEL", "before");
    let config = json!({
        "cniVersion": "1.0.0", "name": "patchbay", "type": "patchbay",
        "prevResult": {"cniVersion": "1.0.0", "ips": [{"address": "10.0.0.9/24"}]},
    });
    request.config = config.to_string().into_bytes();
    node.send(request).await.unwrap();
    assert_eq!(node.journal(), ["DEL base eth0"]);
    assert_eq!(node.stdin("DEL-eth0")["prevResult"]["ips"][0]["address"], "10.0.0.9/24");
    assert_eq!(node.record("before"), None);

    // And it fails where that network isn't known: nothing may be taken for done.
    node.remove("net.d/10-cluster.conflist");
    let error = node.call("DEL", "before").await.unwrap_err();
    assert_eq!(error.code, cni::code::TRY_AGAIN);
}

#[tokio::test]
async fn a_torn_record_is_kept_aside_and_the_default_network_deleted() {
    let node = Node::start().await;
    node.pod("web", "");
    node.add("web").await;
    let file = "state/attachments/sandbox-web.json";
    let whole = fs::read_to_string(node.dir.path().join(file)).unwrap();
    node.write(file, &whole[..whole.len() / 2]);
    node.del("web").await;
    assert_eq!(node.journal(), ["ADD base eth0", "DEL base eth0"]);
    assert!(node.dir.path().join("state/attachments/sandbox-web.damaged").exists());
    node.del("web").await;
}

#[tokio::test]
async fn a_record_of_a_newer_patchbayd_is_left_alone() {
    let node = Node::start().await;
    node.pod("web", "");
    let file = "state/attachments/sandbox-web.json";
    let newer = r#"{"format": 99, "whatever": []}"#;
    node.write(file, newer);
    for command in ["ADD", "DEL", "CHECK"] {
        let error = node.call(command, "web").await.unwrap_err();
        assert_eq!(error.code, cni::code::TRY_AGAIN, "{command}: {error}");
    }
    assert_eq!(fs::read_to_string(node.dir.path().join(file)).unwrap(), newer);
    assert_eq!(node.journal(), Vec::<String>::new());
}

#[tokio::test]
async fn del_of_another_interface_changes_nothing() {
    let node = Node::start().await;
    node.pod("web", "");
    node.add("web").await;
    let mut request = node.request("DEL", "web");
    request.env.insert("CNI_IFNAME".to_owned(), "eth9".to_owned());
    node.send(request).await.unwrap();
    assert_eq!(node.journal(), ["ADD base eth0"]);
    assert!(node.record("web").is_some());
}

#[tokio::test]
async fn check_asks_every_network_that_can_be_checked() {
    let node = Node::start().await;
    node.nad("new", r#"{"cniVersion": "1.0.0", "type": "vf"}"#, None);
    node.nad("old", r#"{"cniVersion": "0.3.1", "type": "vf"}"#, None);
    node.pod("web", "new, old");
    node.add("web").await;
    node.forget_journal();
    node.call("CHECK", "web").await.unwrap();
    assert_eq!(node.journal(), ["CHECK base eth0", "CHECK vf net1"]);
    assert!(!split(node.stdin("CHECK-net1")).1.is_null());
    node.fail("CHECK-net1", 33);
    let error = node.call("CHECK", "web").await.unwrap_err();
    assert_eq!(error.code, 33);
    assert!(error.msg.contains("default/new"), "{error}");
}
