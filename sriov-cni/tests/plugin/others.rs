//! CHECK, GC and STATUS.

use cni::{Args, Command, Version};
use netlink::{Links, MacAddr, Route};
use rstest::rstest;
use sriov_cni::error::CHECK_DIFFERS;

use crate::machine::{EVERYTHING, Machine, pod};

/// The configuration with the result of an ADD in it.
fn with_result(machine: &Machine) -> Vec<u8> {
    let conf = machine.conf_with_ipam(EVERYTHING);
    let result = machine.add(1, &conf).unwrap().to_version(Version::V1_1_0);
    let mut object = cni::Object::parse(&conf).unwrap();
    object.set_object("prevResult", &result);
    object.to_string().into_bytes()
}

#[test]
fn check_finds_what_was_changed() {
    let machine = Machine::igb();
    let conf = with_result(&machine);
    let args = machine.args(Command::Check, 1);
    machine.sriov().check(&args, &conf).unwrap();
    assert!(machine.calls().last().unwrap().starts_with("CHECK sandbox1"));

    machine.links.change_vf_behind(&machine.vf().to_string(), |config| config.vlan = 9);
    let error = machine.sriov().check(&args, &conf).unwrap_err();
    assert_eq!(error.code, CHECK_DIFFERS);
    assert!(error.msg.contains("vlan is 9 in place of 100"), "{error}");
    machine.links.change_vf_behind(&machine.vf().to_string(), |config| config.vlan = 100);
    machine.sriov().check(&args, &conf).unwrap();

    machine.links.change_mac_behind(&machine.vf().to_string(), MacAddr([2; 6]));
    let error = machine.sriov().check(&args, &conf).unwrap_err();
    assert!(error.msg.contains("mac is 02:02:02:02:02:02"), "{error}");
}

#[test]
fn check_finds_a_missing_address_and_a_missing_result() {
    let machine = Machine::igb();
    let conf = with_result(&machine);
    let more = String::from_utf8(conf).unwrap().replace("10.100.0.10/24", "10.100.0.11/24");
    let error = machine.sriov().check(&machine.args(Command::Check, 1), more.as_bytes()).unwrap_err();
    assert!(error.msg.contains("10.100.0.11/24"), "{error}");
    let error = machine.sriov().check(&machine.args(Command::Check, 1), &machine.conf("")).unwrap_err();
    assert!(error.msg.contains("prevResult"), "{error}");
}

#[rstest]
#[case("10.200.0.0/16", "the route 10.200.0.0/16 via 10.100.0.1")]
#[case("10.201.0.0/16", "the route 10.201.0.0/16 via 10.100.0.254")]
fn check_finds_a_missing_route(#[case] dst: &str, #[case] text: &str) {
    let machine = Machine::igb();
    let conf = with_result(&machine);
    let args = machine.args(Command::Check, 1);
    machine.sriov().check(&args, &conf).unwrap();
    let namespace = machine.links.open(&pod(1)).unwrap();
    let routes = machine.links.routes(&namespace).unwrap();
    let route = routes.iter().find(|route| route.dst.to_string() == dst).unwrap();
    machine.links.remove_route(&namespace, route).unwrap();
    let error = machine.sriov().check(&args, &conf).unwrap_err();
    assert_eq!(error.code, CHECK_DIFFERS);
    assert!(error.msg.ends_with(&format!("lacks {text}")), "{error}");

    // By another gateway it isn't the same.
    let gateway = Some("10.100.0.99".parse().unwrap());
    machine.links.add_route(&namespace, &Route { gateway, ..route.clone() }).unwrap();
    machine.sriov().check(&args, &conf).unwrap_err();
}

const MORE_ROUTES: &str = r#"{"cniVersion":"1.1.0","ips":[{"address":"10.1.0.2/24","gateway":"10.1.0.1"}],
    "routes":[{"dst":"0.0.0.0/0"},{"dst":"10.2.0.0/16","priority":7,"table":1000}]}"#;

