//! The model into a result of a given version.

use super::{AddResult, Dns, Interface, Ip, Route};
use crate::object::Object;
use crate::version::Version;

pub(super) fn result(result: &AddResult, version: Version) -> Object {
    let mut object = Object::default();
    object.set("cniVersion", version.as_str());
    if version < Version::V0_3_0 {
        for (key, ipv4) in [("ip4", true), ("ip6", false)] {
            if let Some(ip) = result.ips.iter().find(|ip| ip.address.addr().is_ipv4() == ipv4) {
                object.set_object(key, &old_ip(ip, &result.routes));
            }
        }
    } else {
        set_list(&mut object, "interfaces", result.interfaces.iter().map(|item| interface(item, version)));
        set_list(&mut object, "ips", result.ips.iter().map(|item| ip(item, version)));
        set_list(&mut object, "routes", result.routes.iter().map(|item| route(item, version)));
    }
    // Before 1.0.0 the key was always written, and readers in use rely on it.
    if version < Version::V1_0_0 || !result.dns.is_empty() {
        object.set_object("dns", &dns(&result.dns));
    }
    object.merge(&result.other);
    object
}

fn interface(interface: &Interface, version: Version) -> Object {
    let mut object = Object::default();
    object.set("name", interface.name.as_str());
    set_text(&mut object, "mac", &interface.mac);
    if version >= Version::V1_0_0 {
        set_number(&mut object, "mtu", interface.mtu);
    }
    set_text(&mut object, "sandbox", &interface.sandbox);
    if version >= Version::V1_0_0 {
        set_text(&mut object, "socketPath", &interface.socket_path);
        set_text(&mut object, "pciID", &interface.pci_id);
    }
    object.merge(&interface.other);
    object
}

fn ip(ip: &Ip, version: Version) -> Object {
    let mut object = Object::default();
    if version < Version::V1_0_0 {
        object.set("version", if ip.address.addr().is_ipv4() { "4" } else { "6" });
    }
    if let Some(index) = ip.interface {
        object.set("interface", index);
    }
    object.set("address", ip.address.to_string());
    if let Some(gateway) = ip.gateway {
        object.set("gateway", gateway.to_string());
    }
    object.merge(&ip.other);
    object
}

fn old_ip(ip: &Ip, routes: &[Route]) -> Object {
    let mut object = Object::default();
    object.set("ip", ip.address.to_string());
    if let Some(gateway) = ip.gateway {
        object.set("gateway", gateway.to_string());
    }
    let same_family = routes.iter().filter(|route| route.dst.addr().is_ipv4() == ip.address.addr().is_ipv4());
    set_list(&mut object, "routes", same_family.map(|item| route(item, Version::V0_2_0)));
    object.merge(&ip.other);
    object
}

fn route(route: &Route, version: Version) -> Object {
    let mut object = Object::default();
    object.set("dst", route.dst.to_string());
    if let Some(gw) = route.gw {
        object.set("gw", gw.to_string());
    }
    if version >= Version::V1_0_0 {
        set_number(&mut object, "mtu", route.mtu);
        set_number(&mut object, "advmss", route.advmss);
        set_number(&mut object, "priority", route.priority);
        set_number(&mut object, "table", route.table);
        set_number(&mut object, "scope", route.scope);
    }
    object.merge(&route.other);
    object
}

fn dns(dns: &Dns) -> Object {
    let mut object = Object::default();
    set_texts(&mut object, "nameservers", &dns.nameservers);
    set_text(&mut object, "domain", &dns.domain);
    set_texts(&mut object, "search", &dns.search);
    set_texts(&mut object, "options", &dns.options);
    object.merge(&dns.other);
    object
}

fn set_text(object: &mut Object, key: &str, text: &str) {
    if !text.is_empty() {
        object.set(key, text);
    }
}

fn set_texts(object: &mut Object, key: &str, texts: &[String]) {
    if !texts.is_empty() {
        object.set(key, texts);
    }
}

fn set_number(object: &mut Object, key: &str, number: Option<u32>) {
    if let Some(number) = number {
        object.set(key, number);
    }
}

fn set_list(object: &mut Object, key: &str, items: impl Iterator<Item = Object>) {
    let items: Vec<Object> = items.collect();
    if !items.is_empty() {
        object.set_list(key, &items);
    }
}
