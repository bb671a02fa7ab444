use proptest::prelude::*;
use rstest::rstest;

use super::MacAddr;

#[rstest]
#[case("02:00:00:00:00:0a", [2, 0, 0, 0, 0, 10])]
#[case("FE:ed:Be:ef:00:ff", [0xfe, 0xed, 0xbe, 0xef, 0, 0xff])]
fn an_address_is_read(#[case] text: &str, #[case] bytes: [u8; 6]) {
    assert_eq!(text.parse::<MacAddr>().unwrap().0, bytes);
}

#[rstest]
#[case("")]
#[case("02:00:00:00:00")]
#[case("02:00:00:00:00:0a:0b")]
#[case("02:00:00:00:00:0a:")]
#[case("2:0:0:0:0:a")]
#[case("02-00-00-00-00-0a")]
#[case("02:00:00:00:00:+a")]
#[case("02:00:00:00:00:0g")]
#[case("02:00:00:00:00:ä")]
fn what_is_no_address_is_refused_with_an_example(#[case] text: &str) {
    let error = text.parse::<MacAddr>().unwrap_err().to_string();
    assert!(error.contains("like 02:00:00:00:00:0a"), "{error}");
}

#[rstest]
#[case("00:00:00:00:00:00", true, false)]
#[case("02:00:00:00:00:01", false, true)]
#[case("01:00:5e:00:00:01", false, false)]
#[case("ff:ff:ff:ff:ff:ff", false, false)]
fn group_addresses_and_zero_are_nobody_s_own(#[case] text: &str, #[case] zero: bool, #[case] unicast: bool) {
    let mac: MacAddr = text.parse().unwrap();
    assert_eq!((mac.is_zero(), mac.is_unicast()), (zero, unicast));
}

proptest! {
    #[test]
    fn what_is_printed_is_read_back(bytes: [u8; 6]) {
        let mac = MacAddr(bytes);
        let text = mac.to_string();
        prop_assert_eq!(&text, &text.to_lowercase());
        prop_assert_eq!(text.parse::<MacAddr>(), Ok(mac));
    }

    #[test]
    fn any_text_is_read_or_refused(text: String) {
        if let Ok(mac) = text.parse::<MacAddr>() {
            prop_assert_eq!(mac.to_string(), text.to_lowercase());
        }
    }
}
