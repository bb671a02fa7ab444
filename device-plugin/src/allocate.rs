//! What a container is given for its devices: environment and device nodes.
//!
//! Everything is computed when it's asked for: the number of an IOMMU group or of a uio device may be another one
//! than when the device was found.

use std::collections::BTreeMap;

use kubelet::deviceplugin::v1beta1::{ContainerAllocateResponse, DeviceSpec};
use pci::{IommuGroup, PciAddress, VFIO_PCI};

use crate::resource::Resource;

#[cfg(test)]
mod tests;

/// The node that every user of vfio needs besides those of its devices.
const VFIO_CONTAINER: &str = "/dev/vfio/vfio";
/// The name of a group that was made without an IOMMU.
const NO_IOMMU: &str = "vfio-noiommu";
/// The drivers that give a device to user space through `/dev/uioN`.
pub const UIO_DRIVERS: [&str; 3] = ["uio", "igb_uio", "uio_pci_generic"];

/// A device that a container is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The device.
    pub address: PciAddress,
    /// How a program in the container reaches it.
    pub access: Access,
    /// What the pool file adds to its description.
    pub additional: BTreeMap<String, String>,
}

/// How a program in a container reaches a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// As a network interface, which CNI brings.
    Interface,
    /// Through vfio and this group.
    Vfio(IommuGroup),
    /// Through this uio device, such as `uio0`.
    Uio(String),
}

/// By provider, what is told of a device.
type Description = BTreeMap<&'static str, BTreeMap<String, String>>;

/// The answer for one container, its devices in the order in which kubelet asked for them.
pub fn response(resource: &Resource, devices: &[Given]) -> ContainerAllocateResponse {
    let ids: Vec<String> = devices.iter().map(|given| given.address.to_string()).collect();
    let descriptions: BTreeMap<String, Description> =
        devices.iter().map(|given| (given.address.to_string(), describe(given))).collect();
    let envs = BTreeMap::from([
        (resource.variable(), ids.join(",")),
        (resource.info_variable(), json(&descriptions)),
    ]);
    let mut nodes: Vec<DeviceSpec> = Vec::new();
    for node in devices.iter().flat_map(|given| nodes_of(&given.access)) {
        if !nodes.iter().any(|known| known.host_path == node.host_path) {
            nodes.push(node);
        }
    }
    ContainerAllocateResponse { envs, devices: nodes, ..Default::default() }
}

fn describe(given: &Given) -> Description {
    let map = |entries: &[(&str, String)]| {
        entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect::<BTreeMap<_, _>>()
    };
    let mut description = Description::from([("generic", map(&[("deviceID", given.address.to_string())]))]);
    match &given.access {
        Access::Interface => {}
        Access::Vfio(group) => {
            let entries =
                [("dev-mount", format!("/dev/vfio/{}", group.number)), ("mount", VFIO_CONTAINER.to_owned())];
            description.insert("vfio", map(&entries));
        }
        Access::Uio(name) => drop(description.insert("uio", map(&[("mount", format!("/dev/{name}"))]))),
    }
    if !given.additional.is_empty() {
        description.insert("extra", given.additional.clone());
    }
    description
}

fn nodes_of(access: &Access) -> Vec<DeviceSpec> {
    match access {
        Access::Interface => Vec::new(),
        Access::Vfio(group) => {
            let inside = format!("/dev/vfio/{}", group.number);
            let host = if group.name.as_deref() == Some(NO_IOMMU) {
                format!("/dev/vfio/noiommu-{}", group.number)
            } else {
                inside.clone()
            };
            vec![node(VFIO_CONTAINER.to_owned(), VFIO_CONTAINER.to_owned()), node(host, inside)]
        }
        Access::Uio(name) => vec![node(format!("/dev/{name}"), format!("/dev/{name}"))],
    }
}

fn node(host_path: String, container_path: String) -> DeviceSpec {
    DeviceSpec { container_path, host_path, permissions: "rw".to_owned() }
}

/// JSON as programs have been given it: compact, keys sorted, and these characters escaped.
fn json(descriptions: &BTreeMap<String, Description>) -> String {
    let text = serde_json::json!(descriptions).to_string();
    // Outside of texts, JSON has none of them.
    text.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e")
}

/// How a device with this driver is reached, or what is missing for it.
pub fn access(
    driver: Option<&str>,
    group: Option<&IommuGroup>,
    uio: impl FnOnce() -> Option<String>,
) -> Result<Access, Missing> {
    match driver {
        None => Err(Missing::Driver),
        Some(VFIO_PCI) => group.cloned().map(Access::Vfio).ok_or(Missing::IommuGroup),
        Some(driver) if UIO_DRIVERS.contains(&driver) => uio().map(Access::Uio).ok_or(Missing::Uio),
        Some(_) => Ok(Access::Interface),
    }
}

/// Why nothing can be given for a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// The driver.
    #[error("no driver is bound to it; bind vfio-pci or its kernel driver")]
    Driver,
    /// The IOMMU group.
    #[error("vfio-pci is bound to it, but it has no IOMMU group; turn on the IOMMU in firmware and kernel")]
    IommuGroup,
    /// The uio device.
    #[error("a uio driver is bound to it, but made no uio device; see the kernel's log")]
    Uio,
}
