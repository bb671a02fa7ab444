//! Which interfaces the host itself lives on: they're never offered.
//!
//! An interface is the host's when a default route leaves by it, or by something that stands on it: the bridge, bond,
//! team or VRF that it's a member of, or a VLAN on top of it. Members of Open vSwitch are the host's too: its routes
//! are on an internal port that says nothing about the others.

use std::collections::BTreeMap;

use netlink::{Link, Route};

/// The interface of Open vSwitch's kernel module that its ports are members of.
const OVS_MASTER: &str = "ovs-system";

/// The host's own interfaces, each with the interface that it carries a default route for.
///
/// `lower` names the interfaces that one stands on, as far as the kernel says besides the members' own [`Link::master`].
pub fn uplinks(
    links: &[Link],
    routes: &[Route],
    lower: impl Fn(&str) -> Vec<String>,
) -> BTreeMap<String, String> {
    let by_name = |name: &str| links.iter().find(|link| link.name == name);
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    let mut open: Vec<(&Link, String)> = links
        .iter()
        .filter(|link| link.name == OVS_MASTER || carries_default(link, routes))
        .map(|link| (link, link.name.clone()))
        .collect();
    while let Some((link, route_of)) = open.pop() {
        if found.contains_key(&link.name) {
            continue;
        }
        found.insert(link.name.clone(), route_of.clone());
        let members = links.iter().filter(|member| member.master == Some(link.index));
        let below = lower(&link.name);
        let carriers = below.iter().filter_map(|name| by_name(name));
        open.extend(members.chain(carriers).map(|link| (link, route_of.clone())));
    }
    found
}

fn carries_default(link: &Link, routes: &[Route]) -> bool {
    routes.iter().any(|route| route.is_default() && route.ifindex == link.index)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn link(index: u32, name: &str, master: Option<u32>) -> Link {
        Link {
            index,
            name: name.to_owned(),
            altnames: Vec::new(),
            mac: None,
            guid: None,
            mtu: 1500,
            up: true,
            carrier: true,
            promisc: false,
            allmulti: false,
            device: None,
            master,
            lower: None,
            hardware: 1,
        }
    }

    fn route(destination: &str, ifindex: u32) -> Route {
        Route::new(destination.parse().unwrap(), None, ifindex)
    }

    #[rstest]
    #[case::none("", &[])]
    #[case::ipv4("0.0.0.0/0 1", &["eth0"])]
    #[case::ipv6("::/0 1", &["eth0"])]
    #[case::a_network_is_no_default("10.0.0.0/8 1", &[])]
    #[case::a_bridge_over_a_bond("0.0.0.0/0 4", &["bond0", "br0", "eth1", "eth2"])]
    #[case::a_vlan_on_a_bond("0.0.0.0/0 6", &["bond1", "eth3", "vlan5"])]
    #[case::without_a_link("0.0.0.0/0 0", &[])]
    fn what_carries_a_default_route_is_the_hosts(#[case] routes: &str, #[case] expected: &[&str]) {
        let links = [
            link(1, "eth0", None),
            link(2, "eth1", Some(5)),
            link(3, "eth2", Some(5)),
            link(4, "br0", None),
            link(5, "bond0", Some(4)),
            link(6, "vlan5", None),
            link(7, "bond1", None),
            link(8, "eth3", Some(7)),
            link(9, "free", None),
        ];
        let routes: Vec<Route> = routes
            .lines()
            .map(|line| line.split_once(' ').unwrap())
            .map(|(destination, index)| route(destination, index.parse().unwrap()))
            .collect();
        let lower = |name: &str| if name == "vlan5" { vec!["bond1".to_owned()] } else { Vec::new() };
        let found = uplinks(&links, &routes, lower);
        assert_eq!(found.keys().map(String::as_str).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_port_of_open_vswitch_is_the_hosts() {
        let links = [link(1, "ovs-system", None), link(2, "eth0", Some(1)), link(3, "br-ex", None)];
        let found = uplinks(&links, &[route("0.0.0.0/0", 3)], |_| Vec::new());
        assert_eq!(found.keys().map(String::as_str).collect::<Vec<_>>(), ["br-ex", "eth0", "ovs-system"]);
    }

    #[test]
    fn links_that_stand_on_each_other_in_a_circle_end() {
        let links = [link(1, "a", Some(2)), link(2, "b", Some(1))];
        assert_eq!(uplinks(&links, &[route("::/0", 1)], |_| vec!["b".to_owned()]).len(), 2);
    }
}
