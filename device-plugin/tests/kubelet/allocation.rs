use std::error::Error as _;
use std::fmt::Write;
use std::os::unix::fs::PermissionsExt;

use rstest::rstest;
use testbed::kubelet::{Allocation, Error, FakeKubelet};
use vf::State;

use crate::node::{DPDK, NET, Plugin, TestNode, allocatable, pod};

async fn started() -> (TestNode, FakeKubelet, Plugin) {
    let node = TestNode::new();
    let kubelet = node.start_kubelet();
    let plugin = node.start_plugin();
    allocatable(&kubelet, NET, 3).await;
    allocatable(&kubelet, DPDK, 2).await;
    (node, kubelet, plugin)
}

fn shown(allocation: &Allocation) -> String {
    let mut text = String::new();
    for (name, value) in &allocation.response.envs {
        writeln!(text, "{name}={value}").unwrap();
    }
    for device in &allocation.response.devices {
        writeln!(text, "{} -> {} ({})", device.host_path, device.container_path, device.permissions).unwrap();
    }
    text
}

/// What the plugin answered in place of devices.
fn refusal(error: &Error) -> (tonic::Code, String) {
    let Error::Call { status, .. } = error else { panic!("{error:?}") };
    assert!(error.source().is_some());
    (status.code(), status.message().to_owned())
}

#[tokio::test]
async fn a_container_gets_an_interface() {
    let (node, kubelet, plugin) = started().await;
    let allocation = kubelet.allocate(&pod("web"), "app", NET, 1).await.unwrap();
    insta::assert_snapshot!(shown(&allocation), @r#"
    PCIDEVICE_INTEL_COM_NET=0000:01:10.0
    PCIDEVICE_INTEL_COM_NET_INFO={"0000:01:10.0":{"generic":{"deviceID":"0000:01:10.0"}}}
    "#);
    assert!(matches!(node.state("0000:01:10.0"), Some(State::Prepared { resource }) if resource == NET));
    let path = node.device_info().join("dp/intel.com-net-0000:01:10.0-device.json");
    insta::assert_snapshot!(
        std::fs::read_to_string(&path).unwrap(),
        @r#"{"type":"pci","version":"1.1.0","pci":{"pci-address":"0000:01:10.0","pf-pci-address":"0000:01:00.0"}}"#
    );
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o444);
    kubelet.start_container(&pod("web"), "app").await.unwrap();
    plugin.stop().await;
}

#[tokio::test]
async fn a_container_gets_vfio_devices() {
    let (_node, kubelet, plugin) = started().await;
    let allocation = kubelet.allocate(&pod("dpdk"), "app", DPDK, 2).await.unwrap();
    insta::assert_snapshot!(shown(&allocation), @r#"
    PCIDEVICE_INTEL_COM_DPDK=0000:02:10.0,0000:02:10.2
    PCIDEVICE_INTEL_COM_DPDK_INFO={"0000:02:10.0":{"generic":{"deviceID":"0000:02:10.0"},"vfio":{"dev-mount":"/dev/vfio/7","mount":"/dev/vfio/vfio"}},"0000:02:10.2":{"generic":{"deviceID":"0000:02:10.2"},"vfio":{"dev-mount":"/dev/vfio/8","mount":"/dev/vfio/vfio"}}}
    /dev/vfio/vfio -> /dev/vfio/vfio (rw)
    /dev/vfio/7 -> /dev/vfio/7 (rw)
    /dev/vfio/8 -> /dev/vfio/8 (rw)
    "#);
    plugin.stop().await;
}

#[rstest]
#[case::never_seen("0000:09:10.0")]
#[case::of_another_pool("0000:02:10.0")]
#[case::no_address("eth0")]
#[tokio::test]
async fn a_device_that_the_pool_has_not_is_refused(#[case] id: &str) {
    let (node, kubelet, plugin) = started().await;
    let known = node.kernel_vfs[0].clone();
    let ids = vec![known.clone(), id.to_owned()];
    let error = kubelet.allocate_ids(&pod("web"), "app", NET, ids).await.unwrap_err();
    let (code, message) = refusal(&error);
    assert_eq!(code, tonic::Code::NotFound);
    assert!(message.contains(id) && message.contains(NET), "{message}");
    assert_eq!(node.state(&known), None, "nothing is marked");
    plugin.stop().await;
}

#[tokio::test]
async fn a_quarantined_device_is_refused_with_its_reason() {
    let (node, kubelet, plugin) = started().await;
    let vf = node.kernel_vfs[0].clone();
    node.quarantine(&vf);
    // Whether the list has followed by now or not.
    let error = kubelet.allocate_ids(&pod("web"), "app", NET, vec![vf.clone()]).await.unwrap_err();
    let (code, message) = refusal(&error);
    assert_eq!(code, tonic::Code::FailedPrecondition);
    assert!(message.contains(&vf) && message.contains("its VLAN is 7 in place of 0"), "{message}");
    plugin.stop().await;
}

#[tokio::test]
async fn a_device_is_looked_at_when_it_is_asked_for() {
    let node = TestNode::new();
    let kubelet = node.start_kubelet();
    let slow = std::time::Duration::from_hours(1);
    let timing = device_plugin::Timing { rescan: slow, ..crate::node::timing() };
    let plugin = node.start_plugin_with(crate::node::POOLS, timing);
    allocatable(&kubelet, NET, 3).await;
    allocatable(&kubelet, DPDK, 2).await;
    let [unbound, rebound, removed] = [0, 1, 2].map(|place| node.kernel_vfs[place].clone());
    node.tree.set_driver(&unbound.parse().unwrap(), None);
    node.tree.set_driver(&rebound.parse().unwrap(), Some("vfio-pci"));
    node.tree.remove(&removed.parse().unwrap());
    let no_iommu = node.vfio_vfs[0].clone();
    let group = node.tree.root().join("bus/pci/devices").join(&no_iommu).join("iommu_group");
    std::fs::remove_file(group).unwrap();
    for (resource, vf, code, reason) in [
        (NET, unbound, tonic::Code::FailedPrecondition, "no driver"),
        (NET, rebound, tonic::Code::FailedPrecondition, "vfio-pci"),
        (NET, removed, tonic::Code::NotFound, "no PCI function"),
        (DPDK, no_iommu, tonic::Code::FailedPrecondition, "IOMMU"),
    ] {
        let error = kubelet.allocate_ids(&pod("web"), "app", resource, vec![vf.clone()]).await.unwrap_err();
        let (found, message) = refusal(&error);
        assert_eq!(found, code, "{message}");
        assert!(message.contains(&vf) && message.contains(resource) && message.contains(reason), "{message}");
        assert_eq!(node.state(&vf), None);
    }
    plugin.stop().await;
}

#[tokio::test]
async fn a_device_whose_description_cannot_be_written_is_not_given_away() {
    let (node, kubelet, plugin) = started().await;
    std::fs::File::create(node.device_info()).unwrap();
    let error = kubelet.allocate(&pod("web"), "app", NET, 2).await.unwrap_err();
    let (code, message) = refusal(&error);
    assert_eq!(code, tonic::Code::Internal);
    assert!(message.contains("devinfo"), "{message}");
    assert!(node.kernel_vfs.iter().all(|vf| node.state(vf).is_none()), "nothing stays marked");
    std::fs::remove_file(node.device_info()).unwrap();
    kubelet.allocate(&pod("web"), "app", NET, 2).await.unwrap();
    plugin.stop().await;
}

#[tokio::test]
async fn a_stale_description_is_replaced() {
    let (node, kubelet, plugin) = started().await;
    let path = node.device_info().join("dp/intel.com-net-0000:01:10.0-device.json");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::File::create(&path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o444)).unwrap();
    kubelet.allocate(&pod("web"), "app", NET, 1).await.unwrap();
    assert!(std::fs::read_to_string(&path).unwrap().contains("0000:01:10.0"));
    plugin.stop().await;
}

