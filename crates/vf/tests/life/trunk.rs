//! VLANs that a pod may tag itself, where the PF's driver can restrict them.

use pci::TrunkDialect;
use rstest::rstest;
use testbed::links::DriverModel;
use testbed::sysfs::PfSpec;
use vf::{Attribute, Error, Unable, Vlan, Wanted, describe};

use crate::machine::{Machine, everything, owner};

fn bare(driver: &str, vf_driver: &str, model: DriverModel) -> Machine {
    let spec = PfSpec {
        driver: driver.to_owned(),
        vf_driver: Some(vf_driver.to_owned()),
        ..PfSpec::igb("0000:01:00.0", "enp1s0")
    };
    Machine::new(spec, model)
}

fn machine(dialect: TrunkDialect) -> Machine {
    let machine = match dialect {
        TrunkDialect::Spans => bare("mlx5_core", "mlx5_core", DriverModel::mlx5()),
        TrunkDialect::Lists => bare("i40e", "iavf", DriverModel::iavf()),
    };
    machine.tree.add_trunks(&machine.spec.address, machine.spec.num_vfs, dialect);
    machine
}

/// What the VF may tag by now.
fn trunk(machine: &Machine, dialect: TrunkDialect) -> String {
    // The double takes what was written when it's asked next.
    machine.look(machine.vf());
    machine.tree.sysfs().trunk(&machine.spec.address, 0, dialect).unwrap().unwrap().to_string()
}

/// As an administrator does it.
fn allow(machine: &Machine, dialect: TrunkDialect, vlans: &str) {
    let vlans = vlans.parse().unwrap();
    machine.tree.sysfs().allow_vlans(&machine.spec.address, 0, dialect, &vlans).unwrap();
    machine.look(machine.vf());
}

fn asking_for(vlans: &str) -> Wanted {
    Wanted { trunk: Some(vlans.parse().unwrap()), ..Wanted::default() }
}

#[rstest]
fn it_is_set_read_back_and_given_back(
    #[values(TrunkDialect::Spans, TrunkDialect::Lists)] dialect: TrunkDialect,
    #[values("", "1-3,50,205")] before: &str,
) {
    let machine = machine(dialect);
    if !before.is_empty() {
        allow(&machine, dialect, before);
    }
    for wanted in [
        asking_for("100,200-210"),
        Wanted { vlan: None, trunk: asking_for("100,200-210").trunk, ..everything() },
    ] {
        machine.attach(&wanted).unwrap_or_else(|error| panic!("{}", error.chain()));
        assert_eq!(trunk(&machine, dialect), "100,200-210");
        assert_eq!(machine.host.verify(machine.vf(), &owner(1)).unwrap(), []);
        allow(&machine, dialect, "9");
        let found = machine.host.verify(machine.vf(), &owner(1)).unwrap();
        assert_eq!(describe(&found), "vlanTrunk is 9,100,200-210 in place of 100,200-210");
        machine.detach(1).unwrap_or_else(|error| panic!("{}", error.chain()));
        assert_eq!(trunk(&machine, dialect), before);
        assert_eq!(machine.state(machine.vf()), None);
    }
}

/// Neither driver has both at once.
#[rstest]
fn a_vlan_takes_a_vf_out_of_its_trunk_and_a_trunk_out_of_its_vlan(
    #[values(TrunkDialect::Spans, TrunkDialect::Lists)] dialect: TrunkDialect,
) {
    let machine = machine(dialect);
    let vlan = || machine.look(machine.vf()).config.vlan;
    allow(&machine, dialect, "1-3");
    let wanted = Wanted { vlan: Some(Vlan { id: 100, ..Vlan::default() }), ..Wanted::default() };
    machine.attach(&wanted).unwrap_or_else(|error| panic!("{}", error.chain()));
    assert_eq!(vlan(), 100);
    machine.detach(1).unwrap_or_else(|error| panic!("{}", error.chain()));
    assert_eq!((vlan(), trunk(&machine, dialect)), (0, "1-3".to_owned()));

    let vlans = "1-3".parse().unwrap();
    machine.tree.sysfs().forbid_vlans(&machine.spec.address, 0, dialect, &vlans).unwrap();
    machine.links.change_vf_behind(&machine.vf().to_string(), |config| config.vlan = 7);
    machine.attach(&asking_for("5")).unwrap_or_else(|error| panic!("{}", error.chain()));
    assert_eq!((vlan(), trunk(&machine, dialect)), (0, "5".to_owned()));
    machine.detach(1).unwrap_or_else(|error| panic!("{}", error.chain()));
    assert_eq!(vlan(), 7);
    machine.links.change_vf_behind(&machine.vf().to_string(), |config| config.vlan = 0);
    assert_eq!(trunk(&machine, dialect), "");
}

/// The kernel's own editions of these drivers have no such file.
#[rstest]
#[case("mlx5_core", "mlx5_core", DriverModel::mlx5())]
#[case("i40e", "iavf", DriverModel::iavf())]
#[case("igb", "igbvf", DriverModel::igb())]
#[case("unheard", "unheardvf", DriverModel::iavf())]
fn without_the_file_it_is_refused_before_anything_is_touched(
    #[case] driver: &str,
    #[case] vf_driver: &str,
    #[case] model: DriverModel,
) {
    let machine = bare(driver, vf_driver, model);
    let error = machine.attach(&asking_for("100")).unwrap_err();
    assert!(
        matches!(error, Error::Unable(Unable::Unsupported { attribute: Attribute::VlanTrunk, .. })),
        "{error:?}"
    );
    let text = error.to_string();
    assert!(text.contains(driver) && text.contains("vlanTrunk"), "{text}");
    assert!(machine.links.changes().is_empty());
    assert_eq!(machine.state(machine.vf()), None);
}

#[test]
fn what_a_driver_cannot_show_is_refused() {
    let machine = machine(TrunkDialect::Spans);
    let error = machine.attach(&asking_for("1-4094")).unwrap_err();
    assert!(matches!(error, Error::Unable(Unable::TrunkTooLong { vlans: 4094, .. })), "{error:?}");
    assert_eq!((trunk(&machine, TrunkDialect::Spans).as_str(), machine.state(machine.vf())), ("", None));

    let machine = self::machine(TrunkDialect::Lists);
    machine.attach(&asking_for("1-4094")).unwrap_or_else(|error| panic!("{}", error.chain()));
    assert_eq!(trunk(&machine, TrunkDialect::Lists), "1-4094");
}

#[test]
fn a_file_in_another_dialect_is_an_error_that_names_it() {
    let machine = bare("mlx5_core", "mlx5_core", DriverModel::mlx5());
    let pf = machine.spec.address;
    let directory = machine.tree.root().join(format!("bus/pci/devices/{pf}/sriov/0"));
    std::fs::create_dir_all(directory).unwrap();
    machine.tree.write(&pf, "sriov/0/trunk", "2,10-12\n");
    let error = machine.attach(&Wanted::default()).unwrap_err();
    assert!(matches!(error, Error::Trunk { .. }), "{error:?}");
    assert!(
        error.chain().contains("sriov/0/trunk") && error.chain().contains("2,10-12"),
        "{}",
        error.chain()
    );
    assert_eq!(machine.state(machine.vf()), None);
}
