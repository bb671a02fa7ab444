use netlink::{Guid, LinkState, VlanProto};
use pci::Vlans;
use proptest::prelude::*;
use rstest::rstest;

use super::model::{arrive, at_home, take};
use super::*;
use crate::settings::{Guids, Rate, Rdma, Settings, Vlan, differences};
use crate::wanted::Wanted;

fn mac() -> impl Strategy<Value = MacAddr> {
    (1..5_u8).prop_map(|last| MacAddr([2, 0, 0, 0, 0, last]))
}

fn vlans() -> impl Strategy<Value = Vlans> {
    proptest::collection::vec(1..9_i64, 0..4).prop_map(|ids| {
        let mut vlans = Vlans::default();
        for id in ids {
            vlans.insert(id, id).unwrap();
        }
        vlans
    })
}

prop_compose! {
    fn admin()(
        mac in prop_oneof![Just(MacAddr::default()), mac()],
        id in 0..3_u16,
        qos in 0..2_u8,
        ad in any::<bool>(),
        max in 0..2_u32,
        flags in any::<(bool, bool)>(),
        state in prop_oneof![Just(LinkState::Auto), Just(LinkState::Disable)],
        trunk in vlans(),
    ) -> Admin {
        Admin {
            mac: Some(mac),
            vlan: Vlan { id, qos, proto: if ad { VlanProto::Dot1ad } else { VlanProto::Dot1q } },
            rate: Rate { min: 0, max },
            spoofchk: Some(flags.0),
            trust: Some(flags.1),
            link_state: Some(state),
            // Beside a VLAN there's none in it.
            guids: None,
            trunk: Some(if id == 0 && qos == 0 { trunk } else { Vlans::default() }),
        }
    }
}

prop_compose! {
    fn settings()(
        driver in prop_oneof![Just("igbvf"), Just("iavf"), Just("mlx5_core"), Just("unheard")],
        name in "[a-c]{1,3}",
        mac in mac(),
        mtu in 1400..1402_u32,
        up in any::<bool>(),
        takes in any::<(bool, bool)>(),
        altnames in proptest::collection::vec("alt[1-3]", 0..2),
        admin in proptest::option::weighted(0.9, admin()),
        rdma in proptest::option::of(("[a-c]{1,2}", any::<bool>())),
    ) -> Settings {
        let altnames = altnames.into_iter().map(OsString::from).collect();
        let (promisc, allmulti) = takes;
        Settings {
            driver: Some(driver.to_owned()),
            netdev: Some(Netdev { name, mac: Some(mac), guid: None, mtu, up, promisc, allmulti, altnames }),
            admin,
            rdma: rdma.map(|(name, in_pod)| Rdma {
                index: 1,
                name,
                place: if in_pod { Place::Pod } else { Place::Home },
            }),
        }
    }
}

prop_compose! {
    fn wanted()(
        mac in proptest::option::of(mac()),
        vlan in proptest::option::of(0..3_u16),
        max in proptest::option::of(0..2_u32),
        flags in any::<(Option<bool>, Option<bool>)>(),
        mtu in proptest::option::of(1400..1402_u32),
        takes in any::<(Option<bool>, Option<bool>)>(),
        trunk in proptest::option::of(vlans()),
        rdma in any::<bool>(),
    ) -> Wanted {
        Wanted {
            mac,
            vlan: vlan.map(|id| Vlan { id, ..Vlan::default() }),
            rate: max.map(|max| Rate { min: 0, max }),
            spoofchk: flags.0,
            trust: flags.1,
            link_state: None,
            guid: None,
            pkey: None,
            trunk: trunk.filter(|_| vlan.is_none_or(|vlan| vlan == 0)),
            mtu,
            promisc: takes.0,
            allmulti: takes.1,
            rdma,
        }
    }
}

