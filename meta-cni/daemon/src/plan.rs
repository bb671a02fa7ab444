//! What is attached to a pod: every network in order, with its interface name, its device, and what each plugin
//! reads, byte for byte.
//!
//! [`plan`] is a plain function. Its result is what ADD carries out, what is stored before anything is done,
//! what DEL carries out backwards, and what a person is shown.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use cni::conf::InvalidConf;
use cni::{Chain, NetConfList, Object, Version};
use multinet::{DelegateConfig, Selection, deviceinfo};
use serde::{Deserialize, Serialize};

use crate::devices::Devices;

mod capability;
mod error;

pub use error::Error;

/// The sandbox that a runtime's call is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sandbox {
    /// `CNI_CONTAINERID`.
    pub container_id: String,
    /// `CNI_NETNS`.
    pub netns: Option<PathBuf>,
    /// `CNI_IFNAME`, the default network's interface.
    pub ifname: String,
    /// `CNI_ARGS`.
    pub args: Vec<(String, String)>,
    /// Where plugins are looked for.
    pub path: Vec<PathBuf>,
    /// The version of the configuration that the runtime called us with, for networks that have none.
    pub cni_version: Version,
    /// The runtime's `runtimeConfig`.
    pub runtime_config: Object,
}

/// The pod that a sandbox is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodRef {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Kubelet's UID for it.
    pub uid: String,
}

impl std::fmt::Display for PodRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A network as it's configured, wherever that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// `namespace/name` of its NAD, or the name in its configuration.
    pub name: String,
    /// Its CNI configuration.
    pub config: DelegateConfig,
    /// The resource whose devices its attachments use.
    pub resource: Option<String>,
}

/// A network and what the pod wants of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The network.
    pub network: Network,
    /// What the pod's annotation says; `None` where the node's configuration chose the network.
    pub selection: Option<Selection>,
}

/// What the node's configuration has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Where device-info files are.
    pub device_info_dir: PathBuf,
    /// Attach although no plugin takes a capability that is asked for.
    pub tolerate_missing_capability: bool,
}

/// Everything that is attached to a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The pod.
    pub pod: PodRef,
    /// `CNI_CONTAINERID`.
    pub container_id: String,
    /// `CNI_NETNS` of the ADD.
    pub netns: Option<PathBuf>,
    /// `CNI_IFNAME` of the ADD.
    pub ifname: String,
    /// `CNI_PATH` for the plugins.
    pub path: Vec<PathBuf>,
    /// In the order of ADD; the first is the default network.
    pub attachments: Vec<Attachment>,
}

/// One network attached to a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// As network-status names it.
    pub name: String,
    /// `CNI_IFNAME`.
    pub ifname: String,
    /// The resource of its device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// Its device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Where its device is described.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_info: Option<DeviceInfoFiles>,
    /// Gateways of the pod's default routes through it; an empty list keeps those of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_route: Option<Vec<IpAddr>>,
    /// `CNI_ARGS` for its plugins.
    pub args: Vec<(String, String)>,
    /// Its plugins and what they read.
    pub chain: Chain,
}

/// The two files that describe an attachment's device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceInfoFiles {
    /// Written by the device plugin.
    pub allocated: PathBuf,
    /// Ours, a copy that the CNI plugin may replace; removed on DEL.
    pub attached: PathBuf,
}

/// How many devices of each resource the networks need.
pub fn needed(networks: &[Wanted]) -> BTreeMap<String, usize> {
    let mut needed = BTreeMap::new();
    for resource in networks.iter().filter_map(|wanted| wanted.network.resource.as_ref()) {
        *needed.entry(resource.clone()).or_insert(0) += 1;
    }
    needed
}

/// Decides everything about the attachments of a pod. The first of `networks` is the default network;
/// `devices` are the pod's, by resource, in the order in which its networks take them.
pub fn plan(
    sandbox: &Sandbox,
    pod: &PodRef,
    networks: &[Wanted],
    devices: &Devices,
    policy: &Policy,
) -> Result<Plan, Error> {
    way_out(pod, networks)?;
    let mut allocation = Allocation { devices, taken: BTreeMap::new(), used: BTreeSet::new() };
    let mut interfaces = BTreeSet::new();
    let mut attachments = Vec::with_capacity(networks.len());
    for (index, wanted) in networks.iter().enumerate() {
        let device = allocation.next(pod, wanted)?;
        let attachment = attachment(sandbox, pod, (index, wanted), device, policy)?;
        if !interfaces.insert(attachment.ifname.clone()) {
            let (network, ifname) = (attachment.name, attachment.ifname);
            return Err(Error::InterfaceTwice { pod: pod.to_string(), network, ifname });
        }
        attachments.push(attachment);
    }
    Ok(Plan {
        pod: pod.clone(),
        container_id: sandbox.container_id.clone(),
        netns: sandbox.netns.clone(),
        ifname: sandbox.ifname.clone(),
        path: sandbox.path.clone(),
        attachments,
    })
}

/// At most one network may have gateways of each family.
fn way_out(pod: &PodRef, networks: &[Wanted]) -> Result<(), Error> {
    for family in [4, 6] {
        let mut with_gateway = networks.iter().filter(|wanted| {
            let gateways = wanted.selection.as_ref().and_then(|selection| selection.default_route.as_ref());
            gateways.is_some_and(|gateways| gateways.iter().any(|gateway| gateway.is_ipv4() == (family == 4)))
        });
        if let (Some(first), Some(second)) = (with_gateway.next(), with_gateway.next()) {
            return Err(Error::DefaultRouteTwice {
                pod: pod.to_string(),
                first: first.network.name.clone(),
                second: second.network.name.clone(),
                family,
            });
        }
    }
    Ok(())
}

