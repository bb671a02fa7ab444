use std::fmt::Write;

use rstest::rstest;

use super::*;

fn given(address: &str, access: Access) -> Given {
    Given { address: address.parse().unwrap(), access, additional: BTreeMap::new() }
}

fn vfio(address: &str, number: u32, name: Option<&str>) -> Given {
    given(address, Access::Vfio(IommuGroup { number, name: name.map(ToOwned::to_owned) }))
}

/// The answer as a person compares it.
fn shown(devices: &[Given]) -> String {
    let resource = Resource::new("intel.com", "sriov_dpdk").unwrap();
    let response = response(&resource, devices);
    let mut text = String::new();
    for (name, value) in response.envs {
        writeln!(text, "{name}={value}").unwrap();
    }
    for node in response.devices {
        writeln!(text, "{} -> {} ({})", node.host_path, node.container_path, node.permissions).unwrap();
    }
    assert!(response.mounts.is_empty() && response.annotations.is_empty() && response.cdi_devices.is_empty());
    text
}

#[test]
fn a_vfio_device() {
    insta::assert_snapshot!(shown(&[vfio("0000:4b:01.0", 314, None)]), @r#"
    PCIDEVICE_INTEL_COM_SRIOV_DPDK=0000:4b:01.0
    PCIDEVICE_INTEL_COM_SRIOV_DPDK_INFO={"0000:4b:01.0":{"generic":{"deviceID":"0000:4b:01.0"},"vfio":{"dev-mount":"/dev/vfio/314","mount":"/dev/vfio/vfio"}}}
    /dev/vfio/vfio -> /dev/vfio/vfio (rw)
    /dev/vfio/314 -> /dev/vfio/314 (rw)
    "#);
}

#[test]
fn two_vfio_devices_in_the_order_of_the_request() {
    insta::assert_snapshot!(shown(&[vfio("0000:4b:01.1", 20, None), vfio("0000:4b:01.0", 19, None)]), @r#"
    PCIDEVICE_INTEL_COM_SRIOV_DPDK=0000:4b:01.1,0000:4b:01.0
    PCIDEVICE_INTEL_COM_SRIOV_DPDK_INFO={"0000:4b:01.0":{"generic":{"deviceID":"0000:4b:01.0"},"vfio":{"dev-mount":"/dev/vfio/19","mount":"/dev/vfio/vfio"}},"0000:4b:01.1":{"generic":{"deviceID":"0000:4b:01.1"},"vfio":{"dev-mount":"/dev/vfio/20","mount":"/dev/vfio/vfio"}}}
    /dev/vfio/vfio -> /dev/vfio/vfio (rw)
    /dev/vfio/20 -> /dev/vfio/20 (rw)
    /dev/vfio/19 -> /dev/vfio/19 (rw)
    "#);
}

#[test]
fn a_group_without_iommu_has_another_node_on_the_host() {
    insta::assert_snapshot!(shown(&[vfio("0000:4b:01.0", 0, Some("vfio-noiommu"))]), @r#"
    PCIDEVICE_INTEL_COM_SRIOV_DPDK=0000:4b:01.0
    PCIDEVICE_INTEL_COM_SRIOV_DPDK_INFO={"0000:4b:01.0":{"generic":{"deviceID":"0000:4b:01.0"},"vfio":{"dev-mount":"/dev/vfio/0","mount":"/dev/vfio/vfio"}}}
    /dev/vfio/vfio -> /dev/vfio/vfio (rw)
    /dev/vfio/noiommu-0 -> /dev/vfio/0 (rw)
    "#);
}

#[test]
fn an_interface_needs_no_node() {
    insta::assert_snapshot!(shown(&[given("0000:4b:01.0", Access::Interface)]), @r#"
    PCIDEVICE_INTEL_COM_SRIOV_DPDK=0000:4b:01.0
    PCIDEVICE_INTEL_COM_SRIOV_DPDK_INFO={"0000:4b:01.0":{"generic":{"deviceID":"0000:4b:01.0"}}}
    "#);
}

#[test]
fn a_uio_device_and_what_the_pool_file_adds() {
    let additional = BTreeMap::from([("note".to_owned(), "a<b & \"c\"".to_owned())]);
    let device = Given { additional, ..given("0000:4b:01.0", Access::Uio("uio3".to_owned())) };
    insta::assert_snapshot!(shown(&[device]), @r#"
    PCIDEVICE_INTEL_COM_SRIOV_DPDK=0000:4b:01.0
    PCIDEVICE_INTEL_COM_SRIOV_DPDK_INFO={"0000:4b:01.0":{"extra":{"note":"a\u003cb \u0026 \"c\""},"generic":{"deviceID":"0000:4b:01.0"},"uio":{"mount":"/dev/uio3"}}}
    /dev/uio3 -> /dev/uio3 (rw)
    "#);
}

#[rstest]
#[case::kernel(Some("iavf"), true, None, Ok(Access::Interface))]
#[case::vfio(Some("vfio-pci"), true, None, Ok(Access::Vfio(IommuGroup { number: 7, name: None })))]
#[case::vfio_without_group(Some("vfio-pci"), false, None, Err(Missing::IommuGroup))]
#[case::uio(Some("uio_pci_generic"), false, Some("uio0"), Ok(Access::Uio("uio0".into())))]
#[case::uio_without_device(Some("igb_uio"), true, None, Err(Missing::Uio))]
#[case::none(None, true, None, Err(Missing::Driver))]
fn the_driver_decides_how_a_device_is_reached(
    #[case] driver: Option<&str>,
    #[case] group: bool,
    #[case] uio: Option<&str>,
    #[case] expected: Result<Access, Missing>,
) {
    let group = group.then_some(IommuGroup { number: 7, name: None });
    assert_eq!(access(driver, group.as_ref(), || uio.map(ToOwned::to_owned)), expected);
}
