use netlink::Kernel;
use rstest::rstest;
use serde_json::{Value, json};
use testbed::links::netns::NamedNamespace;

use super::*;

fn attachment(ifname: &str, default_route: Option<&[&str]>) -> Attachment {
    let gateways = default_route.map(|list| list.iter().map(|text| text.parse().unwrap()).collect());
    Attachment {
        name: format!("ns/{ifname}"),
        ifname: ifname.to_owned(),
        resource: None,
        device: None,
        device_info: None,
        default_route: gateways,
        args: Vec::new(),
        chain: cni::Chain {
            name: "n".to_owned(),
            cni_version: cni::Version::LATEST,
            disable_check: false,
            disable_gc: false,
            plugins: Vec::new(),
        },
    }
}

fn ways(asked: &[(&str, Option<&[&str]>)]) -> BTreeMap<Family, WayOut> {
    let attachments: Vec<Attachment> = asked.iter().map(|(ifname, list)| attachment(ifname, *list)).collect();
    ways_out(&attachments)
}

fn way(ifname: &str, gateways: &[&str]) -> WayOut {
    let gateways = gateways.iter().map(|text| text.parse().unwrap()).collect();
    WayOut { ifname: ifname.to_owned(), gateways }
}

#[test]
fn nobody_asks_and_nothing_is_changed() {
    assert_eq!(ways(&[("eth0", None), ("net1", None)]), BTreeMap::new());
}

#[rstest]
#[case::one_family(&[("eth0", None), ("net1", Some(&["10.1.0.1"][..]))], Some(way("net1", &["10.1.0.1"])), None)]
#[case::both(&[("net1", Some(&["fd00::1", "10.1.0.1"][..]))], Some(way("net1", &["10.1.0.1"])), Some(way("net1", &["fd00::1"])))]
#[case::two_networks(&[("net1", Some(&["10.1.0.1"][..])), ("net2", Some(&["fd00::1"][..]))],
    Some(way("net1", &["10.1.0.1"])), Some(way("net2", &["fd00::1"])))]
#[case::empty_keeps_its_own(&[("net1", Some(&[][..]))], Some(way("net1", &[])), Some(way("net1", &[])))]
#[case::a_gateway_goes_before_empty(&[("net1", Some(&[][..])), ("net2", Some(&["10.1.0.1"][..]))],
    Some(way("net2", &["10.1.0.1"])), Some(way("net1", &[])))]
fn the_way_out_is_per_family(
    #[case] asked: &[(&str, Option<&[&str]>)],
    #[case] v4: Option<WayOut>,
    #[case] v6: Option<WayOut>,
) {
    let ways = ways(asked);
    assert_eq!((ways.get(&Family::V4).cloned(), ways.get(&Family::V6).cloned()), (v4, v6));
}

#[rstest]
#[case::other_interface("eth0", json!({"routes": [{"dst": "0.0.0.0/0", "gw": "10.0.0.1"}, {"dst": "10.9.0.0/16"}]}),
    json!({"routes": [{"dst": "10.9.0.0/16"}]}))]
#[case::the_way_out("net1", json!({"cniVersion": "1.0.0", "routes": [{"dst": "0.0.0.0/0", "gw": "10.9.9.9"}], "x": 1.50}),
    json!({"cniVersion": "1.0.0", "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.0.1"}], "x": 1.50}))]
#[case::no_routes_yet("net1", json!({}), json!({"routes": [{"dst": "0.0.0.0/0", "gw": "10.1.0.1"}]}))]
#[case::nothing_to_change("eth0", json!({"ips": []}), json!({"ips": []}))]
#[case::other_family("eth0", json!({"routes": [{"dst": "::/0", "gw": "fd00::1"}]}), json!({"routes": [{"dst": "::/0", "gw": "fd00::1"}]}))]
#[case::before_0_3("eth0", json!({"ip4": {"ip": "10.0.0.2/24", "routes": [{"dst": "0.0.0.0/0"}]}}),
    json!({"ip4": {"ip": "10.0.0.2/24", "routes": []}}))]
