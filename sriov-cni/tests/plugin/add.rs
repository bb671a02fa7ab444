//! ADD.

use cni::{Command, Version};
use netlink::{Errno, Links, Route, Verb};
use rstest::rstest;
use vf::State;

use crate::machine::{ANSWER, EVERYTHING, Machine, pod};

#[test]
fn a_kernel_vf_gets_everything_and_the_result_tells_it() {
    let machine = Machine::igb();
    let result = machine.add(1, &machine.conf_with_ipam(EVERYTHING)).unwrap();
    let link = machine.in_pod(1).unwrap();
    assert_eq!((link.name.as_str(), link.mtu, link.up), ("net1", 1400, true));
    let config = machine.look().1;
    assert_eq!((config.vlan, config.qos, config.max_tx_rate, config.trust), (100, 3, 500, Some(true)));

    let written: serde_json::Value =
        serde_json::from_str(&result.to_version(Version::V1_1_0).to_string()).unwrap();
    let expected = serde_json::json!({
        "cniVersion": "1.1.0",
        "interfaces": [{
            "name": "net1",
            "mac": "02:00:00:00:00:0a",
            "mtu": 1400,
            "sandbox": "/run/netns/pod1",
            "pciID": "0000:01:10.0",
        }],
        "ips": [
            {"address": "10.100.0.10/24", "gateway": "10.100.0.1", "interface": 0},
            {"address": "fd00::10/64", "interface": 0},
        ],
        "routes": [{"dst": "10.200.0.0/16"}, {"dst": "10.201.0.0/16", "gw": "10.100.0.254"}],
        "dns": {"nameservers": ["10.100.0.53"]},
    });
    assert_eq!(written, expected);
    assert!(matches!(machine.state(), Some(State::Attached { .. })));
}

#[test]
fn addresses_and_routes_are_on_the_interface() {
    let machine = Machine::igb();
    machine.add(1, &machine.conf_with_ipam("")).unwrap();
    let namespace = machine.links.open(&pod(1)).unwrap();
    let index = machine.in_pod(1).unwrap().index;
    let addresses = machine.links.addresses(&namespace, index).unwrap();
    let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["10.100.0.10/24", "fd00::10/64"]);
    let routes = machine.links.routes(&namespace).unwrap();
    let by = |dst: &str| {
        let route: &Route = routes.iter().find(|route| route.dst.to_string() == dst).unwrap();
        route.gateway.map(|gateway| gateway.to_string())
    };
    // Without a next hop of its own, a route goes by the subnet's gateway.
    assert_eq!(by("10.200.0.0/16").as_deref(), Some("10.100.0.1"));
    assert_eq!(by("10.201.0.0/16").as_deref(), Some("10.100.0.254"));
}

#[test]
fn ipam_reads_our_bytes_each_time() {
    let machine = Machine::igb();
    let conf = machine.conf_with_ipam(EVERYTHING);
    machine.add(1, &conf).unwrap();
    machine.del(1, &conf).unwrap();
    for command in ["ADD", "DEL"] {
        assert_eq!(std::fs::read(machine.path(&format!("stdin.{command}"))).unwrap(), conf, "{command}");
    }
    let expected = ["ADD sandbox1 net1 [/run/netns/pod1]", "DEL sandbox1 net1 [/run/netns/pod1]"];
    assert_eq!(machine.calls(), expected);
}

#[test]
fn a_second_default_route_leaves_the_first_one_preferred() {
    let machine = Machine::igb();
    machine.put(
        "answer",
        r#"{"cniVersion":"1.0.0","ips":[{"address":"10.1.0.2/24","gateway":"10.1.0.1"}],"routes":[{"dst":"0.0.0.0/0"}]}"#,
    );
    machine.links.add_veth(&pod(1), "eth0", "peer");
    let namespace = machine.links.open(&pod(1)).unwrap();
    let eth0 = machine.links.link_named(&namespace, "eth0").unwrap().unwrap();
    machine.links.set_up(&namespace, eth0.index, true).unwrap();
    machine.links.add_address(&namespace, eth0.index, "10.0.0.2/24".parse().unwrap()).unwrap();
    let default = "0.0.0.0/0".parse().unwrap();
    let first = Route::new(default, Some("10.0.0.1".parse().unwrap()), eth0.index);
    machine.links.add_route(&namespace, &first).unwrap();

    machine.add(1, &machine.conf_with_ipam("")).unwrap();
    let mut defaults: Vec<Route> =
        machine.links.routes(&namespace).unwrap().into_iter().filter(Route::is_default).collect();
    defaults.sort_by_key(|route| route.priority.unwrap_or_default());
    let by: Vec<Option<String>> =
        defaults.iter().map(|route| route.gateway.map(|gateway| gateway.to_string())).collect();
    assert_eq!(by, [Some("10.0.0.1".to_owned()), Some("10.1.0.1".to_owned())]);
}

