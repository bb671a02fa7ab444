//! The API server and kubelet slow or away, plugins that hang, runtimes that hang up.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::json;
use testbed::api::{Fault, Kind};

use crate::node::Node;

const A0: &str = "0000:03:10.0";

#[tokio::test]
async fn with_the_api_server_away_caches_answer_and_the_status_comes_later() {
    let mut node = Node::prepared(&json!({}));
    node.answer = Duration::from_secs(1);
    node.run().await;
    node.nad("plain", r#"{"type": "vf"}"#, None);
    node.pod("warm", "plain");
    node.add("warm").await;
    // Once the watches have shown the pod, which nobody can see from outside.
    for attempt in 0..8_u32 {
        let pod = format!("pod-{attempt}");
        node.pod(&pod, "plain");
        tokio::time::sleep(Duration::from_millis(100 << attempt)).await;
        node.api.set_fault(Some(Fault::Status(503)));
        let added = node.call("ADD", &pod).await;
        let status = node.status(&pod);
        node.api.set_fault(None);
        if added.is_ok() {
            assert_eq!(status, None);
            node.written_status(&pod).await;
            return;
        }
    }
    panic!("no ADD could do without the API server");
}

#[tokio::test]
async fn a_pod_that_nobody_can_look_up_is_tried_again_later() {
    let mut node = Node::prepared(&json!({}));
    node.answer = Duration::from_secs(1);
    node.api.set_fault(Some(Fault::Away));
    node.run().await;
    let error = node.call("ADD", "web").await.unwrap_err();
    assert_eq!(error.code, cni::code::TRY_AGAIN);
    assert!(error.msg.contains("API server") && error.msg.contains("pod default/web"), "{error}");
    assert_eq!(node.journal(), Vec::<String>::new());
}

#[tokio::test]
async fn watches_that_break_or_are_too_old_are_begun_again() {
    let node = Node::start().await;
    node.pod("web", "");
    node.add("web").await;
    node.api.disconnect_watches();
    node.api.forget_history();
    node.nad("plain", r#"{"type": "vf"}"#, None);
    node.pod("after", "plain");
    node.add("after").await;
    assert!(node.journal().contains(&"ADD vf net1".to_owned()));
}

#[tokio::test]
async fn without_the_pod_resources_socket_the_checkpoint_is_read() {
    let mut node = Node::start().await;
    node.nad("fast", r#"{"type": "vf"}"#, Some("intel.com/a"));
    // In the file there's no order of containers; the pod's spec has it.
    node.allocate("web", "two", "intel.com/a", &[A0]).await;
    node.allocate("web", "one", "intel.com/a", &["0000:03:10.2"]).await;
    node.kubelet.stop().await;
    let socket = node.kubelet_paths().pod_resources_socket();
    let _absent = std::fs::remove_file(socket);
    node.pod("web", "fast, fast");
    node.add("web").await;
    assert_eq!(node.stdin("ADD-net1")["deviceID"], "0000:03:10.2");
    assert_eq!(node.stdin("ADD-net2")["deviceID"], A0);
}

#[tokio::test]
async fn what_kubelet_refuses_is_in_its_checkpoint() {
    let mut node = Node::start().await;
    node.nad("fast", r#"{"type": "vf"}"#, Some("intel.com/a"));
    node.allocate("web", "one", "intel.com/a", &[A0]).await;
    node.pod("web", "fast");
    node.kubelet.refuse(Some("not now"));
    node.add("web").await;
    assert_eq!(node.stdin("ADD-net1")["deviceID"], A0);
}

#[tokio::test]
async fn without_any_source_of_devices_nothing_is_guessed() {
    let node = Node::start().await;
    node.nad("fast", r#"{"type": "vf"}"#, Some("intel.com/a"));
    node.pod("web", "fast");
    node.kubelet.stop().await;
    for file in [node.kubelet_paths().pod_resources_socket(), node.kubelet_paths().checkpoint()] {
        let _absent = std::fs::remove_file(file);
    }
    let error = node.call("ADD", "web").await.unwrap_err();
    assert_eq!(error.code, cni::code::TRY_AGAIN);
    assert!(error.msg.contains("default/web") && error.msg.contains("checkpoint"), "{error}");
}

#[tokio::test]
async fn a_plugin_that_hangs_is_killed_and_what_was_done_undone() {
    let node = Node::start_with(&json!({"pluginSeconds": 1})).await;
    node.nad("plain", r#"{"type": "vf"}"#, None);
    node.pod("web", "plain");
    node.write("plugins/hang-ADD-net1", "");
    let error = node.call("ADD", "web").await.unwrap_err();
    assert_eq!(error.code, cni::code::PLUGIN_DEADLINE);
    assert!(error.msg.contains("default/plain"), "{error}");
    assert_eq!(node.journal(), ["ADD base eth0", "ADD vf net1", "DEL vf net1", "DEL base eth0"]);
    assert_eq!(node.record("web"), None);
}

#[tokio::test]
async fn an_add_whose_runtime_hangs_up_is_undone() {
    let node = Node::start().await;
    node.nad("plain", r#"{"type": "vf"}"#, None);
    node.pod("web", "plain, plain");
    node.write("plugins/wait-ADD-net1", "");
    let body = serde_json::to_vec(&node.request("ADD", "web")).unwrap();
    let mut stream = UnixStream::connect(&node.config.socket).unwrap();
    let head = format!("POST /cni HTTP/1.0\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&body).unwrap();
    node.until("net1 is being attached", || node.journal().len() == 2).await;
    drop(stream);
    // The daemon notices while the plugin runs, and lets it finish.
    tokio::time::sleep(Duration::from_secs(2)).await;
    node.remove("plugins/wait-ADD-net1");
    node.until("everything is undone", || node.journal().last().unwrap() == "DEL base eth0").await;
    assert_eq!(
        node.journal(),
        ["ADD base eth0", "ADD vf net1", "DEL vf net1", "DEL base eth0"],
        "net2 isn't begun"
    );
    node.until("the record is gone", || node.record("web").is_none()).await;
}

#[tokio::test]
async fn a_del_waits_for_the_add_of_its_sandbox_and_others_do_not() {
    let node = Node::start().await;
    for pod in ["slow", "other"] {
        node.pod(pod, "");
    }
    node.write("plugins/wait-ADD-eth0", "");
    let slow = node.call("ADD", "slow");
    let rest = async {
        node.until("the ADD is under way", || node.journal().len() == 1).await;
        let del = node.call("DEL", "slow");
        let other = async {
            node.call("DEL", "other").await.unwrap();
            assert_eq!(
                node.journal(),
                ["ADD base eth0", "DEL base eth0"],
                "another sandbox's DEL went through"
            );
            node.remove("plugins/wait-ADD-eth0");
        };
        let (del, ()) = tokio::join!(del, other);
        del.unwrap();
    };
    let (slow, ()) = tokio::join!(slow, rest);
    slow.unwrap();
    assert_eq!(node.journal(), ["ADD base eth0", "DEL base eth0", "DEL base eth0"]);
    assert_eq!(node.record("slow"), None);
}

#[tokio::test]
async fn a_wave_of_adds_does_not_hold_up_a_del() {
    let node = Node::start_with(&json!({"addWorkers": 1})).await;
    for pod in ["a", "b", "gone"] {
        node.pod(pod, "");
    }
    node.write("plugins/wait-ADD-eth0", "");
    let adds = async { tokio::join!(node.call("ADD", "a"), node.call("ADD", "b")) };
    let del = async {
        node.until("one ADD is under way", || !node.journal().is_empty()).await;
        node.del("gone").await;
        assert_eq!(node.journal(), ["ADD base eth0", "DEL base eth0"], "the other ADD has no worker");
        node.remove("plugins/wait-ADD-eth0");
    };
    let ((a, b), ()) = tokio::join!(adds, del);
    a.unwrap();
    b.unwrap();
}

#[tokio::test]
async fn overload_is_told_to_try_again_later() {
    let node = Node::start_with(&json!({"addWorkers": 1, "requestSeconds": 3})).await;
    for pod in ["a", "b"] {
        node.pod(pod, "");
    }
    node.write("plugins/wait-ADD-eth0", "");
    let second = async {
        node.until("one ADD is under way", || !node.journal().is_empty()).await;
        let error = node.call("ADD", "b").await.unwrap_err();
        node.remove("plugins/wait-ADD-eth0");
        error
    };
    let (_first, error) = tokio::join!(node.call("ADD", "a"), second);
    assert_eq!(error.code, cni::code::TRY_AGAIN);
    assert!(error.msg.contains("workers"), "{error}");
}

#[tokio::test]
async fn pods_get_their_devices_from_a_kubelet_that_hangs() {
    let mut node = Node::prepared(&json!({}));
    node.pod_resources = Duration::from_secs(1);
    node.run().await;
    node.nad("fast", r#"{"type": "vf"}"#, Some("intel.com/a"));
    let pods: Vec<String> = (0..8).map(|n| format!("pod-{n}")).collect();
    for (n, pod) in pods.iter().enumerate() {
        node.allocate(pod, "one", "intel.com/a", &[&format!("0000:03:10.{n}")]).await;
        node.pod(pod, "fast");
    }
    node.kubelet.stall(true);
    for result in futures::future::join_all(pods.iter().map(|pod| node.call("ADD", pod))).await {
        result.unwrap();
    }
    for (n, pod) in pods.iter().enumerate() {
        let device = node.record(pod).unwrap().attachments[1].attachment.device.clone();
        assert_eq!(device, Some(format!("0000:03:10.{n}")));
    }
}

#[tokio::test]
async fn many_pods_at_once_all_get_their_networks_and_status() {
    let node = Node::start().await;
    node.nad("plain", r#"{"type": "vf"}"#, None);
    let pods: Vec<String> = (0..60).map(|n| format!("pod-{n}")).collect();
    for pod in &pods {
        node.pod(pod, "plain");
    }
    let results = futures::future::join_all(pods.iter().map(|pod| node.call("ADD", pod))).await;
    for result in results {
        result.unwrap();
    }
    for pod in &pods {
        node.written_status(pod).await;
    }
    assert_eq!(node.status_writes(), pods.len());
    assert!(node.api.requests().iter().all(|request| request.method != "PUT"));
    let results = futures::future::join_all(pods.iter().map(|pod| node.call("DEL", pod))).await;
    for result in results {
        result.unwrap();
    }
    assert_eq!(node.store().sandboxes().unwrap(), Vec::<String>::new());
    assert_eq!(node.api.all(Kind::Pod).len(), pods.len());
}
