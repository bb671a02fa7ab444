use rstest::rstest;

use super::*;
use crate::wanted::Wanted;

fn situation() -> Situation {
    Situation {
        settings: Settings {
            driver: Some("igbvf".to_owned()),
            netdev: Some(Netdev {
                name: "enp1s0v0".to_owned(),
                mac: Some(MacAddr([2, 0, 0, 0, 0, 1])),
                guid: None,
                mtu: 1500,
                up: false,
                promisc: false,
                allmulti: true,
                altnames: vec!["enp1s16".into()],
            }),
            admin: Some(Admin {
                mac: Some(MacAddr::default()),
                vlan: Vlan::default(),
                rate: Rate::default(),
                spoofchk: Some(true),
                trust: None,
                link_state: Some(LinkState::Auto),
                trunk: Some("100,200-210".parse().unwrap()),
                guids: None,
            }),
            rdma: Some(Rdma { index: 7, name: "mlx5_2".to_owned(), place: Place::Home }),
        },
        place: Place::Home,
    }
}

fn netdev(situation: &mut Situation) -> &mut Netdev {
    situation.settings.netdev.as_mut().unwrap()
}

fn admin(situation: &mut Situation) -> &mut Admin {
    situation.settings.admin.as_mut().unwrap()
}

fn rdma(situation: &mut Situation) -> &mut Rdma {
    situation.settings.rdma.as_mut().unwrap()
}

#[rstest]
#[case(|_: &mut Situation| {}, "")]
#[case(|it: &mut Situation| it.settings.driver = None, "driver is none in place of igbvf")]
#[case(|it: &mut Situation| it.place = Place::Pod, "namespace is the pod in place of the host")]
#[case(|it: &mut Situation| netdev(it).name = "net1".to_owned(), "name is net1 in place of enp1s0v0")]
#[case(|it: &mut Situation| netdev(it).mac = Some(MacAddr([2; 6])), "mac is 02:02:02:02:02:02 in place of 02:00:00:00:00:01")]
#[case(|it: &mut Situation| netdev(it).mac = None, "")]
#[case(|it: &mut Situation| netdev(it).mtu = 9000, "mtu is 9000 in place of 1500")]
#[case(|it: &mut Situation| netdev(it).up = true, "")]
#[case(|it: &mut Situation| netdev(it).promisc = true, "promisc is true in place of false")]
#[case(|it: &mut Situation| netdev(it).allmulti = false, "allmulti is false in place of true")]
#[case(|it: &mut Situation| netdev(it).altnames.clear(), "")]
#[case(|it: &mut Situation| netdev(it).altnames.push("left".into()), "alternative name is left in place of none")]
#[case(|it: &mut Situation| it.settings.netdev = None, "interface is in no namespace in sight in place of enp1s0v0")]
#[case(|it: &mut Situation| it.settings.admin = None, "PF is out of sight in place of in sight")]
#[case(|it: &mut Situation| admin(it).mac = Some(MacAddr([2; 6])), "admin mac is 02:02:02:02:02:02 in place of 00:00:00:00:00:00")]
#[case::its_own_mac(|it: &mut Situation| admin(it).mac = Some(MacAddr([2, 0, 0, 0, 0, 1])), "")]
#[case(|it: &mut Situation| admin(it).vlan.id = 5, "vlan is 5 in place of 0")]
#[case(|it: &mut Situation| admin(it).vlan.qos = 5, "vlan qos is 5 in place of 0")]
#[case::no_vlan_has_no_protocol(|it: &mut Situation| admin(it).vlan.proto = VlanProto::Dot1ad, "")]
#[case(|it: &mut Situation| admin(it).rate.max = 5, "max_tx_rate is 5 in place of 0")]
#[case(|it: &mut Situation| admin(it).rate.min = 5, "min_tx_rate is 5 in place of 0")]
#[case(|it: &mut Situation| admin(it).spoofchk = Some(false), "spoofchk is false in place of true")]
#[case::not_told_before(|it: &mut Situation| admin(it).trust = Some(true), "")]
#[case::not_told_any_more(|it: &mut Situation| admin(it).link_state = None, "")]
#[case(|it: &mut Situation| admin(it).link_state = Some(LinkState::Enable), "link_state is enable in place of auto")]
#[case(|it: &mut Situation| admin(it).trunk = Some("100,200-209".parse().unwrap()), "vlanTrunk is 100,200-209 in place of 100,200-210")]
#[case(|it: &mut Situation| admin(it).trunk = Some(Vlans::default()), "vlanTrunk is any in place of 100,200-210")]
#[case::not_told_any_more(|it: &mut Situation| admin(it).trunk = None, "")]
#[case(|it: &mut Situation| rdma(it).place = Place::Pod, "RDMA device's namespace is the pod in place of the host")]
#[case(|it: &mut Situation| rdma(it).name = "data".to_owned(), "RDMA device's name is data in place of mlx5_2")]
#[case::made_anew(|it: &mut Situation| rdma(it).index = 8, "")]
#[case(|it: &mut Situation| it.settings.rdma = None, "RDMA device is in no namespace in sight in place of mlx5_2")]
fn every_attribute_is_compared(#[case] change: fn(&mut Situation), #[case] expected: &str) {
    let mut found = situation();
    change(&mut found);
    assert_eq!(describe(&differences(&situation(), &found)), expected);
}

