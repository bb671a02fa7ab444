//! A sysfs tree in a temporary directory, laid out as the kernel's: for discovery and scale, and with
//! [`FakeKernel`] for binding drivers.
//!
//! Files are plain, so a write leaves the tail of a longer former text behind: what's written here ends in a line
//! feed, and the first line is what counts, as for whoever reads a real one.

#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a test double stops the test that uses it wrongly, everywhere"
)]

mod kernel;
mod tree;
mod trunk;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use pci::{PciAddress, Sysfs};
use tempfile::TempDir;

pub use kernel::FakeKernel;

/// A PF and its VFs.
#[derive(Clone, Debug)]
pub struct PfSpec {
    /// The PF's address.
    pub address: PciAddress,
    /// The vendor's id, the VFs' too.
    pub vendor: u16,
    /// The PF's device id.
    pub device: u16,
    /// The VFs' device id.
    pub vf_device: u16,
    /// The PF's driver.
    pub driver: String,
    /// The VFs' driver; none when they're unbound.
    pub vf_driver: Option<String>,
    /// The PF's interface. VFs with a network driver have `<name>v<index>`.
    pub net: Option<String>,
    /// How many VFs it can have.
    pub total_vfs: u16,
    /// How many it has.
    pub num_vfs: u16,
    /// The NUMA node; −1 when the firmware doesn't say.
    pub numa_node: i32,
    /// Whether functions have IOMMU groups, each its own.
    pub iommu: bool,
    /// From the PF's routing id to that of its first VF.
    pub vf_offset: u16,
    /// From one VF's routing id to the next one's.
    pub vf_stride: u16,
}

impl PfSpec {
    /// An Intel 82576 with seven of its VFs, as QEMU emulates it.
    pub fn igb(address: &str, net: &str) -> Self {
        Self {
            address: address.parse().expect("a PCI address"),
            vendor: 0x8086,
            device: 0x10c9,
            vf_device: 0x10ca,
            driver: "igb".to_owned(),
            vf_driver: Some("igbvf".to_owned()),
            net: Some(net.to_owned()),
            total_vfs: 7,
            num_vfs: 7,
            numa_node: -1,
            iommu: true,
            vf_offset: 0x80,
            vf_stride: 2,
        }
    }

    /// A NVIDIA ConnectX-6 Dx with 128 VFs, on NUMA node 0.
    pub fn connectx(address: &str, net: &str) -> Self {
        Self {
            address: address.parse().expect("a PCI address"),
            vendor: 0x15b3,
            device: 0x101d,
            vf_device: 0x101e,
            driver: "mlx5_core".to_owned(),
            vf_driver: Some("mlx5_core".to_owned()),
            net: Some(net.to_owned()),
            total_vfs: 128,
            num_vfs: 128,
            numa_node: 0,
            iommu: true,
            vf_offset: 2,
            vf_stride: 1,
        }
    }

    /// The address of a VF: the PF's routing id, offset and stride.
    pub fn vf_address(&self, index: u16) -> PciAddress {
        let pf = &self.address;
        let own = u32::from(pf.bus()) << 8 | u32::from(pf.device()) << 3 | u32::from(pf.function());
        let id = own + u32::from(self.vf_offset) + u32::from(index) * u32::from(self.vf_stride);
        let [_, beyond, bus, place] = id.to_be_bytes();
        assert!(beyond == 0, "VF {index} of {pf} lies beyond bus 255");
        PciAddress::new(pf.domain(), bus, place >> 3, place & 7)
            .expect("three bits of function, five of device")
    }
}

/// Any function that's neither PF nor VF.
#[derive(Clone, Debug)]
pub struct FunctionSpec {
    /// Its address.
    pub address: PciAddress,
    /// The vendor's id.
    pub vendor: u16,
    /// The device's id.
    pub device: u16,
    /// Class, subclass and programming interface.
    pub class: u32,
    /// Its driver.
    pub driver: Option<String>,
    /// Its interfaces.
    pub net: Vec<String>,
    /// The NUMA node; −1 when the firmware doesn't say.
    pub numa_node: i32,
    /// Whether it has an IOMMU group.
    pub iommu: bool,
}

/// A tree. Clones are the same tree; it's removed with the last of them.
#[derive(Clone, Debug)]
pub struct SysfsTree {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    directory: TempDir,
    made: Mutex<Made>,
}