/// The pod's devices while its networks take them.
struct Allocation<'a> {
    devices: &'a Devices,
    taken: BTreeMap<&'a str, usize>,
    used: BTreeSet<String>,
}

impl<'a> Allocation<'a> {
    /// The device for the next network: of its resource, or the one that the annotation names where the
    /// network has no resource.
    fn next(&mut self, pod: &PodRef, wanted: &'a Wanted) -> Result<Option<String>, Error> {
        let device = match &wanted.network.resource {
            Some(resource) => {
                let ids = self.devices.get(resource).map(Vec::as_slice).unwrap_or_default();
                let taken = self.taken.entry(resource).or_insert(0);
                let id = ids.get(*taken).ok_or_else(|| Error::NoDevice {
                    pod: pod.to_string(),
                    network: wanted.network.name.clone(),
                    resource: resource.clone(),
                    allocated: ids.len(),
                })?;
                *taken += 1;
                Some(id.clone())
            }
            None => wanted.selection.as_ref().and_then(|selection| selection.device_id.clone()),
        };
        match device {
            Some(device) if !self.used.insert(device.clone()) => {
                Err(Error::DeviceTwice { pod: pod.to_string(), network: wanted.network.name.clone(), device })
            }
            device => Ok(device),
        }
    }
}

fn attachment(
    sandbox: &Sandbox,
    pod: &PodRef,
    (index, wanted): (usize, &Wanted),
    device: Option<String>,
    policy: &Policy,
) -> Result<Attachment, Error> {
    let Wanted { network, selection } = wanted;
    let selection = selection.as_ref();
    let unusable = |source| Error::Config {
        pod: pod.to_string(),
        network: network.name.clone(),
        source: Box::new(source),
    };
    let is_default = index == 0;
    let ifname = match selection.and_then(|selection| selection.interface.clone()) {
        Some(name) => name,
        None if is_default => sandbox.ifname.clone(),
        None => format!("net{index}"),
    };
    let device_info = network.resource.as_deref().zip(device.as_deref()).filter(|_| !is_default).map(
        |(resource, device)| DeviceInfoFiles {
            allocated: deviceinfo::dp_path(&policy.device_info_dir, resource, device),
            attached: deviceinfo::cni_path(
                &policy.device_info_dir,
                &network.name,
                &sandbox.container_id,
                &ifname,
            ),
        },
    );

    let list = configuration(network, selection, device.as_deref(), sandbox.cni_version).map_err(unusable)?;
    if let Some(selection) = selection.filter(|_| !is_default && !policy.tolerate_missing_capability)
        && let Some((key, capability)) = capability::missing(selection, &list)
    {
        return Err(Error::NoCapability {
            pod: pod.to_string(),
            network: network.name.clone(),
            key,
            capability,
        });
    }
    let file = device_info.as_ref().map(|files| files.attached.as_path());
    let capability_args = capability_args(sandbox, selection, device.as_deref(), file, is_default);
    let mut args = cni_args(sandbox, pod);
    args.extend(selection.map(Selection::legacy_args).unwrap_or_default());
    Ok(Attachment {
        name: network.name.clone(),
        ifname,
        resource: network.resource.clone(),
        device,
        device_info,
        default_route: selection.and_then(|selection| selection.default_route.clone()),
        args,
        chain: Chain::new(&list, &capability_args).map_err(unusable)?,
    })
}

/// The network's configuration with the device and the annotation's `cni-args` in every plugin.
fn configuration(
    network: &Network,
    selection: Option<&Selection>,
    device: Option<&str>,
    version: Version,
) -> Result<NetConfList, InvalidConf> {
    let mut config = network.config.clone();
    // A device that only the annotation names goes into runtimeConfig and nowhere else.
    if let Some(device) = device.filter(|_| network.resource.is_some()) {
        config = config.with_device(device)?;
    }
    if let Some(selection) = selection {
        config = config.with_cni_args(&selection.cni_args)?;
    }
    let mut list = config.list()?;
    list.cni_version = list.cni_version.or(Some(version));
    Ok(list)
}

/// The values for the plugins' capabilities. The runtime's own are meant for the default network alone.
fn capability_args(
    sandbox: &Sandbox,
    selection: Option<&Selection>,
    device: Option<&str>,
    device_info: Option<&Path>,
    is_default: bool,
) -> Object {
    let mut args = if is_default { sandbox.runtime_config.clone() } else { Object::default() };
    let device_info = device_info.map(|path| path.to_string_lossy());
    let nothing = Selection::default();
    args.merge(&selection.unwrap_or(&nothing).capability_args(device, device_info.as_deref()));
    args
}

/// `CNI_ARGS` as plugins know them: the pod first, then what else the runtime gave.
fn cni_args(sandbox: &Sandbox, pod: &PodRef) -> Vec<(String, String)> {
    const POD: [&str; 5] =
        ["IgnoreUnknown", "K8S_POD_NAMESPACE", "K8S_POD_NAME", "K8S_POD_INFRA_CONTAINER_ID", "K8S_POD_UID"];
    let given =
        |key: &str| sandbox.args.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.clone());
    let infra = given("K8S_POD_INFRA_CONTAINER_ID").unwrap_or_else(|| sandbox.container_id.clone());
    let values = ["true".to_owned(), pod.namespace.clone(), pod.name.clone(), infra, pod.uid.clone()];
    let others = sandbox.args.iter().filter(|(key, _)| !POD.contains(&key.as_str())).cloned();
    POD.map(str::to_owned).into_iter().zip(values).chain(others).collect()
}

#[cfg(test)]
mod tests;
