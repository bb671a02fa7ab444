//! What people read: names, and errors in one line.

use std::error::Error;

use pci_ids::{Device, FromId, Vendor};

use crate::inventory::Inventory;
use crate::pools::Assignment;

/// An error with everything that led to it, in one line.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// A vendor's and a device's name, or their ids where the database doesn't know them.
pub fn device_name(vendor: u16, device: u16) -> String {
    let vendor_name =
        Vendor::from_id(vendor).map_or_else(|| format!("{vendor:04x}"), |found| found.name().to_owned());
    let device_name = Device::from_vid_pid(vendor, device)
        .map_or_else(|| format!("{device:04x}"), |found| found.name().to_owned());
    format!("{vendor_name} {device_name}")
}

/// Tells the log what devices there are and where each of them goes.
pub fn log_inventory(inventory: &Inventory, assignment: &Assignment) {
    for device in inventory.devices.values() {
        let function = &device.function;
        let pool = assignment.pools.iter().find(|pool| pool.devices.contains(&function.address));
        let pf = function
            .vf
            .map(|vf| format!("{} VF {}", device.pf_name.clone().unwrap_or(vf.pf.to_string()), vf.index));
        tracing::info!(
            device = %function.address,
            name = device_name(function.vendor, function.device),
            interfaces = function.net_names.join(","),
            driver = function.driver.as_deref().unwrap_or("none"),
            numa = function.numa_node.map_or(-1, i64::from),
            iommu_group = function.iommu_group.as_ref().map_or_else(|| "none".to_owned(), |group| group.number.to_string()),
            vfs = function.sriov.map(|sriov| format!("{}/{}", sriov.num_vfs, sriov.total_vfs)),
            of = pf,
            pool = pool.map(|pool| pool.resource.to_string()),
            reason = assignment.unassigned.get(&function.address).map(ToString::to_string),
            "network device"
        );
    }
    for (device, error) in &inventory.broken {
        tracing::warn!(%device, %error, "PCI device cannot be read");
    }
    for pool in &assignment.pools {
        tracing::info!(resource = %pool.resource, devices = pool.devices.len(), "pool");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The crate's build may replace its database by whatever its download gives; ours must not.
    #[test]
    fn the_database_of_names_is_whole() {
        assert!(pci_ids::Vendors::iter().count() > 2000);
        assert_eq!(device_name(0x8086, 0x10ca), "Intel Corporation 82576 Virtual Function");
        for vendor in [0x8086, 0x15b3, 0x14e4] {
            assert!(Vendor::from_id(vendor).is_some(), "{vendor:04x}");
        }
        assert_eq!(device_name(0x8086, 0xfffe), "Intel Corporation fffe");
    }
}
