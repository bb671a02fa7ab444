//! ADD.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use meta_cni_daemon::store::Phase;
use rstest::rstest;
use serde_json::{Value, json};
use testbed::api::{Kind, Request};

use crate::node::{NODE, Node};

const A0: &str = "0000:03:10.0";
const A1: &str = "0000:03:10.2";
const A2: &str = "0000:03:10.4";

#[tokio::test]
async fn a_pod_without_annotation_gets_the_default_network_and_its_result() {
    let node = Node::start().await;
    node.pod("web", "");
    let result = node.add("web").await;
    assert_eq!(result["cniVersion"], "1.1.0");
    assert_eq!(result["interfaces"][0]["name"], "eth0");
    assert_eq!(result["ips"][0]["address"], "10.0.0.5/24");
    assert_eq!(node.journal(), ["ADD base eth0"]);
    let stdin = node.stdin("ADD-eth0");
    assert_eq!(stdin["runtimeConfig"]["portMappings"][0]["hostPort"], 80);
    assert_eq!(stdin["name"], "cluster");
    let args = node.variable("ADD-eth0", "CNI_ARGS").unwrap();
    assert!(args.contains("K8S_POD_NAME=web;") && args.contains("K8S_POD_UID=uid-web"), "{args}");
    let status = node.written_status("web").await;
    assert_eq!(status[0]["default"], true);
    assert_eq!(status[0]["name"], "cluster");
    assert_eq!(status[0]["ips"], json!(["10.0.0.5"]));
    let record = node.record("web").unwrap();
    assert_eq!((record.phase, record.attachments.len()), (Phase::Added, 1));
    assert!(record.attachments[0].result().unwrap().contains("1.50"), "the result's text is kept");
    assert_eq!(node.until_event("AddedInterface").await, "Add eth0 [10.0.0.5] from cluster");
}