#[derive(Debug, Default)]
struct Made {
    groups: u32,
    /// The driver that the kernel would choose.
    natural: BTreeMap<PciAddress, String>,
    /// Drivers that never take a device.
    broken: BTreeSet<String>,
    trunks: Vec<trunk::Trunk>,
}

impl Default for SysfsTree {
    fn default() -> Self {
        Self::new()
    }
}

impl SysfsTree {
    /// A tree with a PCI bus and the driver `vfio-pci`, and no functions.
    pub fn new() -> Self {
        let mut named = tempfile::Builder::new();
        named.prefix("sysfs-");
        // Thousands of small files: in memory where there's a place for it.
        let directory = named.tempdir_in("/dev/shm").or_else(|_no_such_place| named.tempdir());
        let directory = directory.expect("a temporary directory");
        let shared = Shared { directory, made: Mutex::default() };
        let tree = Self { shared: Arc::new(shared) };
        for path in ["bus/pci/devices", "bus/pci/drivers", "devices", "kernel/iommu_groups"] {
            tree.make_directory(path);
        }
        tree.put("bus/pci/drivers_probe", "");
        tree.add_driver(pci::VFIO_PCI);
        tree
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        self.shared.directory.path()
    }

    /// It, to be read.
    pub fn sysfs(&self) -> Sysfs {
        Sysfs::new(self.root())
    }

    /// Registers a driver, as loading its module does. Nothing happens when it's there.
    pub fn add_driver(&self, name: &str) {
        let directory = format!("bus/pci/drivers/{name}");
        if !self.root().join(&directory).exists() {
            self.make_directory(&directory);
            for file in ["bind", "unbind", "new_id", "remove_id"] {
                self.put(&format!("{directory}/{file}"), "");
            }
        }
    }

    /// Takes a driver away, as if its module weren't loaded.
    pub fn remove_driver(&self, name: &str) {
        fs::remove_dir_all(self.root().join("bus/pci/drivers").join(name)).expect("the driver is there");
    }

    /// Registers a driver whose every probe fails.
    pub fn add_broken_driver(&self, name: &str) {
        self.add_driver(name);
        let mut made = self.shared.made.lock().expect("no test panics with the tree locked");
        made.broken.insert(name.to_owned());
    }

    /// Overwrites a file of a function, whole: to break it, or to play the kernel.
    pub fn write(&self, address: &PciAddress, file: &str, text: &str) {
        self.put_file(&self.device(*address).join(file), text);
    }

    /// Lets every reset of a function fail, until [`SysfsTree::allow_resets`].
    pub fn refuse_resets(&self, address: &PciAddress) {
        let device = self.device(*address);
        fs::rename(device.join("reset"), device.join("allowed-reset"))
            .and_then(|()| symlink("/dev/full", device.join("reset")))
            .expect("the tree is writable");
    }

    /// Lets resets of a function succeed again.
    pub fn allow_resets(&self, address: &PciAddress) {
        let device = self.device(*address);
        fs::rename(device.join("allowed-reset"), device.join("reset")).expect("resets were refused");
    }

    /// What a file of a function says.
    pub fn read(&self, address: &PciAddress, file: &str) -> String {
        fs::read_to_string(self.device(*address).join(file)).expect("the file is there")
    }

    /// Sets the interface names that are seen below a function; a name that's no PCI address, or no function here, is
    /// passed over.
    pub fn set_net_names(&self, device: &str, names: &[&str]) {
        self.set_names(device, "net", names);
    }

    /// The same for the names of RDMA devices.
    pub fn set_rdma_names(&self, device: &str, names: &[&str]) {
        self.set_names(device, "infiniband", names);
    }

    fn set_names(&self, device: &str, directory: &str, names: &[&str]) {
        let Ok(address) = device.parse::<PciAddress>() else { return };
        let function = self.device(address);
        if !function.exists() {
            return;
        }
        let directory = function.join(directory);
        if directory.exists() {
            fs::remove_dir_all(&directory).expect("a directory of directories");
        }
        for name in names {
            fs::create_dir_all(directory.join(name)).expect("the tree is writable");
        }
    }

    fn device(&self, address: PciAddress) -> PathBuf {
        self.root().join("bus/pci/devices").join(address.to_string())
    }
}

#[cfg(test)]
mod tests;
