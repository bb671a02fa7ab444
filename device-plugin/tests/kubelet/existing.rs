//! Devices of pods from before the change, which the existing SR-IOV plugin gave them.

use std::fs;
use std::path::PathBuf;

use crate::node::{NET, TestNode, allocatable, pod};

#[expect(clippy::disallowed_methods, reason = "as the existing plugin writes it")]
fn put(node: &TestNode, file: &str, content: &str) -> PathBuf {
    let file = node.host().existing_state.join(file);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, content).unwrap();
    file
}

/// Kubelet gives a device away before the DEL of the pod before has run: the new pod's ADD restores it.
#[tokio::test]
async fn a_device_of_such_a_pod_is_given_away_without_being_touched() {
    let node = TestNode::new();
    let kubelet = node.start_kubelet();
    let plugin = node.start_plugin();
    // The pool has all but the last.
    let ids = &node.kernel_vfs[..3];
    for (number, vf) in ids.iter().enumerate() {
        let record =
            format!(r#"{{"name":"blue","deviceID":"{vf}","OrigVfState":{{"HostIFName":"eth{number}"}}}}"#);
        put(&node, &format!("c{number}-net1"), &record);
        put(&node, &format!("pci/{vf}"), "/run/netns/gone");
    }
    allocatable(&kubelet, NET, ids.len()).await;
    let given = kubelet.allocate(&pod("new"), "app", NET, 1).await.unwrap().ids[0].clone();
    assert!(node.state(&given).is_none(), "whose it is isn't the device plugin's to judge");
    assert!(node.links.changes().is_empty());
    plugin.stop().await;
}

#[tokio::test]
async fn a_device_in_a_state_that_nobody_knows_is_not_offered_until_that_is_put_right() {
    let node = TestNode::new();
    let kubelet = node.start_kubelet();
    let plugin = node.start_plugin();
    // The pool has all but the last.
    let ids = &node.kernel_vfs[..3];
    allocatable(&kubelet, NET, ids.len()).await;
    let record = put(&node, &format!("pci/{}", ids[0]), "/run/netns/gone");
    allocatable(&kubelet, NET, ids.len() - 1).await;
    fs::remove_file(record).unwrap();
    allocatable(&kubelet, NET, ids.len()).await;
    // A living pod's is as healthy as before.
    node.links.add_namespace("/run/netns/pod");
    put(&node, &format!("pci/{}", ids[0]), "/run/netns/pod");
    assert!(node.host().left_by_existing().is_empty());
    plugin.stop().await;
}
