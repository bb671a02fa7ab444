//! Whether a network can do what a pod's annotation asks of it.

use cni::{NetConfList, Object};
use multinet::Selection;

/// Plugins that take a MAC from `CNI_ARGS` whether or not they declare the capability.
const TAKE_MAC: [&str; 5] = ["bridge", "macvlan", "ovs", "sriov", "tuning"];
/// IPAM plugins that take addresses from `CNI_ARGS`.
const TAKE_IPS: [&str; 2] = ["static", "whereabouts"];

/// The first of the annotation's keys that no plugin of the network takes, with the capability it needs.
pub(super) fn missing(selection: &Selection, list: &NetConfList) -> Option<(&'static str, &'static str)> {
    [
        (!selection.ips.is_empty() && !is_any(list, takes_ips), "ips", "ips"),
        (selection.mac.is_some() && !is_any(list, takes_mac), "mac", "mac"),
        (selection.infiniband_guid.is_some(), "infiniband-guid", "infinibandGUID"),
        (selection.bandwidth.is_some(), "bandwidth", "bandwidth"),
        (!selection.port_mappings.is_empty(), "portMappings", "portMappings"),
    ]
    .into_iter()
    .find(|(asked, _, capability)| *asked && !is_any(list, |plugin| declares(plugin, capability)))
    .map(|(_, key, capability)| (key, capability))
}

fn is_any(list: &NetConfList, of: impl Fn(&Object) -> bool) -> bool {
    list.plugins.iter().any(of)
}

fn declares(plugin: &Object, capability: &str) -> bool {
    let capabilities = plugin.read::<Object>("capabilities").ok().flatten().unwrap_or_default();
    capabilities.get(capability) == Some("true")
}

fn takes_mac(plugin: &Object) -> bool {
    kind(plugin).is_some_and(|kind| TAKE_MAC.contains(&kind.as_str()))
}

fn takes_ips(plugin: &Object) -> bool {
    let ipam = plugin.read::<Object>("ipam").ok().flatten();
    ipam.as_ref().and_then(kind).is_some_and(|kind| TAKE_IPS.contains(&kind.as_str()))
}

fn kind(object: &Object) -> Option<String> {
    object.read("type").ok().flatten()
}
