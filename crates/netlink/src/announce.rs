//! Telling the neighbours which MAC an address has now, so that none goes on sending to one that had it before.
//!
//! IPv4 addresses are announced by a gratuitous ARP request (RFC 5227, section 3), IPv6 addresses by an unsolicited
//! neighbour advertisement (RFC 4861, section 7.2.6). An IPv6 address isn't announced while it's checked for
//! duplicates: a tentative one isn't ours yet (RFC 4862, section 5.4), and an optimistic one may not override what
//! the neighbours know (RFC 4429, section 3.3). The kernel does it when the check has ended, as [`set`] asks.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, bind, send, socket};

use crate::mac::MacAddr;

const BROADCAST: [u8; 6] = [0xff; 6];

/// `ff02::1`, and its Ethernet address (RFC 2464, section 7).
const ALL_NODES: (Ipv6Addr, [u8; 6]) = (Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1), [0x33, 0x33, 0, 0, 0, 1]);

const ICMPV6: u8 = 58;

/// The bytes of a neighbour advertisement with one option.
const LENGTH: u8 = 32;

/// What makes the kernel itself announce an interface's addresses.
const SYSCTLS: [(&str, &str); 3] = [
    // When its MAC changes later on, or it's set down and up.
    ("ipv4", "arp_notify"),
    // The same, and when the check for duplicates of an address has ended: an address that was just added is
    // announced by nobody else.
    ("ipv6", "ndisc_notify"),
    // The addresses that the kernel makes itself (link-local, from a router's prefix) are unlikely to be anyone
    // else's, and a pod needn't wait a second for them. Those that IPAM gives aren't concerned: the kernel leaves
    // configured addresses out, as RFC 4429, section 3.1, wants.
    ("ipv6", "optimistic_dad"),
];

/// Sets, in the calling thread's namespace, what makes the kernel announce an interface's addresses.
///
/// What can't be set stays as it is: a kernel may lack it, or IPv6, and a container may see `/proc/sys` read-only.
pub(crate) fn set(name: &str) {
    for (family, sysctl) in SYSCTLS {
        let path = format!("/proc/sys/net/{family}/conf/{name}/{sysctl}");
        drop(OpenOptions::new().write(true).open(path).and_then(|mut file| file.write_all(b"1")));
    }
}

/// Sends frames by an interface in the calling thread's namespace.
pub(crate) fn send_all(ifindex: u32, frames: &[Vec<u8>]) -> io::Result<()> {
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
    // The C library lists each interface with the very address that a packet socket is bound to: it needn't be put
    // together by hand. Without a protocol the socket receives nothing.
    let interface = getifaddrs()?
        .filter_map(|entry| entry.address)
        .find(|address| {
            usize::try_from(ifindex).is_ok_and(|ifindex| {
                address.as_link_addr().is_some_and(|address| address.ifindex() == ifindex)
            })
        })
        .ok_or(Errno::ENODEV)?;
    bind(socket.as_raw_fd(), &interface)?;
    for frame in frames {
        send(socket.as_raw_fd(), frame, MsgFlags::empty())?;
    }
    Ok(())
}

/// The frame that announces an address.
pub(crate) fn frame(mac: MacAddr, address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => arp(mac, address),
        IpAddr::V6(address) => advertisement(mac, address),
    }
}

/// An ARP request for one's own address, which all who have it in their tables take as news.
fn arp(MacAddr(mac): MacAddr, address: Ipv4Addr) -> Vec<u8> {
    // Ethernet, IPv4, the lengths of their addresses, request.
    const HEAD: [u8; 8] = [0, 1, 0x08, 0, 6, 4, 0, 1];
    let (ethernet, ip) = (ethernet(BROADCAST, mac, [0x08, 0x06]), address.octets());
    [&ethernet, HEAD.as_slice(), &mac, &ip, &BROADCAST, &ip].concat()
}

/// A neighbour advertisement that nobody asked for, and that overrides what the neighbours have.
fn advertisement(MacAddr(mac): MacAddr, address: Ipv6Addr) -> Vec<u8> {
    let (everyone, everyones_mac) = ALL_NODES;
    let (source, destination) = (address.octets(), everyone.octets());
    // The option: target's link-layer address, its length in units of eight bytes.
    let body = [[0x20, 0, 0, 0].as_slice(), &source, &[2, 1], &mac].concat();
    let message = |checksum: [u8; 2]| [[136, 0].as_slice(), &checksum, &body].concat();
    let pseudo = [source.as_slice(), &destination, &[0, 0, 0, LENGTH, 0, 0, 0, ICMPV6]].concat();
    let checksum = checksum([pseudo, message([0, 0])].concat().chunks_exact(2));
    // Version 6; a hop limit that no router lets through.
    let head = [[0x60, 0, 0, 0, 0, LENGTH, ICMPV6, 255].as_slice(), &source, &destination].concat();
    [ethernet(everyones_mac, mac, [0x86, 0xdd]).as_slice(), &head, &message(checksum)].concat()
}

fn ethernet(destination: [u8; 6], source: [u8; 6], kind: [u8; 2]) -> Vec<u8> {
    [destination.as_slice(), &source, &kind].concat()
}

/// The Internet checksum (RFC 1071) of 16-bit words.
fn checksum<'a>(words: impl Iterator<Item = &'a [u8]>) -> [u8; 2] {
    let words = words.filter_map(|word| word.first_chunk().copied()).map(u16::from_be_bytes);
    let sum = words.fold(0, |sum: u16, word| {
        let (sum, carry) = sum.overflowing_add(word);
        sum + u16::from(carry)
    });
    (!sum).to_be_bytes()
}

#[cfg(test)]
mod tests;
