use std::fs;
use std::path::Path;

use netlink::{Errno, Links, RdmaDevice, RdmaMode, Verb};

use crate::links::{DriverModel, FakeLinks};
use crate::sysfs::{PfSpec, SysfsTree};

const VF: &str = "0000:01:10.0";
const POD: &str = "/run/netns/pod";

fn machine() -> (FakeLinks, u32) {
    let links = FakeLinks::new();
    links.add_pf("0000:01:00.0", "eth1", &[VF.to_owned()], DriverModel::mlx5());
    links.add_namespace(POD);
    let index = links.add_rdma(VF, "mlx5_2");
    links.set_rdma_mode(Some(RdmaMode::Exclusive));
    (links, index)
}

fn at_home(links: &FakeLinks) -> Vec<RdmaDevice> {
    links.rdma_devices(links.host()).unwrap()
}

#[test]
fn a_new_machine_has_no_rdma() {
    let links = FakeLinks::new();
    assert_eq!(links.rdma_mode().unwrap(), None);
    assert_eq!(at_home(&links), []);
    assert!(links.move_rdma(links.host(), 1, links.host()).unwrap_err().is_gone());
}

/// What no device on the VM node can: its kernel has no driver that lets a device go without a NIC of its own.
#[test]
fn a_device_moves_with_index_and_name_and_returns_when_its_namespace_ends() {
    let (links, index) = machine();
    let before = at_home(&links);
    let pod = links.open(Path::new(POD)).unwrap();
    links.move_rdma(links.host(), index, &pod).unwrap();
    assert_eq!((at_home(&links), links.rdma_devices(&pod).unwrap()), (Vec::new(), before.clone()));
    links.move_rdma(&pod, index, links.host()).unwrap();
    assert_eq!((at_home(&links), links.rdma_devices(&pod).unwrap()), (before, Vec::new()));

    links.move_rdma(links.host(), index, &pod).unwrap();
    links.rename_rdma(&pod, index, "data").unwrap();
    links.remove_namespace(Path::new(POD));
    assert_eq!(at_home(&links), []);
    drop(pod);
    assert_eq!(at_home(&links)[0].name, "data");
    let verbs: Vec<Verb> = links.changes().iter().map(|call| call.verb).collect();
    assert_eq!(verbs, [Verb::MoveRdma, Verb::MoveRdma, Verb::MoveRdma, Verb::RenameRdma]);
}

#[test]
fn a_device_whose_driver_comes_back_is_another_under_its_first_name() {
    let (links, index) = machine();
    links.rename_rdma(links.host(), index, "data").unwrap();
    links.unbind(VF);
    assert_eq!(at_home(&links), []);
    links.bind(VF);
    let made = at_home(&links);
    assert!(made[0].index > index && made[0].name == "mlx5_2", "{made:?}");
}

#[test]
fn sysfs_shows_what_the_host_sees() {
    let (links, index) = machine();
    let tree = SysfsTree::new();
    tree.add_pf(&PfSpec::igb("0000:01:00.0", "eth1"));
    links.mirror(&tree);
    let seen = || {
        let entries = fs::read_dir(tree.root().join("bus/pci/devices").join(VF).join("infiniband"));
        entries.map(|entries| entries.flatten().map(|entry| entry.file_name()).collect()).unwrap_or_default()
    };
    let names: Vec<std::ffi::OsString> = seen();
    assert_eq!(names, ["mlx5_2"]);
    let pod = links.open(Path::new(POD)).unwrap();
    links.move_rdma(links.host(), index, &pod).unwrap();
    let names: Vec<std::ffi::OsString> = seen();
    assert!(names.is_empty(), "{names:?}");
}

#[test]
fn faults_are_for_rdma_too() {
    let (links, index) = machine();
    let pod = links.open(Path::new(POD)).unwrap();
    links.fail_on(Verb::MoveRdma, 1, Errno::EBUSY);
    assert!(links.move_rdma(links.host(), index, &pod).unwrap_err().is_transient());
    links.fail_on(Verb::RdmaDevices, 1, Errno::EIO);
    links.rdma_devices(links.host()).unwrap_err();
    assert_eq!(at_home(&links)[0].index, index);
}
