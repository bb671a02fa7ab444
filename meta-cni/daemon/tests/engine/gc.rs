//! GC and STATUS.

use std::time::Duration;

use serde_json::{Value, json};

use crate::node::Node;

const CONFLIST: &str = r#"{"cniVersion": "1.1.0", "name": "cluster", "plugins": [{"type": "base"}]}"#;

fn valid(pods: &[&str]) -> Value {
    pods.iter().map(|pod| json!({"containerID": format!("sandbox-{pod}"), "ifname": "eth0"})).collect()
}

async fn gc(node: &Node, valid: Value) -> Result<Value, cni::Error> {
    let mut request = node.request("GC", "none");
    for key in ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS"] {
        request.env.remove(key);
    }
    let config = json!({
        "cniVersion": "1.1.0", "name": "patchbay", "type": "patchbay", "cni.dev/valid-attachments": valid,
    });
    request.config = config.to_string().into_bytes();
    node.send(request).await
}

#[tokio::test]
async fn what_the_runtime_does_not_know_is_taken_down_and_each_network_told_of_its_own() {
    let node = Node::start().await;
    node.write("net.d/10-cluster.conflist", CONFLIST);
    node.nad("plain", r#"{"cniVersion": "1.1.0", "name": "other", "type": "vf"}"#, None);
    for pod in ["alive", "dead"] {
        node.pod(pod, "plain");
        node.add(pod).await;
    }
    node.forget_journal();
    gc(&node, valid(&["alive", "from-before"])).await.unwrap();
    assert_eq!(node.journal(), ["DEL vf net1", "DEL base eth0", "GC base ", "GC vf "]);
    assert!(node.record("dead").is_none() && node.record("alive").is_some());
    // The last GC was the other network's.
    assert_eq!(
        node.stdin("GC-")["cni.dev/valid-attachments"],
        json!([{"containerID": "sandbox-alive", "ifname": "net1"}])
    );
}

#[tokio::test]
async fn without_a_list_nothing_is_taken_down() {
    let node = Node::start().await;
    node.pod("alive", "");
    node.add("alive").await;
    let error = gc(&node, Value::Null).await.unwrap_err();
    assert!(error.msg.contains("cni.dev/valid-attachments"), "{error}");
    assert!(node.record("alive").is_some());
}

#[tokio::test]
async fn a_sandbox_that_was_just_added_is_not_missed_on_the_list() {
    let mut node = Node::prepared(&json!({}));
    node.gc_grace = Duration::from_mins(10);
    node.run().await;
    node.pod("new", "");
    node.add("new").await;
    gc(&node, valid(&[])).await.unwrap();
    assert_eq!(node.journal(), ["ADD base eth0"]);
    assert!(node.record("new").is_some());
}

async fn status(node: &Node) -> Result<Value, cni::Error> {
    let mut request = node.request("STATUS", "none");
    for key in ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS"] {
        request.env.remove(key);
    }
    node.send(request).await
}

#[tokio::test]
async fn status_is_the_default_networks() {
    let node = Node::start().await;
    node.write("net.d/10-cluster.conflist", CONFLIST);
    status(&node).await.unwrap();
    assert_eq!(node.journal(), ["STATUS base "]);
    node.fail("STATUS-", 51);
    assert_eq!(status(&node).await.unwrap_err().code, 51);
    node.fail("STATUS-", 7);
    assert_eq!(status(&node).await.unwrap_err().code, 50);
    node.remove("net.d/10-cluster.conflist");
    let error = status(&node).await.unwrap_err();
    assert_eq!(error.code, 50);
    assert!(error.msg.contains("net.d"), "{error}");
}
