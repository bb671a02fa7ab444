//! InfiniBand VFs: GUIDs and partitions.

use std::fs;

use netlink::{Guid, LinkState, Links, RdmaMode};
use rstest::rstest;
use testbed::links::DriverModel;
use testbed::sysfs::PfSpec;
use vf::{Attribute, Detached, Error, Rate, Unable, Vlan, Wanted, describe};

use crate::machine::{BOOT, MAC, Machine, owner, pod};

const ONE: Guid = Guid([2, 0, 0, 0, 0, 0, 0, 1]);
const TWO: Guid = Guid([2, 0, 0, 0, 0, 0, 0, 2]);

fn machine_with(vf_driver: &str) -> Machine {
    let spec = PfSpec {
        driver: "mlx5_core".to_owned(),
        vf_driver: Some(vf_driver.to_owned()),
        ..PfSpec::igb("0000:01:00.0", "enp1s0")
    };
    Machine::new(spec, DriverModel::mlx5_infiniband())
}

fn machine() -> Machine {
    machine_with("mlx5_core")
}

/// As an administrator does it: set through the PF, and the driver bound again.
fn give(machine: &Machine, guid: Guid) {
    let vf = machine.vf();
    machine.links.change_vf_behind(&vf.to_string(), |config| {
        (config.node_guid, config.port_guid) = (Some(guid), Some(guid));
    });
    machine.tree.sysfs().rebind(&vf).unwrap();
}

/// Which GUID a VF at home has, from both sides.
fn guids(machine: &Machine) -> [Option<Guid>; 3] {
    let look = machine.look(machine.vf());
    [look.config.node_guid, look.config.port_guid, look.link.and_then(|link| link.guid)]
}

fn asking_for(guid: Guid) -> Wanted {
    Wanted { guid: Some(guid), ..Wanted::default() }
}

#[rstest]
#[case::never_had_one(None)]
#[case::had_one(Some(TWO))]
fn a_guid_is_set_taken_by_the_interface_and_given_back(#[case] own: Option<Guid>) {
    let machine = machine();
    if let Some(own) = own {
        give(&machine, own);
    }
    let before = machine.look(machine.vf());
    let wanted = Wanted { link_state: Some(LinkState::Enable), mtu: Some(1400), ..asking_for(ONE) };
    for _ in 0..2 {
        let attached = machine.attach(&wanted).unwrap_or_else(|error| panic!("{}", error.chain()));
        assert_eq!((attached.kernel, attached.mac, attached.mtu), (true, None, Some(1400)));
        let link = machine.in_pod(1).unwrap();
        assert_eq!((link.name.as_str(), link.guid, link.mtu, link.up), ("net1", Some(ONE), 1400, true));
        let config = machine.look(machine.vf()).config;
        assert_eq!((config.node_guid, config.port_guid), (Some(ONE), Some(ONE)));
        assert_eq!(config.link_state, Some(LinkState::Enable));
        assert_eq!(machine.host.verify(machine.vf(), &owner(1)).unwrap(), []);

        assert_eq!(machine.detach(1).unwrap_or_else(|error| panic!("{}", error.chain())), Detached::Released);
        // A VF can't be given zero, which it has before it's given any.
        assert_eq!(guids(&machine), [Some(own.unwrap_or(Guid::NONE)); 3]);
        let (after, before) = (machine.look(machine.vf()), before.clone());
        let (after_link, before_link) = (after.link.unwrap(), before.link.unwrap());
        assert_eq!((after_link.name, after_link.mtu), (before_link.name, before_link.mtu));
        assert_eq!(after.config.link_state, before.config.link_state);
        assert_eq!(machine.state(machine.vf()), None);
    }
}

