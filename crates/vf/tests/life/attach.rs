//! Handing a VF over.

use netlink::{Errno, Guid, LinkState, Links, Verb, VlanProto};
use rstest::rstest;
use testbed::links::{Attribute as Lacking, DriverModel};
use testbed::sysfs::PfSpec;
use vf::{Attribute, Error, Freshness, Rate, State, Unable, Vlan, Wanted};

use crate::machine::{MAC, Machine, everything, owner, pod};

fn drivers() -> Vec<(PfSpec, DriverModel)> {
    let pf = |driver: &str, vf_driver: &str| PfSpec {
        driver: driver.to_owned(),
        vf_driver: Some(vf_driver.to_owned()),
        ..PfSpec::igb("0000:01:00.0", "enp1s0")
    };
    vec![
        (pf("igb", "igbvf"), DriverModel::igb()),
        (pf("ice", "iavf"), DriverModel::iavf()),
        (pf("mlx5_core", "mlx5_core"), DriverModel::mlx5()),
        // A driver that nobody has heard of, behaving like each of them.
        (pf("unheard", "unheardvf"), DriverModel::igb()),
        (pf("unheard", "unheardvf"), DriverModel::iavf()),
        (pf("unheard", "unheardvf"), DriverModel::mlx5()),
    ]
}

#[test]
fn every_driver_takes_and_returns_everything() {
    for (spec, model) in drivers() {
        let driver = format!("{} as {}", spec.driver, model.vf_driver);
        let machine = Machine::new(spec, model);
        let before = machine.look(machine.vf());
        let attached =
            machine.attach(&everything()).unwrap_or_else(|error| panic!("{driver}: {}", error.chain()));
        assert_eq!((attached.kernel, attached.mac, attached.mtu), (true, Some(MAC), Some(1400)), "{driver}");
        assert_eq!(attached.baseline, Freshness::Taken);

        let link = machine.in_pod(1).unwrap();
        assert_eq!(Some(link.index), attached.ifindex);
        assert_eq!(
            (link.name.as_str(), link.mac, link.mtu, link.up),
            ("net1", Some(MAC), 1400, true),
            "{driver}"
        );
        assert_eq!((link.promisc, link.allmulti), (true, true), "{driver}");
        let config = machine.look(machine.vf()).config;
        assert_eq!((config.mac, config.vlan, config.qos, config.max_tx_rate), (Some(MAC), 100, 3, 500));
        assert_eq!((config.spoofchk, config.trust), (Some(false), Some(true)));
        assert!(matches!(machine.state(machine.vf()), Some(State::Claimed { .. })));

        machine.host.confirm(machine.vf(), &owner(1)).unwrap();
        machine.host.confirm(machine.vf(), &owner(1)).unwrap();
        assert!(machine.host.verify(machine.vf(), &owner(1)).unwrap().is_empty());
        assert!(matches!(machine.state(machine.vf()), Some(State::Attached { .. })));

        machine.detach(1).unwrap_or_else(|error| panic!("{driver}: {}", error.chain()));
        let after = machine.look(machine.vf());
        assert_eq!(after, before, "{driver}");
        assert_eq!(machine.state(machine.vf()), None);
    }
}

#[test]
fn nothing_asked_means_nothing_set() {
    let machine = Machine::igb();
    let before = machine.look(machine.vf());
    let attached = machine.attach(&Wanted::default()).unwrap();
    assert_eq!(attached.mac, before.link.as_ref().unwrap().mac);
    assert_eq!(attached.mtu, Some(1500));
    assert!(machine.links.changes().iter().all(|call| call.verb != Verb::SetVf));
    // One message moves, renames and sets the MTU; another sets it up.
    let verbs: Vec<Verb> = machine.links.changes().iter().map(|call| call.verb).collect();
    assert_eq!(verbs, [Verb::Move, Verb::SetAnnounce, Verb::SetUp]);
    machine.detach(1).unwrap();
    assert_eq!(machine.look(machine.vf()), before);
}

#[rstest]
#[case(Wanted { link_state: Some(LinkState::Auto), ..Wanted::default() }, Attribute::LinkState)]
#[case(Wanted { rate: Some(Rate { min: 10, max: 0 }), ..Wanted::default() }, Attribute::MinTxRate)]
#[case(
    Wanted { vlan: Some(Vlan { id: 5, qos: 0, proto: VlanProto::Dot1ad }), ..Wanted::default() },
    Attribute::VlanProto8021ad
)]
fn what_the_driver_cannot_do_is_refused_by_name_before_anything_is_touched(
    #[case] wanted: Wanted,
    #[case] expected: Attribute,
) {
    let machine = Machine::igb();
    let wanted = Wanted { mac: Some(MAC), ..wanted };
    let error = machine.attach(&wanted).unwrap_err();
    assert!(
        matches!(&error, Error::Unable(Unable::Unsupported { attribute, .. }) if *attribute == expected),
        "{error:?}"
    );
    let text = error.to_string();
    assert!(text.contains("igb") && text.contains(&expected.to_string()), "{text}");
    assert!(machine.links.changes().is_empty());
    assert_eq!(machine.state(machine.vf()), None);
}

