use multinet::parse_networks;
use proptest::prelude::*;
use rstest::rstest;
use serde_json::Value;

use super::*;

const VF_A: &str = "0000:03:10.0";
const VF_B: &str = "0000:03:10.2";

fn pod() -> PodRef {
    PodRef { namespace: "ns".to_owned(), name: "web".to_owned(), uid: "uid-1".to_owned() }
}

fn sandbox() -> Sandbox {
    Sandbox {
        container_id: "c0ffee".to_owned(),
        netns: Some("/run/netns/x".into()),
        ifname: "eth0".to_owned(),
        args: vec![
            ("IgnoreUnknown".to_owned(), "1".to_owned()),
            ("K8S_POD_NAME".to_owned(), "web".to_owned()),
            ("K8S_POD_INFRA_CONTAINER_ID".to_owned(), "c0ffee".to_owned()),
            ("EXTRA".to_owned(), "a=b".to_owned()),
        ],
        path: vec!["/opt/cni/bin".into()],
        cni_version: Version::V1_0_0,
        runtime_config: Object::parse(br#"{"portMappings": [{"hostPort": 80}], "dns": {}}"#).unwrap(),
    }
}

fn policy() -> Policy {
    Policy { device_info_dir: "/devinfo".into(), tolerate_missing_capability: false }
}

fn network(name: &str, config: &str, resource: Option<&str>) -> Network {
    let short = name.rsplit('/').next().unwrap();
    Network {
        name: name.to_owned(),
        config: DelegateConfig::parse(config, short).unwrap(),
        resource: resource.map(str::to_owned),
    }
}

fn default_network() -> Wanted {
    let config = r#"{"name": "cluster", "plugins": [
        {"type": "bridge", "ipam": {"type": "host-local"}},
        {"type": "portmap", "capabilities": {"portMappings": true}}]}"#;
    Wanted { network: network("cluster", config, None), selection: None }
}

/// A network chosen by an element of the annotation.
fn chosen(network: Network, element: &str) -> Wanted {
    let mut selections = parse_networks(&format!("[{element}]"), "ns").unwrap();
    Wanted { network, selection: selections.pop() }
}

fn devices(of: &[(&str, &[&str])]) -> Devices {
    of.iter()
        .map(|(resource, ids)| ((*resource).to_owned(), ids.iter().map(|id| (*id).to_owned()).collect()))
        .collect()
}

fn stdin(attachment: &Attachment, plugin: usize) -> Value {
    serde_json::from_str(&attachment.chain.plugins[plugin].stdin).unwrap()
}

#[test]
fn a_pod_with_a_vf_and_a_bandwidth_limit() {
    let sriov = network("ns/fast", r#"{"type": "sriov", "vlan": 100, "rate": 1.50}"#, Some("intel.com/a"));
    let list = r#"{"cniVersion": "0.4.0", "name": "slow", "plugins": [
        {"type": "macvlan", "master": "eno1"}, {"type": "bandwidth", "capabilities": {"bandwidth": true}}]}"#;
    let limited =
        r#"{"name": "slow", "interface": "lan", "bandwidth": {"ingressRate": 1000, "ingressBurst": 10}}"#;
    let networks = [
        default_network(),
        chosen(sriov, r#"{"name": "fast", "mac": "02:00:00:00:00:01", "cni-args": {"k": 1}}"#),
        chosen(network("other/slow", list, None), limited),
    ];
    let devices = devices(&[("intel.com/a", &[VF_A, VF_B])]);
    let plan = plan(&sandbox(), &pod(), &networks, &devices, &policy()).unwrap();
    insta::assert_json_snapshot!(plan);
}

