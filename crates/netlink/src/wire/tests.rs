use proptest::prelude::*;

use super::{Attribute, Attributes, Overlong, ip_of, os_text_of, text_of, word};

/// An attribute as the kernel writes it, padded.
pub(crate) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len() + 4).unwrap();
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

#[test]
fn attributes_come_one_after_the_other_without_their_padding() {
    let bytes = [attribute(1, b"abcde"), attribute(0x8002, b"")].concat();
    let read: Vec<(u16, &[u8])> =
        Attributes::new(&bytes).map(|it| it.map(|it| (it.kind, it.value)).unwrap()).collect();
    assert_eq!(read, [(1, b"abcde".as_slice()), (2, b"".as_slice())]);
}

#[test]
fn padding_may_miss_at_the_end() {
    let mut bytes = attribute(7, b"abcde");
    bytes.truncate(9);
    let Attribute { kind, value, .. } = Attributes::new(&bytes).next().unwrap().unwrap();
    assert_eq!((kind, value), (7, b"abcde".as_slice()));
}

#[test]
fn an_overlong_attribute_is_the_last() {
    let mut bytes = attribute(3, b"abcd");
    bytes[0] = 200;
    let mut attributes = Attributes::new(&bytes);
    assert_eq!(attributes.next(), Some(Err(Overlong { kind: 3, rest: b"abcd" })));
    assert_eq!(attributes.next(), None);
}

#[test]
fn a_length_shorter_than_the_header_ends_it() {
    let mut attributes = Attributes::new(&[2, 0, 9, 0, 1, 2, 3, 4]);
    assert!(attributes.next().unwrap().is_err());
    assert_eq!(attributes.next(), None);
}

#[test]
fn texts_end_at_their_zero() {
    assert_eq!(text_of(b"eth0\0junk"), "eth0");
    assert_eq!(text_of(b"eth0"), "eth0");
    assert_eq!(text_of(b"\xffth0\0"), "\u{fffd}th0");
    assert_eq!(os_text_of(b"\xffth0\0").as_encoded_bytes(), b"\xffth0");
}

proptest! {
    #[test]
    fn any_bytes_are_walked_to_an_end(bytes: Vec<u8>) {
        let count = Attributes::new(&bytes).count();
        prop_assert!(count <= bytes.len() / 4 + 1);
    }

    #[test]
    fn numbers_and_addresses_are_read_where_there_are_enough_bytes(bytes: Vec<u8>, place in 0usize..8) {
        prop_assert_eq!(word(&bytes, place).is_some(), bytes.len() >= 4 * place + 4);
        prop_assert_eq!(ip_of(&bytes).is_some(), matches!(bytes.len(), 4 | 16));
    }
}
