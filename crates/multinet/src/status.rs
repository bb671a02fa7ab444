//! The annotation that tells a pod, and everyone who looks at it, what it got.

use cni::AddResult;
use cni::result::{Interface, Ip};
use serde::{Deserialize, Serialize};

use crate::deviceinfo::DeviceInfo;

/// One interface of one attachment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkStatus {
    /// `namespace/name` of the NAD, or the name in the default network's configuration.
    pub name: String,
    /// The interface's name in the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Its addresses, without prefix length.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ips: Vec<String>,
    /// Its hardware address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Its MTU in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Whether it is the pod's default network; true once per pod.
    #[serde(default)]
    pub default: bool,
    /// Name servers of the network.
    #[serde(default)]
    pub dns: Dns,
    /// The device behind it.
    #[serde(default, rename = "device-info", skip_serializing_if = "Option::is_none")]
    pub device_info: Option<DeviceInfo>,
    /// Next hops of its default routes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gateway: Vec<String>,
}

/// Name servers, as network-status has them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dns {
    /// Addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<String>,
    /// The local domain.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// Domains to search.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Options for the resolver.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

/// The attachment that a result belongs to.
#[derive(Clone, Debug)]
pub struct Attachment<'a> {
    /// See [`NetworkStatus::name`].
    pub name: &'a str,
    /// The interface's name that was asked for; shown where the result names none.
    pub ifname: &'a str,
    /// Whether it is the pod's default network.
    pub is_default: bool,
    /// The device behind it.
    pub device_info: Option<&'a DeviceInfo>,
}

/// The entries of an attachment: one per interface in the pod, and at least one.
///
/// An address that names no interface belongs to the last one; an address of an interface outside the pod
/// is left out. Of the default network's interfaces the first that has an address with a gateway is the
/// default one, or else the first.
pub fn entries(result: &AddResult, attachment: &Attachment<'_>) -> Vec<NetworkStatus> {
    let whole = NetworkStatus {
        name: attachment.name.to_owned(),
        dns: Dns {
            nameservers: result.dns.nameservers.clone(),
            domain: result.dns.domain.clone(),
            search: result.dns.search.clone(),
            options: result.dns.options.clone(),
        },
        device_info: attachment.device_info.cloned(),
        gateway: gateways(result),
        ..NetworkStatus::default()
    };
    let in_pod: Vec<(usize, &Interface)> =
        result.interfaces.iter().enumerate().filter(|(_, interface)| !interface.sandbox.is_empty()).collect();
    if in_pod.is_empty() || result.interfaces.len() == 1 {
        let interface = in_pod.first().map(|(_, interface)| *interface);
        return vec![NetworkStatus {
            interface: Some(interface.map_or(attachment.ifname, |interface| &interface.name).to_owned()),
            ips: addresses(result, |_| true),
            mac: interface.and_then(mac),
            mtu: interface.and_then(|interface| interface.mtu),
            default: attachment.is_default,
            ..whole
        }];
    }

    let position = |index| in_pod.iter().position(|(place, _)| *place == index);
    let with_gateway =
        result.ips.iter().filter(|ip| ip.gateway.is_some()).find_map(|ip| position(ip.interface?));
    let default = with_gateway.unwrap_or(0);
    let last = in_pod.len() - 1;
    in_pod
        .iter()
        .enumerate()
        .map(|(place, (index, interface))| NetworkStatus {
            interface: Some(interface.name.clone()),
            ips: addresses(result, |owner| owner.map_or(place == last, |owner| owner == *index)),
            mac: mac(interface),
            mtu: interface.mtu,
            default: attachment.is_default && place == default,
            ..whole.clone()
        })
        .collect()
}

/// The annotation's value.
pub fn to_annotation(entries: &[NetworkStatus]) -> Result<String, serde_json::Error> {
    serde_json::to_string(entries)
}

fn mac(interface: &Interface) -> Option<String> {
    Some(interface.mac.clone()).filter(|mac| !mac.is_empty())
}

/// The addresses whose interface is wanted.
fn addresses(result: &AddResult, wanted: impl Fn(Option<usize>) -> bool) -> Vec<String> {
    result.ips.iter().filter(|ip| wanted(ip.interface)).map(|ip| ip.address.addr().to_string()).collect()
}

fn gateways(result: &AddResult) -> Vec<String> {
    let default_routes = result.routes.iter().filter(|route| route.is_default());
    default_routes
        .filter_map(|route| {
            // A route without a next hop goes by its address's gateway.
            let same_family = |ip: &&Ip| ip.address.addr().is_ipv4() == route.dst.addr().is_ipv4();
            route.gw.or_else(|| result.ips.iter().filter(same_family).find_map(|ip| ip.gateway))
        })
        .map(|gateway| gateway.to_string())
        .collect()
}

#[cfg(test)]
mod tests;
