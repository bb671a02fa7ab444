use ipnet::IpNet;
use netlink_packet_core::Emitable;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage, Prop};
use proptest::prelude::*;
use rstest::rstest;

use super::{address, link, routes, vfs};
use crate::attributes::{LinkState, Route, VlanProto};
use crate::guid::Guid;
use crate::mac::MacAddr;
use crate::wire::tests::attribute;

const UNKNOWN: u32 = u32::MAX;

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// What a driver says about a VF beyond index and rates.
struct Said {
    mac: Vec<u8>,
    vlan: [u32; 2],
    proto: u16,
    spoofchk: u32,
    trust: u32,
    state: u32,
}

impl Said {
    fn default() -> Self {
        Self { mac: vec![2, 0, 0, 0, 0, 7], vlan: [100, 3], proto: 0x8100, spoofchk: 1, trust: 0, state: 0 }
    }

    /// As the kernel writes it: `IFLA_VF_INFO`.
    fn entry(&self, index: u32) -> Vec<u8> {
        let mut mac = self.mac.clone();
        mac.resize(32, 0);
        let vlan = [index, self.vlan[0], self.vlan[1]];
        let mut info = words(&vlan);
        info.extend(self.proto.to_be_bytes());
        info.extend([0, 0]);
        let parts = [
            attribute(1, &[words(&[index]), mac].concat()),
            attribute(13, &[0xff; 32]),
            attribute(2, &words(&vlan)),
            attribute(6, &words(&[index, 10, 1000])),
            attribute(3, &words(&[index, 1000])),
            attribute(4, &words(&[index, self.spoofchk])),
            attribute(5, &words(&[index, self.state])),
            attribute(7, &words(&[index, UNKNOWN])),
            attribute(9, &words(&[index, self.trust])),
            attribute(12, &attribute(1, &info)),
        ];
        attribute(1, &parts.concat())
    }
}

/// An answer with a list of VFs whose length overflows as the kernel's does, and something behind it.
fn answer(entries: &[Vec<u8>]) -> Vec<u8> {
    let list = entries.concat();
    let length = u16::try_from((list.len() + 4) & 0xffff).unwrap();
    let count = u32::try_from(entries.len()).unwrap();
    let head = [length.to_ne_bytes(), 22u16.to_ne_bytes()].concat();
    [vec![0; 16], attribute(3, b"eth1\0"), attribute(21, &words(&[count])), head, list, attribute(56, b"x\0")]
        .concat()
}

#[test]
fn a_vf_is_read_whole() {
    let vf = vfs(&answer(&[Said::default().entry(0)])).unwrap().remove(0);
    assert_eq!((vf.index, vf.mac), (0, Some(MacAddr([2, 0, 0, 0, 0, 7]))));
    assert_eq!((vf.vlan, vf.qos, vf.proto), (100, 3, VlanProto::Dot1q));
    assert_eq!((vf.min_tx_rate, vf.max_tx_rate), (10, 1000));
    assert_eq!((vf.spoofchk, vf.trust, vf.link_state), (Some(true), Some(false), Some(LinkState::Auto)));
}

#[test]
fn unknown_is_none_and_not_off() {
    let said = Said { spoofchk: UNKNOWN, trust: UNKNOWN, state: UNKNOWN, ..Said::default() };
    let vf = vfs(&answer(&[said.entry(0)])).unwrap().remove(0);
    assert_eq!((vf.spoofchk, vf.trust, vf.link_state), (None, None, None));
}

#[rstest]
#[case(0x88a8, Ok(VlanProto::Dot1ad))]
#[case(0, Ok(VlanProto::Dot1q))]
#[case(0x9100, Err("a VF's VLAN has the protocol 0x9100".to_owned()))]
fn a_protocol_is_known_or_an_error(#[case] proto: u16, #[case] wanted: Result<VlanProto, String>) {
    let read = vfs(&answer(&[Said { proto, ..Said::default() }.entry(0)]));
    assert_eq!(read.map(|vfs| vfs[0].proto), wanted);
}

#[test]
fn an_infiniband_address_is_no_mac() {
    let vf = vfs(&answer(&[Said { mac: vec![7; 20], ..Said::default() }.entry(0)])).unwrap().remove(0);
    assert_eq!(vf.mac, None);
}

