//! What network devices the node has, as far as pools care.

use std::collections::BTreeMap;
use std::fs;

use netlink::{Link, Links};
use pci::{Function, PciAddress, Sysfs};

use crate::uplink::uplinks;

/// Why the node's devices can't be told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Sysfs can't be read.
    #[error("cannot find the node's PCI devices")]
    Sysfs(#[source] pci::Error),
    /// The kernel doesn't list its links or routes. Without them the host's own interface could be given away.
    #[error("cannot find out which interfaces the host itself uses")]
    Links(#[source] netlink::Error),
}

/// A network device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// What sysfs says of it.
    pub function: Function,
    /// The interface of its PF, when it's a VF.
    pub pf_name: Option<String>,
    /// Its link's type, or its PF's when its interface isn't in sight: `ether` or `infiniband`.
    pub link_type: Option<&'static str>,
    /// Its ACPI index.
    pub acpi_index: Option<String>,
    /// The interface whose default route it carries, when it's the host's own.
    pub uplink_of: Option<String>,
}

/// The node's network devices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Those that could be read.
    pub devices: BTreeMap<PciAddress, Device>,
    /// Devices that couldn't, and why.
    pub broken: BTreeMap<PciAddress, String>,
}

impl Inventory {
    /// Looks at the node.
    pub fn read<L: Links>(sysfs: &Sysfs, links: &L) -> Result<Self, Error> {
        // The links first: of a device that appears meanwhile it's better to know no link than a wrong one.
        let host = links.host();
        let all = links.links(host).map_err(Error::Links)?;
        let routes = links.routes(host).map_err(Error::Links)?;
        let uplinks = uplinks(&all, &routes, |name| lower(sysfs, name));
        let scan = sysfs.functions().map_err(Error::Sysfs)?;

        let pf_names: BTreeMap<PciAddress, String> = scan
            .functions
            .iter()
            .filter(|function| function.sriov.is_some())
            .filter_map(|function| Some((function.address, port(sysfs, function)?)))
            .collect();
        let devices = scan.functions.into_iter().filter(Function::is_network).map(|function| {
            let pf_name = function.vf.and_then(|vf| pf_names.get(&vf.pf).cloned());
            let names = function.net_names.iter().chain(&pf_name);
            let device = Device {
                link_type: names.into_iter().find_map(|name| link_type(&all, name)),
                uplink_of: function.net_names.iter().find_map(|name| uplinks.get(name).cloned()),
                acpi_index: attribute(sysfs, function.address, "acpi_index"),
                pf_name,
                function,
            };
            (device.function.address, device)
        });
        let broken = scan.broken.iter().map(|(address, error)| (*address, error.to_string()));
        Ok(Self { devices: devices.collect(), broken: broken.collect() })
    }
}

/// A PF's interface. In switchdev mode the representors of its VFs are among its interfaces: there it's the one
/// that stands for the physical port.
fn port(sysfs: &Sysfs, function: &Function) -> Option<String> {
    let class = |name: &str, file: &str| {
        let path = sysfs.root().join("class/net").join(name).join(file);
        fs::read_to_string(path).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    let is_port = |name: &&String| {
        let number =
            class(name, "phys_port_name").and_then(|port| port.strip_prefix('p')?.parse::<u32>().ok());
        number.is_some() && class(name, "phys_switch_id").is_some()
    };
    function.net_names.iter().find(is_port).or_else(|| function.net_names.first()).cloned()
}

fn link_type(links: &[Link], name: &str) -> Option<&'static str> {
    match links.iter().find(|link| link.name == name)?.hardware {
        1 => Some("ether"),
        32 => Some("infiniband"),
        _ => None,
    }
}

fn lower(sysfs: &Sysfs, name: &str) -> Vec<String> {
    let entries = fs::read_dir(sysfs.root().join("class/net").join(name)).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some(entry.file_name().to_str()?.strip_prefix("lower_")?.to_owned())).collect()
}

fn attribute(sysfs: &Sysfs, address: PciAddress, name: &str) -> Option<String> {
    let path = sysfs.root().join("bus/pci/devices").join(address.to_string()).join(name);
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}
