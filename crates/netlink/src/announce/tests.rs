use std::net::IpAddr;

use super::frame;
use crate::mac::MacAddr;

const MAC: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0x0a]);

/// As other programs write it: each field by hand.
#[test]
fn an_ipv4_address_is_announced_by_an_arp_request() {
    let expected = "ffffffffffff 02000000000a 0806 0001 0800 06 04 0001 \
                    02000000000a c0000207 ffffffffffff c0000207";
    assert_eq!(hex(&frame(MAC, "192.0.2.7".parse::<IpAddr>().unwrap())), expected.replace(' ', ""));
}

#[test]
fn an_ipv6_address_is_announced_by_a_neighbour_advertisement() {
    let expected = "333300000001 02000000000a 86dd 60000000 0020 3a ff \
                    20010db8000000000000000000000007 ff020000000000000000000000000001 \
                    88 00 CKSM 20000000 20010db8000000000000000000000007 02 01 02000000000a";
    let frame = frame(MAC, "2001:db8::7".parse::<IpAddr>().unwrap());
    let sum: u32 = sum_of_message(&frame);
    assert_eq!(sum, 0xffff, "the checksum over all, itself included");
    let shown = hex(&frame);
    let checksum = hex(&frame[56..58]);
    assert_eq!(shown, expected.replace("CKSM", &checksum).replace(' ', ""));
}

/// The one's complement sum of a message with its pseudo header.
fn sum_of_message(frame: &[u8]) -> u32 {
    let addresses = frame[22..54].chunks(2);
    let message = frame[54..].chunks(2);
    let words = addresses.chain(message).map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
    let mut sum = words.sum::<u32>() + u32::try_from(frame.len() - 54).unwrap() + 58;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}
