//! What kubelet's device manager remembers, from its checkpoint file.
//!
//! The file isn't an interface, but it's there where the pod-resources socket isn't, it knows each pod's UID, and it
//! holds the devices of init containers, which that socket leaves out. Entries of dead pods stay in it for a while;
//! they have other UIDs, so they're never mistaken for the pod that is asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::ContainerDevices;

#[cfg(test)]
mod tests;

/// More than kubelet writes for thousands of devices; a file beyond it is not one of kubelet's.
const MAX_SIZE: u64 = 32 << 20;

/// Why the file says nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It couldn't be read.
    #[error("cannot read kubelet's checkpoint {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It's far bigger than any checkpoint.
    #[error("kubelet's checkpoint {} is bigger than {MAX_SIZE} bytes", path.display())]
    TooBig {
        /// The file.
        path: PathBuf,
    },
    /// It isn't what kubelet writes.
    #[error("kubelet's checkpoint is not of a known form")]
    Parse(#[source] serde_json::Error),
}

impl Error {
    /// Whether there is no such file: kubelet has given no device to anybody yet, or its directory isn't mounted here.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// The file's content, as far as it says who has what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    entries: Vec<Entry>,
    /// The boot in which kubelet wrote the file, where it says so (kubelet 1.35 and later).
    pub boot_id: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    pod_uid: String,
    container: String,
    resource: String,
    ids: Vec<String>,
}

impl Checkpoint {
    /// Reads the file at `path`.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let read = |source| Error::Read { path: path.to_owned(), source };
        let mut bytes = Vec::new();
        File::open(path).map_err(read)?.take(MAX_SIZE + 1).read_to_end(&mut bytes).map_err(read)?;
        if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_SIZE) {
            return Err(Error::TooBig { path: path.to_owned() });
        }
        Self::parse(&bytes)
    }

    /// Reads the file's content.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let file: wire::File = serde_json::from_slice(bytes).map_err(Error::Parse)?;
        let entries =
            file.data.pod_device_entries.unwrap_or_default().into_iter().map(wire::Entry::into).collect();
        Ok(Self { entries, boot_id: file.boot_id.filter(|id| !id.is_empty()) })
    }

    /// The devices of the pod with this UID, one entry per container that has any. `order` names the pod's containers,
    /// init containers first, as its spec does; the file has no order of its own. A container that `order` doesn't name
    /// comes after the others, by name.
    pub fn devices_of(&self, pod_uid: &str, order: &[&str]) -> Vec<ContainerDevices> {
        let mut by_container: BTreeMap<&str, Vec<(String, Vec<String>)>> = BTreeMap::new();
        for entry in self.entries.iter().filter(|entry| entry.pod_uid == pod_uid) {
            let devices = (entry.resource.clone(), entry.ids.clone());
            by_container.entry(&entry.container).or_default().push(devices);
        }
        let place = |name: &str| order.iter().position(|known| *known == name).unwrap_or(order.len());
        let mut containers: Vec<_> = by_container.into_iter().collect();
        containers.sort_by_key(|(name, _)| place(name));
        containers
            .into_iter()
            .map(|(name, devices)| ContainerDevices::gather(name.to_owned(), devices))
            .collect()
    }

    /// Every device that some pod has, by resource. Pods that are gone may be among them.
    pub fn allocated(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for entry in &self.entries {
            all.entry(entry.resource.clone()).or_default().extend(entry.ids.iter().cloned());
        }
        all
    }
}

mod wire {
    use super::{BTreeMap, Deserialize};

    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    pub(super) struct File {
        pub(super) data: Data,
        #[serde(default, rename = "BootID")]
        pub(super) boot_id: Option<String>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    pub(super) struct Data {
        #[serde(default)]
        pub(super) pod_device_entries: Option<Vec<Entry>>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    pub(super) struct Entry {
        #[serde(rename = "PodUID")]
        pod_uid: String,
        container_name: String,
        resource_name: String,
        #[serde(default, rename = "DeviceIDs")]
        device_ids: Option<DeviceIds>,
    }

    /// By NUMA node since kubelet 1.20, a plain list before.
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum DeviceIds {
        ByNode(BTreeMap<String, Option<Vec<String>>>),
        List(Vec<String>),
    }

    impl From<Entry> for super::Entry {
        fn from(entry: Entry) -> Self {
            let ids = match entry.device_ids {
                Some(DeviceIds::ByNode(nodes)) => nodes.into_values().flatten().flatten().collect(),
                Some(DeviceIds::List(ids)) => ids,
                None => Vec::new(),
            };
            let Entry { pod_uid, container_name: container, resource_name: resource, .. } = entry;
            Self { pod_uid, container, resource, ids }
        }
    }
}
