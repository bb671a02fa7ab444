use proptest::prelude::*;
use rstest::rstest;

use super::PciAddress;

#[rstest]
#[case("0000:01:10.0", (0, 0x01, 0x10, 0))]
#[case("ffff:ff:1f.7", (0xffff, 0xff, 0x1f, 7))]
#[case("10000:e1:00.0", (0x1_0000, 0xe1, 0, 0))]
fn an_address_is_read_and_printed(#[case] text: &str, #[case] numbers: (u32, u8, u8, u8)) {
    let address: PciAddress = text.parse().unwrap();
    assert_eq!((address.domain(), address.bus(), address.device(), address.function()), numbers);
    assert_eq!(address.to_string(), text);
}

#[rstest]
#[case("")]
#[case("01:10.0")]
#[case("0000:01:10")]
#[case("000:01:10.0")]
#[case("00000:01:10.0")]
#[case("0000:1:10.0")]
#[case("0000:01:1.0")]
#[case("0000:01:20.0")]
#[case("0000:01:10.8")]
#[case("0000:01:10.00")]
#[case("0000:01:10.0 ")]
#[case("0000:01:10.0\n")]
#[case("0000:3B:02.1")]
#[case("0000:+1:10.0")]
#[case("100000000:01:10.0")]
#[case("../0000:01:10.0")]
fn what_is_no_full_address_is_refused_with_an_example(#[case] text: &str) {
    let error = text.parse::<PciAddress>().unwrap_err().to_string();
    assert!(error.contains("like 0000:3b:02.1"), "{error}");
}

#[test]
fn addresses_are_ordered_as_their_numbers() {
    let order = ["0000:01:10.0", "0000:01:10.2", "0000:02:00.0", "10000:00:00.0"];
    let mut read: Vec<PciAddress> = order.iter().rev().map(|text| text.parse().unwrap()).collect();
    read.sort_unstable();
    assert_eq!(read.iter().map(PciAddress::to_string).collect::<Vec<_>>(), order);
}

proptest! {
    #[test]
    fn an_address_has_one_spelling(text in "[0-9a-fA-F:.]{10,16}") {
        if let Ok(address) = text.parse::<PciAddress>() {
            prop_assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn what_is_printed_is_read_back(domain: u32, bus: u8, device in 0u8..32, function in 0u8..8) {
        let address = PciAddress::new(domain, bus, device, function).unwrap();
        prop_assert_eq!(address.to_string().parse(), Ok(address));
    }

    #[test]
    fn any_text_is_read_or_refused(text: String) {
        drop(text.parse::<PciAddress>());
    }
}