proptest! {
    #[test]
    fn there_and_back_is_where_it_was(settings in settings(), wanted in wanted()) {
        let home = at_home(settings);
        let goal = wanted.goal(&home.settings, &"net1".parse().unwrap());
        let mut vf = home.clone();
        let plan = steps(&home, &goal);
        for step in &plan {
            take(&mut vf, step);
        }
        prop_assert_eq!(differences(&goal, &vf), vec![]);
        if goal.settings.rdma.is_some() {
            prop_assert_eq!(plan.last(), Some(&Step::MoveRdma(Place::Pod)));
            let back = steps(&vf, &home);
            prop_assert_eq!(back.first(), Some(&Step::MoveRdma(Place::Home)));
        }
        arrive(&mut vf, &home);
        prop_assert_eq!(differences(&home, &vf), vec![]);
        prop_assert_eq!(vf.settings.netdev.unwrap().up, home.settings.netdev.unwrap().up);
    }

    #[test]
    fn stopping_after_any_step_is_no_obstacle(settings in settings(), wanted in wanted(), stop in 0..14_usize) {
        let home = at_home(settings);
        let goal = wanted.goal(&home.settings, &"net1".parse().unwrap());
        let mut vf = home.clone();
        for step in steps(&home, &goal).iter().take(stop) {
            take(&mut vf, step);
        }
        arrive(&mut vf, &home);
        prop_assert_eq!(differences(&home, &vf), vec![]);
    }

    #[test]
    fn whatever_is_found_can_be_taken_home(home in settings(), found in settings(), in_pod in any::<bool>()) {
        let found = Settings { driver: home.driver.clone(), admin: found.admin.filter(|_| home.admin.is_some()), ..found };
        let found = Settings { admin: found.admin.or_else(|| home.admin.clone()), ..found };
        let found = Settings { rdma: found.rdma.or_else(|| home.rdma.clone()), ..found };
        let home = at_home(home);
        let place = if in_pod { Place::Pod } else { Place::Home };
        let mut vf = Situation { settings: found, place };
        arrive(&mut vf, &home);
        // Alternative names can be removed, not added: none is needed.
        prop_assert_eq!(differences(&home, &vf), vec![]);
    }

    #[test]
    fn where_nothing_differs_nothing_is_done(settings in settings()) {
        let home = at_home(settings);
        prop_assert_eq!(steps(&home, &home), vec![]);
    }
}

#[rstest]
#[case(Some("vfio-pci"), true)]
#[case(None, true)]
#[case(Some("hns3"), true)]
#[case(Some("igbvf"), false)]
#[case(Some("iavf"), false)]
#[case(Some("unheard"), false)]
fn a_reset_that_is_due_comes_first_where_the_driver_outlives_it(
    #[case] driver: Option<&str>,
    #[case] resets: bool,
) {
    let admin = |id| {
        let (vlan, rate) = (Vlan { id, ..Vlan::default() }, Rate::default());
        Admin {
            mac: None,
            vlan,
            rate,
            spoofchk: None,
            trust: None,
            link_state: None,
            trunk: None,
            guids: None,
        }
    };
    let situation = |id| {
        let settings =
            Settings { driver: driver.map(str::to_owned), netdev: None, admin: Some(admin(id)), rdma: None };
        Situation { settings, place: Place::Home }
    };
    let rest = steps(&situation(5), &situation(0));
    assert_eq!(rest.len(), 1);
    let with_reset: Vec<Step> = resets.then_some(Step::Reset).into_iter().chain(rest.clone()).collect();
    assert_eq!(steps_home(&situation(5), &situation(0), true, &[]), with_reset);
    assert_eq!(steps_home(&situation(5), &situation(0), false, &[]), rest);
}

proptest! {
    #[test]
    fn a_guid_is_taken_there_and_back(settings in settings(), set in guid(), own in guid(), wanted in 1..3_u8) {
        let mut settings = settings;
        // A VF has what was set, or its own where nothing ever was.
        let own = if set == Guid::default() { own } else { set };
        settings.netdev.as_mut().unwrap().guid = Some(own);
        let Some(admin) = &mut settings.admin else { return Ok(()) };
        admin.guids = Some(Guids::both(set));
        let home = at_home(settings);
        let wanted = Wanted { guid: Some(Guid([wanted; 8])), ..Wanted::default() };
        let goal = wanted.goal(&home.settings, &"net1".parse().unwrap());
        prop_assert_eq!(steps(&home, &home), vec![]);
        let mut vf = home.clone();
        arrive(&mut vf, &goal);
        prop_assert_eq!(differences(&goal, &vf), vec![]);
        arrive(&mut vf, &home);
        prop_assert_eq!(differences(&home, &vf), vec![]);
    }
}

fn guid() -> impl Strategy<Value = Guid> {
    prop_oneof![Just(Guid::default()), Just(Guid::NONE), (1..4_u8).prop_map(|byte| Guid([byte; 8]))]
}

#[test]
fn steps_read_as_sentences() {
    let sentence = |step: Step| step.to_string();
    assert_eq!(sentence(Step::Admin(VfChange::SpoofCheck(true))), "set spoofchk on");
    assert_eq!(
        sentence(Step::Move { to: Place::Pod, name: "net1".parse().unwrap(), mtu: Some(1400) }),
        "move the interface to the pod as net1 with mtu 1400"
    );
    assert_eq!(sentence(Step::AllowVlans("3-5".parse().unwrap())), "add 3-5 to vlanTrunk");
    assert_eq!(sentence(Step::Promisc(true)), "set promisc on");
    assert_eq!(sentence(Step::Reset), "reset the function");
    assert_eq!(sentence(Step::Bind(Driver::Kernel)), "bind to its kernel driver");
    assert_eq!(sentence(Step::MoveRdma(Place::Home)), "move the RDMA device to the host");
    assert_eq!(sentence(Step::RenameRdma("mlx5_2".to_owned())), "rename the RDMA device to mlx5_2");
}