#[test]
fn an_infiniband_vf_has_guids() {
    let guid = |kind, number: u64| attribute(kind, &[words(&[0, 0]), number.to_ne_bytes().to_vec()].concat());
    let entry = Said::default().entry(0);
    let guids = [guid(10, 0x0200_0000_0000_000a), guid(11, 0)];
    let entry = attribute(1, &[entry.get(4..).unwrap(), &guids.concat()].concat());
    let vf = vfs(&answer(&[entry])).unwrap().remove(0);
    assert_eq!(vf.node_guid, Some(Guid([2, 0, 0, 0, 0, 0, 0, 10])));
    assert_eq!(vf.port_guid, Some(Guid::default()));
    let vf = vfs(&answer(&[Said::default().entry(0)])).unwrap().remove(0);
    assert_eq!((vf.node_guid, vf.port_guid), (None, None));
}

#[test]
fn an_infiniband_link_has_a_guid_at_the_end_of_its_address() {
    let mut message = LinkMessage::default();
    (message.header.index, message.header.link_layer_type) = (7, 32.into());
    let address = [[0; 12].as_slice(), &[2, 0, 0, 0, 0, 0, 0, 10]].concat();
    message.attributes = vec![LinkAttribute::IfName("ib0".to_owned()), LinkAttribute::Address(address)];
    let read = link(&emitted(&message)).unwrap();
    assert_eq!((read.mac, read.guid), (None, Some(Guid([2, 0, 0, 0, 0, 0, 0, 10]))));
}

#[rstest]
#[case(0)]
#[case(7)]
#[case(256)]
#[case(512)]
fn all_vfs_are_read_even_if_the_length_of_their_list_overflows(#[case] count: u32) {
    let entries: Vec<Vec<u8>> = (0..count).map(|index| Said::default().entry(index)).collect();
    let read = vfs(&answer(&entries)).unwrap();
    assert!(read.iter().map(|vf| u32::from(vf.index)).eq(0..count));
}

#[test]
fn fewer_vfs_than_told_is_malformed() {
    let mut short = answer(&[Said::default().entry(0), Said::default().entry(1)]);
    short.truncate(short.len() - 100);
    assert_eq!(vfs(&short).unwrap_err(), "only 1 of 2 VFs are listed");
    let bare = [vec![0; 16], attribute(21, &words(&[7]))].concat();
    assert_eq!(vfs(&bare).unwrap_err(), "7 VFs are told of, but not listed");
}

fn emitted(message: &LinkMessage) -> Vec<u8> {
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    bytes
}

#[test]
fn a_link_is_read_as_the_packet_crate_writes_it() {
    let mut message = LinkMessage::default();
    message.header.index = 7;
    message.header.link_layer_type = 1.into();
    message.header.flags = LinkFlags::Up | LinkFlags::LowerUp | LinkFlags::Multicast;
    message.attributes = vec![
        LinkAttribute::IfName("net1".to_owned()),
        LinkAttribute::Mtu(9000),
        LinkAttribute::Controller(3),
        LinkAttribute::Address(vec![2, 0, 0, 0, 0, 7]),
        LinkAttribute::PropList(vec![Prop::AltIfName("b".to_owned()), Prop::AltIfName("a".to_owned())]),
        LinkAttribute::ParentDevName("0000:01:10.0".to_owned()),
    ];
    let read = link(&emitted(&message)).unwrap();
    assert_eq!((read.index, read.name.as_str(), read.mtu, read.master), (7, "net1", 9000, Some(3)));
    assert_eq!((read.up, read.carrier, read.hardware), (true, true, 1));
    assert_eq!(read.altnames, ["a", "b"]);
    assert_eq!((read.mac, read.device.as_deref()), (Some(MacAddr([2, 0, 0, 0, 0, 7])), Some("0000:01:10.0")));

    // Down, nothing counts as a carrier; an address of another length is none of ours.
    message.header.flags = LinkFlags::LowerUp;
    message.attributes[3] = LinkAttribute::Address(vec![7; 20]);
    let read = link(&emitted(&message)).unwrap();
    assert_eq!((read.up, read.carrier, read.mac), (false, false, None));
}

