//! A blocking netlink client: one request at a time on one socket, which belongs to the namespace it was made in.

use std::io;
use std::time::Duration;

use netlink_packet_core::{Emitable, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkBuffer};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;
use nix::libc::{self, MSG_PEEK, MSG_TRUNC};
use nix::sys::socket::{
    getsockopt, setsockopt,
    sockopt::{GetStruct, ReceiveTimeout},
};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::refusal::{self, Refusal};

/// How long an answer may take. The kernel does what's asked while the request is being sent, so this is only met
/// when an answer is lost.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// How often a list is read again when it changed meanwhile.
pub(crate) const DUMP_TRIES: u32 = 8;

/// The size of a message's header.
const HEADER: usize = 16;

const NLMSG_NOOP: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

/// Why a request has no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The kernel refused.
    Refused(Refusal),
    /// Sending or receiving failed.
    Socket(io::Error),
    /// A list changed under each read.
    Interrupted,
    /// An answer can't be read.
    Malformed(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Socket(error)
    }
}

/// One message of the kernel's.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) kind: u16,
    pub(crate) payload: Vec<u8>,
}

/// The cookie of a socket's network namespace.
#[derive(Clone, Copy, Debug)]
struct NetnsCookie;

nix::getsockopt_impl!(NetnsCookie, libc::SOL_SOCKET, libc::SO_NETNS_COOKIE, u64, GetStruct<u64>);

#[derive(Debug)]
pub(crate) struct Client {
    socket: Socket,
    sequence: u32,
}

impl Client {
    /// A client for links, addresses and routes, in the calling thread's namespace.
    pub(crate) fn open() -> io::Result<Self> {
        Self::of_family(NETLINK_ROUTE)
    }

    /// A client of any netlink family, in the calling thread's namespace.
    pub(crate) fn of_family(family: isize) -> io::Result<Self> {
        let mut socket = Socket::new(family)?;
        socket.bind_auto()?;
        // Without these an older kernel filters and explains less; nothing depends on it.
        drop(socket.set_ext_ack(true));
        drop(socket.set_cap_ack(true));
        drop(socket.set_netlink_get_strict_chk(true));
        set_timeout(&socket, ANSWER_TIME)?;
        Ok(Self { socket, sequence: 0 })
    }

    /// The number of the namespace that it's in, which no other gets while the machine runs; none before Linux 5.14.
    pub(crate) fn namespace_cookie(&self) -> io::Result<Option<u64>> {
        match getsockopt(&self.socket, NetnsCookie) {
            Err(Errno::ENOPROTOOPT) => Ok(None),
            got => Ok(Some(got?)),
        }
    }

    /// Asks for one thing, or for a change, and returns what's told before it's acknowledged.
    pub(crate) fn ask(
        &mut self,
        kind: u16,
        flags: u16,
        payload: &impl Emitable,
    ) -> Result<Vec<Message>, Failure> {
        self.send(kind, NLM_F_REQUEST | NLM_F_ACK | flags, payload)?;
        Ok(self.receive()?.messages)
    }

    /// Asks for a list, which is read whole or not at all.
    pub(crate) fn list(&mut self, kind: u16, payload: &impl Emitable) -> Result<Vec<Message>, Failure> {
        for _ in 0..DUMP_TRIES {
            self.send(kind, NLM_F_REQUEST | NLM_F_DUMP, payload)?;
            let answer = self.receive()?;
            if !answer.interrupted {
                return Ok(answer.messages);
            }
        }
        Err(Failure::Interrupted)
    }

    fn send(&mut self, kind: u16, flags: u16, payload: &impl Emitable) -> Result<(), Failure> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut bytes = vec![0; HEADER + payload.buffer_len()];
        let length = u32::try_from(bytes.len()).map_err(|_too_long| io::Error::from(Errno::EMSGSIZE))?;
        if let Some(body) = bytes.get_mut(HEADER..) {
            payload.emit(body);
        }
        let mut header = NetlinkBuffer::new(&mut bytes);
        header.set_length(length);
        header.set_message_type(kind);
        header.set_flags(flags);
        header.set_sequence_number(self.sequence);
        loop {
            match self.socket.send_to(&bytes, &SocketAddr::new(0, 0), 0) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Reads until the request is acknowledged or its list is done.
    fn receive(&mut self) -> Result<Answer, Failure> {
        let mut answer = Answer::default();
        loop {
            let datagram = match datagram(&self.socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(io::Error::from(Errno::ETIMEDOUT).into());
                }
                received => received?,
            };
            if answer.take(&datagram, self.sequence)? {
                return Ok(answer);
            }
        }
    }
}

/// What has been received of an answer.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) messages: Vec<Message>,
    /// Whether the list changed while it was read.
    pub(crate) interrupted: bool,
}

impl Answer {
    /// Adds what a datagram says in answer to the request of that number; tells whether that was all.
    pub(crate) fn take(&mut self, datagram: &[u8], sequence: u32) -> Result<bool, Failure> {
        let mut complete = false;
        for message in split(datagram)? {
            // An answer to an earlier request that was given up.
            if message.sequence_number() != sequence {
                continue;
            }
            let (flags, payload) = (message.flags(), message.payload());
            self.interrupted |= flags & NLM_F_DUMP_INTR != 0;
            let refusal = match message.message_type() {
                NLMSG_ERROR => refusal::of_error(flags, payload)?,
                NLMSG_DONE => refusal::of_done(flags, payload)?,
                NLMSG_NOOP => continue,
                kind => {
                    self.messages.push(Message { kind, payload: payload.to_vec() });
                    continue;
                }
            };
            if let Some(refusal) = refusal {
                return Err(Failure::Refused(refusal));
            }
            complete = true;
        }
        Ok(complete)
    }
}

fn set_timeout(socket: &Socket, timeout: Duration) -> io::Result<()> {
    // Zero would mean to wait for ever.
    let micros = i64::try_from(timeout.as_micros()).unwrap_or(i64::MAX).max(1);
    setsockopt(socket, ReceiveTimeout, &TimeVal::microseconds(micros)).map_err(io::Error::from)
}

/// The next datagram of the kernel's, whatever its size.
fn datagram(socket: &Socket) -> io::Result<Vec<u8>> {
    loop {
        let outcome = next_datagram(socket);
        match outcome {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Another process can send to this socket as well.
            Ok((_, sender)) if sender.port_number() != 0 => {}
            received => return received.map(|(bytes, _)| bytes),
        }
    }
}

fn next_datagram(socket: &Socket) -> io::Result<(Vec<u8>, SocketAddr)> {
    let mut nothing: Vec<u8> = Vec::new();
    let (size, _) = socket.recv_from(&mut nothing, MSG_PEEK | MSG_TRUNC)?;
    let mut bytes = Vec::with_capacity(size);
    let (received, sender) = socket.recv_from(&mut bytes, MSG_TRUNC)?;
    if received > bytes.len() {
        return Err(Errno::EMSGSIZE.into());
    }
    Ok((bytes, sender))
}

/// The messages in a datagram.
fn split(mut bytes: &[u8]) -> Result<Vec<NetlinkBuffer<&[u8]>>, Failure> {
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        let message =
            NetlinkBuffer::new_checked(bytes).map_err(|error| Failure::Malformed(error.to_string()))?;
        let length = usize::try_from(message.length()).unwrap_or(usize::MAX);
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        messages.push(message);
    }
    Ok(messages)
}

#[cfg(test)]
mod tests;