#[tokio::test]
async fn networks_of_one_resource_get_different_devices_in_the_order_of_containers() {
    let mut node = Node::start().await;
    node.nad("fast", r#"{"cniVersion": "1.0.0", "type": "vf", "vlan": 100}"#, Some("intel.com/a"));
    node.nad("plain", r#"{"cniVersion": "1.0.0", "type": "vf"}"#, None);
    // The first container has the higher addresses.
    node.allocate("web", "one", "intel.com/a", &[A2, A1]).await;
    node.allocate("web", "two", "intel.com/a", &[A0]).await;
    let info = r#"{"type":"pci","version":"1.1.0","pci":{"pci-address":"0000:03:10.2"}}"#;
    node.write("devinfo/dp/intel.com-a-0000:03:10.2-device.json", info);
    node.pod("web", "fast, plain, fast@second, fast");
    node.add("web").await;
    assert_eq!(
        node.journal(),
        ["ADD base eth0", "ADD vf net1", "ADD vf net2", "ADD vf second", "ADD vf net4"]
    );
    let device = |key: &str| node.stdin(key)["deviceID"].clone();
    assert_eq!([device("ADD-net1"), device("ADD-second"), device("ADD-net4")], [A1, A2, A0]);
    assert_eq!(device("ADD-net2"), Value::Null);
    assert_eq!(node.stdin("ADD-net1")["pciBusID"], A1);
    let status = node.written_status("web").await;
    let names: Vec<_> =
        status.as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["cluster", "default/fast", "default/plain", "default/fast", "default/fast"]);
    assert_eq!(status[1]["device-info"]["pci"]["pci-address"], A1);
    assert_eq!(status[1]["default"], false);
    assert_eq!(status[3].get("device-info"), None);
    assert!(node.dir.path().join("devinfo/cni/default-fast-sandbox-web_net1").exists());
    assert_eq!(node.status_writes(), 1);
}

#[tokio::test]
async fn in_steady_state_an_add_reads_nothing() {
    let node = Node::start().await;
    node.nad("plain", r#"{"type": "vf"}"#, None);
    // Once the watches have shown what there is, which nobody can see from outside.
    for attempt in 0..8_u32 {
        let pod = format!("pod-{attempt}");
        node.pod(&pod, "plain");
        tokio::time::sleep(Duration::from_millis(100 << attempt)).await;
        let before = node.api.requests().len();
        node.add(&pod).await;
        let new = node.api.requests().split_off(before);
        let is_read = |request: &&Request| request.method == "GET" && !request.query.contains("watch=");
        if !new.iter().any(|request| is_read(&request)) {
            return;
        }
    }
    panic!("every ADD asked the API server");
}

#[tokio::test]
async fn a_pod_that_appears_late_is_waited_for() {
    let node = Node::start().await;
    node.pod("web", "");
    let (result, ()) = tokio::join!(node.call("ADD", "late"), async {
        node.until("the pod was asked for", || {
            node.api.requests().iter().any(|request| request.path.ends_with("/pods/late"))
        })
        .await;
        node.pod("late", "");
    });
    result.unwrap();
}

#[tokio::test]
async fn a_pod_made_again_under_its_name_is_another_pod() {
    let mut node = Node::prepared(&json!({}));
    node.answer = Duration::from_secs(1);
    node.run().await;
    node.pod("web", "");
    let mut request = node.request("ADD", "web");
    let args = request.env["CNI_ARGS"].replace("uid-web", "uid-before");
    request.env.insert("CNI_ARGS".to_owned(), args);
    let error = node.send(request).await.unwrap_err();
    assert_eq!(error.code, cni::code::TRY_AGAIN);
    assert!(error.msg.contains("pod default/web with UID uid-before"), "{error}");
    assert_eq!(node.journal(), Vec::<String>::new());
}

#[tokio::test]
async fn a_static_pod_is_known_by_the_hash_of_its_file() {
    let node = Node::start().await;
    node.api.put(
        Kind::Pod,
        json!({
            "metadata": {
                "name": "static", "namespace": "default", "uid": "mirror",
                "annotations": {"kubernetes.io/config.hash": "uid-static", "kubernetes.io/config.source": "file"},
            },
            "spec": {"nodeName": NODE},
        }),
    );
    node.add("static").await;
    // The precondition is the mirror's UID.
    node.written_status("static").await;
}

#[rstest]
#[case::json("[{\"name\": 1}]", "k8s.v1.cni.cncf.io/networks")]
#[case::interface("plain@this-is-much-too-long", "this-is-much-too-long")]
#[case::slashes("a/b/c", "k8s.v1.cni.cncf.io/networks")]
#[case::no_such_nad("missing", "NetworkAttachmentDefinition default/missing")]
#[case::bad_config("broken", "default/broken")]
#[case::no_type("typeless", "default/typeless")]
#[case::ourselves("recursion", "would call itself")]
#[case::not_installed("absent", "not-installed")]
#[tokio::test]
async fn what_is_wrong_is_named_and_nothing_is_left(#[case] networks: &str, #[case] expected: &str) {
    let mut node = Node::prepared(&json!({}));
    node.answer = Duration::from_secs(1);
    node.run().await;
    node.nad("plain", r#"{"type": "vf"}"#, None);
    node.nad("broken", r#"{"type": "vf", }"#, None);
    node.nad("typeless", r#"{"cniVersion": "1.0.0"}"#, None);
    node.nad("recursion", r#"{"type": "patchbay"}"#, None);
    node.nad("absent", r#"{"type": "not-installed"}"#, None);
    node.pod("web", networks);
    let error = node.call("ADD", "web").await.unwrap_err();
    assert!(error.msg.contains("pod default/web") && error.msg.contains(expected), "{error}");
    assert_eq!(node.record("web"), None);
    assert_eq!(node.status("web"), None);
    assert_eq!(node.journal(), Vec::<String>::new());
    node.until("the pod's owner is told", || node.events().iter().any(|(_, note)| note.contains(expected)))
        .await;
}

#[tokio::test]
async fn a_network_without_its_device_is_not_attached() {
    let mut node = Node::start().await;
    node.nad("fast", r#"{"type": "vf"}"#, Some("intel.com/a"));
    node.allocate("web", "one", "intel.com/a", &[A0]).await;
    node.pod("web", "fast, fast");
    let error = node.call("ADD", "web").await.unwrap_err();
    assert_eq!(error.code, cni::code::TRY_AGAIN);
    for part in ["default/web", "default/fast", "intel.com/a"] {
        assert!(error.msg.contains(part), "{error}");
    }
    assert_eq!(node.journal(), Vec::<String>::new());
}

#[tokio::test]
async fn the_first_failure_is_returned_with_its_code_and_everything_undone_in_reverse() {
    let node = Node::start().await;
    node.nad("plain", r#"{"cniVersion": "1.0.0", "type": "vf"}"#, None);
    node.pod("web", "plain, plain, plain");
    node.fail("ADD-net2", 77);
    // Undoing goes on where it fails.
    node.fail("DEL-net1", 5);
    let error = node.call("ADD", "web").await.unwrap_err();
    assert_eq!(error.code, 77);
    assert!(error.msg.contains("default/plain") && error.msg.contains("net2"), "{error}");
    assert_eq!(
        node.journal(),
        ["ADD base eth0", "ADD vf net1", "ADD vf net2", "DEL vf net2", "DEL vf net1", "DEL base eth0"]
    );
    let record = node.record("web").unwrap();
    assert_eq!(record.phase, Phase::Deleting);
    assert_eq!(record.attachments.len(), 1, "what couldn't be undone stays recorded");
    assert_eq!(record.attachments[0].attachment.ifname, "net1");
    assert_eq!(node.status("web"), None);

    node.succeed("DEL-net1");
    node.succeed("ADD-net2");
    node.forget_journal();
    node.add("web").await;
    let journal = node.journal();
    assert_eq!(journal[0], "DEL vf net1", "a later ADD first undoes what is left");
    assert_eq!(journal.len(), 5);
}

#[tokio::test]
async fn a_second_add_of_a_sandbox_replaces_the_first() {
    let node = Node::start().await;
    node.pod("web", "");
    node.add("web").await;
    node.add("web").await;
    assert_eq!(node.journal(), ["ADD base eth0", "DEL base eth0", "ADD base eth0"]);
    let mut other = node.request("ADD", "web");
    other.env.insert("CNI_IFNAME".to_owned(), "eth1".to_owned());
    let error = node.send(other).await.unwrap_err();
    assert!(error.msg.contains("sandbox-web") && error.msg.contains("eth0"), "{error}");
}

#[tokio::test]
async fn a_plugin_inside_the_daemon_is_called_as_the_program_would_be() {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let calls = Arc::clone(&seen);
    let mut node = Node::prepared(&json!({}));
    node.built_in = Some((
        "vf".to_owned(),
        Arc::new(move |runtime, stdin| {
            let text = format!(
                "{} {} {}",
                runtime.args.command,
                runtime.args.ifname,
                String::from_utf8_lossy(stdin)
            );
            calls.lock().unwrap().push(text);
            Ok(br#"{"cniVersion": "1.0.0", "interfaces": [{"name": "net1", "sandbox": "/x"}]}"#.to_vec())
        }),
    ));
    node.run().await;
    node.nad("fast", r#"{"cniVersion": "1.0.0", "type": "vf", "vlan": 100}"#, None);
    node.pod("web", "fast");
    node.add("web").await;
    node.del("web").await;
    assert_eq!(node.journal(), ["ADD base eth0", "DEL base eth0"]);
    let seen = seen.lock().unwrap();
    assert!(seen[0].starts_with("ADD net1 {") && seen[0].contains("\"vlan\":100"), "{}", seen[0]);
    assert!(seen[1].starts_with("DEL net1 {") && seen[1].contains("prevResult"), "{}", seen[1]);
}

#[tokio::test]
async fn default_networks_and_references_of_the_configuration() {
    let more = json!({"defaultNetworks": ["extra", "by-file"], "clusterNetwork": "own"});
    let node = Node::start_with(&more).await;
    let nad = |name: &str, config: &str| json!({"metadata": {"name": name, "namespace": "kube-system"}, "spec": {"config": config}});
    node.api.put(Kind::NetworkAttachmentDefinition, nad("own", r#"{"type": "base"}"#));
    node.api.put(Kind::NetworkAttachmentDefinition, nad("extra", r#"{"type": "vf"}"#));
    node.write("confdir/20.conf", r#"{"name": "by-file", "type": "vf", "from": "file"}"#);
    node.write("confdir/10-broken.conf", "{");
    node.nad("empty", "", None);
    node.write("confdir/30.conflist", r#"{"name": "empty", "plugins": [{"type": "vf", "from": "list"}]}"#);
    node.pod("web", "empty");
    node.add("web").await;
    assert_eq!(node.journal(), ["ADD base eth0", "ADD vf net1", "ADD vf net2", "ADD vf net3"]);
    assert_eq!(node.stdin("ADD-net2")["from"], "file");
    assert_eq!(node.stdin("ADD-net3")["from"], "list");
    let names: Vec<_> =
        node.written_status("web").await.as_array().unwrap().iter().map(|e| e["name"].clone()).collect();
    assert_eq!(names, ["kube-system/own", "kube-system/extra", "by-file", "default/empty"]);
}

#[tokio::test]
async fn a_pod_can_choose_another_default_network() {
    let node = Node::start().await;
    node.api.put(
        Kind::NetworkAttachmentDefinition,
        json!({
            "metadata": {"name": "own", "namespace": "kube-system"},
            "spec": {"config": r#"{"cniVersion": "1.0.0", "type": "vf", "capabilities": {"portMappings": true}}"#},
        }),
    );
    node.api.put(
        Kind::Pod,
        json!({
            "metadata": {
                "name": "web", "namespace": "default", "uid": "uid-web",
                "annotations": {
                    "v1.multus-cni.io/default-network": r#"[{"name": "own", "mac": "02:00:00:00:00:09"}]"#,
                },
            },
            "spec": {"nodeName": NODE},
        }),
    );
    node.add("web").await;
    assert_eq!(node.journal(), ["ADD vf eth0"]);
    assert!(node.variable("ADD-eth0", "CNI_ARGS").unwrap().ends_with("MAC=02:00:00:00:00:09"));
    assert_eq!(node.stdin("ADD-eth0")["runtimeConfig"]["portMappings"][0]["hostPort"], 80);
    let status = node.written_status("web").await;
    assert_eq!((&status[0]["name"], &status[0]["default"]), (&json!("kube-system/own"), &json!(true)));
}
