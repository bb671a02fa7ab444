use nix::errno::Errno;
use proptest::prelude::*;

use super::{NLM_F_ACK_TLVS, NLM_F_CAPPED, Refusal, of_done, of_error};
use crate::wire::tests::attribute;

const REQUEST: [u8; 16] = [24, 0, 0, 0, 19, 0, 5, 0, 1, 0, 0, 0, 0, 0, 0, 0];

fn number(errno: i32) -> Vec<u8> {
    errno.to_ne_bytes().to_vec()
}

#[test]
fn zero_is_an_acknowledgement() {
    assert_eq!(of_error(NLM_F_CAPPED, &[number(0), REQUEST.to_vec()].concat()).unwrap(), None);
    assert_eq!(of_done(0, &number(0)).unwrap(), None);
    assert_eq!(of_done(0, &[]).unwrap(), None);
}

#[test]
fn the_kernels_text_stands_behind_the_request() {
    let offset = attribute(2, &7u32.to_ne_bytes());
    let tail = [offset, attribute(1, b"VF MAC can't be changed\0")].concat();
    let refusal = Some(Refusal { errno: Errno::EPERM, text: Some("VF MAC can't be changed".to_owned()) });
    let capped = [number(-1), REQUEST.to_vec(), tail.clone()].concat();
    assert_eq!(of_error(NLM_F_ACK_TLVS | NLM_F_CAPPED, &capped).unwrap(), refusal);
    // Not capped, the whole request of 24 bytes is repeated.
    let whole = [number(-1), REQUEST.to_vec(), vec![9; 8], tail.clone()].concat();
    assert_eq!(of_error(NLM_F_ACK_TLVS, &whole).unwrap(), refusal);
    assert_eq!(of_done(NLM_F_ACK_TLVS, &[number(-1), tail].concat()).unwrap(), refusal);
}

#[test]
fn without_the_flag_or_with_an_empty_text_there_is_none() {
    let bare = Some(Refusal { errno: Errno::EBUSY, text: None });
    let capped = [number(-16), REQUEST.to_vec(), attribute(1, b"\0")].concat();
    assert_eq!(of_error(NLM_F_CAPPED, &capped).unwrap(), bare);
    assert_eq!(of_error(NLM_F_CAPPED | NLM_F_ACK_TLVS, &capped).unwrap(), bare);
}

proptest! {
    #[test]
    fn any_bytes_are_a_refusal_or_malformed(flags: u16, bytes: Vec<u8>) {
        prop_assert_eq!(of_error(flags, &bytes).is_ok(), bytes.len() >= 4);
        prop_assert_eq!(of_done(flags, &bytes).is_ok(), bytes.is_empty() || bytes.len() >= 4);
    }
}
