use proptest::prelude::*;

use nix::errno::Errno;
use rstest::rstest;

use super::{Answer, Failure, NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP, split};

fn numbered(kind: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + payload.len()).unwrap();
    let mut bytes =
        [length.to_ne_bytes().to_vec(), kind.to_ne_bytes().to_vec(), flags.to_ne_bytes().to_vec()].concat();
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend_from_slice(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn message(kind: u16, payload: &[u8]) -> Vec<u8> {
    numbered(kind, 0, 7, payload)
}

const OK: [u8; 20] = [0; 20];

#[test]
fn an_answer_ends_with_its_acknowledgement() {
    let mut answer = Answer::default();
    assert!(!answer.take(&message(16, b"link"), 7).unwrap());
    assert!(answer.take(&[message(NLMSG_NOOP, b""), message(NLMSG_ERROR, &OK)].concat(), 7).unwrap());
    assert!(!answer.interrupted);
    assert_eq!(answer.messages.len(), 1);
    assert_eq!((answer.messages[0].kind, answer.messages[0].payload.as_slice()), (16, b"link".as_slice()));
}

#[test]
fn answers_to_an_earlier_request_are_passed_over() {
    let late = [message(16, b"link"), message(NLMSG_ERROR, &(-16i32).to_ne_bytes())].concat();
    let mut answer = Answer::default();
    assert!(!answer.take(&late, 8).unwrap());
    assert!(answer.messages.is_empty());
    assert!(answer.take(&numbered(NLMSG_DONE, 0, 8, &[0; 4]), 8).unwrap());
}

#[rstest]
#[case::within(numbered(16, NLM_F_DUMP_INTR, 7, b"link"))]
#[case::at_the_end(numbered(NLMSG_DONE, NLM_F_DUMP_INTR, 7, &[0; 4]))]
fn a_list_that_changed_is_told(#[case] datagram: Vec<u8>) {
    let mut answer = Answer::default();
    answer.take(&datagram, 7).unwrap();
    assert!(answer.interrupted);
}

#[rstest]
#[case(NLMSG_ERROR)]
#[case(NLMSG_DONE)]
fn a_refusal_ends_an_answer(#[case] kind: u16) {
    let mut payload = (-16i32).to_ne_bytes().to_vec();
    payload.extend([0; 16]);
    let refused = Answer::default().take(&message(kind, &payload), 7);
    assert!(matches!(refused, Err(Failure::Refused(refusal)) if refusal.errno == Errno::EBUSY));
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