#[test]
fn an_interface_with_its_own_guid_is_handed_over_as_it_is() {
    let machine = machine();
    give(&machine, TWO);
    machine.attach(&Wanted::default()).unwrap_or_else(|error| panic!("{}", error.chain()));
    assert_eq!(machine.in_pod(1).unwrap().guid, Some(TWO));
    // Someone gives it another one meanwhile.
    give(&machine, ONE);
    let found = describe(&machine.host.verify(machine.vf(), &owner(1)).unwrap());
    assert!(found.contains("guid is 02:00:00:00:00:00:00:01"), "{found}");
    machine.detach(1).unwrap_or_else(|error| panic!("{}", error.chain()));
    assert_eq!(guids(&machine), [Some(TWO); 3]);
}

#[test]
fn a_vf_for_user_space_gets_its_guid_through_the_pf() {
    let machine = machine_with("vfio-pci");
    machine.attach(&asking_for(ONE)).unwrap_or_else(|error| panic!("{}", error.chain()));
    assert_eq!(guids(&machine), [Some(ONE), Some(ONE), None]);
    assert_eq!(machine.look(machine.vf()).driver.as_deref(), Some("vfio-pci"));
    machine.detach(1).unwrap_or_else(|error| panic!("{}", error.chain()));
    assert_eq!(guids(&machine), [Some(Guid::NONE), Some(Guid::NONE), None]);
}

#[test]
fn without_a_guid_it_is_not_handed_over() {
    let machine = machine();
    let error = machine.attach(&Wanted::default()).unwrap_err();
    assert!(matches!(error, Error::Unable(Unable::NoGuid { .. })), "{error:?}");
    assert!(machine.links.changes().is_empty());
    for guid in [Guid::NONE, Guid::default()] {
        let error = machine.attach(&asking_for(guid)).unwrap_err();
        assert!(matches!(error, Error::Unable(Unable::UnusableGuid { .. })), "{error:?}");
    }
    assert_eq!(machine.state(machine.vf()), None);
}

#[rstest]
#[case(Wanted { mac: Some(MAC), ..asking_for(ONE) }, Attribute::Mac)]
#[case(Wanted { vlan: Some(Vlan::default()), ..asking_for(ONE) }, Attribute::Vlan)]
#[case(Wanted { rate: Some(Rate { min: 0, max: 10 }), ..asking_for(ONE) }, Attribute::MaxTxRate)]
#[case(Wanted { spoofchk: Some(true), ..asking_for(ONE) }, Attribute::SpoofCheck)]
#[case(Wanted { trust: Some(false), ..asking_for(ONE) }, Attribute::Trust)]
#[case(Wanted { trunk: Some("5".parse().unwrap()), ..asking_for(ONE) }, Attribute::VlanTrunk)]
fn what_only_ethernet_has_is_refused_by_name(#[case] wanted: Wanted, #[case] expected: Attribute) {
    let machine = machine();
    let error = machine.attach(&wanted).unwrap_err();
    assert!(
        matches!(error, Error::Unable(Unable::LinkType { attribute, infiniband: true, .. }) if attribute == expected),
        "{error:?}"
    );
    assert!(error.to_string().contains("InfiniBand"), "{error}");
    assert!(machine.links.changes().is_empty());
}

#[rstest]
#[case(asking_for(ONE), Attribute::Guid)]
#[case(Wanted { pkey: Some("0x6".parse().unwrap()), ..Wanted::default() }, Attribute::Pkey)]
fn what_only_infiniband_has_is_refused_by_name(#[case] wanted: Wanted, #[case] expected: Attribute) {
    let machine = Machine::igb();
    let error = machine.attach(&wanted).unwrap_err();
    assert!(
        matches!(error, Error::Unable(Unable::LinkType { attribute, infiniband: false, .. }) if attribute == expected),
        "{error:?}"
    );
    let text = error.to_string();
    assert!(text.contains("Ethernet") && text.contains(&machine.vf().to_string()), "{text}");
    assert!(machine.links.changes().is_empty());
}

/// Puts a VF into partitions, as the subnet manager does.
fn grant(machine: &Machine, pkeys: &[&str]) {
    let vf = machine.vf();
    let table = "infiniband/mlx5_2/ports/1/pkeys";
    let directory = machine.tree.root().join(format!("bus/pci/devices/{vf}")).join(table);
    drop(fs::remove_dir_all(&directory));
    fs::create_dir_all(directory).unwrap();
    for (place, pkey) in pkeys.iter().enumerate() {
        machine.tree.write(&vf, &format!("{table}/{place}"), &format!("{pkey}\n"));
    }
}

