//! Results of any version into the model.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{AddResult, Dns, Interface, InvalidResult, Ip, Route};
use crate::object::{self, Object};

pub(super) fn result(mut object: Object) -> Result<AddResult, InvalidResult> {
    object.take::<String>("cniVersion")?;
    let interfaces = list(&mut object, "interfaces", interface)?;
    let mut ips = list(&mut object, "ips", ip)?;
    let mut routes = list(&mut object, "routes", route)?;
    for family in ["ip4", "ip6"] {
        if let Some(old) = object.take::<Object>(family)? {
            let (ip, old_routes) = old_ip(old)?;
            ips.push(ip);
            routes.extend(old_routes);
        }
    }
    let dns = match object.take::<Object>("dns")? {
        Some(old) => dns(old)?,
        None => Dns::default(),
    };
    Ok(AddResult { interfaces, ips, routes, dns, other: object })
}

fn interface(mut object: Object) -> Result<Interface, InvalidResult> {
    Ok(Interface {
        name: text(&mut object, "name")?,
        mac: text(&mut object, "mac")?,
        mtu: positive(&mut object, "mtu")?,
        sandbox: text(&mut object, "sandbox")?,
        socket_path: text(&mut object, "socketPath")?,
        pci_id: text(&mut object, "pciID")?,
        other: object,
    })
}

fn ip(mut object: Object) -> Result<Ip, InvalidResult> {
    let address = network(&mut object, "address")?;
    let gateway = address_or_none(&mut object, "gateway")?;
    // Early libraries wrote -1 for "no interface".
    let interface = object.take::<i64>("interface")?.and_then(|index| usize::try_from(index).ok());
    Ok(Ip { address, gateway, interface, other: beyond_both_forms(object) })
}

/// An address of 0.1.0 and 0.2.0, which carries its routes.
fn old_ip(mut object: Object) -> Result<(Ip, Vec<Route>), InvalidResult> {
    let address = network(&mut object, "ip")?;
    let gateway = address_or_none(&mut object, "gateway")?;
    let routes = list(&mut object, "routes", route)?;
    Ok((Ip { address, gateway, interface: None, other: beyond_both_forms(object) }, routes))
}

/// The rest of an address. A key that only the other form has a meaning for isn't one beyond the specification: once
/// the result is written in that form, it would stand for the address.
///
/// `version` is "4" or "6" before 1.0.0; the address says as much.
fn beyond_both_forms(mut object: Object) -> Object {
    for key in ["version", "ip", "routes", "address", "interface"] {
        object.forget(key);
    }
    object
}

fn route(mut object: Object) -> Result<Route, InvalidResult> {
    Ok(Route {
        dst: network(&mut object, "dst")?,
        gw: address_or_none(&mut object, "gw")?,
        mtu: positive(&mut object, "mtu")?,
        advmss: positive(&mut object, "advmss")?,
        priority: positive(&mut object, "priority")?,
        table: object.take("table")?,
        scope: object.take("scope")?,
        other: object,
    })
}

fn dns(mut object: Object) -> Result<Dns, InvalidResult> {
    Ok(Dns {
        nameservers: object.take("nameservers")?.unwrap_or_default(),
        domain: text(&mut object, "domain")?,
        search: object.take("search")?.unwrap_or_default(),
        options: object.take("options")?.unwrap_or_default(),
        other: object,
    })
}

fn list<T>(
    object: &mut Object,
    key: &str,
    read: impl Fn(Object) -> Result<T, InvalidResult>,
) -> Result<Vec<T>, InvalidResult> {
    object.take::<Vec<Object>>(key)?.unwrap_or_default().into_iter().map(read).collect()
}

fn text(object: &mut Object, key: &str) -> Result<String, object::Error> {
    Ok(object.take(key)?.unwrap_or_default())
}

/// A number whose 0 means "not set".
fn positive(object: &mut Object, key: &str) -> Result<Option<u32>, object::Error> {
    Ok(object.take::<u32>(key)?.filter(|number| *number > 0))
}

fn network(object: &mut Object, key: &'static str) -> Result<IpNet, InvalidResult> {
    let text = text(object, key)?;
    text.parse().map_err(|_unspecific| InvalidResult::Network { key, text })
}

fn address_or_none(object: &mut Object, key: &'static str) -> Result<Option<IpAddr>, InvalidResult> {
    let text = text(object, key)?;
    if text.is_empty() {
        return Ok(None);
    }
    match text.parse() {
        Ok(address) => Ok(Some(address)),
        Err(_unspecific) => Err(InvalidResult::Address { key, text }),
    }
}
