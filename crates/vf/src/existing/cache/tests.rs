use netlink::{LinkState, MacAddr};
use rstest::rstest;

use super::*;
use crate::settings::{Admin, Netdev};

/// As the release of 2026 writes it.
const NEW: &str = r#"{"DeviceID":"ignored","MAC":"02:00:00:00:0c:01","MTU":1500,"Master":"enp1s0","OrigVfState":
    {"HostIFName":"eth4","SpoofChk":true,"Trust":false,"AdminMAC":"00:00:00:00:00:00",
    "EffectiveMAC":"02:00:00:00:0c:99","Vlan":7,"VlanQoS":1,"VlanProto":34984,"MinTxRate":0,"MaxTxRate":40,
    "LinkState":2,"MTU":1400},"VFID":2,"cniVersion":"1.0.0","deviceID":"0000:01:10.4","dns":{},
    "ipam":{"type":"host-local"},"link_state":"enable","max_tx_rate":100,"min_tx_rate":null,"name":"blue",
    "runtimeConfig":{"mac":"02:00:00:00:0c:01"},"spoofchk":"off","trust":"yes","type":"sriov","vlan":100,
    "vlanProto":"802.1q","vlanQoS":3}"#;

/// From before `Trust`, `VlanProto` and `MTU`.
const OLD: &str = r#"{"cniVersion":"0.3.1","name":"blue","type":"sriov","ipam":{},"dns":{},"OrigVfState":
    {"HostIFName":"eth4","SpoofChk":true,"AdminMAC":"02:00:00:00:0c:02","EffectiveMAC":"02:00:00:00:0c:99","Vlan":0,
    "VlanQoS":0,"MinTxRate":0,"MaxTxRate":0,"LinkState":0},"DPDKMode":false,"Master":"enp1s0","MAC":"","vlan":0,
    "vlanQoS":null,"deviceID":"0000:01:10.4","VFID":2,"ContIFNames":"net1","min_tx_rate":null,"max_tx_rate":null,
    "trust":"on","runtimeConfig":{}}"#;

/// From before `OrigVfState`.
const FIRST: &str = r#"{"cniVersion":"0.3.1","name":"blue","type":"sriov","ipam":{},"dns":{},"DPDKMode":false,
    "Master":"enp1s0","MAC":"02:00:00:00:0c:01","adminMAC":"00:00:00:00:00:00","effectiveMAC":"02:00:00:00:0c:99",
    "vlan":100,"vlanQoS":0,"deviceID":"0000:01:10.4","VFID":2,"HostIFNames":"eth4","ContIFNames":"net1",
    "min_tx_rate":10,"max_tx_rate":null,"spoofchk":"off","runtimeConfig":{}}"#;

const DPDK: &str = r#"{"name":"blue","type":"sriov","deviceID":"0000:01:10.4","MAC":"","vlan":100,"vlanQoS":0,
    "vlanProto":"802.1q","OrigVfState":{"HostIFName":"","AdminMAC":"02:00:00:00:0c:02","Vlan":0,"VlanProto":33024}}"#;

fn parse(text: &str) -> Result<Cache, Unusable> {
    Cache::parse("c1-net1".into(), SystemTime::UNIX_EPOCH, text.as_bytes())
}

fn attached() -> Settings {
    let mac = |last| Some(MacAddr([2, 0, 0, 0, 0x0c, last]));
    Settings {
        driver: Some("igbvf".to_owned()),
        netdev: Some(Netdev {
            name: "net1".to_owned(),
            mac: mac(1),
            guid: None,
            mtu: 9000,
            up: false,
            promisc: false,
            allmulti: false,
            altnames: vec!["eth4".into(), "enp1s0v4".into()],
        }),
        admin: Some(Admin {
            mac: mac(1),
            vlan: Vlan { id: 100, qos: 3, proto: VlanProto::Dot1q },
            rate: Rate { min: 10, max: 100 },
            spoofchk: Some(false),
            trust: Some(true),
            link_state: Some(LinkState::Enable),
            trunk: None,
            guids: None,
        }),
        rdma: None,
    }
}

fn before(text: &str) -> Settings {
    let mut settings = attached();
    parse(text).unwrap().lay_over(&mut settings);
    settings
}

