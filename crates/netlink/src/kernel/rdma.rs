//! RDMA devices of the kernel's own, over a netlink family of their own.
//!
//! Each question opens a socket: few ask, and the kernel only moves a device out of the namespace of the thread that
//! asks, whatever namespace the socket is in. So the thread that makes the socket asks, too.

use std::os::fd::AsRawFd;

use netlink_packet_core::DefaultNla;
use netlink_sys::protocols::NETLINK_RDMA;
use nix::errno::Errno;

use super::Question;
use crate::client::{Client, Failure, Message};
use crate::error::{Error, Verb};
use crate::namespace::Namespace;
use crate::rdma::{RdmaDevice, RdmaMode};
use crate::view;

const RDMA_NL_NLDEV: u16 = 5;

/// A message's type names the client within the family, and what is asked of it.
const fn kind(operation: u16) -> u16 {
    (RDMA_NL_NLDEV << 10) + operation
}

const RDMA_NLDEV_CMD_GET: u16 = kind(1);
const RDMA_NLDEV_CMD_SET: u16 = kind(2);
const RDMA_NLDEV_CMD_SYS_GET: u16 = kind(6);

const RDMA_NLDEV_ATTR_DEV_INDEX: u16 = 1;
const RDMA_NLDEV_ATTR_DEV_NAME: u16 = 2;
const RDMA_NLDEV_NET_NS_FD: u16 = 68;

/// A question has no header of its own: it's attributes alone.
type Attributes = Vec<DefaultNla>;

pub(super) fn mode(host: &Namespace) -> Result<Option<RdmaMode>, Error> {
    let question = Question::new(Verb::RdmaMode, "this machine");
    let answer =
        converse(host, |client| client.ask(RDMA_NLDEV_CMD_SYS_GET, 0, &Attributes::new().as_slice()));
    match answer {
        Err(failure) if is_without_rdma(&failure) => Ok(None),
        Err(failure) => Err(question.failed(failure)),
        Ok(messages) => {
            let mut told = messages.iter().filter(|message| message.kind == RDMA_NLDEV_CMD_SYS_GET);
            Ok(told.find_map(|message| view::rdma_mode(&message.payload)))
        }
    }
}

pub(super) fn devices(namespace: &Namespace) -> Result<Vec<RdmaDevice>, Error> {
    let question = Question::new(Verb::RdmaDevices, namespace.path().display().to_string());
    let answer = converse(namespace, |client| client.list(RDMA_NLDEV_CMD_GET, &Attributes::new().as_slice()));
    let messages = match answer {
        Err(failure) if is_without_rdma(&failure) => return Ok(Vec::new()),
        answer => answer,
    };
    let devices = messages.and_then(|messages| {
        let told = messages.iter().filter(|message| message.kind == RDMA_NLDEV_CMD_GET);
        told.map(|message| view::rdma_device(&message.payload).map_err(Failure::Malformed)).collect()
    });
    let mut devices: Vec<RdmaDevice> = devices.map_err(|failure| question.failed(failure))?;
    devices.sort_unstable_by_key(|device| device.index);
    Ok(devices)
}

pub(super) fn relocate(from: &Namespace, index: u32, to: &Namespace) -> Result<(), Error> {
    // The attribute is unsigned; a descriptor is never negative.
    let descriptor = to.file().as_raw_fd().to_ne_bytes();
    let what = format!("to {}", to.path().display());
    set(Verb::MoveRdma, from, index, &what, DefaultNla::new(RDMA_NLDEV_NET_NS_FD, descriptor.to_vec()))
}

pub(super) fn rename(namespace: &Namespace, index: u32, name: &str) -> Result<(), Error> {
    let terminated = [name.as_bytes(), &[0]].concat();
    let attribute = DefaultNla::new(RDMA_NLDEV_ATTR_DEV_NAME, terminated);
    set(Verb::RenameRdma, namespace, index, &format!("to {name}"), attribute)
}

/// Changes a device that's in a namespace.
fn set(
    verb: Verb,
    namespace: &Namespace,
    index: u32,
    what: &str,
    attribute: DefaultNla,
) -> Result<(), Error> {
    let place = namespace.path().display();
    // The kernel calls one that isn't there an invalid argument.
    let Some(device) = devices(namespace)?.into_iter().find(|device| device.index == index) else {
        return Err(Error::Absent { verb, target: format!("RDMA device {index} in {place}") });
    };
    let question = Question::new(verb, format!("{} from {place} {what}", device.name));
    let index = DefaultNla::new(RDMA_NLDEV_ATTR_DEV_INDEX, index.to_ne_bytes().to_vec());
    let attributes = vec![index, attribute];
    let answer = converse(namespace, |client| client.ask(RDMA_NLDEV_CMD_SET, 0, &attributes.as_slice()));
    answer.map(drop).map_err(|failure| question.failed(failure))
}

/// Asks from within a namespace.
fn converse(
    namespace: &Namespace,
    ask: impl FnOnce(&mut Client) -> Result<Vec<Message>, Failure> + Send,
) -> Result<Vec<Message>, Failure> {
    namespace.run(|| Ok(ask(&mut Client::of_family(NETLINK_RDMA)?)))?
}

/// Whether the kernel has no such family: no module of RDMA is loaded. Older ones have it in the first namespace only.
fn is_without_rdma(failure: &Failure) -> bool {
    let Failure::Socket(error) = failure else { return false };
    error.raw_os_error().map(Errno::from_raw) == Some(Errno::EPROTONOSUPPORT)
}