#[test]
fn a_baseline_is_read_back_as_written() {
    let settings = situation().settings;
    let text = serde_json::to_string(&settings).unwrap();
    assert_eq!(serde_json::from_str::<Settings>(&text).unwrap(), settings);
    // As it was written before RDMA devices were known.
    let older = text.replace(r#","rdma":{"index":7,"name":"mlx5_2","place":"home"}"#, "");
    assert_ne!(older, text);
    assert_eq!(serde_json::from_str::<Settings>(&older).unwrap(), Settings { rdma: None, ..settings });
    let bare = Settings { driver: None, netdev: None, admin: None, rdma: None };
    let text = serde_json::to_string(&bare).unwrap();
    assert_eq!(serde_json::from_str::<Settings>(&text).unwrap(), bare);
}

fn infiniband(set: Guid, own: Guid) -> Situation {
    let mut situation = situation();
    admin(&mut situation).guids = Some(Guids::both(set));
    (netdev(&mut situation).guid, netdev(&mut situation).mac) = (Some(own), None);
    situation
}

const ONE: Guid = Guid([2, 0, 0, 0, 0, 0, 0, 1]);
const TWO: Guid = Guid([2, 0, 0, 0, 0, 0, 0, 2]);
const ZERO: Guid = Guid([0; 8]);

/// What was set and what the interface has: as it should be, as it is.
#[rstest]
#[case((ONE, ONE), (ONE, ONE), "")]
#[case((ONE, ONE), (TWO, ONE), "node guid is 02:00:00:00:00:00:00:02 in place of 02:00:00:00:00:00:00:01, port guid is 02:00:00:00:00:00:00:02 in place of 02:00:00:00:00:00:00:01")]
#[case((ONE, ONE), (ONE, ZERO), "guid is ff:ff:ff:ff:ff:ff:ff:ff in place of 02:00:00:00:00:00:00:01")]
#[case::never_had_any((ZERO, ZERO), (Guid::NONE, Guid::NONE), "")]
#[case::had_its_own((ZERO, ONE), (ONE, ONE), "")]
#[case::lost_its_own((ZERO, ONE), (Guid::NONE, Guid::NONE), "guid is ff:ff:ff:ff:ff:ff:ff:ff in place of 02:00:00:00:00:00:00:01, node guid is ff:ff:ff:ff:ff:ff:ff:ff in place of 02:00:00:00:00:00:00:01, port guid is ff:ff:ff:ff:ff:ff:ff:ff in place of 02:00:00:00:00:00:00:01")]
fn a_guid_that_never_was_set_is_as_good_as_the_vfs_own(
    #[case] wanted: (Guid, Guid),
    #[case] found: (Guid, Guid),
    #[case] expected: &str,
) {
    let (wanted, found) = (infiniband(wanted.0, wanted.1), infiniband(found.0, found.1));
    assert_eq!(describe(&differences(&wanted, &found)), expected);
}

/// A VF may be away while Patchbay is upgraded.
#[test]
fn a_baseline_of_an_earlier_version_is_read() {
    let text = r#"{"driver":"igbvf","netdev":{"name":"enp1s0v0","mac":"02:00:00:00:00:01","mtu":1500,"up":false},"admin":null}"#;
    let netdev = serde_json::from_str::<Settings>(text).unwrap().netdev.unwrap();
    assert_eq!((netdev.promisc, netdev.allmulti), (false, false));
    let text = r#"{"mac":null,"vlan":{"id":0,"qos":0,"proto":"802.1q"},"rate":{"min":0,"max":0},"spoofchk":null,"trust":null,"linkState":null}"#;
    assert_eq!(serde_json::from_str::<Admin>(text).unwrap().trunk, None);
    assert_eq!(serde_json::from_str::<Wanted>(r#"{"mtu":1400}"#).unwrap().promisc, None);
}

#[test]
fn in_a_pod_an_interface_has_to_be_up_and_may_have_other_names() {
    let mut wanted = situation();
    (wanted.place, netdev(&mut wanted).up) = (Place::Pod, true);
    let mut found = wanted.clone();
    netdev(&mut found).altnames.push("more".into());
    assert_eq!(differences(&wanted, &found), []);
    netdev(&mut found).up = false;
    assert_eq!(describe(&differences(&wanted, &found)), "link is down in place of up");
}