#[test]
fn names_that_are_not_utf8_hide_no_link() {
    let altname = attribute(53, b"\xfe\xff\0");
    let bytes = [vec![0; 16], attribute(3, b"\xffet1\0"), attribute(52, &altname)].concat();
    let read = link(&bytes).unwrap();
    assert_eq!(read.name, "\u{fffd}et1");
    assert_eq!(read.altnames[0].as_encoded_bytes(), b"\xfe\xff");
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

#[test]
fn an_address_is_the_links_own_not_the_peers() {
    let header = [2, 24, 0, 0, 5, 0, 0, 0];
    let both = [header.to_vec(), attribute(1, &[192, 0, 2, 9]), attribute(2, &[192, 0, 2, 1])].concat();
    assert_eq!(address(&both).unwrap(), (5, net("192.0.2.1/24")));
    let peer = [header.to_vec(), attribute(1, &[192, 0, 2, 9])].concat();
    assert_eq!(address(&peer).unwrap(), (5, net("192.0.2.9/24")));
    assert!(address(&header).is_err());
}

/// An IPv4 route message: prefix length, table, type, attributes.
fn route(length: u8, table: u8, kind: u8, attributes: &[Vec<u8>]) -> Vec<u8> {
    let header = vec![2, length, 0, 0, table, 3, 0, kind, 0, 0, 0, 0];
    [header, attributes.concat()].concat()
}

#[test]
fn a_route_is_read_whole() {
    let metrics = [attribute(2, &words(&[1400])), attribute(8, &words(&[1300]))].concat();
    let message = route(
        8,
        254,
        1,
        &[
            attribute(15, &words(&[1000])),
            attribute(1, &[10, 0, 0, 0]),
            attribute(4, &words(&[7])),
            attribute(5, &[192, 0, 2, 254]),
            attribute(6, &words(&[42])),
            attribute(8, &metrics),
        ],
    );
    let wanted = Route {
        priority: Some(42),
        table: Some(1000),
        scope: Some(0),
        mtu: Some(1400),
        advmss: Some(1300),
        ..Route::new(net("10.0.0.0/8"), Some([192, 0, 2, 254].into()), 7)
    };
    assert_eq!(routes(&message).unwrap(), [wanted]);
}

#[test]
fn every_next_hop_of_a_default_route_is_shown() {
    let hop = |index: u32, kind: u16, gateway: &[u8]| {
        let gateway = attribute(kind, gateway);
        let length = u16::try_from(8 + gateway.len()).unwrap().to_ne_bytes();
        [length.to_vec(), vec![0, 0], words(&[index]), gateway].concat()
    };
    // The second next hop is an IPv6 one, behind its family.
    let mut via = 10u16.to_ne_bytes().to_vec();
    via.extend(std::net::Ipv6Addr::LOCALHOST.octets());
    let hops = [hop(3, 5, &[192, 0, 2, 1]), hop(4, 18, &via)].concat();
    let read = routes(&route(0, 254, 1, &[attribute(9, &hops)])).unwrap();
    let seen: Vec<(u32, String, bool)> = read
        .iter()
        .map(|route| (route.ifindex, route.gateway.unwrap().to_string(), route.is_default()))
        .collect();
    assert_eq!(seen, [(3, "192.0.2.1".to_owned(), true), (4, "::1".to_owned(), true)]);
}

#[rstest]
#[case::local_table(route(32, 255, 1, &[attribute(15, &255u32.to_ne_bytes())]))]
#[case::broadcast(route(32, 254, 3, &[]))]
#[case::blackhole(route(32, 254, 6, &[]))]
#[case::another_family(vec![7, 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0])]
fn what_is_no_unicast_route_is_left_out(#[case] message: Vec<u8>) {
    assert_eq!(routes(&message).unwrap(), []);
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        drop(link(&bytes));
        drop(vfs(&bytes));
        drop(address(&bytes));
        drop(routes(&bytes));
    }

    #[test]
    fn no_damage_to_a_list_of_vfs_makes_its_reader_panic(place in 0usize..600, byte: u8) {
        let mut bytes = answer(&[Said::default().entry(0), Said::default().entry(1)]);
        if let Some(damaged) = bytes.get_mut(place) {
            *damaged = byte;
        }
        if let Ok(read) = vfs(&bytes) {
            prop_assert!(read.len() <= bytes.len() / 4);
        }
    }
}
