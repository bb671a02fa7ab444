//! Reading sysfs.
//!
//! Every read goes through sysfs-class' verbs, on objects made by [`object`]: the crate's own constructors know no
//! root but `/sys`, and its accessors for ids panic on the empty file that a vanishing device leaves.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sysfs_class::{PciDevice, SysClass};

use crate::address::PciAddress;
use crate::function::{Function, IommuGroup, Scan, Sriov, VirtualFunction};

/// What can go wrong while reading sysfs.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A directory can't be listed.
    #[error("can't list {}", path.display())]
    List {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file or link can't be read.
    #[error("can't read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file says something else than it should.
    #[error("{} says {text:?} in place of {expected}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What it says.
        text: String,
        /// What it should say.
        expected: &'static str,
    },
    /// There's no such function.
    #[error("no PCI function {address} in {}: check the address, and that its PF has VFs", devices.display())]
    Absent {
        /// Its address.
        address: PciAddress,
        /// Where it was looked for.
        devices: PathBuf,
    },
    /// A VF that its PF doesn't list: VFs are being made or removed.
    #[error(
        "VF {address} isn't among the VFs that its PF {pf} lists: their number is just being changed, try again"
    )]
    Unlisted {
        /// The VF.
        address: PciAddress,
        /// Its PF.
        pf: PciAddress,
    },
}

/// A sysfs tree.
#[derive(Clone, Debug)]
pub struct Sysfs {
    root: PathBuf,
}

/// The VFs of PFs that were read so far, so that a scan reads each PF's list once.
type VfIndexes = HashMap<PciAddress, HashMap<PciAddress, u16>>;

impl Sysfs {
    /// The tree below `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The machine's own, `/sys`.
    pub fn host() -> Self {
        Self::new("/sys")
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// All PCI functions. One that vanishes meanwhile is left out, one that can't be read hides no other.
    pub fn functions(&self) -> Result<Scan, Error> {
        let devices = self.devices();
        let listing = |source| Error::List { path: devices.clone(), source };
        let mut addresses = Vec::new();
        for entry in fs::read_dir(&devices).map_err(listing)? {
            let name = entry.map_err(listing)?.file_name();
            addresses.extend(name.to_str().and_then(|name| name.parse::<PciAddress>().ok()));
        }
        addresses.sort_unstable();

        let mut scan = Scan::default();
        let mut indexes = VfIndexes::new();
        for address in addresses {
            match self.read(address, &mut indexes) {
                Ok(function) => scan.functions.push(function),
                Err(Error::Absent { .. }) => {}
                Err(error) => drop(scan.broken.insert(address, error)),
            }
        }
        Ok(scan)
    }

    /// One PCI function. [`Error::Absent`] when it isn't there.
    pub fn function(&self, address: &PciAddress) -> Result<Function, Error> {
        self.read(*address, &mut VfIndexes::new())
    }

    /// The VFs of a PF by index; empty when it has none or isn't a PF.
    pub fn vfs(&self, pf: &PciAddress) -> Result<BTreeMap<u16, PciAddress>, Error> {
        let device = self.device(*pf);
        let mut vfs = BTreeMap::new();
        for index in 0..=u16::MAX {
            match device.linked(&format!("virtfn{index}"))? {
                Some(name) => {
                    let path = device.path().join(format!("virtfn{index}"));
                    vfs.insert(index, parse(path, &name, "a PCI address")?);
                }
                // The kernel numbers them without gaps.
                None => break,
            }
        }
        Ok(vfs)
    }

    /// The names of a function's RDMA devices, sorted; of those in the namespace where sysfs was mounted, while
    /// RDMA's mode is exclusive.
    pub fn rdma_names(&self, address: &PciAddress) -> Result<Vec<String>, Error> {
        self.device(*address).names(Path::new("infiniband"))
    }

    pub(crate) fn devices(&self) -> PathBuf {
        self.root.join("bus/pci/devices")
    }

    pub(crate) fn drivers(&self) -> PathBuf {
        self.root.join("bus/pci/drivers")
    }

    pub(crate) fn device(&self, address: PciAddress) -> PciDevice {
        object(self.devices().join(address.to_string()))
    }

    fn read(&self, address: PciAddress, indexes: &mut VfIndexes) -> Result<Function, Error> {
        let device = self.device(address);
        self.describe(&device, address, indexes).map_err(|error| {
            // Whatever the error was, a device that's gone by now has vanished under our hands.
            if device.path().exists() { error } else { Error::Absent { address, devices: self.devices() } }
        })
    }

    fn describe(
        &self,
        device: &PciDevice,
        address: PciAddress,
        indexes: &mut VfIndexes,
    ) -> Result<Function, Error> {
        Ok(Function {
            address,
            vendor: device.hex_attribute("vendor")?,
            device: device.hex_attribute("device")?,
            class: device.hex_attribute("class")?,
            driver: device.driver_name()?,
            numa_node: device.numa_node(),
            iommu_group: device.iommu_group()?,
            net_names: device.net_names()?,
            sriov: device.sriov()?,
            vf: self.virtual_function(device, address, indexes)?,
        })
    }

    fn virtual_function(
        &self,
        device: &PciDevice,
        address: PciAddress,
        indexes: &mut VfIndexes,
    ) -> Result<Option<VirtualFunction>, Error> {
        let Some(name) = device.linked("physfn")? else { return Ok(None) };
        let pf: PciAddress = parse(device.path().join("physfn"), &name, "a PCI address")?;
        let vfs = match indexes.entry(pf) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                unknown.insert(self.vfs(&pf)?.into_iter().map(|(index, vf)| (vf, index)).collect())
            }
        };
        vfs.get(&address)
            .map(|&index| Some(VirtualFunction { pf, index }))
            .ok_or(Error::Unlisted { address, pf })
    }
}