/// What ADD chose itself isn't held against it, what the network asked for is.
#[rstest]
#[case::as_added(None, true)]
#[case::default_with_another_metric(Some(("0.0.0.0/0", Some(900), None)), true)]
#[case::default_in_another_table(Some(("0.0.0.0/0", None, Some(100))), true)]
#[case::another_metric_than_asked_for(Some(("10.2.0.0/16", Some(8), Some(1000))), false)]
#[case::another_table_than_asked_for(Some(("10.2.0.0/16", Some(7), Some(1001))), false)]
fn check_compares_metric_and_table_where_they_were_asked_for(
    #[case] changed: Option<(&str, Option<u32>, Option<u32>)>,
    #[case] agrees: bool,
) {
    let machine = Machine::igb();
    machine.put("answer", MORE_ROUTES);
    // The pod has a default route already, so that ADD has to choose another metric.
    machine.links.add_veth(&pod(1), "eth0", "peer");
    let namespace = machine.links.open(&pod(1)).unwrap();
    let eth0 = machine.links.link_named(&namespace, "eth0").unwrap().unwrap().index;
    machine.links.set_up(&namespace, eth0, true).unwrap();
    machine.links.add_route(&namespace, &Route::new("0.0.0.0/0".parse().unwrap(), None, eth0)).unwrap();
    let conf = with_result(&machine);
    if let Some((dst, priority, table)) = changed {
        let routes = machine.links.routes(&namespace).unwrap();
        let ours = |route: &&Route| route.dst.to_string() == dst && route.ifindex != eth0;
        let route = routes.iter().find(ours).unwrap();
        machine.links.remove_route(&namespace, route).unwrap();
        machine.links.add_route(&namespace, &Route { priority, table, ..route.clone() }).unwrap();
    }
    let checked = machine.sriov().check(&machine.args(Command::Check, 1), &conf);
    assert_eq!(checked.is_ok(), agrees, "{checked:?}");
}

#[test]
fn check_of_what_was_never_added_fails() {
    let machine = Machine::igb();
    let conf = with_result(&machine);
    let args = Args { netns: Some(pod(2)), ..machine.args(Command::Check, 2) };
    let error = machine.sriov().check(&args, &conf).unwrap_err();
    assert_eq!(error.code, sriov_cni::error::VF_NOT_OWNED, "{error}");
}

fn valid(machine: &Machine, list: &str) -> Vec<u8> {
    machine.conf(&format!(r#""cni.dev/valid-attachments":{list},"#))
}

#[test]
fn gc_takes_back_what_the_runtime_does_not_know_and_nothing_of_other_networks() {
    let machine = Machine::igb();
    let before = machine.look();
    machine.add(1, &machine.conf(EVERYTHING)).unwrap();
    let args = machine.args(Command::Gc, 1);

    let known = valid(&machine, r#"[{"containerID":"sandbox1","ifname":"net1"}]"#);
    machine.sriov().gc(&args, &known).unwrap();
    assert!(machine.in_pod(1).is_some());

    let red = String::from_utf8(valid(&machine, "[]")).unwrap().replace("blue", "red");
    machine.sriov().gc(&args, red.as_bytes()).unwrap();
    assert!(machine.in_pod(1).is_some());

    let error = machine.sriov().gc(&args, &machine.conf("")).unwrap_err();
    assert!(error.msg.contains("valid-attachments"), "{error}");
    assert!(machine.in_pod(1).is_some());

    machine.sriov().gc(&args, &valid(&machine, r#"[{"containerID":"sandbox1","ifname":"net2"}]"#)).unwrap();
    assert!(machine.links.open(&pod(1)).is_ok());
    assert_eq!(machine.look(), before);
    assert_eq!(machine.state(), None);
}

#[test]
fn status_is_whether_the_ledger_and_ipam_are_ready() {
    let machine = Machine::igb();
    let args = machine.args(Command::Status, 1);
    machine.sriov().status(&args, &machine.conf("")).unwrap();
    machine.sriov().status(&args, &machine.conf_with_ipam("")).unwrap();
    machine.put("fails", "STATUS");
    let error = machine.sriov().status(&args, &machine.conf_with_ipam("")).unwrap_err();
    assert_eq!(error.code, 42);
    std::fs::remove_dir_all(machine.host.ledger.directory()).unwrap();
    let error = machine.sriov().status(&args, &machine.conf("")).unwrap_err();
    assert_eq!(error.code, cni::code::NOT_AVAILABLE);
}
