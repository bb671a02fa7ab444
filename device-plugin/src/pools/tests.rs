use std::path::Path;

use pci::{Function, Sriov, VirtualFunction};
use rstest::rstest;
use serde_json::json;

use super::*;

/// PF `ens1` at 03:00.0 with four VFs, `ens2` at 04:00.0 with two, a NIC with a default route, and one that is free.
fn inventory() -> Inventory {
    let mut inventory = Inventory::default();
    let mut add = |device: Device| drop(inventory.devices.insert(device.function.address, device));
    for (name, bus, driver, count) in [("ens1", 3, "iavf", 4), ("ens2", 4, "vfio-pci", 2)] {
        let pf: PciAddress = format!("0000:{bus:02x}:00.0").parse().unwrap();
        let mut device = nic(&pf.to_string(), name);
        device.function.sriov = Some(Sriov { total_vfs: 8, num_vfs: count });
        add(device);
        for index in 0..count {
            let mut device = nic(&format!("0000:{bus:02x}:02.{index}"), "");
            device.function.device = 0x1889;
            device.function.driver = Some(driver.to_owned());
            device.function.vf = Some(VirtualFunction { pf, index });
            device.pf_name = Some(name.to_owned());
            device.acpi_index = Some(format!("{bus}{index}"));
            add(device);
        }
    }
    add(Device { uplink_of: Some("br0".to_owned()), ..nic("0000:05:00.0", "eth0") });
    add(nic("0000:06:00.0", "eth1"));
    inventory.broken.insert("0000:07:00.0".parse().unwrap(), "vendor is empty".to_owned());
    inventory
}

fn nic(address: &str, name: &str) -> Device {
    Device {
        function: Function {
            address: address.parse().unwrap(),
            vendor: 0x8086,
            device: 0x1592,
            class: 0x02_0000,
            driver: Some("ice".to_owned()),
            numa_node: Some(0),
            iommu_group: None,
            net_names: vec![name.to_owned()],
            sriov: None,
            vf: None,
        },
        pf_name: None,
        link_type: Some("ether"),
        acpi_index: None,
        uplink_of: None,
    }
}

fn config(selectors: &[serde_json::Value]) -> Config {
    let pools = selectors.iter().enumerate();
    let pools =
        pools.map(|(place, selectors)| json!({"resourceName": format!("p{place}"), "selectors": selectors}));
    let file = json!({"resourceList": pools.collect::<Vec<_>>()});
    Config::parse(Path::new("config.json"), file.to_string().as_bytes(), "intel.com").unwrap()
}

/// The pools' devices without domain, one text per pool.
fn assigned(selectors: &[serde_json::Value]) -> Vec<String> {
    let short = |device: &PciAddress| device.to_string().trim_start_matches("0000:").to_owned();
    let assignment = pools(&inventory(), &config(selectors));
    let texts =
        assignment.pools.iter().map(|pool| pool.devices.iter().map(short).collect::<Vec<_>>().join(" "));
    texts.collect()
}

#[rstest]
#[case::everything(json!({}), "03:02.0 03:02.1 03:02.2 03:02.3 04:02.0 04:02.1 06:00.0")]
#[case::no_selectors(json!([]), "")]
#[case::vendor(json!({"vendors": ["15b3"]}), "")]
#[case::device(json!({"devices": ["1889"]}), "03:02.0 03:02.1 03:02.2 03:02.3 04:02.0 04:02.1")]
#[case::driver(json!({"drivers": ["vfio-pci"]}), "04:02.0 04:02.1")]
#[case::all_keys_of_a_selector(json!({"drivers": ["vfio-pci"], "vendors": ["15b3"]}), "")]
#[case::any_selector(json!([{"drivers": ["vfio-pci"]}, {"pfNames": ["ens1#0"]}]), "03:02.0 04:02.0 04:02.1")]
#[case::address(json!({"pciAddresses": ["0000:03:02.2", "0000:09:00.0"]}), "03:02.2")]
#[case::acpi_index(json!({"acpiIndexes": ["41"]}), "04:02.1")]
#[case::pf_by_name(json!({"pfNames": ["ens2"]}), "04:02.0 04:02.1")]
#[case::case_does_not_matter_in_names(json!({"pfNames": ["ENS2"]}), "04:02.0 04:02.1")]
#[case::ranges(json!({"pfNames": ["ens1#0,2-3"]}), "03:02.0 03:02.2 03:02.3")]
#[case::several_ranges_of_a_pf(json!({"pfNames": ["ens1#0-1", "ens1#3"]}), "03:02.0 03:02.1 03:02.3")]
#[case::a_range_beyond_the_last(json!({"pfNames": ["ens1#3-63"]}), "03:02.3")]
#[case::a_pf_is_no_function_of_itself(json!({"pfNames": ["eth1"]}), "")]
#[case::pf_by_address(json!({"rootDevices": ["0000:04:00.0#1"]}), "04:02.1")]
#[case::link_type(json!({"linkTypes": ["infiniband"]}), "")]
#[case::pf_with_vfs(json!({"pciAddresses": ["0000:03:00.0"]}), "")]
#[case::the_hosts_uplink(json!({"pciAddresses": ["0000:05:00.0"]}), "")]
fn a_pool_gets_what_its_selectors_match(#[case] selectors: serde_json::Value, #[case] expected: &str) {
    assert_eq!(assigned(&[selectors]), [expected]);
}

#[test]
fn the_first_pool_that_matches_gets_a_device() {
    let pools =
        [json!({"pfNames": ["ens1#1"]}), json!({"drivers": ["iavf"]}), json!({"pfNames": ["ens1#1-2"]})];
    assert_eq!(assigned(&pools), ["03:02.1", "03:02.0 03:02.2 03:02.3", ""]);
}

#[test]
fn a_device_without_driver_belongs_to_a_pool_that_names_none() {
    let mut inventory = inventory();
    let address: PciAddress = "0000:03:02.0".parse().unwrap();
    inventory.devices.get_mut(&address).unwrap().function.driver = None;
    let pools =
        pools(&inventory, &config(&[json!({"drivers": ["iavf"]}), json!({"pfNames": ["ens1"]})])).pools;
    assert!(!pools[0].devices.contains(&address));
    assert_eq!(pools[1].devices, [address]);
}

#[rstest]
#[case::pf("0000:03:00.0", "PF with 4 VFs")]
#[case::uplink("0000:05:00.0", "br0")]
#[case::broken("0000:07:00.0", "vendor is empty")]
#[case::no_match("0000:06:00.0", "intel.com/p0 (drivers), intel.com/p1 (no selectors)")]
fn it_is_told_why_a_device_is_in_no_pool(#[case] address: &str, #[case] reason: &str) {
    let assignment = pools(&inventory(), &config(&[json!({"drivers": ["iavf"]}), json!([])]));
    let told = assignment.unassigned[&address.parse().unwrap()].to_string();
    assert!(told.contains(reason), "{reason:?} in {told:?}");
}
