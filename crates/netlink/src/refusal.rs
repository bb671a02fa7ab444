//! The kernel's refusals: an error number, and since Linux 4.12 often a text.

use nix::errno::Errno;

use crate::client::Failure;
use crate::wire::{self, Attributes};

/// The offending request isn't repeated.
const NLM_F_CAPPED: u16 = 0x100;
/// Attributes follow.
const NLM_F_ACK_TLVS: u16 = 0x200;

/// The attribute that holds the text.
const NLMSGERR_ATTR_MSG: u16 = 1;

/// Error number and, behind it in an error message, the header of the request.
const NUMBER: usize = 4;
const REQUEST_HEADER: usize = 16;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) errno: Errno,
    pub(crate) text: Option<String>,
}

/// What an error message says; `None` when it's the acknowledgement of a success.
pub(crate) fn of_error(flags: u16, payload: &[u8]) -> Result<Option<Refusal>, Failure> {
    let attributes = if flags & NLM_F_CAPPED == 0 {
        let request = payload.get(NUMBER..).and_then(wire::u32_of).map(usize::try_from);
        let request = request.and_then(Result::ok).unwrap_or(REQUEST_HEADER);
        NUMBER.saturating_add(request.next_multiple_of(4))
    } else {
        NUMBER + REQUEST_HEADER
    };
    refusal(flags, payload, attributes)
}

/// What the end of a list says; `None` when it's complete.
pub(crate) fn of_done(flags: u16, payload: &[u8]) -> Result<Option<Refusal>, Failure> {
    // Kernels before 3.x end a list without a number.
    if payload.is_empty() { Ok(None) } else { refusal(flags, payload, NUMBER) }
}

fn refusal(flags: u16, payload: &[u8], attributes: usize) -> Result<Option<Refusal>, Failure> {
    let number =
        wire::i32_of(payload).ok_or_else(|| Failure::Malformed("an error without a number".into()))?;
    if number >= 0 {
        return Ok(None);
    }
    let text = (flags & NLM_F_ACK_TLVS != 0)
        .then(|| payload.get(attributes..))
        .flatten()
        .and_then(|tail| Attributes::new(tail).map_while(Result::ok).find(|it| it.kind == NLMSGERR_ATTR_MSG))
        .map(|attribute| wire::text_of(attribute.value))
        .filter(|text| !text.is_empty());
    Ok(Some(Refusal { errno: Errno::from_raw(number.saturating_neg()), text }))
}

#[cfg(test)]
mod tests;
