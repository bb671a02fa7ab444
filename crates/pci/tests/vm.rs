//! Real PFs and VFs, in the VM node: `hack/test` compiles this on the host and runs it in the guest, after
//! `hack/node` has made the VFs.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail the test")]

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use pci::{BindError, Driver, Function, PciAddress, Scan, Sriov, Sysfs, VFIO_PCI, VirtualFunction};

/// The PFs, and the VFs of the first as an 82576 places them.
const PFS: [&str; 2] = ["0000:01:00.0", "0000:02:00.0"];
const VFS: [&str; 7] = [
    "0000:01:10.0",
    "0000:01:10.2",
    "0000:01:10.4",
    "0000:01:10.6",
    "0000:01:11.0",
    "0000:01:11.2",
    "0000:01:11.4",
];

fn sysfs() -> Sysfs {
    let inside = std::env::var_os("PATCHBAY_VM").is_some_and(|value| value == "1");
    assert!(
        inside,
        "this test changes the machine's NICs: run it with hack/test, which runs it in the VM node"
    );
    Sysfs::host()
}

fn address(text: &str) -> PciAddress {
    text.parse().unwrap()
}

fn vfio() -> Driver {
    Driver::Named(VFIO_PCI.to_owned())
}

fn modprobe(module: &str) {
    let status = Command::new("modprobe").arg(module).status().unwrap();
    assert!(status.success(), "modprobe {module}: {status}");
}

fn write(path: &Path, text: &str) {
    OpenOptions::new().write(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

fn with_driver(sysfs: &Sysfs, vf: PciAddress) -> Function {
    sysfs.function(&vf).unwrap()
}

#[test]
fn pfs_and_vfs_are_seen() {
    let sysfs = sysfs();
    let Scan { functions, broken } = sysfs.functions().unwrap();
    assert!(broken.is_empty(), "{broken:?}");
    for pf in PFS.map(address) {
        let function = functions.iter().find(|function| function.address == pf).unwrap();
        assert_eq!((function.vendor, function.device, function.is_network()), (0x8086, 0x10c9, true));
        assert_eq!(function.sriov, Some(Sriov { total_vfs: 7, num_vfs: 7 }));
        assert_eq!((function.driver.as_deref(), function.vf), (Some("igb"), None));
        assert_eq!(function.net_names.len(), 1);
        let vfs = functions.iter().filter(|function| function.vf.is_some_and(|vf| vf.pf == pf));
        assert_eq!(vfs.count(), 7);
    }
    for (index, vf) in (0..).zip(VFS.map(address)) {
        let function = functions.iter().find(|function| function.address == vf).unwrap();
        assert_eq!(function.vf, Some(VirtualFunction { pf: address(PFS[0]), index }));
        assert_eq!((function.vendor, function.device, function.sriov), (0x8086, 0x10ca, None));
        assert_eq!((function.driver.as_deref(), function.net_names.len()), (Some("igbvf"), 1));
        assert_eq!(function.numa_node, None);
        assert!(function.iommu_group.is_some());
        assert_eq!(sysfs.vfs(&address(PFS[0])).unwrap()[&index], vf);
    }
}

#[test]
fn vfio_takes_a_vf_and_gives_it_back() {
    let sysfs = sysfs();
    modprobe(VFIO_PCI);
    let vf = address(VFS[0]);
    let before = with_driver(&sysfs, vf);

    sysfs.bind(&vf, &vfio()).unwrap();
    let taken = with_driver(&sysfs, vf);
    assert!(taken.is_userspace() && taken.net_names.is_empty());
    assert_eq!(taken.iommu_group, before.iommu_group);
    let group = taken.iommu_group.unwrap().number;
    assert!(Path::new("/dev/vfio").join(group.to_string()).exists());
    sysfs.bind(&vf, &vfio()).unwrap();

    sysfs.bind(&vf, &Driver::Kernel).unwrap();
    let back = with_driver(&sysfs, vf);
    assert_eq!((back.driver, back.vf, back.net_names.len()), (before.driver, before.vf, 1));
    let left =
        fs::read_to_string(sysfs.root().join(format!("bus/pci/devices/{vf}/driver_override"))).unwrap();
    assert_eq!(left.trim(), "(null)");
    sysfs.bind(&vf, &Driver::Kernel).unwrap();
}

#[test]
fn a_driver_that_is_not_loaded_is_named() {
    let sysfs = sysfs();
    let vf = address(VFS[1]);
    let error = sysfs.bind(&vf, &Driver::Named("no-such-driver".to_owned())).unwrap_err();
    assert!(matches!(&error, BindError::NoDriver { driver, .. } if driver == "no-such-driver"));
    assert_eq!(with_driver(&sysfs, vf).driver.as_deref(), Some("igbvf"));
}

#[test]
fn a_driver_for_another_device_fails_and_the_former_comes_back() {
    let sysfs = sysfs();
    let vf = address(VFS[2]);
    // The PFs' driver can't drive a VF, override or not.
    let error = sysfs.bind(&vf, &Driver::Named("igb".to_owned())).unwrap_err();
    assert!(matches!(error, BindError::Write { .. } | BindError::NotTaken { .. }), "{error:?}");
    assert_eq!(with_driver(&sysfs, vf).driver.as_deref(), Some("igbvf"), "{error:?}");
}

#[test]
fn autoprobe_off_is_told_and_the_driver_stays() {
    let sysfs = sysfs();
    modprobe(VFIO_PCI);
    let (pf, vf) = (address(PFS[1]), sysfs.vfs(&address(PFS[1])).unwrap()[&0]);
    let autoprobe = sysfs.root().join(format!("bus/pci/devices/{pf}/sriov_drivers_autoprobe"));
    write(&autoprobe, "0");
    let outcome = sysfs.bind(&vf, &vfio());
    write(&autoprobe, "1");
    let error = outcome.unwrap_err();
    assert!(matches!(error, BindError::AutoprobeOff { pf: of, .. } if of == pf), "{error}");
    assert_eq!(with_driver(&sysfs, vf).driver.as_deref(), Some("igbvf"));
}

#[test]
fn vfs_that_are_taken_away_are_absent() {
    let sysfs = sysfs();
    let pf = address(PFS[1]);
    let vfs = sysfs.vfs(&pf).unwrap();
    let count = sysfs.root().join(format!("bus/pci/devices/{pf}/sriov_numvfs"));
    write(&count, "0");
    let gone = (sysfs.function(&vfs[&0]), sysfs.vfs(&pf), sysfs.functions());
    write(&count, "7");
    assert!(matches!(gone.0, Err(pci::Error::Absent { .. })));
    assert!(gone.1.unwrap().is_empty());
    let scan = gone.2.unwrap();
    assert!(
        scan.broken.is_empty()
            && scan.functions.iter().all(|function| function.vf.is_none_or(|vf| vf.pf != pf))
    );
    assert_eq!(sysfs.vfs(&pf).unwrap(), vfs);
}
