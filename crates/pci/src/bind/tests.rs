use rstest::rstest;

use super::{BindError, Driver, Observed, Write, plan, undo};
use crate::address::PciAddress;

fn vf() -> PciAddress {
    "0000:01:10.0".parse().unwrap()
}

fn vfio() -> Driver {
    Driver::Named("vfio-pci".to_owned())
}

/// A VF with its network driver, on a machine where everything is as it should be.
fn free() -> Observed {
    Observed {
        driver: Some("igbvf".to_owned()),
        driver_override: None,
        has_iommu_group: true,
        has_wanted: true,
        autoprobe_off: None,
    }
}

fn taken() -> Observed {
    Observed { driver: Some("vfio-pci".to_owned()), driver_override: Some("vfio-pci".to_owned()), ..free() }
}

#[rstest]
#[case::take(free(), vfio(), vec![Write::Override(Some("vfio-pci".into())), Write::Unbind("igbvf".into()), Write::Probe])]
#[case::take_unbound(
    Observed { driver: None, ..free() }, vfio(), vec![Write::Override(Some("vfio-pci".into())), Write::Probe]
)]
#[case::half_taken(
    Observed { driver: None, ..taken() }, vfio(), vec![Write::Probe]
)]
#[case::has_it(taken(), vfio(), vec![])]
#[case::has_it_by_its_id(Observed { driver_override: None, ..taken() }, vfio(), vec![])]
#[case::give_back(taken(), Driver::Kernel, vec![Write::Override(None), Write::Unbind("vfio-pci".into()), Write::Probe])]
#[case::half_given_back(Observed { driver: None, driver_override: None, ..free() }, Driver::Kernel, vec![Write::Probe])]
#[case::given_back(free(), Driver::Kernel, vec![])]
#[case::stale_override(
    Observed { driver_override: Some("vfio-pci".into()), ..free() }, Driver::Kernel, vec![Write::Override(None)]
)]
#[case::one_for_another(
    taken(), Driver::Named("uio_pci_generic".into()),
    vec![Write::Override(Some("uio_pci_generic".into())), Write::Unbind("vfio-pci".into()), Write::Probe]
)]
fn only_what_differs_is_written(
    #[case] observed: Observed,
    #[case] wanted: Driver,
    #[case] writes: Vec<Write>,
) {
    assert_eq!(plan(vf(), &observed, &wanted).unwrap(), writes);
}

#[rstest]
#[case::no_module(Observed { has_wanted: false, ..free() }, vfio(), "modprobe vfio-pci")]
#[case::no_iommu(Observed { has_iommu_group: false, ..free() }, vfio(), "intel_iommu=on")]
#[case::empty_name(free(), Driver::Named(String::new()), "can't be the name")]
#[case::path(free(), Driver::Named("../x".into()), "can't be the name")]
#[case::two_lines(free(), Driver::Named("a\nb".into()), "can't be the name")]
fn what_can_not_be_is_refused_before_a_write(
    #[case] observed: Observed,
    #[case] wanted: Driver,
    #[case] says: &str,
) {
    let error = plan(vf(), &observed, &wanted).unwrap_err().to_string();
    assert!(error.contains(says), "{error}");
}

#[rstest]
#[case(vfio())]
#[case(Driver::Kernel)]
fn autoprobe_off_stops_any_probe(#[case] wanted: Driver) {
    let pf: PciAddress = "0000:01:00.0".parse().unwrap();
    let observed = Observed { driver: None, autoprobe_off: Some(pf), ..free() };
    let error = plan(vf(), &observed, &wanted).unwrap_err();
    assert!(matches!(error, BindError::AutoprobeOff { pf: of, .. } if of == pf));
    assert!(error.to_string().contains("write 1 to it"), "{error}");
    // Who has what he should have needs no probe.
    let fine = Observed { autoprobe_off: Some(pf), ..free() };
    assert_eq!(plan(vf(), &fine, &Driver::Kernel).unwrap(), []);
}

#[test]
fn vfio_without_an_iommu_is_fine_for_uio() {
    let observed = Observed { has_iommu_group: false, ..free() };
    plan(vf(), &observed, &Driver::Named("uio_pci_generic".to_owned())).unwrap();
}

#[test]
fn undoing_restores_override_and_driver() {
    assert_eq!(undo(&taken()), [Write::Override(Some("vfio-pci".into())), Write::Probe]);
    assert_eq!(undo(&Observed { driver: None, ..free() }), [Write::Override(None)]);
}