#[test]
fn a_partition_is_compared_and_not_set() {
    let machine = machine();
    let wanted = Wanted { pkey: Some("0x8006".parse().unwrap()), ..asking_for(ONE) };
    // Where no table is seen, nothing is compared.
    machine.attach(&wanted).unwrap_or_else(|error| panic!("{}", error.chain()));
    machine.detach(1).unwrap();

    grant(&machine, &["0xffff", "0x0007"]);
    let error = machine.attach(&wanted).unwrap_err();
    assert!(matches!(error, Error::NotInPartition { guid: Some(ONE), .. }), "{error:?}");
    let text = error.to_string();
    assert!(error.is_transient() && text.contains("0x8006") && text.contains("subnet manager"), "{text}");
    assert_eq!(guids(&machine), [Some(Guid::NONE); 3]);
    assert_eq!(machine.state(machine.vf()), None);

    grant(&machine, &["0xffff", "0x0006"]);
    machine.attach(&wanted).unwrap_or_else(|error| panic!("{}", error.chain()));
    assert_eq!(machine.host.verify(machine.vf(), &owner(1)).unwrap(), []);
    grant(&machine, &["0xffff"]);
    let found = machine.host.verify(machine.vf(), &owner(1)).unwrap();
    assert_eq!(describe(&found), "pkey is 0xffff in place of 0x8006");
    machine.detach(1).unwrap();
}

#[test]
fn a_crash_at_any_change_is_healed() {
    let undisturbed = machine();
    give(&undisturbed, TWO);
    undisturbed.links.clear_journal();
    undisturbed.attach(&asking_for(ONE)).unwrap();
    let all = undisturbed.links.changes().len();
    for changes in 0..=all {
        let machine = machine();
        give(&machine, TWO);
        machine.links.clear_journal();
        machine.links.die_after(changes);
        let survived = machine.attach(&asking_for(ONE)).is_ok();
        let host = machine.next_process(BOOT);
        host.detach(machine.vf(), &owner(1), Some(&pod(1)))
            .unwrap_or_else(|error| panic!("{changes}: {}", error.chain()));
        assert_eq!(guids(&machine), [Some(TWO); 3], "{changes}");
        assert_eq!(machine.state(machine.vf()), None, "{changes}");
        assert!(machine.links.link_named(machine.links.host(), "enp1s0v0").unwrap().is_some(), "{changes}");
        assert_eq!(survived, changes == all, "{changes}");
    }
}

/// The driver that's bound again for the GUID makes the RDMA device anew, and in the pod it's found by its new index.
#[test]
fn the_rdma_device_that_comes_with_a_guid_goes_into_the_pod_and_back() {
    for detaches in [true, false] {
        let machine = machine();
        give(&machine, TWO);
        let first = machine.links.add_rdma(&machine.vf().to_string(), "mlx5_2");
        machine.links.set_rdma_mode(Some(RdmaMode::Exclusive));
        machine.attach(&Wanted { rdma: true, ..asking_for(ONE) }).unwrap();
        let device = machine.rdma_in_pod(1).remove(0);
        assert!(device.index > first && device.name == "mlx5_2", "{device:?}");
        let claim = machine.state(machine.vf()).unwrap().claim().cloned().unwrap();
        assert_eq!(claim.wanted.baseline.settings.rdma.unwrap().index, device.index);
        assert_eq!(machine.host.verify(machine.vf(), &owner(1)).unwrap(), []);
        if !detaches {
            machine.links.remove_namespace(&pod(1));
        }
        machine.detach(1).unwrap_or_else(|error| panic!("{}", error.chain()));
        assert_eq!(
            (guids(&machine), machine.look(machine.vf()).rdma),
            ([Some(TWO); 3], vec!["mlx5_2".to_owned()])
        );
        assert_eq!(machine.state(machine.vf()), None);
    }
}
