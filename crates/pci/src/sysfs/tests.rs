use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use rstest::rstest;
use tempfile::TempDir;

use super::{Error, Sysfs};
use crate::address::PciAddress;
use crate::bind::{BindError, Driver};
use crate::function::{IommuGroup, Sriov, VirtualFunction};

const PF: &str = "0000:01:00.0";
const VF: &str = "0000:01:10.0";

#[expect(clippy::disallowed_methods, reason = "files of a test's own tree")]
fn put(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn add(root: &Path, address: &str, class: &str) {
    let device = root.join("bus/pci/devices").join(address);
    for (file, text) in
        [("vendor", "0x8086\n"), ("device", "0x10ca\n"), ("class", class), ("driver_override", "(null)\n")]
    {
        put(&device.join(file), text);
    }
}

/// A PF with two VFs, of which [`VF`] is the second.
fn tree() -> (TempDir, Sysfs) {
    let directory = tempfile::tempdir().unwrap();
    let devices = directory.path().join("bus/pci/devices");
    for address in [PF, VF, "0000:01:10.2"] {
        add(directory.path(), address, "0x020000\n");
    }
    put(&devices.join(PF).join("sriov_totalvfs"), "7\n");
    put(&devices.join(PF).join("sriov_numvfs"), "2\n");
    symlink("../0000:01:10.2", devices.join(PF).join("virtfn0")).unwrap();
    symlink(format!("../{VF}"), devices.join(PF).join("virtfn1")).unwrap();
    symlink(format!("../{PF}"), devices.join(VF).join("physfn")).unwrap();
    symlink(format!("../{PF}"), devices.join("0000:01:10.2/physfn")).unwrap();
    let sysfs = Sysfs::new(directory.path());
    (directory, sysfs)
}

fn address(text: &str) -> PciAddress {
    text.parse().unwrap()
}

#[test]
fn a_vf_has_the_index_that_its_pf_gives_it() {
    let (_directory, sysfs) = tree();
    let vf = sysfs.function(&address(VF)).unwrap();
    // By name it's the first.
    assert_eq!(vf.vf, Some(VirtualFunction { pf: address(PF), index: 1 }));
    let scan = sysfs.functions().unwrap();
    assert_eq!(scan.functions.len(), 3);
    assert!(scan.functions.contains(&vf));
    let pf = sysfs.function(&address(PF)).unwrap();
    assert_eq!((pf.sriov, pf.vf), (Some(Sriov { total_vfs: 7, num_vfs: 2 }), None));
    assert_eq!(
        sysfs.vfs(&address(PF)).unwrap().into_iter().collect::<Vec<_>>(),
        [(0, address("0000:01:10.2")), (1, address(VF))]
    );
}

#[test]
fn everything_else_is_read_where_it_is() {
    let (directory, sysfs) = tree();
    let device = directory.path().join("bus/pci/devices").join(VF);
    let bare = sysfs.function(&address(VF)).unwrap();
    assert_eq!((bare.driver, bare.numa_node, bare.iommu_group), (None, None, None));
    assert!(bare.net_names.is_empty());

    let driver = directory.path().join("bus/pci/drivers/vfio-pci");
    fs::create_dir_all(&driver).unwrap();
    symlink("../../drivers/vfio-pci", device.join("driver")).unwrap();
    put(&device.join("numa_node"), "1\n");
    put(&directory.path().join("kernel/iommu_groups/42/name"), "vfio-noiommu\n");
    symlink("../../../../kernel/iommu_groups/42", device.join("iommu_group")).unwrap();
    fs::create_dir_all(device.join("net/eth1v1")).unwrap();
    fs::create_dir_all(device.join("net/eth1v0")).unwrap();
    let vf = sysfs.function(&address(VF)).unwrap();
    assert_eq!((vf.driver.as_deref(), vf.numa_node, vf.is_userspace()), (Some("vfio-pci"), Some(1), true));
    assert_eq!(vf.iommu_group, Some(IommuGroup { number: 42, name: Some("vfio-noiommu".to_owned()) }));
    assert_eq!(vf.net_names, ["eth1v0", "eth1v1"]);
}

#[test]
fn a_virtio_interface_is_found_below_its_virtio_device() {
    let (directory, sysfs) = tree();
    fs::create_dir_all(directory.path().join("bus/pci/devices").join(PF).join("virtio3/net/eth7")).unwrap();
    assert_eq!(sysfs.function(&address(PF)).unwrap().net_names, ["eth7"]);
}

#[rstest]
#[case::negative("-1\n", None)]
#[case::rubbish("none\n", None)]
#[case::empty("", None)]
#[case::zero("0\n", Some(0))]
fn a_numa_node_is_known_or_not(#[case] text: &str, #[case] wanted: Option<u16>) {
    let (directory, sysfs) = tree();
    put(&directory.path().join("bus/pci/devices").join(VF).join("numa_node"), text);
    assert_eq!(sysfs.function(&address(VF)).unwrap().numa_node, wanted);
}

#[rstest]
#[case::empty("vendor", "")]
#[case::short("vendor", "0x\n")]
#[case::bare("vendor", "8086\n")]
#[case::signed("vendor", "0x+8086\n")]
#[case::long("vendor", "0x18086\n")]
#[case::rubbish("class", "0x02zz00\n")]
#[case::not_a_number("sriov_numvfs", "many\n")]
#[case::too_many("sriov_totalvfs", "65536\n")]
fn one_broken_function_hides_no_other(#[case] file: &str, #[case] text: &str) {
    let (directory, sysfs) = tree();
    put(&directory.path().join("bus/pci/devices").join(PF).join(file), text);
    let scan = sysfs.functions().unwrap();
    assert_eq!(scan.functions.len(), 2);
    let error = &scan.broken[&address(PF)];
    assert!(matches!(error, Error::Malformed { .. }));
    assert!(error.to_string().contains(&format!("{PF}/{file}")), "{error}");
}

#[test]
fn what_lies_beside_the_functions_is_passed_over() {
    let (directory, sysfs) = tree();
    put(&directory.path().join("bus/pci/devices/README"), "x");
    assert_eq!(sysfs.functions().unwrap().functions.len(), 3);
}

#[test]
fn a_function_that_vanishes_is_absent_and_not_broken() {
    let (directory, sysfs) = tree();
    let devices = directory.path().join("bus/pci/devices");
    // Still listed, and gone when it's looked at.
    symlink("../nowhere", devices.join("0000:05:00.0")).unwrap();
    let scan = sysfs.functions().unwrap();
    assert_eq!((scan.functions.len(), scan.broken.len()), (3, 0));
    let error = sysfs.function(&address("0000:05:00.0")).unwrap_err();
    assert!(error.to_string().contains("no PCI function 0000:05:00.0"), "{error}");
}

#[test]
fn a_vf_that_its_pf_does_not_list_is_broken_alone() {
    let (directory, sysfs) = tree();
    fs::remove_file(directory.path().join("bus/pci/devices").join(PF).join("virtfn1")).unwrap();
    let scan = sysfs.functions().unwrap();
    assert_eq!(scan.functions.len(), 2);
    assert!(matches!(scan.broken[&address(VF)], Error::Unlisted { .. }));
}

#[test]
fn rdma_devices_are_named_below_their_function() {
    let (directory, sysfs) = tree();
    assert!(sysfs.rdma_names(&address(VF)).unwrap().is_empty());
    for name in ["mlx5_3", "mlx5_2"] {
        let device = directory.path().join("bus/pci/devices").join(VF);
        fs::create_dir_all(device.join("infiniband").join(name)).unwrap();
    }
    assert_eq!(sysfs.rdma_names(&address(VF)).unwrap(), ["mlx5_2", "mlx5_3"]);
}

#[test]
fn no_pci_bus_is_an_error_that_names_it() {
    let directory = tempfile::tempdir().unwrap();
    let error = Sysfs::new(directory.path()).functions().unwrap_err().to_string();
    assert!(error.ends_with("bus/pci/devices"), "{error}");
}

#[test]
fn binding_what_is_not_there_is_an_error() {
    let (_directory, sysfs) = tree();
    let error = sysfs.bind(&address("0000:05:00.0"), &Driver::Kernel).unwrap_err();
    assert!(matches!(error, BindError::Look { source: Error::Absent { .. }, .. }), "{error}");
}

#[test]
fn a_write_that_fails_restores_the_override() {
    let (directory, sysfs) = tree();
    fs::create_dir_all(directory.path().join("bus/pci/drivers/uio_pci_generic")).unwrap();
    // There's no drivers_probe to write to.
    let error = sysfs.bind(&address(VF), &Driver::Named("uio_pci_generic".to_owned())).unwrap_err();
    assert!(matches!(&error, BindError::Write { path, .. } if path.ends_with("drivers_probe")), "{error}");
    let text = fs::read_to_string(directory.path().join("bus/pci/devices").join(VF).join("driver_override"));
    assert_eq!(text.unwrap().lines().next(), Some(""));
}
