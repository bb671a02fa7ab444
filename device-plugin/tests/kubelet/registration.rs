use std::collections::BTreeSet;
use std::os::unix::fs::FileTypeExt;
use std::time::Duration;

use device_plugin::Timing;

use crate::node::{DPDK, NET, TestNode, allocatable, eventually, pod, timing};

#[tokio::test]
async fn pools_are_registered_with_their_devices_and_numa_nodes() {
    let node = TestNode::new();
    let kubelet = node.start_kubelet();
    let plugin = node.start_plugin();
    allocatable(&kubelet, NET, 3).await;
    allocatable(&kubelet, DPDK, 2).await;
    let net: BTreeSet<_> = node.kernel_vfs.iter().take(3).cloned().collect();
    assert_eq!(kubelet.allocatable(NET), net);
    assert!(kubelet.devices(NET).values().all(|device| device.nodes == [1]));
    assert!(kubelet.devices(DPDK).values().all(|device| device.nodes.is_empty()), "excludeTopology");
    assert_eq!(kubelet.registered(), BTreeSet::from([NET.to_owned(), DPDK.to_owned()]), "no empty pool");
    plugin.stop().await;
}

#[tokio::test]
async fn the_hosts_uplink_is_not_offered() {
    let node = TestNode::new();
    node.add_default_route("ens1v1");
    let kubelet = node.start_kubelet();
    let plugin = node.start_plugin();
    allocatable(&kubelet, NET, 2).await;
    assert!(!kubelet.devices(NET).contains_key(&node.kernel_vfs[1]));
    plugin.stop().await;
}

#[tokio::test]
async fn a_kubelet_that_starts_later_is_found() {
    let node = TestNode::new();
    let plugin = node.start_plugin();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let kubelet = node.start_kubelet();
    allocatable(&kubelet, NET, 3).await;
    plugin.stop().await;
}

#[tokio::test]
async fn a_restarted_kubelet_gets_its_devices_again() {
    let node = TestNode::new();
    let kubelet = node.start_kubelet();
    // Nothing but the directory's events can tell in time.
    let plugin =
        node.start_plugin_with(crate::node::POOLS, Timing { look: Duration::from_hours(1), ..timing() });
    allocatable(&kubelet, NET, 3).await;
    for _ in 0..3 {
        kubelet.restart().await.unwrap();
        assert!(kubelet.allocatable(NET).is_empty());
        allocatable(&kubelet, NET, 3).await;
        allocatable(&kubelet, DPDK, 2).await;
    }
    plugin.stop().await;
}

#[tokio::test]
async fn a_kubelet_that_was_away_for_long_gets_its_devices_again() {
    let node = TestNode::new();
    let kubelet = node.start_kubelet();
    let plugin = node.start_plugin();
    allocatable(&kubelet, NET, 3).await;
    kubelet.stop().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    kubelet.restart().await.unwrap();
    allocatable(&kubelet, NET, 3).await;
    plugin.stop().await;
}

#[tokio::test]
async fn sockets_that_were_removed_are_made_again() {
    let node = TestNode::new();
    let kubelet = node.start_kubelet();
    let plugin = node.start_plugin();
    allocatable(&kubelet, NET, 3).await;
    let before = kubelet.registrations(NET);
    kubelet.wipe().unwrap();
    kubelet
        .until("registered again", crate::node::PATIENCE, |kubelet| {
            kubelet.registrations(NET) > before && kubelet.allocatable(NET).len() == 3
        })
        .await
        .unwrap();
    // Kubelet drops a new registration when the old stream ends after it; what counts is that it lasts.
    kubelet.allocate(&pod("web"), "app", NET, 1).await.unwrap();
    plugin.stop().await;
}

#[tokio::test]
async fn a_refused_registration_is_tried_again() {
    let node = TestNode::new();
    let kubelet = node.start_kubelet();
    kubelet.refuse(Some("not now"));
    let plugin = node.start_plugin();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(kubelet.registered().is_empty());
    kubelet.refuse(None);
    allocatable(&kubelet, NET, 3).await;
    plugin.stop().await;
}

#[tokio::test]
async fn a_kubelet_that_never_answers_is_asked_again() {
    let node = TestNode::new();
    let kubelet = node.start_kubelet();
    kubelet.stall(true);
    let register = Duration::from_millis(200);
    let plugin = node.start_plugin_with(crate::node::POOLS, Timing { register, ..timing() });
    tokio::time::sleep(Duration::from_millis(300)).await;
    kubelet.stall(false);
    allocatable(&kubelet, NET, 3).await;
    plugin.stop().await;
}

