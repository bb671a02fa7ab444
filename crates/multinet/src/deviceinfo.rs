//! The files in which device plugin and CNI plugin describe a device.
//!
//! The device plugin writes one per device (`dp/…`), the meta-plugin copies it for the attachment
//! (`cni/…`), where the CNI plugin may write its own; its content ends in the pod's network-status.
//! They live below [`ROOT`], which doesn't outlive a reboot.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use cni::Object;
use serde::{Deserialize, Serialize};

/// Where the files are on a node.
pub const ROOT: &str = "/var/run/k8s.cni.cncf.io/devinfo";
/// The version of the device-info specification that is written.
pub const VERSION: &str = "1.1.0";
/// The most that is read of a file, in bytes.
const MAX_LENGTH: u64 = 64 << 10;

/// The description of a device. Keys that aren't known are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeviceInfo(Object);

/// A PCI device as it is described; what is `None` isn't written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PciInfo<'a> {
    /// The device's PCI address.
    pub address: &'a str,
    /// Its vhost device node.
    pub vhost_net: Option<&'a str>,
    /// Its RDMA devices, separated by commas.
    pub rdma_device: Option<&'a str>,
    /// The PCI address of its physical function.
    pub pf_address: Option<&'a str>,
    /// Its representor's interface name.
    pub representor: Option<&'a str>,
}

/// Why a device-info file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file can't be read.
    #[error("device-info file {path:?} can't be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file isn't a JSON object.
    #[error("device-info file {path:?} is not a JSON object")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: cni::object::Error,
    },
    /// The file can't be written.
    #[error("device-info file {path:?} can't be written")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file can't be removed.
    #[error("device-info file {path:?} can't be removed")]
    Remove {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl From<Error> for cni::Error {
    fn from(error: Error) -> Self {
        cni::Error::io(cni::error::with_sources(&error))
    }
}

impl DeviceInfo {
    /// The description of a PCI device.
    pub fn pci(info: &PciInfo<'_>) -> Self {
        let mut pci = Object::default();
        pci.set("pci-address", info.address);
        let optional = [
            ("vhost-net", info.vhost_net),
            ("rdma-device", info.rdma_device),
            ("pf-pci-address", info.pf_address),
            ("representor-device", info.representor),
        ];
        for (key, value) in optional {
            if let Some(value) = value {
                pci.set(key, value);
            }
        }
        let mut object = Object::default();
        object.set("type", "pci");
        object.set("version", VERSION);
        object.set_object("pci", &pci);
        DeviceInfo(object)
    }

    /// `type`: `pci`, `vdpa`, `vhost-user`, `memif`.
    pub fn kind(&self) -> Option<String> {
        self.0.read("type").ok().flatten()
    }

    /// The PCI address, of a PCI or vDPA device.
    pub fn pci_address(&self) -> Option<String> {
        let part = self.0.read::<Object>(&self.kind()?).ok()??;
        part.read("pci-address").ok().flatten()
    }

    /// The description as JSON.
    pub fn object(&self) -> &Object {
        &self.0
    }
}

/// The device plugin's file for a device of a resource (`prefix/name`). `root` is usually [`ROOT`].
pub fn dp_path(root: &Path, resource: &str, device_id: &str) -> PathBuf {
    let name = format!("{resource}-{device_id}-device.json");
    root.join("dp").join(name.replace('/', "-"))
}

/// An attachment's file. `network` is the NAD's `namespace/name`.
pub fn cni_path(root: &Path, network: &str, container_id: &str, ifname: &str) -> PathBuf {
    let name = format!("{network}-{container_id}_{ifname}");
    root.join("cni").join(name.replace('/', "-"))
}

/// Reads a file; `None` when there is none.
pub fn read(path: &Path) -> Result<Option<DeviceInfo>, Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_LENGTH + 1).read_to_end(&mut bytes).map_err(failed)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_LENGTH) {
        return Err(failed(io::Error::new(io::ErrorKind::FileTooLarge, "longer than 64 KiB")));
    }
    match Object::parse(&bytes) {
        Ok(object) => Ok(Some(DeviceInfo(object))),
        Err(source) => Err(Error::Parse { path: path.to_owned(), source }),
    }
}

/// Writes a file whole, in place of the one there is, readable by all and writable by none. The directory
/// is made if needed.
pub fn write(path: &Path, info: &DeviceInfo) -> Result<(), Error> {
    write_whole(path, info.0.to_string().as_bytes())
        .map_err(|source| Error::Write { path: path.to_owned(), source })
}

/// Removes a file; it isn't an error when there is none.
pub fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(Error::Remove { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    fs::DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let temporary = directory.join(format!(".{}.{number}.tmp", std::process::id()));
    let written = (|| {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.set_permissions(Permissions::from_mode(0o444))?;
        fs::rename(&temporary, path)
    })();
    if written.is_err() {
        // The error that matters is the first one.
        let _best_effort = fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
mod tests;
