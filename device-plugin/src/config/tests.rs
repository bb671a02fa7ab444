use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;

use super::*;

fn parse(file: &serde_json::Value) -> Result<Config, Error> {
    Config::parse(Path::new("/etc/pcidp/config.json"), file.to_string().as_bytes(), "intel.com")
}

fn pool(extra: &serde_json::Value) -> serde_json::Value {
    let mut pool = json!({"resourceName": "a", "selectors": {}});
    pool.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    json!({"resourceList": [pool]})
}

#[test]
fn a_file_from_the_field_is_read() {
    let config = parse(&json!({
        "ResourceList": [
            {
                "resourcename": "sriov_net_A",
                "RESOURCEPREFIX": "openshift.io",
                "deviceType": "netDevice",
                "excludeTopology": true,
                "SelectorObj": null,
                "sriovMode": true,
                "selectors": {
                    "vendors": ["8086"],
                    "devices": ["154C", "10ed"],
                    "drivers": ["iavf", "vfio-pci"],
                    "pciaddresses": ["0000:03:02.1"],
                    "pfNames": ["ens785f0#0-3,7", "eth1"],
                    "rootDevices": ["0000:03:00.0#1"],
                    "linkTypes": ["ether"],
                    "acpiIndexes": ["101"],
                    "IsRdma": false,
                    "NeedVhostNet": false,
                    "somethingElse": 1
                },
                "additionalInfo": {"*": {"token": "a"}, "0000:03:02.1": {"token": "b"}}
            },
            {"resourceName": "b", "selectors": [{"vendors": ["15b3"]}, {"drivers": ["mlx5_core"]}]},
            {"resourceName": "none", "selectors": []}
        ],
        "version": 3
    }))
    .unwrap();
    let [a, b, none] = config.pools.as_slice() else { panic!("three pools") };
    assert_eq!(a.resource.to_string(), "openshift.io/sriov_net_A");
    assert_eq!(b.resource.to_string(), "intel.com/b");
    assert!(a.exclude_topology && !b.exclude_topology);
    let range = |first, last| FunctionRange { first, last };
    let functions = |name: &str, functions| NameSelector { name: name.to_owned(), functions };
    assert_eq!(
        a.selectors,
        [Selector {
            vendors: vec![0x8086],
            devices: vec![0x154c, 0x10ed],
            drivers: vec!["iavf".into(), "vfio-pci".into()],
            pci_addresses: vec!["0000:03:02.1".parse().unwrap()],
            acpi_indexes: vec!["101".into()],
            pf_names: vec![
                functions("ens785f0", vec![range(0, 3), range(7, 7)]),
                functions("eth1", Vec::new())
            ],
            root_devices: vec![functions("0000:03:00.0", vec![range(1, 1)])],
            link_types: vec!["ether".into()],
        }]
    );
    assert_eq!(b.selectors.len(), 2);
    assert!(none.selectors.is_empty());
    let info = |device: &str| a.additional_info(&device.parse().unwrap())["token"].clone();
    assert_eq!((info("0000:03:02.1"), info("0000:03:02.0")), ("b".to_owned(), "a".to_owned()));
    let warned = |text: &str| config.warnings.iter().any(|warning| warning.contains(text));
    for key in ["\"version\"", "\"SelectorObj\"", "\"sriovMode\"", "\"somethingElse\"", "pool none"] {
        assert!(warned(key), "{key} in {:?}", config.warnings);
    }
    assert_eq!(config.warnings.len(), 5);
}

#[rstest]
#[case::no_name(json!({"resourceName": null}), "number 1", "resourceName", "missing")]
#[case::a_name_kubelet_refuses(json!({"resourceName": "a.b"}), "a.b", "resourceName", "letters, digits")]
#[case::a_prefix_kubelet_refuses(json!({"resourcePrefix": "Intel.com"}), "a", "resourcePrefix", "lower case")]
#[case::no_selectors(json!({"selectors": null}), "a", "selectors", "missing")]
#[case::selectors_of_another_type(json!({"selectors": "all"}), "a", "selectors", "a text")]
#[case::a_selector_of_another_type(json!({"selectors": [{}, 1]}), "a", "selectors[1]", "a number")]
#[case::a_text_for_a_list(json!({"selectors": {"vendors": "8086"}}), "a", "vendors", "a list of texts")]
#[case::a_number_in_a_list(json!({"selectors": {"vendors": [8086]}}), "a", "vendors", "a list of texts")]
#[case::a_short_vendor(json!({"selectors": {"vendors": ["0x86"]}}), "a", "vendors", "four hexadecimal")]
#[case::a_short_address(json!({"selectors": {"pciAddresses": ["03:02.1"]}}), "a", "pciAddresses", "0000:3b:02.1")]
#[case::two_hashes(json!({"selectors": [{"pfNames": ["eth0#1#2"]}]}), "a", "selectors[0].pfNames", "NAME#0-3,7")]
#[case::two_dashes(json!({"selectors": {"pfNames": ["eth0#1-2-3"]}}), "a", "pfNames", "eth0#1-2-3")]
#[case::no_number(json!({"selectors": {"pfNames": ["eth0#a"]}}), "a", "pfNames", "eth0#a")]
#[case::nothing_after_the_hash(json!({"selectors": {"pfNames": ["eth0#"]}}), "a", "pfNames", "eth0#")]
#[case::a_range_backwards(json!({"selectors": {"rootDevices": ["0000:03:00.0#3-1"]}}), "a", "rootDevices", "smaller")]
#[case::an_unknown_type(json!({"deviceType": "gpu"}), "a", "deviceType", "netDevice")]
#[case::a_later_type(json!({"deviceType": "accelerator"}), "a", "deviceType", "not supported")]
#[case::rdma(json!({"selectors": {"isRdma": true}}), "a", "isRdma", "not supported")]
#[case::vdpa(json!({"selectors": {"vdpaType": "vhost"}}), "a", "vdpaType", "not supported")]
#[case::vhost(json!({"selectors": {"NeedVhostNet": true}}), "a", "needVhostNet", "not supported")]
#[case::ddp(json!({"selectors": {"ddpProfiles": ["GTP"]}}), "a", "ddpProfiles", "not supported")]
#[case::additional_info(json!({"additionalInfo": {"*": {"a": 1}}}), "a", "additionalInfo", "objects of texts")]
fn an_error_names_file_pool_and_key_and_says_what_to_do(
    #[case] extra: serde_json::Value,
    #[case] name: &str,
    #[case] key: &str,
    #[case] advice: &str,
) {
    let error = parse(&pool(&extra)).unwrap_err().to_string();
    for part in ["/etc/pcidp/config.json", &format!("pool {name},"), &format!("key {key}:"), advice] {
        assert!(error.contains(part), "{part:?} in {error:?}");
    }
}

