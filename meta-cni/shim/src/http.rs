//! The little of HTTP that one request and its answer need, as plain data.

use crate::protocol::{CNI_ENDPOINT, MAX_REPLY};

/// The most that an answer's head may hold, in bytes.
const MAX_HEAD: usize = 16 << 10;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// How far the bytes read so far go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// More has to come.
    Incomplete,
    /// That's all of it.
    Complete(Response),
}

/// Why bytes aren't an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The first line isn't a status line.
    #[error("no HTTP status line")]
    StatusLine,
    /// The head doesn't end.
    #[error("a head of more than {MAX_HEAD} bytes")]
    Head,
    /// No usable `Content-Length`.
    #[error("no Content-Length")]
    NoLength,
    /// The body is too long.
    #[error("a body of {0} bytes, more than {MAX_REPLY}")]
    TooLong(usize),
}

/// The bytes of a request.
pub(crate) fn request(body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {CNI_ENDPOINT} HTTP/1.0\r\nHost: patchbayd\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// Reads an answer out of the bytes received so far.
pub(crate) fn response(bytes: &[u8]) -> Result<Progress, Malformed> {
    let Some((head, body)) = split_head(bytes) else {
        let looks_right = bytes.iter().zip(b"HTTP/1.").all(|(byte, expected)| byte == expected);
        return match (looks_right, bytes.len() > MAX_HEAD) {
            (true, false) => Ok(Progress::Incomplete),
            (true, true) => Err(Malformed::Head),
            (false, _) => Err(Malformed::StatusLine),
        };
    };
    let head = String::from_utf8_lossy(head);
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(status).ok_or(Malformed::StatusLine)?;
    let length = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse::<usize>().ok())
        .ok_or(Malformed::NoLength)?;
    if length > MAX_REPLY {
        return Err(Malformed::TooLong(length));
    }
    Ok(match body.get(..length) {
        Some(body) => Progress::Complete(Response { status, body: body.to_vec() }),
        None => Progress::Incomplete,
    })
}

/// What is before and after the empty line.
fn split_head(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.windows(4).take(MAX_HEAD).position(|window| window == b"\r\n\r\n")?;
    Some((bytes.get(..end)?, bytes.get(end + 4..)?))
}

fn status(line: &str) -> Option<u16> {
    let rest = line.strip_prefix("HTTP/1.")?;
    let code = rest.split(' ').nth(1)?;
    code.parse().ok().filter(|status| (100..600).contains(status))
}

#[cfg(test)]
mod tests;