/// What a network asks for so that it needs one attribute, and as few others as can be.
fn asking_for(attribute: Attribute) -> Wanted {
    let vlan = |qos, proto| Some(Vlan { id: 5, qos, proto });
    let nothing = Wanted::default();
    match attribute {
        Attribute::Mac => Wanted { mac: Some(MAC), ..nothing },
        Attribute::Vlan => Wanted { vlan: vlan(0, VlanProto::Dot1q), ..nothing },
        Attribute::VlanQos => Wanted { vlan: vlan(3, VlanProto::Dot1q), ..nothing },
        Attribute::VlanProto8021ad => Wanted { vlan: vlan(0, VlanProto::Dot1ad), ..nothing },
        Attribute::MinTxRate => Wanted { rate: Some(Rate { min: 200, max: 0 }), ..nothing },
        Attribute::MaxTxRate => Wanted { rate: Some(Rate { min: 0, max: 200 }), ..nothing },
        Attribute::SpoofCheck => Wanted { spoofchk: Some(false), ..nothing },
        Attribute::Trust => Wanted { trust: Some(true), ..nothing },
        Attribute::LinkState => Wanted { link_state: Some(LinkState::Enable), ..nothing },
        Attribute::VlanTrunk => Wanted { trunk: Some("3-5".parse().unwrap()), ..nothing },
        Attribute::Guid => Wanted { guid: Some(Guid([2; 8])), ..nothing },
        Attribute::Pkey => Wanted { pkey: Some("0x6".parse().unwrap()), ..nothing },
        Attribute::Mtu => Wanted { mtu: Some(1400), ..nothing },
        Attribute::Promisc => Wanted { promisc: Some(true), ..nothing },
        Attribute::Allmulti => Wanted { allmulti: Some(true), ..nothing },
        Attribute::Rdma => Wanted { rdma: true, ..nothing },
    }
}

fn under(pf_driver: &str, model: DriverModel) -> Machine {
    Machine::new(PfSpec { driver: pf_driver.to_owned(), ..PfSpec::igb("0000:01:00.0", "enp1s0") }, model)
}

#[test]
fn what_the_table_says_of_a_driver_is_refused_by_name_before_anything_is_touched() {
    for driver in &vf::driver::PF_DRIVERS {
        let machine = under(driver.name, DriverModel::iavf());
        for attribute in driver.unsupported {
            let error = machine.attach(&asking_for(*attribute)).unwrap_err();
            assert!(
                matches!(&error, Error::Unable(Unable::Unsupported { attribute: of, .. }) if of == attribute),
                "{error:?}"
            );
            let text = error.to_string();
            assert!(text.contains(driver.name) && text.contains(&attribute.to_string()), "{text}");
        }
        let least = driver.least_max_rate;
        if least != 0 {
            let rate = |max| Wanted { rate: Some(Rate { min: 0, max }), ..Wanted::default() };
            let error = machine.attach(&rate(least - 1)).unwrap_err();
            assert!(matches!(error, Error::Unable(Unable::RateTooSmall { .. })), "{error:?}");
            let text = error.to_string();
            assert!(text.contains(driver.name) && text.contains(&format!("is {least} Mbit/s")), "{text}");
            assert!(machine.links.changes().is_empty());
            machine.attach(&rate(least)).unwrap();
            machine.detach(1).unwrap();
            machine.attach(&rate(0)).unwrap();
        } else {
            assert!(machine.links.changes().is_empty(), "{}", driver.name);
        }
        assert!(least != 0 || machine.state(machine.vf()).is_none(), "{}", driver.name);
    }
}

#[test]
fn a_driver_that_is_known_to_refuse_it_is_not_asked_to_remove_a_mac() {
    for driver in vf::driver::PF_DRIVERS.iter().filter(|driver| driver.zero_mac_refused) {
        let spec = PfSpec {
            driver: driver.name.to_owned(),
            vf_driver: Some("iavf".to_owned()),
            ..PfSpec::igb("0000:01:00.0", "enp1s0")
        };
        let machine = Machine::new(spec, DriverModel::iavf());
        let before = machine.look(machine.vf());
        machine.attach(&asking_for(Attribute::Mac)).unwrap();
        machine.detach(1).unwrap_or_else(|error| panic!("{}: {}", driver.name, error.chain()));
        assert_eq!(machine.look(machine.vf()), before, "{}", driver.name);
        let removals =
            machine.links.changes().into_iter().filter(|call| call.target.contains("00:00:00:00:00:00"));
        assert_eq!(removals.count(), 0, "{}", driver.name);
    }
}

