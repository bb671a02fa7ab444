//! What a pool shows to kubelet, and how it follows the node.

use std::collections::{BTreeMap, BTreeSet};

use kubelet::deviceplugin::{HEALTHY, UNHEALTHY, v1beta1 as api};
use pci::PciAddress;

use crate::health::{Standing, Trouble, trouble};
use crate::inventory::{Device, Inventory};
use crate::pools::Assignment;
use crate::resource::Resource;

#[cfg(test)]
mod tests;

/// A pool's devices as kubelet sees them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offer {
    /// The devices. One that was offered once stays: kubelet would take a device that vanishes from the list while a
    /// pod has it for one that it can forget.
    pub devices: BTreeMap<PciAddress, Offered>,
}

/// A device as kubelet sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// What was found of it when it was last seen.
    pub device: Device,
    /// What keeps it from being given away.
    pub trouble: Option<Trouble>,
}

impl Offer {
    /// The list for kubelet.
    pub fn list(&self, exclude_topology: bool) -> Vec<api::Device> {
        let device = |(address, offered): (&PciAddress, &Offered)| {
            let node = offered.device.function.numa_node.filter(|_| !exclude_topology);
            api::Device {
                id: address.to_string(),
                health: if offered.trouble.is_none() { HEALTHY } else { UNHEALTHY }.to_owned(),
                topology: node
                    .map(|node| api::TopologyInfo { nodes: vec![api::NumaNode { id: node.into() }] }),
            }
        };
        self.devices.iter().map(device).collect()
    }
}

/// A device's health that is another than before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The pool.
    pub resource: Resource,
    /// The device.
    pub device: PciAddress,
    /// What keeps it from being given away now; nothing, when it's healthy.
    pub trouble: Option<Trouble>,
    /// Whether it's offered for the first time.
    pub new: bool,
}

/// What each pool offers now, from where its devices are and what it offered before.
///
/// A device stays in the pool that it was offered in first: kubelet may have given it away under that name.
pub fn offers(
    assignment: &Assignment,
    inventory: &Inventory,
    standing: &BTreeMap<PciAddress, Standing>,
    before: &[Offer],
) -> Vec<Offer> {
    let held: BTreeMap<PciAddress, usize> = before
        .iter()
        .enumerate()
        .flat_map(|(place, offer)| offer.devices.keys().map(move |address| (*address, place)))
        .collect();
    let assigned: BTreeMap<PciAddress, usize> = assignment
        .pools
        .iter()
        .enumerate()
        .flat_map(|(place, pool)| pool.devices.iter().map(move |address| (*address, place)))
        .collect();
    // A PF without VFs is a device like any other, but not one whose VFs are just being made anew.
    let pfs: BTreeSet<PciAddress> = before
        .iter()
        .flat_map(|offer| offer.devices.values())
        .filter_map(|offered| Some(offered.device.function.vf?.pf))
        .collect();
    let mut offers = vec![Offer::default(); assignment.pools.len()];
    let new = assigned.keys().filter(|address| !held.contains_key(address) && !pfs.contains(address));
    let all = new.chain(held.keys());
    for address in all {
        let place = held.get(address).or_else(|| assigned.get(address)).copied();
        let Some((place, offer)) = place.and_then(|place| Some((place, offers.get_mut(place)?))) else {
            continue;
        };
        let last = before.get(place).and_then(|offer| offer.devices.get(address));
        let good = Standing::Good;
        let offered = match inventory.devices.get(address) {
            Some(device) if assigned.get(address) == Some(&place) => {
                let standing = standing.get(address).unwrap_or(&good);
                let trouble = trouble(&device.function, standing);
                Offered { device: device.clone(), trouble }
            }
            Some(device) => {
                let trouble = match device.function.driver {
                    None => Trouble::NoDriver,
                    Some(_) => left_pool(assignment, *address, assigned.get(address).copied()),
                };
                let trouble = Some(trouble);
                Offered { device: device.clone(), trouble }
            }
            None => {
                let Some(last) = last else { continue };
                let unreadable = assignment.unassigned.contains_key(address);
                let trouble = if unreadable { left_pool(assignment, *address, None) } else { Trouble::Gone };
                Offered { device: last.device.clone(), trouble: Some(trouble) }
            }
        };
        offer.devices.insert(*address, offered);
    }
    offers
}

fn left_pool(assignment: &Assignment, address: PciAddress, now_in: Option<usize>) -> Trouble {
    let reason = match now_in.and_then(|place| assignment.pools.get(place)) {
        Some(pool) => format!("it matches {} now", pool.resource),
        None => assignment.unassigned.get(&address).map(ToString::to_string).unwrap_or_default(),
    };
    Trouble::LeftPool(reason)
}

/// In what the offers differ from those before, for the log.
pub fn changes(assignment: &Assignment, before: &[Offer], now: &[Offer]) -> Vec<Change> {
    let mut changes = Vec::new();
    for (place, (pool, offer)) in assignment.pools.iter().zip(now).enumerate() {
        for (address, offered) in &offer.devices {
            let last = before.get(place).and_then(|offer| offer.devices.get(address));
            if last.is_none_or(|last| last.trouble != offered.trouble) {
                changes.push(Change {
                    resource: pool.resource.clone(),
                    device: *address,
                    trouble: offered.trouble.clone(),
                    new: last.is_none(),
                });
            }
        }
    }
    changes
}
