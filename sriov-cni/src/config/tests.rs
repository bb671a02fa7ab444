use cni::Command;
use proptest::prelude::*;
use rstest::rstest;

use super::*;

const DEVICE: &str = "0000:01:10.0";

fn args(cni_args: &str) -> Args {
    Args {
        command: Command::Add,
        container_id: "c1".to_owned(),
        netns: None,
        ifname: "net1".to_owned(),
        args: cni::args::parse_cni_args(cni_args).unwrap(),
        path: Vec::new(),
    }
}

/// A configuration of the VF's address and more keys.
fn conf(more: &str) -> NetConf {
    let comma = if more.is_empty() { "" } else { "," };
    let text = format!(
        r#"{{"cniVersion":"1.0.0","name":"blue","type":"sriov","deviceID":"{DEVICE}"{comma}{more}}}"#
    );
    NetConf::parse(text.as_bytes()).unwrap()
}

fn wanted(more: &str) -> Wanted {
    Config::new(&conf(more), &args("")).unwrap_or_else(|error| panic!("{more}: {error}")).wanted
}

fn refused(more: &str) -> cni::Error {
    match Config::new(&conf(more), &args("")) {
        Ok(config) => panic!("{more} was taken as {config:?}"),
        Err(error) => error.into(),
    }
}

const fn vlan_of(id: u16, qos: u8, proto: VlanProto) -> Vlan {
    Vlan { id, qos, proto }
}

#[test]
fn nothing_said_is_nothing_asked() {
    let config = Config::new(&conf(""), &args("")).unwrap();
    assert_eq!(config.device.to_string(), DEVICE);
    assert_eq!(config.wanted, Wanted::default());
    let nulls = r#""vlan":null,"vlanQoS":null,"mac":"","spoofchk":"","trust":null,"link_state":"","mtu":null,"promisc":null,"allmulti":"","rdmaIsolation":null"#;
    assert_eq!(wanted(nulls), Wanted::default());
}

#[rstest]
#[case(r#""vlan":100"#, Some(vlan_of(100, 0, VlanProto::Dot1q)))]
#[case(r#""vlan":0"#, Some(vlan_of(0, 0, VlanProto::Dot1q)))]
#[case(r#""vlan":4094,"vlanQoS":7"#, Some(vlan_of(4094, 7, VlanProto::Dot1q)))]
#[case(r#""vlan":0,"vlanQoS":0"#, Some(vlan_of(0, 0, VlanProto::Dot1q)))]
#[case(r#""vlan":0,"vlanProto":"802.1q""#, Some(vlan_of(0, 0, VlanProto::Dot1q)))]
#[case(r#""vlan":5,"vlanProto":"802.1AD""#, Some(vlan_of(5, 0, VlanProto::Dot1ad)))]
#[case::any_case(r#""VLAN":5,"vlanqos":3,"vlanPROTO":"802.1Q""#, Some(vlan_of(5, 3, VlanProto::Dot1q)))]
#[case("", None)]
fn vlans(#[case] more: &str, #[case] expected: Option<Vlan>) {
    assert_eq!(wanted(more).vlan, expected);
}

#[rstest]
#[case(r#""min_tx_rate":100"#, 100, 0)]
#[case(r#""max_tx_rate":200"#, 0, 200)]
#[case(r#""min_tx_rate":100,"max_tx_rate":200"#, 100, 200)]
#[case(r#""max_tx_rate":0"#, 0, 0)]
fn rates(#[case] more: &str, #[case] min: u32, #[case] max: u32) {
    assert_eq!(wanted(more).rate, Some(Rate { min, max }));
}

