//! Which device belongs to which pool, and why not.

use std::collections::BTreeMap;
use std::fmt;

use pci::PciAddress;

use crate::config::{Config, NameSelector, PoolConfig, Selector};
use crate::inventory::{Device, Inventory};
use crate::resource::Resource;

#[cfg(test)]
mod tests;

/// A pool's devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// The resource.
    pub resource: Resource,
    /// Its devices, in the order of their addresses.
    pub devices: Vec<PciAddress>,
}

/// Where every network device of the node went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The pools in the order of the configuration, empty ones included.
    pub pools: Vec<Pool>,
    /// The devices that are in no pool, and why.
    pub unassigned: BTreeMap<PciAddress, Reason>,
}

/// Why a device is in no pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// It's a PF whose VFs are what is offered.
    HasVfs(u16),
    /// The host itself lives on it.
    Uplink {
        /// The interface with the default route.
        route_of: String,
    },
    /// Sysfs doesn't describe it.
    Unreadable(String),
    /// No pool asks for it; per pool, the first key that speaks against it.
    NoMatch(Vec<(Resource, Option<&'static str>)>),
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HasVfs(count) => {
                write!(formatter, "it is a PF with {count} VFs; those are what pools offer")
            }
            Self::Uplink { route_of } => {
                write!(formatter, "the host's default route leaves by it (interface {route_of})")
            }
            Self::Unreadable(error) => write!(formatter, "it cannot be read: {error}"),
            Self::NoMatch(pools) if pools.is_empty() => formatter.write_str("there are no pools"),
            Self::NoMatch(pools) => {
                formatter.write_str("no pool's selectors match: ")?;
                for (place, (resource, key)) in pools.iter().enumerate() {
                    let separator = if place == 0 { "" } else { ", " };
                    write!(formatter, "{separator}{resource} ({})", key.unwrap_or("no selectors"))?;
                }
                Ok(())
            }
        }
    }
}

/// Puts each device into the first pool that asks for it.
pub fn pools(inventory: &Inventory, config: &Config) -> Assignment {
    let mut pools: Vec<Pool> = config
        .pools
        .iter()
        .map(|pool| Pool { resource: pool.resource.clone(), devices: Vec::new() })
        .collect();
    let mut unassigned: BTreeMap<PciAddress, Reason> = inventory
        .broken
        .iter()
        .map(|(address, error)| (*address, Reason::Unreadable(error.clone())))
        .collect();
    for (address, device) in &inventory.devices {
        match place(device, config) {
            Ok(place) => {
                if let Some(pool) = pools.get_mut(place) {
                    pool.devices.push(*address);
                }
            }
            Err(reason) => drop(unassigned.insert(*address, reason)),
        }
    }
    Assignment { pools, unassigned }
}

/// The number of the device's pool.
fn place(device: &Device, config: &Config) -> Result<usize, Reason> {
    if let Some(sriov) = device.function.sriov.filter(|sriov| sriov.num_vfs > 0) {
        return Err(Reason::HasVfs(sriov.num_vfs));
    }
    if let Some(route_of) = device.uplink_of.clone() {
        return Err(Reason::Uplink { route_of });
    }
    let mut misses = Vec::new();
    for (place, pool) in config.pools.iter().enumerate() {
        match miss(pool, device) {
            None => return Ok(place),
            Some(Miss(key)) => misses.push((pool.resource.clone(), key)),
        }
    }
    Err(Reason::NoMatch(misses))
}

/// That a pool doesn't ask for a device: the first key that speaks against it, or none where it has no selectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Miss(pub Option<&'static str>);

/// Why the pool doesn't ask for the device; `None` when it does.
pub fn miss(pool: &PoolConfig, device: &Device) -> Option<Miss> {
    let mut first = None;
    for selector in &pool.selectors {
        match mismatch(selector, device) {
            None => return None,
            Some(key) => first = first.or(Some(key)),
        }
    }
    Some(Miss(first))
}

/// The first key of the selector that speaks against the device.
fn mismatch(selector: &Selector, device: &Device) -> Option<&'static str> {
    let function = &device.function;
    let known = |list: &[String], value: Option<&str>| {
        value.is_some_and(|value| list.iter().any(|item| item == value))
    };
    let checks = [
        ("vendors", selector.vendors.is_empty() || selector.vendors.contains(&function.vendor)),
        ("devices", selector.devices.is_empty() || selector.devices.contains(&function.device)),
        ("drivers", selector.drivers.is_empty() || known(&selector.drivers, function.driver.as_deref())),
        (
            "pciAddresses",
            selector.pci_addresses.is_empty() || selector.pci_addresses.contains(&function.address),
        ),
        (
            "acpiIndexes",
            selector.acpi_indexes.is_empty() || known(&selector.acpi_indexes, device.acpi_index.as_deref()),
        ),
        ("pfNames", selector.pf_names.is_empty() || is_function_of(&selector.pf_names, device, Pf::Name)),
        (
            "rootDevices",
            selector.root_devices.is_empty() || is_function_of(&selector.root_devices, device, Pf::Address),
        ),
        ("linkTypes", selector.link_types.is_empty() || known(&selector.link_types, device.link_type)),
    ];
    checks.into_iter().find(|(_, matches)| !matches).map(|(key, _)| key)
}

/// By what a PF is named.
#[derive(Clone, Copy)]
enum Pf {
    Name,
    Address,
}

/// Whether the device is a VF that one of `selectors` means. Each of them counts, not the first of a PF alone.
fn is_function_of(selectors: &[NameSelector], device: &Device, by: Pf) -> bool {
    let Some(vf) = device.function.vf else { return false };
    let name = match by {
        Pf::Name => device.pf_name.clone(),
        Pf::Address => Some(vf.pf.to_string()),
    };
    name.is_some_and(|name| selectors.iter().any(|selector| selector.matches(&name, vf.index)))
}