#[test]
fn a_vf_for_user_space_has_its_addresses_in_the_result_only() {
    let machine = Machine::vfio();
    let before = machine.look();
    let conf = machine.conf_with_ipam(r#""mac":"02:00:00:00:00:0b","vlan":100,"#);
    let result = machine.add(1, &conf).unwrap();
    assert_eq!(result.ips.len(), 2);
    let interface = &result.interfaces[0];
    assert_eq!((interface.name.as_str(), interface.mac.as_str()), ("net1", "02:00:00:00:00:0b"));
    assert_eq!((interface.mtu, interface.pci_id.as_str()), (Some(1500), "0000:01:10.0"));
    assert!(machine.in_pod(1).is_none());
    assert_eq!(machine.look().1.vlan, 100);
    machine.del(1, &conf).unwrap();
    assert_eq!(machine.look(), before);
}

#[test]
fn without_ipam_there_are_no_addresses_and_the_configurations_name_servers_count() {
    let machine = Machine::igb();
    let result =
        machine.add(1, &machine.conf(r#""dns":{"nameservers":["10.0.0.53"],"search":["a"]},"#)).unwrap();
    assert!(result.ips.is_empty() && machine.calls().is_empty());
    assert_eq!(
        (result.dns.nameservers, result.dns.search),
        (vec!["10.0.0.53".to_owned()], vec!["a".to_owned()])
    );
    assert_eq!(result.interfaces[0].mac, machine.in_pod(1).unwrap().mac.unwrap().to_string());
}

#[rstest]
#[case("0.1.0", "ip4")]
#[case("0.2.0", "ip4")]
#[case("0.3.0", "interfaces")]
#[case("0.3.1", "interfaces")]
#[case("0.4.0", "interfaces")]
#[case("1.0.0", "interfaces")]
#[case("1.1.0", "pciID")]
fn every_version_gets_its_own_result(#[case] version: &str, #[case] has: &str) {
    let machine = Machine::igb();
    let conf = String::from_utf8(machine.conf_with_ipam("")).unwrap().replace("1.1.0", version);
    let variables = |name: &str| {
        Some(match name {
            "CNI_COMMAND" => "ADD".to_owned(),
            "CNI_CONTAINERID" => "sandbox1".to_owned(),
            "CNI_IFNAME" => "net1".to_owned(),
            "CNI_NETNS" => pod(1).display().to_string(),
            "CNI_PATH" => machine.directory.path().display().to_string(),
            _ => return None,
        })
    };
    let answer = cni::plugin::answer(variables, conf.as_bytes(), |request| machine.sriov().serve(request));
    let text = String::from_utf8(answer.stdout).unwrap();
    assert!(answer.success, "{text}");
    assert!(text.contains(&format!(r#""cniVersion":"{version}""#)) && text.contains(has), "{text}");
}

/// What IPAM does, the code that the runtime gets, and a part of the text.
#[rstest]
#[case::fails(|machine: &Machine| machine.put("fails", "ADD"), 42, "no luck today")]
#[case::missing(|machine: &Machine| std::fs::remove_file(machine.path("scripted")).unwrap(), 102, "scripted")]
#[case::rubbish(|machine: &Machine| machine.put("answer", "certainly!"), 6, "scripted")]
#[case::no_address(|machine: &Machine| machine.put("answer", r#"{"cniVersion":"1.0.0","ips":[]}"#), 7, "no address")]
#[case::unroutable(
    |machine: &Machine| machine.put("answer", &ANSWER.replace("10.100.0.254", "10.9.9.9")),
    114,
    "10.201.0.0/16"
)]
fn when_addresses_fail_everything_is_undone(
    #[case] breaks: fn(&Machine),
    #[case] code: u32,
    #[case] text: &str,
) {
    let machine = Machine::igb();
    let before = machine.look();
    breaks(&machine);
    let error = machine.add(1, &machine.conf_with_ipam(EVERYTHING)).unwrap_err();
    assert_eq!(error.code, code, "{error}");
    assert!(error.to_string().contains(text), "{error}");
    assert_eq!(machine.look(), before);
    assert_eq!(machine.state(), None);
    // IPAM may have failed after it had taken an address.
    if machine.path("scripted").exists() {
        assert!(machine.calls().iter().any(|call| call.starts_with("DEL sandbox1")), "{:?}", machine.calls());
    }
}

#[test]
fn an_ipam_that_hangs_is_killed_and_everything_is_undone() {
    let machine = Machine::igb();
    let before = machine.look();
    machine.put("hangs", "ADD");
    let mut sriov = machine.sriov();
    sriov.ipam.deadline = std::time::Duration::from_secs(2);
    let error = sriov.add(&machine.args(Command::Add, 1), &machine.conf_with_ipam(EVERYTHING)).unwrap_err();
    assert_eq!(error.code, cni::code::PLUGIN_DEADLINE, "{error}");
    assert_eq!(machine.look(), before);
    assert_eq!(machine.state(), None);
}

#[test]
fn an_undoing_that_fails_too_is_told_beside_the_first_error() {
    let machine = Machine::igb();
    machine.put("fails", "ADD DEL");
    let error = machine.add(1, &machine.conf_with_ipam("")).unwrap_err();
    assert_eq!(error.code, 42);
    assert!(
        error.msg.contains("ADD") && error.details.contains("also: ") && error.details.contains("DEL"),
        "{error}"
    );
}

#[test]
fn a_second_add_while_it_is_owned_is_to_be_tried_again() {
    let machine = Machine::igb();
    machine.add(1, &machine.conf_with_ipam(EVERYTHING)).unwrap();
    let calls = machine.calls();
    let error = machine.add(2, &machine.conf_with_ipam("")).unwrap_err();
    assert_eq!(error.code, cni::code::TRY_AGAIN, "{error}");
    assert!(error.msg.contains("sandbox1"), "{error}");
    assert_eq!(machine.calls(), calls);
    assert!(machine.in_pod(1).is_some());
}

#[rstest]
#[case(r#""vlan":4095,"#, 7, "vlan")]
#[case(r#""link_state":"auto","#, 7, "link_state")]
#[case(r#""vlan":5,"vlanProto":"802.1ad","#, 7, "igb")]
#[case(r#""mtu":9000,"#, 7, "1500")]
fn what_cannot_be_done_is_said_before_anything_is(#[case] more: &str, #[case] code: u32, #[case] text: &str) {
    let machine = Machine::igb();
    let error = machine.add(1, &machine.conf_with_ipam(more)).unwrap_err();
    assert_eq!(error.code, code, "{error}");
    assert!(error.msg.contains(text), "{error}");
    assert!(machine.links.changes().is_empty() && machine.calls().is_empty());
}

#[test]
fn the_pod_is_in_the_ledger_for_a_person_to_read() {
    let machine = Machine::igb();
    let mut args = machine.args(Command::Add, 1);
    args.args = cni::args::parse_cni_args("IgnoreUnknown=1;K8S_POD_NAMESPACE=a;K8S_POD_NAME=b").unwrap();
    machine.sriov().add(&args, &machine.conf("")).unwrap();
    let state = machine.state().unwrap();
    let pod = state.claim().unwrap().pod.as_ref().unwrap();
    assert_eq!((pod.namespace.as_str(), pod.name.as_str(), &pod.uid), ("a", "b", &None));
}

#[test]
fn its_addresses_are_announced_once_it_is_up_and_confirmed() {
    let machine = Machine::igb();
    machine.add(1, &machine.conf_with_ipam("")).unwrap();
    let verbs: Vec<Verb> = machine.links.journal().into_iter().map(|call| call.verb).collect();
    let place = |verb| verbs.iter().position(|other| *other == verb).unwrap();
    assert!(place(Verb::SetAnnounce) < place(Verb::SetUp), "{verbs:?}");
    assert_eq!(verbs.last(), Some(&Verb::Announce));
    let call = machine.links.journal().pop().unwrap();
    assert!(call.target.contains("10.100.0.10") && call.target.contains("fd00::10"), "{call:?}");
}

#[rstest]
#[case::without_addresses("", 0)]
#[case::without_a_carrier(r#""ipam":{"type":"scripted"},"#, 1)]
fn an_add_succeeds_whoever_hears_of_it(#[case] more: &str, #[case] announcements: usize) {
    let machine = Machine::igb();
    machine.links.plug(&machine.vf().to_string(), false);
    machine.add(1, &machine.conf(more)).unwrap();
    let journal = machine.links.journal();
    assert_eq!(journal.iter().filter(|call| call.verb == Verb::Announce).count(), announcements);
}

#[rstest]
#[case(Verb::SetAnnounce)]
#[case(Verb::Events)]
#[case(Verb::Announce)]
fn an_add_succeeds_also_if_its_addresses_cannot_be_announced(#[case] verb: Verb) {
    let machine = Machine::igb();
    machine.links.fail_on(verb, 1, Errno::EPERM);
    machine.add(1, &machine.conf_with_ipam(EVERYTHING)).unwrap();
    assert!(matches!(machine.state(), Some(State::Attached { .. })));
}
