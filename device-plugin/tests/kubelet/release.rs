use std::time::Duration;

use testbed::kubelet::FakeKubelet;
use vf::{Baseline, Claim, Intent, State};

use crate::node::{BOOT, DPDK, TestNode, allocatable, eventually, pod};

/// A claim on a VF as a CNI plugin makes it.
pub(crate) fn claim(node: &TestNode, vf: &str) -> Claim {
    let host = node.host();
    host.take_baseline(vf.parse().unwrap()).unwrap();
    let baseline: Baseline = host.ledger.baseline(&vf.parse().unwrap()).unwrap().unwrap();
    let owner =
        ledger::Owner { network: "net".into(), container_id: "sandbox-1".into(), ifname: "net1".into() };
    let wanted = vf::Wanted::default();
    Claim {
        owner,
        resource: None,
        netns: None,
        pod: None,
        wanted: Intent { wanted, baseline, existing: Vec::new() },
    }
}

async fn allocated(node: &TestNode, kubelet: &FakeKubelet) -> String {
    allocatable(kubelet, DPDK, 2).await;
    let vf = kubelet.allocate(&pod("dpdk"), "app", DPDK, 1).await.unwrap().ids[0].clone();
    assert!(matches!(node.state(&vf), Some(State::Prepared { .. })));
    vf
}

/// Longer than several reads.
async fn several_reads() {
    tokio::time::sleep(Duration::from_millis(500)).await;
}

#[tokio::test]
async fn a_device_of_a_pod_that_never_used_cni_is_freed_after_its_end() {
    let node = TestNode::new();
    let kubelet = node.start_kubelet();
    let plugin = node.start_plugin();
    let vf = allocated(&node, &kubelet).await;
    several_reads().await;
    assert!(node.state(&vf).is_some(), "its pod has it");
    kubelet.free(&pod("dpdk")).unwrap();
    eventually("the mark goes", || node.state(&vf).is_none()).await;
    plugin.stop().await;
}

#[tokio::test]
async fn a_checkpoint_that_shows_a_pod_after_its_end_is_renewed() {
    let node = TestNode::new();
    let kubelet = node.start_kubelet();
    let plugin = node.start_plugin();
    let vf = allocated(&node, &kubelet).await;
    kubelet.end(&pod("dpdk"));
    eventually("the mark goes", || node.state(&vf).is_none()).await;
    plugin.stop().await;
}

#[tokio::test]
async fn without_pod_resources_the_checkpoint_tells() {
    let node = TestNode::new();
    let kubelet = FakeKubelet::start_without_pod_resources(node.directory.path()).unwrap();
    let plugin = node.start_plugin();
    let vf = allocated(&node, &kubelet).await;
    several_reads().await;
    assert!(node.state(&vf).is_some(), "its pod has it");
    kubelet.free(&pod("dpdk")).unwrap();
    eventually("the mark goes", || node.state(&vf).is_none()).await;
    plugin.stop().await;
}

#[tokio::test]
async fn nothing_is_freed_while_kubelet_does_not_answer() {
    let node = TestNode::new();
    let kubelet = node.start_kubelet();
    let answer = Duration::from_millis(50);
    let plugin =
        node.start_plugin_with(crate::node::POOLS, device_plugin::Timing { answer, ..crate::node::timing() });
    let vf = allocated(&node, &kubelet).await;
    kubelet.stall(true);
    kubelet.free(&pod("dpdk")).unwrap();
    several_reads().await;
    assert!(node.state(&vf).is_some(), "nobody knows");
    kubelet.stall(false);
    kubelet.refuse(Some("busy"));
    several_reads().await;
    assert!(node.state(&vf).is_some(), "nobody knows");
    kubelet.refuse(None);
    eventually("the mark goes", || node.state(&vf).is_none()).await;
    plugin.stop().await;
}

#[tokio::test]
async fn a_device_that_was_claimed_is_its_owners() {
    let node = TestNode::new();
    let kubelet = node.start_kubelet();
    let plugin = node.start_plugin();
    let vf = allocated(&node, &kubelet).await;
    node.write_state(&vf, None);
    let attached = State::Attached { claim: claim(&node, &vf) };
    node.write_state(&vf, Some(attached.clone()));
    kubelet.free(&pod("dpdk")).unwrap();
    several_reads().await;
    assert_eq!(node.state(&vf), Some(attached));
    assert_eq!(BOOT, node.host().boot_id);
    plugin.stop().await;
}
