//! Being told that links changed.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Instant;

use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv};

use crate::error::{Error, Verb};
use crate::links::LinkEvents;
use crate::namespace::Namespace;

/// The kernel's notifications about links in some namespaces. Keeps the namespaces alive, as whoever has them open.
#[derive(Debug)]
pub struct KernelEvents {
    /// One in each namespace: a socket is told of its own only.
    sockets: Vec<Socket>,
    target: String,
}

impl KernelEvents {
    pub(crate) fn open(namespaces: &[&Namespace]) -> Result<Self, Error> {
        let paths: Vec<String> = namespaces.iter().map(|it| it.path().display().to_string()).collect();
        let target = format!("the links in {}", paths.join(", "));
        let mut seen = BTreeSet::new();
        let distinct = namespaces.iter().filter(|namespace| seen.insert(namespace.id()));
        match distinct.map(|namespace| namespace.run(subscribe)).collect() {
            Ok(sockets) => Ok(Self { sockets, target }),
            Err(source) => Err(Error::Socket { verb: Verb::Events, target, source }),
        }
    }

    fn next(&self, deadline: Instant) -> io::Result<bool> {
        if !await_readable(&self.sockets, deadline)? {
            return Ok(false);
        }
        self.sockets.iter().try_for_each(drain)?;
        Ok(true)
    }
}

impl LinkEvents for KernelEvents {
    fn wait(&mut self, deadline: Instant) -> Result<bool, Error> {
        let failed = |source| Error::Socket { verb: Verb::Events, target: self.target.clone(), source };
        self.next(deadline).map_err(failed)
    }
}

/// A socket that's told of changes to links in the calling thread's namespace.
fn subscribe() -> io::Result<Socket> {
    const RTMGRP_LINK: u32 = 1;
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind(&SocketAddr::new(0, RTMGRP_LINK))?;
    Ok(socket)
}

fn await_readable(sockets: &[Socket], deadline: Instant) -> io::Result<bool> {
    let mut descriptors: Vec<PollFd<'_>> =
        sockets.iter().map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN)).collect();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // Rounded up, so that the last fraction of a millisecond isn't spent spinning.
        let timeout = PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX);
        match poll(&mut descriptors, timeout) {
            Ok(0) if Instant::now() >= deadline => return Ok(false),
            Ok(0) | Err(Errno::EINTR) => {}
            // Also where notifications were lost: there were some.
            Ok(_) => return Ok(true),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Takes what has come: that something changed is all that's told of it.
fn drain(socket: &Socket) -> io::Result<()> {
    loop {
        match recv(socket.as_raw_fd(), &mut [0], MsgFlags::MSG_DONTWAIT) {
            Err(Errno::EAGAIN) => return Ok(()),
            Ok(_) | Err(Errno::EINTR | Errno::ENOBUFS) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}
