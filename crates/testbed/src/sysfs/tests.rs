use std::thread;
use std::time::{Duration, Instant};

use pci::{BindError, Driver, IommuGroup, PciAddress, Sriov, VirtualFunction};
use rstest::rstest;

use netlink::Links;

use super::{FakeKernel, FunctionSpec, PfSpec, SysfsTree};
use crate::links::{DriverModel, FakeLinks};

fn address(text: &str) -> PciAddress {
    text.parse().unwrap()
}

fn igb() -> (SysfsTree, Vec<PciAddress>) {
    let tree = SysfsTree::new();
    let vfs = tree.add_pf(&PfSpec::igb("0000:01:00.0", "eth1"));
    (tree, vfs)
}

fn named(driver: &str) -> Driver {
    Driver::Named(driver.to_owned())
}

#[test]
fn vf_addresses_are_those_of_the_emulated_82576() {
    let (_, vfs) = igb();
    let wanted = ["01:10.0", "01:10.2", "01:10.4", "01:10.6", "01:11.0", "01:11.2", "01:11.4"];
    assert_eq!(vfs, wanted.map(|short| address(&format!("0000:{short}"))));
}

#[test]
fn a_scan_sees_what_was_put_in() {
    let (tree, vfs) = igb();
    tree.add_function(&FunctionSpec {
        address: address("0000:00:1f.2"),
        vendor: 0x8086,
        device: 0x2922,
        class: 0x01_06_01,
        driver: None,
        net: Vec::new(),
        numa_node: 1,
        iommu: false,
    });
    let scan = tree.sysfs().functions().unwrap();
    assert!(scan.broken.is_empty());
    assert_eq!(scan.functions.len(), 9);

    let disk = &scan.functions[0];
    assert_eq!(
        (disk.class, disk.numa_node, &disk.driver, &disk.iommu_group),
        (0x01_06_01, Some(1), &None, &None)
    );
    assert!(!disk.is_network());

    let pf = &scan.functions[1];
    assert_eq!(pf.sriov, Some(Sriov { total_vfs: 7, num_vfs: 7 }));
    assert_eq!((pf.vf, pf.net_names.as_slice()), (None, ["eth1".to_owned()].as_slice()));

    let vf = scan.functions.iter().find(|function| function.address == vfs[3]).unwrap();
    assert_eq!((vf.vendor, vf.device, vf.numa_node, vf.sriov), (0x8086, 0x10ca, None, None));
    assert_eq!(vf.vf, Some(VirtualFunction { pf: pf.address, index: 3 }));
    assert_eq!(
        (vf.driver.as_deref(), vf.net_names.as_slice()),
        (Some("igbvf"), ["eth1v3".to_owned()].as_slice())
    );
    assert_eq!(vf.iommu_group, Some(IommuGroup { number: 5, name: None }));
    assert!(vf.is_network() && !vf.is_userspace());
}

#[test]
fn a_removed_vf_is_absent_and_the_others_stay() {
    let (tree, vfs) = igb();
    tree.remove(&vfs[6]);
    let scan = tree.sysfs().functions().unwrap();
    assert!(scan.broken.is_empty());
    assert_eq!(scan.functions.len(), 7);
    assert!(matches!(tree.sysfs().function(&vfs[6]), Err(pci::Error::Absent { .. })));
    assert_eq!(tree.sysfs().vfs(&address("0000:01:00.0")).unwrap().len(), 6);
}

#[test]
fn two_thousand_vfs_are_read_whole() {
    let tree = SysfsTree::new();
    for pf in 0..16 {
        tree.add_pf(&PfSpec::connectx(&format!("0000:{:02x}:00.0", 0x10 + pf), &format!("p{pf}")));
    }
    let scan = tree.sysfs().functions().unwrap();
    assert!(scan.broken.is_empty());
    let vfs = scan.functions.iter().filter_map(|function| function.vf);
    assert_eq!(vfs.clone().count(), 2048);
    assert_eq!(vfs.map(|vf| u64::from(vf.index)).sum::<u64>(), 16 * (127 * 128 / 2));
}