#[tokio::test]
async fn a_device_that_its_former_pod_still_has_is_given_away_and_left_to_it() {
    let (node, kubelet, plugin) = started().await;
    let vf = node.kernel_vfs[0].clone();
    let attached = State::Attached { claim: crate::release::claim(&node, &vf) };
    node.write_state(&vf, Some(attached.clone()));
    kubelet.allocate_ids(&pod("web"), "app", NET, vec![vf.clone()]).await.unwrap();
    kubelet.start_container(&pod("web"), "app").await.unwrap();
    assert_eq!(node.state(&vf), Some(attached));
    plugin.stop().await;
}

#[tokio::test]
async fn each_start_of_a_container_verifies_its_devices() {
    let (node, kubelet, plugin) = started().await;
    let allocation = kubelet.allocate(&pod("dpdk"), "app", DPDK, 1).await.unwrap();
    let vf = allocation.ids[0].clone();
    kubelet.start_container(&pod("dpdk"), "app").await.unwrap();
    // As after a reboot: kubelet has it from its checkpoint, and the ledger is empty.
    node.write_state(&vf, None);
    kubelet.start_container(&pod("dpdk"), "app").await.unwrap();
    assert!(matches!(node.state(&vf), Some(State::Prepared { resource }) if resource == DPDK));
    node.tree.set_driver(&vf.parse().unwrap(), Some("igbvf"));
    let error = kubelet.start_container(&pod("dpdk"), "app").await.unwrap_err();
    let (code, message) = refusal(&error);
    assert_eq!(code, tonic::Code::FailedPrecondition);
    assert!(message.contains(&vf) && message.contains("igbvf"), "{message}");
    assert!(node.state(&vf).is_some(), "its pod still has it");
    plugin.stop().await;
}

#[tokio::test]
async fn pod_resources_and_checkpoint_tell_the_same() {
    let (node, kubelet, plugin) = started().await;
    let web = pod("web");
    kubelet.allocate(&web, "side", NET, 1).await.unwrap();
    kubelet.allocate(&web, "app", NET, 2).await.unwrap();
    kubelet.allocate(&web, "app", DPDK, 1).await.unwrap();
    kubelet.allocate(&pod("other"), "app", DPDK, 1).await.unwrap();
    let paths = node.kubelet();
    let deadline = crate::node::PATIENCE;
    let socket = paths.pod_resources_socket();
    let listed =
        kubelet::podresources::devices_of(&socket, "default", "web", deadline).await.unwrap().unwrap();
    let checkpoint = kubelet::checkpoint::Checkpoint::read(&paths.checkpoint()).unwrap();
    assert_eq!(listed, checkpoint.devices_of(&web.uid, &["side", "app"]));
    let ids = kubelet::ids_by_resource(&listed);
    assert_eq!(ids[NET], node.kernel_vfs[..3]);
    assert_eq!(ids[DPDK], node.vfio_vfs[..1]);
    assert_eq!(kubelet::podresources::allocated(&socket, deadline).await.unwrap(), checkpoint.allocated());
    plugin.stop().await;
}