#[test]
fn switches_and_link_states() {
    let found = wanted(r#""spoofchk":"on","trust":"off","link_state":"enable","mtu":9000"#);
    assert_eq!((found.spoofchk, found.trust), (Some(true), Some(false)));
    assert_eq!((found.link_state, found.mtu), (Some(LinkState::Enable), Some(9000)));
    for (more, on) in [(r#""on""#, true), (r#""OFF""#, false), ("true", true), ("false", false)] {
        let found = wanted(&format!(r#""promisc":{more}"#));
        assert_eq!((found.promisc, found.allmulti), (Some(on), None), "{more}");
        let found = wanted(&format!(r#""allmulti":{more}"#));
        assert_eq!((found.promisc, found.allmulti), (None, Some(on)), "{more}");
    }
    assert_eq!(wanted(r#""link_state":"auto""#).link_state, Some(LinkState::Auto));
    assert!(wanted(r#""rdmaIsolation":true"#).rdma && wanted(r#""RDMAisolation":true"#).rdma);
    assert!(!wanted(r#""rdmaIsolation":false"#).rdma);
    assert_eq!(wanted(r#""link_state":"disable""#).link_state, Some(LinkState::Disable));
}

#[rstest]
#[case(r#""vlanTrunk":"100,200-210""#, Some("100,200-210"))]
#[case(r#""vlanTrunk":" 5 - 7, 6,8""#, Some("5-8"))]
#[case(r#""vlanTrunk":100"#, Some("100"))]
#[case(r#""vlanTrunk":[{"id":100},{"minID":200,"maxID":210}]"#, Some("100,200-210"))]
#[case(r#""vlanTrunk":[{"id":4094,"minID":1,"maxID":2},100]"#, Some("1-2,100,4094"))]
#[case(r#""vlantrunk":[{"ID":9}],"vlan":0"#, Some("9"))]
#[case(r#""vlanTrunk":"""#, None)]
#[case(r#""vlanTrunk":[]"#, None)]
#[case(r#""vlanTrunk":[],"vlan":5"#, None)]
#[case(r#""vlanTrunk":null"#, None)]
fn trunks(#[case] more: &str, #[case] expected: Option<&str>) {
    assert_eq!(wanted(more).trunk.map(|vlans| vlans.to_string()).as_deref(), expected);
}

#[test]
fn a_trunk_and_a_vlan_are_refused_with_both_names() {
    let error = refused(r#""vlanTrunk":"100","vlan":5"#);
    assert_eq!(error.code, 7);
    assert!(error.msg.contains("\"vlanTrunk\"") && error.msg.contains("\"vlan\" is 5"), "{error}");
}

#[rstest]
#[case(r#""guid":"02:00:00:00:00:00:00:01""#, Some("02:00:00:00:00:00:00:01"))]
#[case(r#""guid":"0200000000000001""#, Some("02:00:00:00:00:00:00:01"))]
#[case(
    r#""guid":"0200000000000001","args":{"cni":{"guid":"0200000000000002"}}"#,
    Some("02:00:00:00:00:00:00:02")
)]
#[case(
    r#""runtimeConfig":{"infinibandGUID":"0200000000000003"},"args":{"cni":{"guid":"0200000000000002"}}"#,
    Some("02:00:00:00:00:00:00:03")
)]
#[case(
    r#""ibKubernetesEnabled":true,"args":{"cni":{"guid":"0200000000000002","mellanox.infiniband.app":"configured"}}"#,
    Some("02:00:00:00:00:00:00:02")
)]
#[case(r#""ibKubernetesEnabled":false,"guid":"","args":{"cni":{}}"#, None)]
fn the_guid_is_taken_from_whoever_is_nearest(#[case] more: &str, #[case] expected: Option<&str>) {
    assert_eq!(wanted(more).guid.map(|guid| guid.to_string()).as_deref(), expected);
}

#[rstest]
#[case(r#""pkey":"0x6""#, Some("0x0006"))]
#[case(r#""pkey":"8006""#, Some("0x8006"))]
#[case(r#""pkey":"""#, None)]
fn partitions(#[case] more: &str, #[case] expected: Option<&str>) {
    assert_eq!(wanted(more).pkey.map(|pkey| pkey.to_string()).as_deref(), expected);
}

/// What is wrong, the key that the error has to name, and its code.
#[rstest]
#[case(r#""vlan":-1"#, "vlan", 7)]
#[case(r#""vlan":4095"#, "vlan", 7)]
#[case(r#""vlan":"100""#, "vlan", 6)]
#[case(r#""vlan":1.5"#, "vlan", 6)]
#[case(r#""vlan":5,"vlanQoS":8"#, "vlanQoS", 7)]
#[case(r#""vlan":5,"vlanQoS":-1"#, "vlanQoS", 7)]
#[case(r#""vlanQoS":3"#, "vlanQoS", 7)]
#[case(r#""vlanQoS":0"#, "vlanQoS", 7)]
#[case(r#""vlan":0,"vlanQoS":3"#, "vlanQoS", 7)]
#[case(r#""vlan":5,"vlanProto":"802.1x""#, "vlanProto", 7)]
#[case(r#""vlan":0,"vlanProto":"802.1ad""#, "vlanProto", 7)]
#[case(r#""vlanProto":"802.1q""#, "vlanProto", 7)]
#[case(r#""min_tx_rate":-1"#, "min_tx_rate", 7)]
#[case(r#""max_tx_rate":"10""#, "max_tx_rate", 6)]
#[case(r#""max_tx_rate":4294967296"#, "max_tx_rate", 7)]
#[case(r#""min_tx_rate":20,"max_tx_rate":10"#, "min_tx_rate", 7)]
#[case(r#""spoofchk":"yes""#, "spoofchk", 7)]
#[case(r#""spoofchk":true"#, "spoofchk", 6)]
#[case(r#""trust":"1""#, "trust", 7)]
#[case(r#""link_state":"up""#, "link_state", 7)]
#[case(r#""vlanTrunk":"0""#, "vlanTrunk", 7)]
#[case(r#""vlanTrunk":"4095""#, "vlanTrunk", 7)]
#[case(r#""vlanTrunk":"210-200""#, "vlanTrunk", 7)]
#[case(r#""vlanTrunk":"all""#, "vlanTrunk", 7)]
#[case(r#""vlanTrunk":-1"#, "vlanTrunk", 7)]
#[case(r#""vlanTrunk":true"#, "vlanTrunk", 6)]
#[case(r#""vlanTrunk":{"id":5}"#, "vlanTrunk", 6)]
#[case(r#""vlanTrunk":["5"]"#, "vlanTrunk", 6)]
#[case(r#""vlanTrunk":[{"idd":5}]"#, "vlanTrunk", 6)]
#[case(r#""vlanTrunk":[{}]"#, "vlanTrunk", 7)]
#[case(r#""vlanTrunk":[{"id":0}]"#, "vlanTrunk", 7)]
#[case(r#""vlanTrunk":[{"minID":5}]"#, "vlanTrunk", 7)]
#[case(r#""vlanTrunk":[{"id":3,"maxID":5}]"#, "vlanTrunk", 7)]
#[case(r#""vlanTrunk":[{"minID":9,"maxID":5}]"#, "vlanTrunk", 7)]
#[case(r#""guid":"02:00""#, "\"guid\"", 7)]
#[case(r#""guid":"0000000000000000""#, "guid", 7)]
#[case(r#""guid":"ff:ff:ff:ff:ff:ff:ff:ff""#, "guid", 7)]
#[case(r#""guid":5"#, "guid", 6)]
#[case(r#""args":{"cni":{"guid":"x"}}"#, "args.cni.guid", 7)]
#[case(r#""args":5"#, "args", 6)]
#[case(r#""runtimeConfig":{"infinibandGUID":"x"}"#, "runtimeConfig.infinibandGUID", 7)]
#[case(r#""ibKubernetesEnabled":true"#, "ibKubernetesEnabled", 11)]
#[case(r#""ibKubernetesEnabled":true,"guid":"0200000000000001""#, "ibKubernetesEnabled", 11)]
#[case(
    r#""ibKubernetesEnabled":true,"args":{"cni":{"mellanox.infiniband.app":"configured"}}"#,
    "ibKubernetesEnabled",
    11
)]
#[case(r#""ibKubernetesEnabled":5"#, "ibKubernetesEnabled", 6)]
#[case(r#""pkey":"0x8000""#, "pkey", 7)]
#[case(r#""pkey":"0x10000""#, "pkey", 7)]
#[case(r#""pkey":6"#, "pkey", 6)]
#[case(r#""promisc":"yes""#, "promisc", 7)]
#[case(r#""promisc":1"#, "promisc", 6)]
#[case(r#""allmulti":[]"#, "allmulti", 6)]
#[case(r#""mtu":67"#, "mtu", 7)]
#[case(r#""mtu":65536"#, "mtu", 7)]
#[case(r#""rdmaIsolation":"true""#, "rdmaIsolation", 6)]
#[case(r#""rdmaIsolation":1"#, "rdmaIsolation", 6)]
#[case(r#""mac":"02:00:00:00:00""#, "mac", 7)]
#[case(r#""mac":"020.00000.000a""#, "mac", 7)]
#[case(r#""mac":"0200.0000.0é0""#, "mac", 7)]
#[case(r#""mac":"00:00:00:00:00:00""#, "mac", 7)]
#[case(r#""mac":"ff:ff:ff:ff:ff:ff""#, "mac", 7)]
#[case(r#""runtimeConfig":{"mac":"x"}"#, "runtimeConfig.mac", 7)]
#[case(r#""runtimeConfig":[]"#, "runtimeConfig", 6)]
#[case(r#""pciBusID":"0000:01:10.2""#, "pciBusID", 7)]
#[case(r#""runtimeConfig":{"deviceID":"01:10.0"}"#, "runtimeConfig.deviceID", 7)]
#[case(r#""dns":{"nameservers":5}"#, "nameservers", 6)]
fn what_is_wrong_is_named(#[case] more: &str, #[case] key: &str, #[case] code: u32) {
    let error = refused(more);
    assert!(error.msg.contains(key), "{more}: {error}");
    assert_eq!(error.code, code, "{error}");
}

#[rstest]
#[case(r#"{"deviceID":"0000:01:10.0"}"#)]
#[case(r#"{"pciBusID":"0000:01:10.0"}"#)]
#[case(r#"{"DeviceId":"0000:01:10.0"}"#)]
#[case(r#"{"runtimeConfig":{"deviceID":"0000:01:10.0"}}"#)]
#[case(
    r#"{"deviceID":"0000:01:10.0","pciBusID":"0000:01:10.0","runtimeConfig":{"deviceID":"0000:01:10.0"}}"#
)]
#[case::within_white_space(r#"{"deviceID":" 0000:01:10.0\n"}"#)]
fn the_vf_is_named_in_several_ways(#[case] text: &str) {
    let object = Object::parse(text.as_bytes()).unwrap();
    assert_eq!(device(&object).unwrap().unwrap().to_string(), DEVICE);
}

#[rstest]
#[case(r"{}", "deviceID")]
#[case(r#"{"deviceID":""}"#, "deviceID")]
#[case(r#"{"deviceID":"01:10.0"}"#, "01:10.0")]
#[case(r#"{"deviceID":"eth0"}"#, "eth0")]
fn without_a_vf_there_is_nothing_to_do(#[case] text: &str, #[case] named: &str) {
    let mut object = Object::parse(text.as_bytes()).unwrap();
    object.set("name", "blue");
    let conf = NetConf::parse(object.to_string().as_bytes()).unwrap();
    let error = cni::Error::from(Config::new(&conf, &args("")).unwrap_err());
    assert_eq!(error.code, cni::code::INVALID_CONFIG);
    assert!(error.msg.contains(named), "{error}");
}

#[rstest]
#[case("", r#""mac":"02:00:00:00:00:01""#, "02:00:00:00:00:01")]
#[case("MAC=02:00:00:00:00:02", r#""mac":"02:00:00:00:00:01""#, "02:00:00:00:00:02")]
#[case(
    "MAC=02:00:00:00:00:02",
    r#""mac":"02:00:00:00:00:01","runtimeConfig":{"mac":"02:00:00:00:00:03"}"#,
    "02:00:00:00:00:03"
)]
#[case("", r#""mac":"02-00-00-00-00-0A""#, "02:00:00:00:00:0a")]
#[case("", r#""mac":"0200.0000.000A""#, "02:00:00:00:00:0a")]
#[case("MAC=", r#""mac":"CA:FE:C0:FF:EE:00""#, "ca:fe:c0:ff:ee:00")]
fn the_mac_is_taken_from_whoever_is_nearest(
    #[case] cni_args: &str,
    #[case] more: &str,
    #[case] expected: &str,
) {
    let config = Config::new(&conf(more), &args(cni_args)).unwrap();
    assert_eq!(config.wanted.mac.unwrap().to_string(), expected);
}

#[test]
fn arguments_that_nobody_knows_are_refused_unless_they_are_to_be_ignored() {
    let known = "K8S_POD_NAMESPACE=a;K8S_POD_NAME=b;K8S_POD_UID=c;K8S_POD_INFRA_CONTAINER_ID=d";
    Config::new(&conf(""), &args(known)).unwrap();
    let error = Config::new(&conf(""), &args("FOO=1")).unwrap_err();
    assert!(error.to_string().contains("FOO"), "{error}");
    assert_eq!(cni::Error::from(error).code, cni::code::INVALID_ENVIRONMENT);
    for ignore in ["1", "true", "TRUE", "t"] {
        Config::new(&conf(""), &args(&format!("IgnoreUnknown={ignore};FOO=1"))).unwrap();
    }
    Config::new(&conf(""), &args("IgnoreUnknown=0;FOO=1")).unwrap_err();
}

/// Keys that are read, and one that isn't.
const KEYS: [&str; 24] = [
    "mac",
    "vlan",
    "vlanQoS",
    "vlanProto",
    "min_tx_rate",
    "max_tx_rate",
    "spoofchk",
    "trust",
    "link_state",
    "mtu",
    "vlanTrunk",
    "guid",
    "pkey",
    "ibKubernetesEnabled",
    "args",
    "promisc",
    "allmulti",
    "rdmaIsolation",
    "pciBusID",
    "deviceid",
    "runtimeConfig",
    "dns",
    "ipam",
    "elsewhere",
];

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        any::<i64>().prop_map(|value| value.to_string()),
        (-1..4100_i64).prop_map(|value| value.to_string()),
        any::<f64>().prop_filter_map("JSON has no such number", |value| serde_json::to_string(&value).ok()),
        "[a-z0-9.:]{0,8}".prop_map(|text| serde_json::Value::from(text).to_string()),
        prop_oneof![
            Just("on"),
            Just("off"),
            Just("auto"),
            Just("802.1q"),
            Just("802.1AD"),
            Just("0000:01:10.0")
        ]
        .prop_map(|text| format!("{text:?}")),
        Just(r#"{"mac":"02:00:00:00:00:01","deviceID":5}"#.to_owned()),
        Just("[1,2]".to_owned()),
        Just(r#"[{"id":5},{"minID":7,"maxID":9}]"#.to_owned()),
    ]
}

proptest! {
    #[test]
    fn whatever_is_configured_is_taken_or_refused_and_never_out_of_range(
        pairs in proptest::collection::vec((0..KEYS.len(), value()), 0..8),
        arguments in "([A-Za-z_]{1,8}=[a-z0-9:=]{0,12};?){0,3}",
    ) {
        let mut keys = vec![format!(r#""name":"blue","deviceID":"{DEVICE}""#)];
        keys.extend(pairs.iter().map(|(key, value)| format!("{:?}:{value}", KEYS[*key])));
        let text = format!("{{{}}}", keys.join(","));
        let Ok(conf) = NetConf::parse(text.as_bytes()) else { return Ok(()) };
        let Ok(parsed) = cni::args::parse_cni_args(&arguments) else { return Ok(()) };
        if let Ok(config) = Config::new(&conf, &Args { args: parsed, ..args("") }) {
            let wanted = config.wanted;
            prop_assert!(wanted.mac.is_none_or(MacAddr::is_unicast));
            prop_assert!(wanted.vlan.is_none_or(|vlan| vlan.id <= 4094 && vlan.qos <= 7));
            prop_assert!(wanted.vlan.is_none_or(|vlan| vlan.id != 0 || (vlan.qos == 0 && vlan.proto == VlanProto::Dot1q)));
            prop_assert!(wanted.guid.is_none_or(netlink::Guid::is_usable));
            let in_vlan = wanted.vlan.is_some_and(|vlan| vlan.id != 0);
            prop_assert!(wanted.trunk.is_none_or(|vlans| !in_vlan && !vlans.is_empty()));
            prop_assert!(wanted.mtu.is_none_or(|mtu| (68..=65535).contains(&mtu)));
            prop_assert!(wanted.rate.is_none_or(|rate| rate.max == 0 || rate.min <= rate.max));
        }
    }
}
