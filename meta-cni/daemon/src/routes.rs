//! A pod's way out: what `default-route` in its annotation asks for.
//!
//! Per family, the network with a gateway of that family is the way out: its interface gets exactly those
//! gateways, and no other interface keeps a default route. An empty list makes a network the way out with the
//! routes that its own plugin set. A family that nobody asks about stays as the plugins left it. Only the main
//! table is touched, and it is read back.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use cni::Object;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use netlink::{Links, Route};

use crate::plan::Attachment;

/// IPv6's metric where none is named (Linux, `IP6_RT_PRIO_USER`).
const IPV6_PRIORITY: u32 = 1024;

/// Why the routes aren't as asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel didn't do it.
    #[error("cannot set the default routes of the pod")]
    Kernel(#[from] netlink::Error),
    /// A gateway isn't taken.
    #[error(
        "cannot make {gateway} a default gateway on {ifname}: it has to be reachable there, so its network must \
         give {ifname} an address of the gateway's subnet"
    )]
    Gateway {
        /// The gateway.
        gateway: IpAddr,
        /// The interface.
        ifname: String,
        /// What the kernel said.
        #[source]
        source: netlink::Error,
    },
    /// The interface isn't there.
    #[error("the pod has no interface {ifname}, which \"default-route\" makes its way out")]
    NoInterface {
        /// The interface.
        ifname: String,
    },
    /// Somebody else changes routes at the same time.
    #[error("the pod's default routes are not as they were just set: {found}")]
    ReadBack {
        /// What was found.
        found: String,
    },
    /// A result can't be edited.
    #[error("the routes in the result of the network's plugin can't be read")]
    Result(#[from] cni::object::Error),
}

impl From<Error> for cni::Error {
    fn from(error: Error) -> Self {
        let text = cni::error::with_sources(&error);
        match error {
            Error::Gateway { .. } | Error::NoInterface { .. } => cni::Error::invalid_config(text),
            Error::Kernel(_) | Error::ReadBack { .. } => cni::Error::io(text),
            Error::Result(_) => cni::Error::decode(text),
        }
    }
}

/// A family of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    fn everywhere(self) -> IpNet {
        match self {
            Self::V4 => Ipv4Net::default().into(),
            Self::V6 => Ipv6Net::default().into(),
        }
    }

    /// The metric of the gateway at `place`: the first wins, the others are there should it go.
    fn priority(self, place: usize) -> Option<u32> {
        let place = u32::try_from(place).ok().filter(|place| *place > 0)?;
        Some(match self {
            Self::V4 => place,
            Self::V6 => IPV6_PRIORITY.saturating_add(place),
        })
    }
}

/// Where a family's default routes are to lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WayOut {
    /// The interface.
    pub ifname: String,
    /// The gateways, best first; empty leaves those that the interface has.
    pub gateways: Vec<IpAddr>,
}

/// The ways out that a pod's networks ask for. A gateway goes before an empty list.
pub fn ways_out<'a>(attachments: impl IntoIterator<Item = &'a Attachment>) -> BTreeMap<Family, WayOut> {
    let mut ways = BTreeMap::new();
    for attachment in attachments {
        let Some(gateways) = &attachment.default_route else { continue };
        for family in [Family::V4, Family::V6] {
            let of_family: Vec<IpAddr> =
                gateways.iter().copied().filter(|gateway| Family::of(*gateway) == family).collect();
            if !of_family.is_empty() || gateways.is_empty() && !ways.contains_key(&family) {
                ways.insert(family, WayOut { ifname: attachment.ifname.clone(), gateways: of_family });
            }
        }
    }
    ways
}

/// What has to change about the default routes that are there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// To be removed first.
    pub remove: Vec<Route>,
    /// To be added.
    pub add: Vec<Route>,
}

