use proptest::prelude::*;

use super::split;

fn message(kind: u16, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + payload.len()).unwrap();
    let mut bytes = [length.to_ne_bytes().to_vec(), kind.to_ne_bytes().to_vec(), vec![0; 10]].concat();
    bytes.extend_from_slice(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

#[test]
fn a_datagram_holds_several_messages() {
    let bytes = [message(16, b"abcde"), message(3, b"")].concat();
    let read: Vec<(u16, &[u8])> =
        split(&bytes).unwrap().into_iter().map(|it| (it.message_type(), it.payload())).collect();
    assert_eq!(read, [(16, b"abcde".as_slice()), (3, b"".as_slice())]);
}

#[test]
fn a_message_longer_than_its_datagram_is_malformed() {
    let mut bytes = message(16, b"abcd");
    bytes[0] = 200;
    split(&bytes).unwrap_err();
    // One shorter than its own header would never end.
    bytes[0] = 0;
    split(&bytes).unwrap_err();
}

proptest! {
    #[test]
    fn any_bytes_are_split_or_malformed(bytes: Vec<u8>) {
        if let Ok(messages) = split(&bytes) {
            prop_assert!(messages.len() <= bytes.len() / 16);
        }
    }
}
