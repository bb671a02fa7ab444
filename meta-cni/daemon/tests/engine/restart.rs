//! What is left half done, and what comes while patchbayd is away.

use std::fs;
use std::time::Duration;

use meta_cni_daemon::install;
use meta_cni_daemon::store::{Phase, Progress};
use meta_cni_shim::intent;
use rstest::rstest;
use serde_json::{Value, json};

use crate::node::Node;

/// A stopped node whose only sandbox has three networks attached.
async fn attached() -> Node {
    let mut node = Node::start().await;
    node.nad("plain", r#"{"cniVersion": "1.0.0", "type": "vf"}"#, None);
    node.pod("web", "plain, plain");
    node.add("web").await;
    node.stop().await;
    node.forget_journal();
    node
}

async fn until_gone(node: &Node) {
    node.until("the record is gone", || node.record("web").is_none()).await;
}

#[rstest]
#[case::before_the_first(0, &["DEL base eth0"])]
#[case::in_the_second(1, &["DEL vf net1", "DEL base eth0"])]
#[case::in_the_last(2, &["DEL vf net2", "DEL vf net1", "DEL base eth0"])]
#[tokio::test]
async fn a_half_done_add_is_undone(#[case] at: usize, #[case] expected: &[&str]) {
    let mut node = attached().await;
    let mut record = node.record("web").unwrap();
    record.phase = Phase::Adding;
    for (index, entry) in record.attachments.iter_mut().enumerate().skip(at) {
        entry.progress = if index == at { Progress::Adding } else { Progress::Planned };
    }
    node.store().write(&record).unwrap();
    node.run().await;
    until_gone(&node).await;
    assert_eq!(node.journal(), expected);
    let interface = expected[0].rsplit(' ').next().unwrap();
    let stdin = node.stdin(&format!("DEL-{interface}"));
    assert_eq!(stdin.get("prevResult"), None, "what wasn't attached has no result");
}

#[tokio::test]
async fn a_half_done_del_is_finished_and_tried_again_until_it_is() {
    let mut node = attached().await;
    let mut record = node.record("web").unwrap();
    record.phase = Phase::Deleting;
    node.store().write(&record).unwrap();
    node.fail("DEL-net1", 5);
    node.run().await;
    node.until("it was tried", || node.journal().len() >= 3).await;
    node.until("the rest is recorded", || node.record("web").unwrap().attachments.len() == 1).await;
    node.succeed("DEL-net1");
    node.del("web").await;
    assert_eq!(node.record("web"), None);
}

#[tokio::test]
async fn what_is_attached_stays_over_a_restart() {
    let mut node = attached().await;
    node.run().await;
    node.pod("other", "");
    node.add("other").await;
    assert_eq!(node.journal(), ["ADD base eth0"]);
    assert_eq!(node.record("web").unwrap().phase, Phase::Added);
    node.forget_journal();
    node.del("web").await;
    assert_eq!(node.journal(), ["DEL vf net2", "DEL vf net1", "DEL base eth0"]);
}

#[tokio::test]
async fn a_status_that_was_never_written_is_written_after_the_restart() {
    let mut node = attached().await;
    // Without its annotation, as if the API server had been away all the time.
    node.pod("web", "plain, plain");
    assert_eq!(node.status("web"), None);
    node.run().await;
    assert_eq!(node.written_status("web").await.as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn after_a_reboot_everything_is_taken_down_without_a_namespace() {
    let mut node = attached().await;
    node.boot_id = "boot-2".to_owned();
    node.run().await;
    until_gone(&node).await;
    assert_eq!(node.journal(), ["DEL vf net2", "DEL vf net1", "DEL base eth0"]);
    assert_eq!(node.variable("DEL-net1", "CNI_NETNS").as_deref(), Some(""));
}

#[tokio::test]
async fn dels_that_came_while_it_was_away_are_carried_out() {
    let mut node = attached().await;
    let intents = node.dir.path().join("state/intents");
    let path = intent::write(&intents, &node.request("DEL", "web")).unwrap();
    let damaged = intents.join("damaged.json");
    fs::write(&damaged, "{").unwrap();
    node.run().await;
    node.until("the intent is gone", || !path.exists()).await;
    assert_eq!(node.journal(), ["DEL vf net2", "DEL vf net1", "DEL base eth0"]);
    assert_eq!(node.record("web"), None);
    assert!(damaged.exists(), "what can't be read isn't thrown away");
}

#[tokio::test]
async fn an_intent_stays_until_its_del_succeeds() {
    let mut node = attached().await;
    let intents = node.dir.path().join("state/intents");
    let path = intent::write(&intents, &node.request("DEL", "web")).unwrap();
    node.fail("DEL-net2", 5);
    node.run().await;
    node.until("it was tried", || node.journal().contains(&"DEL base eth0".to_owned())).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(path.exists());
}

#[tokio::test]
async fn the_configuration_file_is_written_whole_restored_and_stays() {
    let mut node = Node::start().await;
    let file = install::own_file(&node.config);
    node.until("the file is there", || file.exists()).await;
    let read = || serde_json::from_str::<Value>(&fs::read_to_string(&file).unwrap()).unwrap();
    let list = read();
    assert_eq!((&list["cniVersion"], &list["name"]), (&json!("1.0.0"), &json!("patchbay")));
    let plugin = &list["plugins"][0];
    assert_eq!(plugin["type"], "patchbay");
    assert_eq!(plugin["capabilities"], json!({"portMappings": true}));
    assert_eq!(plugin["socket"], json!(node.config.socket));
    fs::remove_file(&file).unwrap();
    node.until("it is restored", || file.exists()).await;
    // The cluster's own network changes, and ours with it.
    node.write("net.d/05-better.conf", r#"{"cniVersion": "1.1.0", "name": "better", "type": "base"}"#);
    node.until("it follows", || read()["cniVersion"] == "1.1.0").await;
    node.stop().await;
    assert!(file.exists());
}

#[tokio::test]
async fn stopping_finishes_the_calls_under_way() {
    let mut node = Node::start().await;
    node.pod("web", "");
    node.write("plugins/wait-ADD-eth0", "");
    let request = node.request("ADD", "web");
    let (socket, patience) = (
        node.config.socket.clone(),
        meta_cni_shim::client::Patience { connect: crate::node::PATIENCE, answer: crate::node::PATIENCE },
    );
    let call = tokio::task::spawn_blocking(move || meta_cni_shim::client::call(&socket, &request, patience));
    node.until("the plugin runs", || !node.journal().is_empty()).await;
    let go = node.plugins().join("wait-ADD-eth0");
    let (answer, ()) = tokio::join!(call, async {
        let release = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            fs::remove_file(&go).unwrap();
        };
        tokio::join!(node.stop(), release);
    });
    answer.unwrap().unwrap();
    assert_eq!(node.record("web").unwrap().phase, Phase::Added);
}
