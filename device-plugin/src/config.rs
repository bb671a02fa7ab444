//! The pool file: which devices make up which resource.
//!
//! It's read as clusters have it: keys in any case, unknown keys ignored with a warning, selectors as an object or a
//! list. What can't work is an error that names file, pool and key, and nothing is offered at all: a pool that is
//! silently empty, or silently too big, is found by a pod much later.

mod error;
mod read;
mod selector;

use std::collections::BTreeMap;
use std::path::Path;

use pci::PciAddress;

use crate::resource::Resource;

pub use error::{Error, Problem};
pub use selector::{FunctionRange, NameSelector, Selector};

#[cfg(test)]
mod tests;

/// The largest pool file that is read, in bytes. A config map can't be bigger.
const MAX_FILE: u64 = 1 << 20;

/// A pool file's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The pools, in the file's order: the first that matches a device gets it.
    pub pools: Vec<PoolConfig>,
    /// What in the file has no effect.
    pub warnings: Vec<String>,
}

/// One pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolConfig {
    /// The resource that it's offered as.
    pub resource: Resource,
    /// Whether the devices' NUMA nodes are kept from kubelet.
    pub exclude_topology: bool,
    /// What each device must be; it's enough that one of them matches.
    pub selectors: Vec<Selector>,
    /// What is added to the description of devices: by PCI address, or `*` for all.
    pub additional_info: BTreeMap<String, BTreeMap<String, String>>,
}

impl PoolConfig {
    /// What is added to the description of this device: its own entries over those for all.
    pub fn additional_info(&self, device: &PciAddress) -> BTreeMap<String, String> {
        let of = |key: &str| self.additional_info.get(key).cloned().unwrap_or_default();
        let mut info = of("*");
        info.extend(of(&device.to_string()));
        info
    }
}

impl Config {
    /// Reads the file at `path`. A pool without a prefix of its own gets `default_prefix`.
    pub fn read(path: &Path, default_prefix: &str) -> Result<Self, Error> {
        let unreadable = |source| Error::Read { path: path.to_owned(), source };
        let bytes = ledger::file::read_bounded(path, MAX_FILE)
            .map_err(|source| Error::Access { path: path.to_owned(), source })?
            .ok_or_else(|| unreadable(std::io::ErrorKind::NotFound.into()))?;
        Self::parse(path, &bytes, default_prefix)
    }

    /// Reads the file's content; `path` is for errors.
    pub fn parse(path: &Path, bytes: &[u8], default_prefix: &str) -> Result<Self, Error> {
        read::config(path, bytes, default_prefix)
    }
}