#[rstest]
#[case(Lacking::Mac, Attribute::Mac)]
#[case(Lacking::Vlan, Attribute::Vlan)]
#[case(Lacking::MaxRate, Attribute::MaxTxRate)]
#[case(Lacking::SpoofCheck, Attribute::SpoofCheck)]
#[case(Lacking::Trust, Attribute::Trust)]
fn what_an_unknown_driver_cannot_do_is_the_same_error_and_all_is_undone(
    #[case] lacking: Lacking,
    #[case] expected: Attribute,
) {
    let spec = PfSpec { driver: "unheard".to_owned(), ..PfSpec::igb("0000:01:00.0", "enp1s0") };
    let machine = Machine::new(spec, DriverModel::igb().without([lacking]));
    let before = machine.look(machine.vf());
    let error = machine.attach(&everything()).unwrap_err();
    assert!(
        matches!(&error, Error::Unable(Unable::Unsupported { attribute, .. }) if *attribute == expected),
        "{error:?}"
    );
    assert!(error.to_string().contains("unheard"), "{error}");
    assert_eq!(machine.look(machine.vf()), before);
    assert_eq!(machine.state(machine.vf()), None);
}

#[test]
fn what_a_driver_does_not_tell_is_set_and_not_compared() {
    let untold = [Lacking::SpoofCheck, Lacking::Trust, Lacking::LinkState];
    let machine = Machine::new(PfSpec::igb("0000:01:00.0", "enp1s0"), DriverModel::igb().untelling(untold));
    machine.attach(&everything()).unwrap();
    machine.detach(1).unwrap();
    assert_eq!(machine.state(machine.vf()), None);
}

#[test]
fn an_mtu_above_the_pfs_is_refused() {
    let machine = Machine::igb();
    let error = machine.attach(&Wanted { mtu: Some(9000), ..Wanted::default() }).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("9000") && text.contains("1500") && text.contains("enp1s0"), "{text}");
    assert!(machine.links.changes().is_empty());
}

#[rstest]
#[case("00:00:00:00:00:00")]
#[case("ff:ff:ff:ff:ff:ff")]
#[case("01:00:5e:00:00:01")]
fn a_mac_that_no_interface_can_have_is_refused(#[case] mac: &str) {
    let machine = Machine::igb();
    let wanted = Wanted { mac: Some(mac.parse().unwrap()), ..Wanted::default() };
    assert!(matches!(machine.attach(&wanted), Err(Error::Unable(Unable::NotUnicast { .. }))));
}

#[test]
fn a_vf_for_user_space_gets_its_attributes_and_stays_where_it_is() {
    let spec = PfSpec { vf_driver: Some("vfio-pci".to_owned()), ..PfSpec::igb("0000:01:00.0", "enp1s0") };
    let machine = Machine::new(spec, DriverModel::igb());
    let before = machine.look(machine.vf());
    assert!(before.link.is_none());
    let of_its_pf = Wanted { mtu: None, promisc: None, allmulti: None, ..everything() };
    let attached = machine.attach(&of_its_pf).unwrap();
    assert_eq!((attached.kernel, attached.ifindex, attached.mac), (false, None, Some(MAC)));
    assert_eq!(attached.mtu, Some(1500));
    assert_eq!(machine.look(machine.vf()).config.vlan, 100);
    assert!(machine.in_pod(1).is_none());
    machine.detach(1).unwrap();
    assert_eq!(machine.look(machine.vf()), before);
    assert_eq!(machine.state(machine.vf()), None);

    for (wanted, of_interface) in [
        (Wanted { mtu: Some(1400), ..of_its_pf.clone() }, Attribute::Mtu),
        (Wanted { promisc: Some(true), ..of_its_pf.clone() }, Attribute::Promisc),
        (Wanted { allmulti: Some(false), ..of_its_pf }, Attribute::Allmulti),
    ] {
        let error = machine.attach(&wanted).unwrap_err();
        assert!(
            matches!(error, Error::Unable(Unable::NoInterface { attribute, .. }) if attribute == of_interface),
            "{error:?}"
        );
        let text = error.to_string();
        assert!(text.contains("vfio-pci") && text.starts_with(&of_interface.to_string()), "{text}");
        assert_eq!(machine.state(machine.vf()), None);
    }
}