#[test]
fn what_a_plan_does_not_know_keeps_its_text() {
    let config = r#"{"type": "x", "big": 123456789012345678901234567890, "float": 1.50}"#;
    let networks = [default_network(), chosen(network("ns/n", config, None), r#"{"name": "n"}"#)];
    let plan = plan(&sandbox(), &pod(), &networks, &Devices::new(), &policy()).unwrap();
    let text = &plan.attachments[1].chain.plugins[0].stdin;
    assert!(text.contains("123456789012345678901234567890") && text.contains("1.50"), "{text}");
}

#[test]
fn networks_of_one_resource_get_its_devices_in_order() {
    let fast = |name: &str| network(name, r#"{"type": "sriov"}"#, Some("intel.com/a"));
    let networks = [
        default_network(),
        chosen(fast("ns/one"), r#"{"name": "one"}"#),
        chosen(network("ns/dpdk", r#"{"type": "sriov"}"#, Some("intel.com/b")), r#"{"name": "dpdk"}"#),
        chosen(fast("ns/two"), r#"{"name": "two"}"#),
    ];
    let devices = devices(&[("intel.com/a", &[VF_B, VF_A]), ("intel.com/b", &["0000:04:10.0"])]);
    let plan = plan(&sandbox(), &pod(), &networks, &devices, &policy()).unwrap();
    let got: Vec<_> = plan.attachments.iter().map(|a| (a.ifname.as_str(), a.device.as_deref())).collect();
    assert_eq!(
        got,
        [("eth0", None), ("net1", Some(VF_B)), ("net2", Some("0000:04:10.0")), ("net3", Some(VF_A))]
    );
    assert_eq!(stdin(&plan.attachments[1], 0)["deviceID"], VF_B);
    assert_eq!(stdin(&plan.attachments[1], 0)["pciBusID"], VF_B);
}

#[test]
fn the_default_network_counts_among_those_that_need_devices() {
    let mut default = default_network();
    default.network.resource = Some("intel.com/a".to_owned());
    let fast = network("ns/fast", r#"{"type": "sriov"}"#, Some("intel.com/a"));
    let networks = [default, chosen(fast, r#"{"name": "fast"}"#)];
    let devices = devices(&[("intel.com/a", &[VF_A, VF_B])]);
    let plan = plan(&sandbox(), &pod(), &networks, &devices, &policy()).unwrap();
    assert_eq!(plan.attachments[0].device.as_deref(), Some(VF_A));
    assert_eq!(plan.attachments[1].device.as_deref(), Some(VF_B));
    assert_eq!(stdin(&plan.attachments[0], 1)["deviceID"], VF_A, "every plugin of a list is told");
    assert_eq!(needed(&networks), BTreeMap::from([("intel.com/a".to_owned(), 2)]));
}

#[test]
fn the_runtimes_values_are_for_the_default_network_alone() {
    let config = r#"{"type": "x", "capabilities": {"portMappings": true, "dns": true}}"#;
    let networks = [default_network(), chosen(network("ns/n", config, None), r#"{"name": "n"}"#)];
    let plan = plan(&sandbox(), &pod(), &networks, &Devices::new(), &policy()).unwrap();
    assert_eq!(stdin(&plan.attachments[0], 1)["runtimeConfig"]["portMappings"][0]["hostPort"], 80);
    assert_eq!(stdin(&plan.attachments[0], 0).get("runtimeConfig"), None, "bridge declares nothing");
    assert_eq!(stdin(&plan.attachments[1], 0).get("runtimeConfig"), None);
}

#[test]
fn a_configuration_without_version_gets_the_runtimes() {
    let old = network("ns/old", r#"{"cniVersion": "0.3.1", "type": "x"}"#, None);
    let networks = [default_network(), chosen(old, r#"{"name": "old"}"#)];
    let plan = plan(&sandbox(), &pod(), &networks, &Devices::new(), &policy()).unwrap();
    assert_eq!(plan.attachments[0].chain.cni_version, Version::V1_0_0);
    assert_eq!(plan.attachments[1].chain.cni_version, Version::V0_3_1);
}

#[test]
fn a_device_that_only_the_annotation_names_goes_into_the_capability_alone() {
    let config = r#"{"type": "host-device", "capabilities": {"deviceID": true}}"#;
    let element = format!(r#"{{"name": "n", "deviceID": "{VF_A}"}}"#);
    let networks = [default_network(), chosen(network("ns/n", config, None), &element)];
    let plan = plan(&sandbox(), &pod(), &networks, &Devices::new(), &policy()).unwrap();
    let stdin = stdin(&plan.attachments[1], 0);
    assert_eq!(stdin["runtimeConfig"]["deviceID"], VF_A);
    assert_eq!((stdin.get("deviceID"), &plan.attachments[1].device_info), (None, &None));
}

fn fast() -> Network {
    network("ns/fast", r#"{"type": "sriov"}"#, Some("intel.com/a"))
}

fn plain() -> Network {
    network("ns/plain", r#"{"type": "x"}"#, None)
}

#[rstest]
#[case::no_device(
    vec![chosen(fast(), r#"{"name": "fast"}"#), chosen(fast(), r#"{"name": "fast"}"#)],
    cni::code::TRY_AGAIN,
    "pod ns/web: network ns/fast needs a device of intel.com/a, and kubelet shows 1 for this pod"
)]
#[case::a_device_twice(
    vec![chosen(fast(), r#"{"name": "fast"}"#), chosen(plain(), r#"{"name": "plain", "deviceID": "0000:03:10.0"}"#)],
    cni::code::INVALID_CONFIG,
    "network ns/plain would get device 0000:03:10.0, which an earlier network"
)]
#[case::an_interface_twice(
    vec![chosen(plain(), r#"{"name": "plain", "interface": "net2"}"#), chosen(plain(), r#"{"name": "plain"}"#)],
    cni::code::INVALID_CONFIG,
    "network ns/plain would have interface net2, which an earlier network"
)]
#[case::the_default_interface(
    vec![chosen(plain(), r#"{"name": "plain", "interface": "eth0"}"#)],
    cni::code::INVALID_CONFIG,
    "would have interface eth0"
)]
#[case::no_capability(
    vec![chosen(plain(), r#"{"name": "plain", "ips": ["10.0.0.1/24"]}"#)],
    cni::code::INVALID_CONFIG,
    "\"ips\" is asked of network ns/plain, and none of its plugins declares the capability \"ips\""
)]
#[case::no_guid(
    vec![chosen(plain(), r#"{"name": "plain", "infiniband-guid": "c2:11:22:33:44:55:66:77"}"#)],
    cni::code::INVALID_CONFIG,
    "\"infiniband-guid\" is asked of network ns/plain"
)]
#[case::two_ways_out(
    vec![
        chosen(plain(), r#"{"name": "plain", "default-route": ["10.0.0.1", "fd00::1"]}"#),
        chosen(plain(), r#"{"name": "plain", "default-route": ["fd00::2"]}"#),
    ],
    cni::code::INVALID_CONFIG,
    "networks ns/plain and ns/plain both have a \"default-route\" for IPv6"
)]
#[case::a_bad_name(
    vec![chosen(network("ns/bad", r#"{"type": "x", "name": "../x"}"#, None), r#"{"name": "bad"}"#)],
    cni::code::INVALID_CONFIG,
    "pod ns/web: the configuration of network ns/bad can't be used"
)]
fn errors_name_pod_and_network_and_say_what_to_do(
    #[case] networks: Vec<Wanted>,
    #[case] code: u32,
    #[case] text: &str,
) {
    let networks: Vec<Wanted> = std::iter::once(default_network()).chain(networks).collect();
    let devices = devices(&[("intel.com/a", &[VF_A])]);
    let error = cni::Error::from(plan(&sandbox(), &pod(), &networks, &devices, &policy()).unwrap_err());
    assert_eq!(error.code, code, "{error}");
    assert!(error.msg.contains(text) && error.msg.contains("pod ns/web"), "{error}");
}

#[rstest]
#[case::sriov_reads_cni_args(r#"{"type": "sriov"}"#, r#"{"name": "n", "mac": "02:00:00:00:00:01"}"#)]
#[case::static_reads_cni_args(
    r#"{"type": "x", "ipam": {"type": "static"}}"#,
    r#"{"name": "n", "ips": ["10.0.0.1/24"]}"#
)]
#[case::declared(
    r#"{"type": "x", "capabilities": {"ips": true}}"#,
    r#"{"name": "n", "ips": ["10.0.0.1/24"]}"#
)]
fn what_some_plugin_takes_may_be_asked_for(#[case] config: &str, #[case] element: &str) {
    let networks = [default_network(), chosen(network("ns/n", config, None), element)];
    plan(&sandbox(), &pod(), &networks, &Devices::new(), &policy()).unwrap();
}

#[test]
fn a_missing_capability_can_be_tolerated() {
    let networks = [default_network(), chosen(plain(), r#"{"name": "plain", "mac": "02:00:00:00:00:01"}"#)];
    let tolerant = Policy { tolerate_missing_capability: true, ..policy() };
    let plan = plan(&sandbox(), &pod(), &networks, &Devices::new(), &tolerant).unwrap();
    let args = &plan.attachments[1].args;
    assert_eq!(args.last(), Some(&("MAC".to_owned(), "02:00:00:00:00:01".to_owned())));
}

proptest! {
    /// Whatever kubelet says and however many networks there are: order is kept, no device or interface is used
    /// twice, and no network that needs a device is without one.
    #[test]
    fn a_plan_has_every_network_once_and_no_device_twice(
        resources in prop::collection::vec(prop::option::of(0_u8..3), 0..8),
        counts in prop::collection::vec(0_usize..5, 3),
    ) {
        let resource = |index: u8| format!("intel.com/{index}");
        let networks: Vec<Wanted> = std::iter::once(default_network())
            .chain(resources.iter().enumerate().map(|(place, index)| {
                let name = format!("ns/n{place}");
                let resource = index.map(resource);
                let wanted = network(&name, r#"{"type": "x"}"#, resource.as_deref());
                chosen(wanted, &format!(r#"{{"name": "n{place}"}}"#))
            }))
            .collect();
        let devices: Devices = (0_u8..3)
            .zip(&counts)
            .map(|(index, count)| {
                (resource(index), (0..*count).map(|n| format!("0000:0{index}:10.{n}")).collect())
            })
            .collect();
        let enough = needed(&networks).iter().all(|(resource, count)| devices[resource].len() >= *count);
        match plan(&sandbox(), &pod(), &networks, &devices, &policy()) {
            Ok(plan) => {
                prop_assert!(enough);
                let names: Vec<_> = plan.attachments.iter().map(|a| &a.name).collect();
                prop_assert_eq!(names, networks.iter().map(|w| &w.network.name).collect::<Vec<_>>());
                let used: Vec<_> = plan.attachments.iter().filter_map(|a| a.device.as_ref()).collect();
                let distinct: BTreeSet<_> = used.iter().collect();
                prop_assert_eq!(used.len(), distinct.len());
                for attachment in &plan.attachments {
                    prop_assert_eq!(attachment.resource.is_some(), attachment.device.is_some());
                }
            }
            Err(error) => prop_assert!(!enough && matches!(error, Error::NoDevice { .. }), "{}", error),
        }
    }
}