#[tokio::test]
async fn a_file_in_the_sockets_place_is_left_alone_and_waited_for() {
    let node = TestNode::new();
    let kubelet = node.start_kubelet();
    let path = node.kubelet().device_plugins().join("intel.com_net.sock");
    std::fs::create_dir(&path).unwrap();
    let plugin = node.start_plugin();
    allocatable(&kubelet, DPDK, 2).await;
    assert!(path.is_dir());
    std::fs::remove_dir(&path).unwrap();
    allocatable(&kubelet, NET, 3).await;
    plugin.stop().await;
}

#[tokio::test]
async fn a_socket_of_a_killed_predecessor_is_replaced() {
    let node = TestNode::new();
    let kubelet = node.start_kubelet();
    drop(std::os::unix::net::UnixListener::bind(node.kubelet().device_plugins().join("intel.com_net.sock")));
    let plugin = node.start_plugin();
    allocatable(&kubelet, NET, 3).await;
    plugin.stop().await;
}

#[tokio::test]
async fn the_sockets_are_removed_at_the_end_and_the_descriptions_stay() {
    let node = TestNode::new();
    let kubelet = node.start_kubelet();
    let plugin = node.start_plugin();
    allocatable(&kubelet, NET, 3).await;
    kubelet.allocate(&pod("web"), "app", NET, 1).await.unwrap();
    plugin.stop().await;
    let sockets = std::fs::read_dir(node.kubelet().device_plugins()).unwrap().flatten();
    let sockets = sockets.filter(|entry| entry.file_type().unwrap().is_socket());
    assert_eq!(sockets.map(|entry| entry.file_name()).collect::<Vec<_>>(), ["kubelet.sock"]);
    assert_eq!(std::fs::read_dir(node.device_info().join("dp")).unwrap().count(), 1);
    kubelet
        .until("its devices are unhealthy", crate::node::PATIENCE, |kubelet| {
            kubelet.allocatable(NET).is_empty()
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn health_follows_ledger_and_devices() {
    let node = TestNode::new();
    let kubelet = node.start_kubelet();
    // The ledger's changes are noticed by themselves, not by looking around.
    let timing = Timing { rescan: Duration::from_hours(1), ..timing() };
    let plugin = node.start_plugin_with(crate::node::POOLS, timing);
    allocatable(&kubelet, NET, 3).await;
    node.quarantine(&node.kernel_vfs[0]);
    allocatable(&kubelet, NET, 2).await;
    assert_eq!(kubelet.devices(NET).len(), 3, "it is still listed");
    node.write_state(&node.kernel_vfs[0], None);
    allocatable(&kubelet, NET, 3).await;
    plugin.stop().await;
}

#[tokio::test]
async fn devices_that_change_or_vanish_are_noticed() {
    let node = TestNode::new();
    let kubelet = node.start_kubelet();
    let plugin = node.start_plugin();
    allocatable(&kubelet, NET, 3).await;
    let (unbound, removed) = (node.kernel_vfs[0].parse().unwrap(), node.kernel_vfs[2].parse().unwrap());
    node.tree.set_driver(&unbound, None);
    allocatable(&kubelet, NET, 2).await;
    node.tree.remove(&removed);
    allocatable(&kubelet, NET, 1).await;
    assert_eq!(kubelet.devices(NET).len(), 3);
    node.tree.set_driver(&unbound, Some("igbvf"));
    allocatable(&kubelet, NET, 2).await;
    plugin.stop().await;
}

#[tokio::test]
async fn a_pool_that_gets_devices_later_is_registered_then() {
    let node = TestNode::new();
    let kubelet = node.start_kubelet();
    for vf in &node.vfio_vfs {
        node.tree.set_driver(&vf.parse().unwrap(), None);
    }
    let plugin = node.start_plugin();
    allocatable(&kubelet, NET, 3).await;
    assert!(!kubelet.registered().contains(DPDK));
    node.tree.set_driver(&node.vfio_vfs[0].parse().unwrap(), Some("vfio-pci"));
    allocatable(&kubelet, DPDK, 1).await;
    plugin.stop().await;
}

#[tokio::test]
async fn a_plugin_that_restarts_goes_on_where_it_was() {
    let node = TestNode::new();
    let kubelet = node.start_kubelet();
    let plugin = node.start_plugin();
    allocatable(&kubelet, DPDK, 2).await;
    kubelet.allocate(&pod("dpdk"), "app", DPDK, 1).await.unwrap();
    plugin.stop().await;
    let plugin = node.start_plugin();
    allocatable(&kubelet, DPDK, 2).await;
    kubelet.allocate(&pod("another"), "app", DPDK, 1).await.unwrap();
    eventually("both are marked", || node.vfio_vfs.iter().all(|vf| node.state(vf).is_some())).await;
    plugin.stop().await;
}