/// An object of sysfs-class at any path.
#[expect(unsafe_code, reason = "sysfs-class knows no other way to a root of our choice")]
pub(crate) fn object<C: SysClass>(path: PathBuf) -> C {
    // SAFETY: the function is marked unsafe because it doesn't check that the path exists below /sys; the object
    // holds the path alone, and each of its verbs reports a missing file as an error.
    unsafe { C::from_path_unchecked(path) }
}

/// What sysfs-class has no accessor for.
pub(crate) trait SriovExt: SysClass {
    /// A file's text without white space at its ends; `None` when there's no such file.
    fn attribute(&self, name: &str) -> Result<Option<String>, Error> {
        match self.trim_file(name) {
            Ok(text) => Ok(Some(text)),
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Read { path: self.path().join(name), source }),
        }
    }

    /// A number that's written as `0x…`.
    fn hex_attribute<N: TryFrom<u32>>(&self, name: &str) -> Result<N, Error> {
        let path = || self.path().join(name);
        let text = self.trim_file(name).map_err(|source| Error::Read { path: path(), source })?;
        let digits = text.strip_prefix("0x").filter(|digits| !digits.starts_with('+'));
        digits
            .and_then(|digits| u32::from_str_radix(digits, 16).ok())
            .and_then(|number| N::try_from(number).ok())
            .ok_or_else(|| Error::Malformed { path: path(), text, expected: "a hexadecimal number" })
    }

    /// The last part of what a link points to; `None` when there's no such link.
    fn linked(&self, name: &str) -> Result<Option<String>, Error> {
        let path = self.path().join(name);
        match fs::read_link(&path) {
            Ok(target) => Ok(target.file_name().map(|name| name.to_string_lossy().into_owned())),
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Read { path, source }),
        }
    }

    /// The names in a directory, sorted; none when there's no such directory.
    fn names(&self, directory: &Path) -> Result<Vec<String>, Error> {
        let path = self.path().join(directory);
        let listing = |source| Error::List { path: path.clone(), source };
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(listing(source)),
        };
        let mut names = Vec::new();
        for entry in entries {
            names.push(entry.map_err(listing)?.file_name().to_string_lossy().into_owned());
        }
        names.sort_unstable();
        Ok(names)
    }

    /// The NUMA node, when there's one: −1 and anything unreadable mean that nothing is known.
    fn numa_node(&self) -> Option<u16> {
        self.parse_file::<i32, _>("numa_node").ok().and_then(|node| u16::try_from(node).ok())
    }

    /// The IOMMU group.
    fn iommu_group(&self) -> Result<Option<IommuGroup>, Error> {
        let Some(number) = self.linked("iommu_group")? else { return Ok(None) };
        let number = parse(self.path().join("iommu_group"), &number, "the number of an IOMMU group")?;
        let name = self.attribute("iommu_group/name")?.filter(|name| !name.is_empty());
        Ok(Some(IommuGroup { number, name }))
    }

    /// The names of interfaces.
    fn net_names(&self) -> Result<Vec<String>, Error> {
        let mut names = self.names(Path::new("net"))?;
        if names.is_empty() {
            // A virtio interface hangs below its virtio device.
            for virtio in self.names(Path::new(""))?.iter().filter(|name| name.starts_with("virtio")) {
                names.extend(self.names(&Path::new(virtio).join("net"))?);
            }
        }
        Ok(names)
    }

    /// How many VFs, when it's a PF.
    fn sriov(&self) -> Result<Option<Sriov>, Error> {
        let count = |name: &str| -> Result<Option<u16>, Error> {
            self.attribute(name)?
                .map(|text| parse(self.path().join(name), &text, "a number of VFs"))
                .transpose()
        };
        let (Some(total_vfs), Some(num_vfs)) = (count("sriov_totalvfs")?, count("sriov_numvfs")?) else {
            return Ok(None);
        };
        Ok(Some(Sriov { total_vfs, num_vfs }))
    }
}

impl SriovExt for PciDevice {}

/// What needs the object of a device itself.
pub(crate) trait DriverExt {
    /// The driver's name, when one is bound.
    fn driver_name(&self) -> Result<Option<String>, Error>;
}

impl DriverExt for PciDevice {
    fn driver_name(&self) -> Result<Option<String>, Error> {
        match self.driver() {
            Ok(driver) => Ok(driver.path().file_name().map(|name| name.to_string_lossy().into_owned())),
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Read { path: self.path().join("driver"), source }),
        }
    }
}

fn parse<T: std::str::FromStr>(path: PathBuf, text: &str, expected: &'static str) -> Result<T, Error> {
    text.parse().map_err(|_parse| Error::Malformed { path, text: text.to_owned(), expected })
}

#[cfg(test)]
mod tests;