/// Compares the routes that are there with one way out, whose interface has the index `ifindex`.
pub fn changes(family: Family, way: &WayOut, ifindex: u32, routes: &[Route]) -> Changes {
    let add: Vec<Route> = way
        .gateways
        .iter()
        .enumerate()
        .map(|(place, gateway)| Route {
            priority: family.priority(place),
            ..Route::new(family.everywhere(), Some(*gateway), ifindex)
        })
        .collect();
    let surplus = |route: &&Route| {
        is_default_of(family, route) && (route.ifindex != ifindex || !way.gateways.is_empty())
    };
    Changes { remove: routes.iter().filter(surplus).cloned().collect(), add }
}

fn is_default_of(family: Family, route: &Route) -> bool {
    let main = route.table.is_none_or(|table| table == Route::MAIN_TABLE);
    main && route.is_default() && Family::of(route.dst.addr()) == family && route.ifindex != 0
}

/// Sets a pod's default routes and reads them back.
pub fn apply<L: Links>(links: &L, netns: &Path, ways: &BTreeMap<Family, WayOut>) -> Result<(), Error> {
    let namespace = links.open(netns)?;
    for (family, way) in ways {
        let link = links
            .link_named(&namespace, &way.ifname)?
            .ok_or_else(|| Error::NoInterface { ifname: way.ifname.clone() })?;
        let changes = changes(*family, way, link.index, &links.routes(&namespace)?);
        for route in &changes.remove {
            links.remove_route(&namespace, route)?;
        }
        for (route, gateway) in changes.add.iter().zip(&way.gateways) {
            links.add_route(&namespace, route).map_err(|source| Error::Gateway {
                gateway: *gateway,
                ifname: way.ifname.clone(),
                source,
            })?;
        }
        let routes = links.routes(&namespace)?;
        let now: Vec<&Route> = routes.iter().filter(|route| is_default_of(*family, route)).collect();
        let strange = now.iter().any(|route| route.ifindex != link.index);
        let missing =
            way.gateways.iter().any(|gateway| !now.iter().any(|route| route.gateway == Some(*gateway)));
        if strange || missing {
            return Err(Error::ReadBack { found: format!("{now:?}") });
        }
    }
    Ok(())
}

/// A plugin's result with its default routes as they are now; everything else stays as it was written.
pub fn in_result(result: &str, ifname: &str, ways: &BTreeMap<Family, WayOut>) -> Result<String, Error> {
    let mut result = Object::parse(result.as_bytes())?;
    // Before 0.3.0 each family has its own list.
    for (family, key) in [(Family::V4, "ip4"), (Family::V6, "ip6")] {
        if let Some(mut of_family) = result.read::<Object>(key)? {
            edit(&mut of_family, ifname, &ways.iter().filter(|(f, _)| **f == family).collect())?;
            result.set_object(key, &of_family);
        }
    }
    let old = result.get("ip4").is_some() || result.get("ip6").is_some();
    if !old {
        edit(&mut result, ifname, &ways.iter().collect())?;
    }
    Ok(result.to_string())
}

fn edit(holder: &mut Object, ifname: &str, ways: &BTreeMap<&Family, &WayOut>) -> Result<(), Error> {
    let routes: Vec<Object> = holder.read("routes")?.unwrap_or_default();
    let mut kept = Vec::with_capacity(routes.len());
    let mut changed = false;
    for route in routes {
        let family = route.read::<String>("dst")?.and_then(|dst| default_family(&dst));
        let surplus = family
            .and_then(|family| ways.get(&family))
            .is_some_and(|way| way.ifname != ifname || !way.gateways.is_empty());
        changed |= surplus;
        if !surplus {
            kept.push(route);
        }
    }
    for (family, way) in ways.iter().filter(|(_, way)| way.ifname == ifname) {
        for gateway in &way.gateways {
            let mut route = Object::default();
            route.set("dst", family.everywhere().to_string());
            route.set("gw", gateway.to_string());
            kept.push(route);
            changed = true;
        }
    }
    if changed {
        holder.set_list("routes", &kept);
    }
    Ok(())
}

/// The family of a default route's destination; `None` for any other.
fn default_family(dst: &str) -> Option<Family> {
    let net: IpNet = dst.parse().ok()?;
    (net.prefix_len() == 0).then(|| Family::of(net.addr()))
}

#[cfg(test)]
mod tests;