#[test]
fn a_record_of_today_says_everything() {
    let cache = parse(NEW).unwrap();
    assert_eq!((cache.pci.to_string().as_str(), cache.network.as_str()), ("0000:01:10.4", "blue"));
    let wanted = Wanted {
        mac: Some(MacAddr([2, 0, 0, 0, 0x0c, 1])),
        vlan: Some(Vlan { id: 100, qos: 3, proto: VlanProto::Dot1q }),
        rate: Some(Rate { min: 0, max: 100 }),
        spoofchk: Some(false),
        trust: Some(false),
        link_state: Some(LinkState::Enable),
        ..Wanted::default()
    };
    assert_eq!(cache.wanted, wanted);
    let Settings { netdev, admin, .. } = before(NEW);
    let (netdev, admin) = (netdev.unwrap(), admin.unwrap());
    assert_eq!((netdev.name.as_str(), netdev.mtu), ("eth4", 1400));
    assert_eq!(netdev.mac, Some(MacAddr([2, 0, 0, 0, 0x0c, 0x99])));
    assert_eq!(netdev.altnames, ["enp1s0v4"]);
    let expected = Admin {
        mac: Some(MacAddr::default()),
        vlan: Vlan { id: 7, qos: 1, proto: VlanProto::Dot1ad },
        rate: Rate { min: 0, max: 40 },
        spoofchk: Some(true),
        trust: Some(false),
        link_state: Some(LinkState::Disable),
        ..attached().admin.unwrap()
    };
    assert_eq!(admin, expected);
}

/// Only what was configured has been changed by the plugin, and the admin MAC it always sets.
#[test]
fn what_was_not_configured_stays_as_it_is() {
    let Settings { netdev, admin, .. } = before(OLD);
    let (admin, now) = (admin.unwrap(), attached().admin.unwrap());
    assert_eq!((admin.rate, admin.spoofchk, admin.link_state), (now.rate, now.spoofchk, now.link_state));
    assert_eq!(admin.mac, Some(MacAddr([2, 0, 0, 0, 0x0c, 2])));
    assert_eq!((admin.vlan, admin.trust), (Vlan::default(), Some(false)));
    assert_eq!(netdev.unwrap().mtu, 9000);
}

#[test]
fn the_first_form_has_no_values_of_attributes() {
    let Settings { netdev, admin, .. } = before(FIRST);
    let (netdev, admin) = (netdev.unwrap(), admin.unwrap());
    assert_eq!((netdev.name.as_str(), netdev.mac), ("eth4", Some(MacAddr([2, 0, 0, 0, 0x0c, 0x99]))));
    assert_eq!(
        (admin.mac, admin.vlan, admin.rate),
        (Some(MacAddr::default()), Vlan::default(), Rate::default())
    );
    assert_eq!((admin.spoofchk, admin.trust), (Some(true), Some(true)));
}

#[test]
fn a_vf_for_user_space_has_no_interface_to_restore() {
    let cache = parse(DPDK).unwrap();
    assert!(!cache.had_interface() && parse(NEW).unwrap().had_interface());
    let settings = before(DPDK);
    assert_eq!(settings.netdev, attached().netdev);
    assert_eq!(settings.admin.unwrap().mac, Some(MacAddr([2, 0, 0, 0, 0x0c, 2])));
}

#[rstest]
#[case::absent(r#""VlanProto":34984,"#, "", VlanProto::Dot1q)]
#[case::zero("34984", "0", VlanProto::Dot1q)]
#[case::big_endian("34984", "43144", VlanProto::Dot1ad)]
fn the_protocol_of_a_vlan_has_several_forms(
    #[case] from: &str,
    #[case] to: &str,
    #[case] expected: VlanProto,
) {
    let text = NEW.replacen(from, to, 1);
    assert_ne!(text, NEW);
    assert_eq!(before(&text).admin.unwrap().vlan.proto, expected);
}

#[rstest]
#[case::empty("", "cut off")]
#[case::cut_off(NEW.get(..300).unwrap(), "cut off")]
#[case::another_kind("[1]", "cut off")]
#[case::nothing("{}", "names no VF")]
#[case::another_plugins(r#"{"type":"bridge","deviceID":"0000:01:10.4"}"#, "doesn't say")]
#[case::mac(&NEW.replacen("02:00:00:00:0c:99", "02:00", 1), "a MAC")]
#[case::link_state(&NEW.replacen(r#""LinkState":2"#, r#""LinkState":3"#, 1), "LinkState 3")]
#[case::vlan(&NEW.replacen(r#""Vlan":7"#, r#""Vlan":4095"#, 1), "Vlan 4095")]
#[case::proto(&NEW.replacen("34984", "5", 1), "VlanProto 5")]
#[case::negative(&NEW.replacen("1400", "-1", 1), "cut off")]
fn what_cannot_be_used_says_why(#[case] text: &str, #[case] why: &str) {
    let error = parse(text).unwrap_err().to_string();
    assert!(error.contains(why), "{error}");
}