#[test]
fn two_pools_of_one_resource_are_an_error() {
    let pool = json!({"resourceName": "a", "selectors": {}});
    let error = parse(&json!({"resourceList": [pool, pool]})).unwrap_err().to_string();
    assert!(error.contains("intel.com/a") && error.contains("earlier pool"), "{error}");
    let other = json!({"resourceName": "a", "resourcePrefix": "example.org", "selectors": {}});
    assert_eq!(parse(&json!({"resourceList": [pool, other]})).unwrap().pools.len(), 2);
}

#[rstest]
#[case::empty("")]
#[case::torn(r#"{"resourceList": [{"#)]
#[case::yaml("resourceList:\n- resourceName: a")]
fn what_is_no_json_is_an_error(#[case] text: &str) {
    let error = Config::parse(Path::new("pools.json"), text.as_bytes(), "intel.com").unwrap_err();
    assert!(matches!(error, Error::Json { .. }), "{error:?}");
    assert!(error.to_string().contains("pools.json"));
}

#[rstest]
#[case(json!([]))]
#[case(json!({}))]
#[case(json!({"resourceList": {}}))]
fn a_file_without_a_list_is_an_error(#[case] file: serde_json::Value) {
    assert!(matches!(parse(&file), Err(Error::NoList { .. })));
}

#[test]
fn an_empty_list_is_none() {
    assert_eq!(parse(&json!({"resourceList": []})).unwrap().pools, []);
}

#[test]
fn a_missing_file_is_named() {
    let error = Config::read(Path::new("/nowhere/config.json"), "intel.com").unwrap_err();
    assert!(matches!(error, Error::Read { .. }));
    assert!(error.to_string().contains("/nowhere/config.json"), "{error}");
}

proptest! {
    #[test]
    fn ranges_mean_the_functions_that_they_name(
        items in proptest::collection::vec((0_u16..64, proptest::option::of(0_u16..16)), 1..5),
        index in 0_u16..80,
    ) {
        let list = items.iter().map(|(first, more)| match more {
            Some(more) => format!("{first}-{}", first + more),
            None => first.to_string(),
        });
        let text = format!("ens1#{}", list.collect::<Vec<_>>().join(","));
        let selector = NameSelector::parse(&text).unwrap();
        let named = items.iter().any(|(first, more)| (*first..=first + more.unwrap_or(0)).contains(&index));
        prop_assert_eq!(selector.matches("ENS1", index), named);
        prop_assert!(!selector.matches("ens10", index));
    }

    #[test]
    fn any_text_is_a_selector_or_none(text in ".{0,40}") {
        if let Some(selector) = NameSelector::parse(&text) {
            prop_assert!(!selector.name.is_empty() && text.starts_with(&selector.name));
            prop_assert!(selector.functions.iter().all(|range| range.first <= range.last));
        }
    }

    #[test]
    fn any_json_is_a_file_or_an_error_that_names_it(key in "resourceList|RESOURCELIST|selectors|x", value in json_value()) {
        let file = json!({key: value.clone(), "resourceList": [value]});
        match parse(&file) {
            Ok(config) => prop_assert!(config.pools.len() <= 1),
            Err(error) => prop_assert!(error.to_string().contains("/etc/pcidp/config.json")),
        }
    }
}

/// JSON with the keys of a pool file.
fn json_value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i32>().prop_map(Into::into),
        prop_oneof!["[a-z0-9#,-]{0,12}", "8086", "0000:01:10.0"].prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        let keys =
            "resourceName|selectors|vendors|pfNames|pciAddresses|isRdma|additionalInfo|deviceType|[a-z]{1,4}";
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
            proptest::collection::vec((keys, inner), 0..6)
                .prop_map(|entries| entries.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}
