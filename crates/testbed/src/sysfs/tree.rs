//! Putting functions into a tree.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use pci::PciAddress;

use super::{FunctionSpec, PfSpec, SysfsTree};

/// An Ethernet controller.
const ETHERNET: u32 = 0x02_00_00;

impl SysfsTree {
    /// Adds a PF and its VFs and returns the addresses of these.
    pub fn add_pf(&self, spec: &PfSpec) -> Vec<PciAddress> {
        self.add_function(&FunctionSpec {
            address: spec.address,
            vendor: spec.vendor,
            device: spec.device,
            class: ETHERNET,
            driver: Some(spec.driver.clone()),
            net: spec.net.iter().cloned().collect(),
            numa_node: spec.numa_node,
            iommu: spec.iommu,
        });
        self.write(&spec.address, "sriov_totalvfs", &format!("{}\n", spec.total_vfs));
        self.write(&spec.address, "sriov_numvfs", &format!("{}\n", spec.num_vfs));
        self.write(&spec.address, "sriov_drivers_autoprobe", "1\n");
        (0..spec.num_vfs).map(|index| self.add_vf(spec, index)).collect()
    }

    /// Adds one VF to a PF that's here already.
    pub fn add_vf(&self, spec: &PfSpec, index: u16) -> PciAddress {
        let address = spec.vf_address(index);
        let interface = spec.net.as_ref().filter(|_| spec.vf_driver.as_deref() != Some(pci::VFIO_PCI));
        let net = interface.filter(|_| spec.vf_driver.is_some()).map(|pf| format!("{pf}v{index}"));
        self.add_function(&FunctionSpec {
            address,
            vendor: spec.vendor,
            device: spec.vf_device,
            class: ETHERNET,
            driver: spec.vf_driver.clone(),
            net: net.into_iter().collect(),
            numa_node: spec.numa_node,
            iommu: spec.iommu,
        });
        let link = |at: PciAddress, name: &str, to: PciAddress| {
            symlink(format!("../{to}"), self.device(at).join(name)).expect("the tree is writable");
        };
        link(address, "physfn", spec.address);
        link(spec.address, &format!("virtfn{index}"), address);
        self.write(&address, "reset_method", "flr\n");
        self.write(&address, "reset", "");
        address
    }

    /// Adds a function.
    pub fn add_function(&self, spec: &FunctionSpec) {
        let FunctionSpec { address, vendor, device, class, .. } = spec;
        let place = format!("devices/pci{:04x}:{:02x}/{address}", address.domain(), address.bus());
        self.make_directory(&place);
        let link = self.root().join("bus/pci/devices").join(address.to_string());
        symlink(Path::new("../../..").join(&place), link).expect("the tree is writable");
        let (base, sub, interface) = (class >> 16, class >> 8 & 0xff, class & 0xff);
        for (file, text) in [
            ("vendor", format!("{vendor:#06x}\n")),
            ("device", format!("{device:#06x}\n")),
            ("class", format!("{class:#08x}\n")),
            ("revision", "0x01\n".to_owned()),
            ("numa_node", format!("{}\n", spec.numa_node)),
            ("driver_override", "(null)\n".to_owned()),
            (
                "modalias",
                format!(
                    "pci:v{vendor:08X}d{device:08X}sv{vendor:08X}sd00000000bc{base:02X}sc{sub:02X}i{interface:02X}\n"
                ),
            ),
        ] {
            self.write(address, file, &text);
        }
        if spec.iommu {
            self.add_group(*address);
        }
        for name in &spec.net {
            fs::create_dir_all(self.device(*address).join("net").join(name)).expect("the tree is writable");
        }
        if let Some(driver) = &spec.driver {
            self.add_driver(driver);
            if driver != pci::VFIO_PCI {
                self.set_natural(*address, driver);
            }
            self.set_driver(address, Some(driver));
        }
    }

    /// Removes a function, as when it's unplugged or its PF's VFs are taken away.
    pub fn remove(&self, address: &PciAddress) {
        let link = self.device(*address);
        let place = fs::canonicalize(&link).expect("the function is there");
        let pf = fs::read_link(link.join("physfn")).ok();
        fs::remove_file(&link).expect("the tree is writable");
        self.unlink_driver(*address, &place);
        fs::remove_dir_all(&place).expect("the tree is writable");
        let Some(pf) = pf.as_deref().and_then(Path::file_name) else { return };
        let pf = self.root().join("bus/pci/devices").join(pf);
        for entry in fs::read_dir(pf).expect("a VF's PF is there").flatten() {
            if !entry.path().exists() {
                fs::remove_file(entry.path()).expect("the tree is writable");
            }
        }
    }

    /// Says which driver a function has, without asking [`super::FakeKernel`].
    pub fn set_driver(&self, address: &PciAddress, driver: Option<&str>) {
        let device = self.device(*address);
        self.unlink_driver(*address, &device);
        if let Some(driver) = driver {
            self.add_driver(driver);
            let drivers = self.root().join("bus/pci/drivers").join(driver);
            symlink(format!("../../../bus/pci/drivers/{driver}"), device.join("driver"))
                .and_then(|()| symlink(&device, drivers.join(address.to_string())))
                .expect("the tree is writable");
        }
    }

    /// Which driver a function has.
    pub fn driver(&self, address: &PciAddress) -> Option<String> {
        let link = fs::read_link(self.device(*address).join("driver")).ok()?;
        Some(link.file_name()?.to_string_lossy().into_owned())
    }

    /// Says which driver the kernel would choose for a function.
    fn set_natural(&self, address: PciAddress, driver: &str) {
        let mut made = self.shared.made.lock().expect("no test panics with the tree locked");
        made.natural.insert(address, driver.to_owned());
    }

    pub(super) fn natural(&self, address: PciAddress) -> Option<String> {
        let made = self.shared.made.lock().expect("no test panics with the tree locked");
        made.natural.get(&address).cloned()
    }

    pub(super) fn is_broken(&self, driver: &str) -> bool {
        self.shared.made.lock().expect("no test panics with the tree locked").broken.contains(driver)
    }

    fn unlink_driver(&self, address: PciAddress, device: &Path) {
        if let Ok(driver) = fs::read_link(device.join("driver")) {
            let name: PathBuf = driver.file_name().map(PathBuf::from).unwrap_or_default();
            let back = self.root().join("bus/pci/drivers").join(name).join(address.to_string());
            // The driver's directory may be gone with its module.
            drop(fs::remove_file(back));
            fs::remove_file(device.join("driver")).expect("the tree is writable");
        }
    }

    fn add_group(&self, address: PciAddress) {
        let number = {
            let mut made = self.shared.made.lock().expect("no test panics with the tree locked");
            made.groups += 1;
            made.groups
        };
        let group = format!("kernel/iommu_groups/{number}");
        self.make_directory(&format!("{group}/devices"));
        let device = self.device(address);
        symlink(Path::new("../../..").join(&group), device.join("iommu_group"))
            .and_then(|()| {
                symlink(&device, self.root().join(&group).join("devices").join(address.to_string()))
            })
            .expect("the tree is writable");
    }

    pub(super) fn make_directory(&self, path: &str) {
        fs::create_dir_all(self.root().join(path)).expect("the tree is writable");
    }

    pub(super) fn put(&self, path: &str, text: &str) {
        self.put_file(&self.root().join(path), text);
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a tree of plain files plays sysfs; nobody's state is in it"
    )]
    pub(super) fn put_file(&self, path: &Path, text: &str) {
        debug_assert!(path.starts_with(self.root()), "only files of the tree are written");
        fs::write(path, text).expect("the tree is writable");
    }
}
