use std::path::Path;

use rstest::rstest;

use super::*;
use crate::config::Config;
use crate::pools::pools;

const VF: &str = "0000:01:10.0";

fn config() -> Config {
    let file = r#"{"resourceList": [
        {"resourceName": "a", "selectors": {"drivers": ["igbvf"]}},
        {"resourceName": "b", "selectors": {"drivers": ["vfio-pci"]}}
    ]}"#;
    Config::parse(Path::new("config.json"), file.as_bytes(), "intel.com").unwrap()
}

fn inventory(driver: Option<&str>) -> Inventory {
    let function = pci::Function {
        address: VF.parse().unwrap(),
        vendor: 0x8086,
        device: 0x10ca,
        class: 0x02_0000,
        driver: driver.map(ToOwned::to_owned),
        numa_node: Some(1),
        iommu_group: None,
        net_names: Vec::new(),
        sriov: None,
        vf: None,
    };
    let device = Device { function, pf_name: None, link_type: None, acpi_index: None, uplink_of: None };
    Inventory { devices: BTreeMap::from([(VF.parse().unwrap(), device)]), broken: BTreeMap::new() }
}

/// What is offered after each of these inventories in turn.
fn after(inventories: &[Inventory], standing: &BTreeMap<PciAddress, Standing>) -> (Vec<Offer>, Vec<Change>) {
    let config = config();
    let mut offered = vec![Offer::default(); config.pools.len()];
    let mut changed = Vec::new();
    for inventory in inventories {
        let assignment = pools(inventory, &config);
        let now = offers(&assignment, inventory, standing, &offered);
        changed = changes(&assignment, &offered, &now);
        offered = now;
    }
    (offered, changed)
}

fn trouble_of(offer: &Offer) -> Option<String> {
    offer.devices[&VF.parse().unwrap()].trouble.as_ref().map(ToString::to_string)
}

#[rstest]
#[case::gone(Inventory::default(), "gone")]
#[case::unbound(inventory(None), "no driver")]
#[case::bound_to_another_pools_driver(inventory(Some("vfio-pci")), "intel.com/b")]
#[case::unreadable(
    Inventory { broken: BTreeMap::from([(VF.parse().unwrap(), "no vendor".to_owned())]), ..Inventory::default() },
    "no vendor"
)]
fn a_device_that_was_offered_stays_and_says_why_it_is_unhealthy(
    #[case] later: Inventory,
    #[case] reason: &str,
) {
    let (offers, changes) = after(&[inventory(Some("igbvf")), later], &BTreeMap::new());
    let trouble = trouble_of(&offers[0]).unwrap();
    assert!(trouble.contains(reason), "{reason:?} in {trouble:?}");
    assert!(offers[1].devices.is_empty(), "it is offered once");
    assert_eq!(offers[0].list(false)[0].health, "Unhealthy");
    assert_eq!(changes.len(), 1);
}

#[test]
fn a_device_that_comes_back_is_healthy_again() {
    let (offers, changes) =
        after(&[inventory(Some("igbvf")), Inventory::default(), inventory(Some("igbvf"))], &BTreeMap::new());
    assert_eq!(trouble_of(&offers[0]), None);
    assert!(matches!(changes.as_slice(), [Change { trouble: None, new: false, .. }]), "{changes:?}");
}

#[test]
fn a_pf_whose_vfs_are_made_anew_is_not_offered_meanwhile() {
    let pf: PciAddress = "0000:01:00.0".parse().unwrap();
    let mut with_vf = inventory(Some("igbvf"));
    for device in with_vf.devices.values_mut() {
        device.function.vf = Some(pci::VirtualFunction { pf, index: 0 });
    }
    let mut pf_alone = inventory(Some("igbvf"));
    let mut device = pf_alone.devices.pop_first().unwrap().1;
    device.function.address = pf;
    pf_alone.devices.insert(pf, device);
    let (alone, _) = after(std::slice::from_ref(&pf_alone), &BTreeMap::new());
    assert!(alone[0].devices.contains_key(&pf), "a PF that never had any is a device like others");
    let (offers, _) = after(&[with_vf, pf_alone], &BTreeMap::new());
    assert_eq!(offers[0].devices.keys().collect::<Vec<_>>(), [&VF.parse().unwrap()]);
}

#[test]
fn nothing_changes_when_nothing_has() {
    let (_, changes) = after(&[inventory(Some("igbvf")), inventory(Some("igbvf"))], &BTreeMap::new());
    assert_eq!(changes, []);
}

#[rstest]
#[case::quarantined(Standing::Quarantined("vlan is 7".into()), Some("vlan is 7"))]
#[case::unreadable(Standing::Unknown("the file is torn".into()), Some("torn"))]
#[case::good(Standing::Good, None)]
fn the_ledger_decides_over_a_devices_health(#[case] standing: Standing, #[case] reason: Option<&str>) {
    let standing = BTreeMap::from([(VF.parse().unwrap(), standing)]);
    let (offers, _) = after(&[inventory(Some("igbvf"))], &standing);
    match (trouble_of(&offers[0]), reason) {
        (None, None) => {}
        (Some(trouble), Some(reason)) => assert!(trouble.contains(reason), "{trouble}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn vfio_without_an_iommu_group_is_unhealthy() {
    let (offers, _) = after(&[inventory(Some("vfio-pci"))], &BTreeMap::new());
    assert!(trouble_of(&offers[1]).unwrap().contains("IOMMU"));
}

#[rstest]
#[case::told(false, Some(1))]
#[case::excluded(true, None)]
fn the_numa_node_is_told_unless_the_pool_excludes_it(#[case] excluded: bool, #[case] node: Option<i64>) {
    let (offers, _) = after(&[inventory(Some("igbvf"))], &BTreeMap::new());
    let list = offers[0].list(excluded);
    assert_eq!((list[0].id.as_str(), list[0].health.as_str()), (VF, "Healthy"));
    assert_eq!(list[0].topology.as_ref().map(|topology| topology.nodes[0].id), node);
}
