//! Addresses and routes on the interface in the pod.

use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use cni::AddResult;
use cni::error::with_sources;
use netlink::{Links, Route};

use crate::error::POD_REFUSED;

/// How long a carrier is waited for before the addresses are announced: without it, nobody hears them.
const CARRIER: Duration = Duration::from_millis(200);

/// How long it's waited for where it's certain to come, since the PF has one: an igbvf takes two seconds.
const CERTAIN_CARRIER: Duration = Duration::from_secs(5);

/// How many metrics are tried for a route that the pod has already by another interface.
const METRICS: u32 = 64;

/// Sets addresses and routes.
pub(crate) fn configure<L: Links>(
    links: &L,
    netns: &Path,
    ifindex: u32,
    result: &AddResult,
) -> Result<(), cni::Error> {
    set(links, netns, ifindex, result).map_err(|error| cni::Error::new(POD_REFUSED, with_sources(&error)))
}

fn set<L: Links>(links: &L, netns: &Path, ifindex: u32, result: &AddResult) -> Result<(), netlink::Error> {
    let namespace = links.open(netns)?;
    for ip in &result.ips {
        match links.add_address(&namespace, ifindex, ip.address) {
            Err(error) if !error.is_taken() => return Err(error),
            _ => {}
        }
    }
    for route in routes(result, ifindex) {
        add_route(links, &namespace, &route)?;
    }
    Ok(())
}

/// Announces the addresses, so that neighbours forget who had them before.
///
/// The pod is attached whether they hear it or not, and there's nobody to tell an error to: without a carrier they
/// find out by themselves, only later.
pub(crate) fn announce<L: Links>(
    links: &L,
    netns: &Path,
    ifindex: u32,
    result: &AddResult,
    carrier_is_certain: bool,
) {
    let limit = if carrier_is_certain { CERTAIN_CARRIER } else { CARRIER };
    let addresses: Vec<IpAddr> = result.ips.iter().map(|ip| ip.address.addr()).collect();
    let tell = || {
        let namespace = links.open(netns)?;
        links.wait_carrier(&namespace, ifindex, Instant::now() + limit)?;
        links.announce(&namespace, ifindex, &addresses)
    };
    if !addresses.is_empty() {
        drop(tell());
    }
}

/// The routes as the kernel takes them. One without a next hop goes by the gateway of the first address of its
/// family that has one.
fn routes(result: &AddResult, ifindex: u32) -> Vec<Route> {
    let gateway = |ipv4: bool| {
        let of_family = |address: &IpAddr| address.is_ipv4() == ipv4;
        result.ips.iter().filter_map(|ip| ip.gateway).find(of_family)
    };
    result
        .routes
        .iter()
        .map(|route| Route {
            priority: route.priority,
            table: route.table,
            scope: route.scope.and_then(|scope| u8::try_from(scope).ok()),
            mtu: route.mtu,
            advmss: route.advmss,
            ..Route::new(route.dst, route.gw.or_else(|| gateway(route.dst.addr().is_ipv4())), ifindex)
        })
        .collect()
}

/// The routes of a result that aren't among those of the pod.
///
/// Metric and table count where the result names them. Without, ADD may have had to choose another metric, and a later
/// plugin of the chain may have moved the route into a table of its own.
pub(crate) fn missing_routes(result: &AddResult, ifindex: u32, present: &[Route]) -> Vec<Route> {
    let is_met = |wanted: Option<u32>, found: Option<u32>| wanted.is_none() || wanted == found;
    let is_there = |wanted: &Route| {
        present.iter().any(|found| {
            found.dst == wanted.dst.trunc()
                && found.ifindex == ifindex
                && found.gateway == wanted.gateway
                && is_met(wanted.priority, found.priority)
                && is_met(wanted.table, found.table)
        })
    };
    routes(result, ifindex).into_iter().filter(|route| !is_there(route)).collect()
}

/// Adds a route. Where the pod has another one to the same destination (a default route by its first interface),
/// and the network asks for no metric, it gets the next higher one, so that the pod's own stays the preferred one.
fn add_route<L: Links>(links: &L, namespace: &L::Namespace, route: &Route) -> Result<(), netlink::Error> {
    let first = match links.add_route(namespace, route) {
        Err(error) if error.is_taken() && route.priority.is_none() => error,
        outcome => return outcome,
    };
    let table = route.table.unwrap_or(Route::MAIN_TABLE);
    let rivals: Vec<Route> = links
        .routes(namespace)?
        .into_iter()
        .filter(|other| other.dst == route.dst.trunc() && other.table == Some(table))
        .collect();
    let is_same = |other: &Route| other.ifindex == route.ifindex && other.gateway == route.gateway;
    if rivals.iter().any(is_same) {
        return Ok(());
    }
    let highest = rivals.iter().filter_map(|other| other.priority).max().unwrap_or_default();
    for step in 1..=METRICS {
        let priority = Some(highest.saturating_add(step));
        match links.add_route(namespace, &Route { priority, ..route.clone() }) {
            Err(error) if error.is_taken() => {}
            outcome => return outcome,
        }
    }
    Err(first)
}