/// As in a virtual machine that was given the VF alone.
#[test]
fn a_vf_with_no_pf_in_sight_is_moved_and_gets_no_attributes_of_a_pf() {
    let machine = Machine::igb();
    let device = machine.tree.root().join("bus/pci/devices").join(machine.vf().to_string());
    std::fs::remove_file(device.join("physfn")).unwrap();
    let error = machine.attach(&everything()).unwrap_err();
    assert!(matches!(error, Error::Unable(Unable::NoPf { attribute: Attribute::Vlan, .. })), "{error:?}");
    assert!(error.to_string().contains("vlan"), "{error}");

    let wanted = Wanted { mac: Some(MAC), mtu: Some(9000), ..Wanted::default() };
    let attached = machine.attach(&wanted).unwrap();
    assert_eq!((attached.mac, attached.mtu), (Some(MAC), Some(9000)));
    machine.detach(1).unwrap();
    assert_eq!(machine.state(machine.vf()), None);
    let link =
        machine.links.link_of_device(machine.links.host(), &machine.vf().to_string()).unwrap().unwrap();
    assert_eq!((link.name.as_str(), link.mtu), ("enp1s0v0", 1500));
    assert_ne!(link.mac, Some(MAC));
}

#[test]
fn an_interface_that_is_up_at_home_is_up_again_after_it() {
    let machine = Machine::igb();
    let home = machine.links.host();
    let link = machine.links.link_of_device(home, &machine.vf().to_string()).unwrap().unwrap();
    machine.links.set_up(home, link.index, true).unwrap();
    let before = machine.look(machine.vf());
    machine.attach(&everything()).unwrap();
    assert!(machine.in_pod(1).unwrap().up);
    machine.detach(1).unwrap();
    assert_eq!(machine.look(machine.vf()), before);
}

#[test]
fn an_alternative_name_that_the_pod_wants_is_given_up() {
    let machine = Machine::igb();
    machine.links.add_altname(&machine.vf().to_string(), "net1");
    machine.attach(&Wanted::default()).unwrap();
    assert_eq!(machine.in_pod(1).unwrap().name, "net1");
    machine.detach(1).unwrap();
    assert_eq!(machine.state(machine.vf()), None);
}

#[test]
fn a_name_that_the_pod_has_already_fails_and_all_is_undone() {
    let machine = Machine::igb();
    machine.links.add_veth(&pod(1), "net1", "peer");
    let before = machine.look(machine.vf());
    let error = machine.attach(&everything()).unwrap_err();
    assert!(error.chain().contains("net1"), "{}", error.chain());
    assert_eq!(machine.look(machine.vf()), before);
    assert_eq!(machine.state(machine.vf()), None);
}

#[test]
fn the_hosts_own_namespace_is_no_pods() {
    let machine = Machine::igb();
    let owner = owner(1);
    let request = vf::Attach {
        pci: machine.vf(),
        owner: &owner,
        netns: "/proc/1/ns/net".as_ref(),
        wanted: &Wanted::default(),
        pod: None,
        resource: None,
    };
    assert!(matches!(machine.host.attach(&request), Err(Error::HostNamespace { .. })));
    assert_eq!(machine.state(machine.vf()), None);
}

#[test]
fn a_namespace_that_is_not_there_is_an_error_and_nothing_is_touched() {
    let machine = Machine::igb();
    machine.links.remove_namespace(&pod(1));
    let error = machine.attach(&everything()).unwrap_err();
    assert!(matches!(error, Error::Namespace { .. }), "{error:?}");
    assert!(machine.links.changes().is_empty());
}

#[test]
fn a_device_that_is_not_there_is_an_error() {
    let machine = Machine::igb();
    machine.tree.remove(&machine.vf());
    let error = machine.attach(&everything()).unwrap_err();
    assert!(error.chain().contains("0000:01:10.0"), "{}", error.chain());
}

/// A driver may accept a value and not set it.
#[test]
fn a_value_that_does_not_read_back_fails_and_all_is_undone() {
    let machine = Machine::igb();
    let before = machine.look(machine.vf());
    // The step that sets it up is refused, so that the MAC isn't taken either.
    machine.links.fail_on(Verb::SetUp, 1, Errno::EIO);
    let error = machine.attach(&everything()).unwrap_err();
    assert!(error.chain().contains("up"), "{}", error.chain());
    assert_eq!(machine.look(machine.vf()), before);
}

#[test]
fn a_pf_is_not_given_away() {
    let machine = Machine::igb();
    let owner = owner(1);
    let request = vf::Attach {
        pci: machine.spec.address,
        owner: &owner,
        netns: &pod(1),
        wanted: &Wanted::default(),
        pod: None,
        resource: None,
    };
    assert!(matches!(machine.host.attach(&request), Err(Error::NoVf { .. })));
    assert!(machine.links.changes().is_empty());
}