fn a_result_says_what_was_changed(#[case] ifname: &str, #[case] before: Value, #[case] after: Value) {
    let ways = ways(&[("eth0", None), ("net1", Some(&["10.1.0.1"]))]);
    let edited = in_result(&before.to_string(), ifname, &ways).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&edited).unwrap(), after);
}

#[test]
fn what_is_not_changed_keeps_its_bytes() {
    let text = r#"{"routes":[{"dst":"10.0.0.0/8","mtu":18446744073709551616}],"z":1.50}"#;
    assert_eq!(in_result(text, "eth0", &ways(&[("net1", Some(&["10.1.0.1"]))])).unwrap(), text);
}

/// A pod with two interfaces, both with a default route, as two plugins would leave it.
fn pod() -> NamedNamespace {
    let pod = NamedNamespace::make().unwrap();
    for (name, subnet) in [("eth0", "10.0.0"), ("net1", "10.1.0")] {
        pod.ip(&["link", "add", name, "type", "veth", "peer", "name", &format!("{name}-peer")]).unwrap();
        pod.ip(&["link", "set", &format!("{name}-peer"), "up"]).unwrap();
        pod.ip(&["link", "set", name, "up"]).unwrap();
        pod.ip(&["addr", "add", &format!("{subnet}.2/24"), "dev", name]).unwrap();
    }
    pod.ip(&["route", "add", "default", "via", "10.0.0.1", "dev", "eth0"]).unwrap();
    pod.ip(&["route", "add", "default", "via", "10.1.0.9", "dev", "net1", "metric", "50"]).unwrap();
    pod
}

/// Gateways of the IPv4 default routes with their interface's index, in the order of their metric.
fn defaults(kernel: &Kernel, pod: &NamedNamespace) -> Vec<(u32, String)> {
    let namespace = kernel.open(&pod.path()).unwrap();
    let mut routes: Vec<Route> = kernel
        .routes(&namespace)
        .unwrap()
        .into_iter()
        .filter(|route| is_default_of(Family::V4, route))
        .collect();
    routes.sort_by_key(|route| route.priority);
    routes.iter().map(|route| (route.ifindex, route.gateway.unwrap().to_string())).collect()
}

fn index(kernel: &Kernel, pod: &NamedNamespace, name: &str) -> u32 {
    kernel.link_named(&kernel.open(&pod.path()).unwrap(), name).unwrap().unwrap().index
}

#[test]
fn the_kernel_has_exactly_the_gateways_that_were_asked_for() {
    let (kernel, pod) = (Kernel::new().unwrap(), pod());
    let asked = ways(&[("eth0", None), ("net1", Some(&["10.1.0.1", "10.1.0.3"]))]);
    for _again in 0..2 {
        apply(&kernel, &pod.path(), &asked).unwrap();
        let net1 = index(&kernel, &pod, "net1");
        assert_eq!(defaults(&kernel, &pod), [(net1, "10.1.0.1".to_owned()), (net1, "10.1.0.3".to_owned())]);
    }
}

#[test]
fn an_empty_list_keeps_what_the_plugin_set() {
    let (kernel, pod) = (Kernel::new().unwrap(), pod());
    apply(&kernel, &pod.path(), &ways(&[("eth0", None), ("net1", Some(&[]))])).unwrap();
    assert_eq!(defaults(&kernel, &pod), [(index(&kernel, &pod, "net1"), "10.1.0.9".to_owned())]);
}

#[test]
fn a_gateway_out_of_reach_is_named() {
    let (kernel, pod) = (Kernel::new().unwrap(), pod());
    let error =
        apply(&kernel, &pod.path(), &ways(&[("eth0", None), ("net1", Some(&["192.0.2.1"]))])).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("192.0.2.1") && text.contains("net1"), "{text}");
    assert_eq!(cni::Error::from(error).code, cni::code::INVALID_CONFIG);
}

#[test]
fn a_missing_interface_is_named() {
    let (kernel, pod) = (Kernel::new().unwrap(), pod());
    let error = apply(&kernel, &pod.path(), &ways(&[("net7", Some(&["10.1.0.1"]))])).unwrap_err();
    assert!(matches!(error, Error::NoInterface { ifname } if ifname == "net7"));
}