#[test]
fn a_driver_takes_a_vf_and_gives_it_back() {
    let (tree, vfs) = igb();
    let links = FakeLinks::new();
    let names: Vec<String> = vfs.iter().map(PciAddress::to_string).collect();
    links.add_pf("0000:01:00.0", "eth1", &names, DriverModel::igb());
    links.mirror(&tree);
    let _kernel = FakeKernel::start(&tree, Some(&links));
    let sysfs = tree.sysfs();

    sysfs.bind(&vfs[0], &named("vfio-pci")).unwrap();
    let taken = sysfs.function(&vfs[0]).unwrap();
    assert!(taken.is_userspace() && taken.net_names.is_empty());
    assert!(links.link_of_device(links.host(), &names[0]).unwrap().is_none());
    sysfs.bind(&vfs[0], &named("vfio-pci")).unwrap();

    sysfs.bind(&vfs[0], &Driver::Kernel).unwrap();
    let back = sysfs.function(&vfs[0]).unwrap();
    assert_eq!(
        (back.driver.as_deref(), back.net_names.as_slice()),
        (Some("igbvf"), ["eth1v0".to_owned()].as_slice())
    );
    assert_eq!(tree.read(&vfs[0], "driver_override").lines().next(), Some(""));
    sysfs.bind(&vfs[0], &Driver::Kernel).unwrap();
}

#[rstest]
#[case::no_iommu(|spec: &mut PfSpec| spec.iommu = false, "vfio-pci", "IOMMU")]
#[case::no_module(|_: &mut PfSpec| (), "uio_pci_generic", "modprobe uio_pci_generic")]
#[case::not_a_name(|_: &mut PfSpec| (), "../igb", "can't be the name")]
fn a_bind_that_can_not_be_says_why(
    #[case] prepare: fn(&mut PfSpec),
    #[case] driver: &str,
    #[case] says: &str,
) {
    let tree = SysfsTree::new();
    let mut spec = PfSpec::igb("0000:01:00.0", "eth1");
    prepare(&mut spec);
    let vfs = tree.add_pf(&spec);
    let _kernel = FakeKernel::start(&tree, None);
    let error = tree.sysfs().bind(&vfs[0], &named(driver)).unwrap_err().to_string();
    assert!(error.contains(says), "{error}");
    assert_eq!(tree.driver(&vfs[0]).as_deref(), Some("igbvf"));
}

#[test]
fn autoprobe_off_is_told_before_the_driver_is_taken_away() {
    let (tree, vfs) = igb();
    let pf = address("0000:01:00.0");
    tree.write(&pf, "sriov_drivers_autoprobe", "0\n");
    let _kernel = FakeKernel::start(&tree, None);
    let error = tree.sysfs().bind(&vfs[0], &named("vfio-pci")).unwrap_err();
    assert!(matches!(error, BindError::AutoprobeOff { pf: of, .. } if of == pf), "{error}");
    assert_eq!(tree.driver(&vfs[0]).as_deref(), Some("igbvf"));
}

#[test]
fn a_driver_that_does_not_take_it_leaves_the_former_one() {
    let (tree, vfs) = igb();
    tree.add_broken_driver("broken");
    let _kernel = FakeKernel::start(&tree, None);
    let error = tree.sysfs().bind(&vfs[0], &named("broken")).unwrap_err();
    assert!(matches!(error, BindError::NotTaken { found: None, .. }), "{error}");
    let deadline = Instant::now() + Duration::from_secs(30);
    while tree.driver(&vfs[0]).is_none() && Instant::now() < deadline {
        thread::yield_now();
    }
    assert_eq!(tree.driver(&vfs[0]).as_deref(), Some("igbvf"));
    assert_eq!(tree.read(&vfs[0], "driver_override").lines().next(), Some(""));
}
