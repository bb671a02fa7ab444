//! Properties of what's read from the kernel, for the fuzzer and for the replay of its corpus.

use netlink_packet_core::{Emitable, NLM_F_DUMP_INTR, NetlinkBuffer};

use crate::attributes::Route;
use crate::client::{Answer, Failure};
use crate::kernel::request;
use crate::refusal::{self, Refusal};
use crate::view;

/// A message's header.
const HEADER: usize = 16;

/// Of no reader's interest: one that a newer kernel might add.
const UNKNOWN_ATTRIBUTE: [u8; 8] = [8, 0, 0xfe, 0x3f, 1, 2, 3, 4];

/// Reads a datagram as the answer to a request, and whatever it holds as each of the messages that are known.
///
/// # Panics
/// If a property doesn't hold.
pub fn datagram(bytes: &[u8]) {
    let sequence = NetlinkBuffer::new_checked(bytes).map_or(0, |first| first.sequence_number());
    let mut answer = Answer::default();
    let outcome = answer.take(bytes, sequence);
    let held: usize = answer.messages.iter().map(|message| HEADER + message.payload.len()).sum();
    assert!(held <= bytes.len(), "more is kept than was received");
    if let Err(Failure::Refused(refusal)) = &outcome {
        explained(refusal, bytes.len());
    }
    let mut again = Answer::default();
    assert_eq!(outcome.is_ok(), again.take(bytes, sequence).is_ok());
    assert_eq!((answer.messages.len(), answer.interrupted), (again.messages.len(), again.interrupted));

    for message in &answer.messages {
        payload(&message.payload);
    }
    let Some((header, body)) = bytes.split_at_checked(HEADER) else { return };
    payload(body);
    // The header's flags, as they are.
    let flags = header.get(6..).and_then(crate::wire::u16_of).unwrap_or_default() & !NLM_F_DUMP_INTR;
    for outcome in [refusal::of_error(flags, body), refusal::of_done(flags, body)] {
        if let Ok(Some(refusal)) = outcome {
            explained(&refusal, body.len());
        }
    }
}

fn explained(refusal: &Refusal, length: usize) {
    let text = refusal.text.as_deref().unwrap_or("-");
    assert!(!text.is_empty() && !text.contains('\0'), "{text:?}");
    // A byte that isn't UTF-8 becomes a character of three.
    assert!(text.len() <= length.max(1) * 3);
}

fn payload(payload: &[u8]) {
    indifferent(payload, HEADER, view::link);
    indifferent(payload, HEADER, view::vfs);
    indifferent(payload, 8, view::address);
    indifferent(payload, 12, view::routes);

    if let Ok(link) = view::link(payload) {
        assert!(!link.name.is_empty() && !link.name.contains('\0'));
        assert!(link.altnames.is_sorted() && link.altnames.len() <= payload.len() / 4);
        assert!(link.master != Some(0));
        assert!(link.up || !link.carrier, "a carrier, and it's down");
    }
    if let Ok(vfs) = view::vfs(payload) {
        assert!(vfs.len() <= payload.len() / 4);
        assert!(vfs.is_sorted_by_key(|vf| vf.index));
    }
    if let Ok((ifindex, net)) = view::address(payload) {
        assert_eq!(view::address(&emitted(&request::add_address(ifindex, net))), Ok((ifindex, net)));
    }
    if let Ok(routes) = view::routes(payload) {
        // A next hop has eight bytes at least.
        assert!(routes.len() <= payload.len() / 8);
        for route in &routes {
            asked_again(route);
        }
    }
}

/// A route that is set as it was read is read as the same.
fn asked_again(route: &Route) {
    let message = emitted(&request::add_route(route));
    let table = route.table.or(Some(Route::MAIN_TABLE));
    assert_eq!(view::routes(&message), Ok(vec![Route { dst: route.dst.trunc(), table, ..route.clone() }]));
}

/// An attribute that nobody knows changes nothing, not even an error.
fn indifferent<T: PartialEq + std::fmt::Debug>(
    payload: &[u8],
    header: usize,
    read: impl Fn(&[u8]) -> Result<T, String>,
) {
    if let Some((head, attributes)) = payload.split_at_checked(header) {
        let more = [head, UNKNOWN_ATTRIBUTE.as_slice(), attributes].concat();
        assert_eq!(read(&more), read(payload));
    }
}

fn emitted(message: &impl Emitable) -> Vec<u8> {
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_corpus_is_replayed() {
        testbed::corpus::replay("netlink", super::datagram).unwrap();
    }
}
