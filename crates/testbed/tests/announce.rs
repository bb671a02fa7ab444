//! What the neighbours hear: frames that the kernel and we send, as they arrive at the other end of a cable, and
//! what a neighbour makes of them.

#![cfg(test)]

use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use netlink::{Link, Links};
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::libc::timeval;
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, bind, recv, setsockopt, socket,
};
use nix::sys::time::TimeVal;
use testbed::links::contract::Bench;
use testbed::links::netns::{KernelBench, NetnsError, ip};

/// Long enough for the slowest machine; a frame that doesn't come fails the test after this.
const PATIENCE_S: i64 = 60;

/// A cable from an interface `one` in a namespace to another one, which is in this process's own.
struct Cable {
    bench: KernelBench,
    far: OwnedFd,
    one: Link,
}

fn cable() -> Result<Option<Cable>, NetnsError> {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let required = std::env::var_os("REQUIRE_NETNS").is_some_and(|value| value == "1");
    let bench = match KernelBench::make() {
        Err(error) if !required => {
            eprintln!("skipped: no network namespaces here: {error}");
            return Ok(None);
        }
        made => made?,
    };
    let far = format!("far{}x{}", process::id(), MADE.fetch_add(1, Ordering::Relaxed));
    bench.add_veth("one", &far);
    bench.host().ip(&["link", "set", &far, "netns", &process::id().to_string()])?;
    ip(&["link", "set", &far, "up"])?;
    let links = bench.links();
    let one = links.link_named(links.host(), "one").unwrap().unwrap();
    Ok(Some(Cable { far: listen(&far), one, bench }))
}

/// A socket that hears everything on an interface.
fn listen(name: &str) -> OwnedFd {
    let socket =
        socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll).unwrap();
    let mut interfaces = getifaddrs().unwrap().filter(|entry| entry.interface_name == name);
    let interface = interfaces
        .find_map(|entry| entry.address.filter(|address| address.as_link_addr().is_some()))
        .unwrap();
    bind(socket.as_raw_fd(), &interface).unwrap();
    let patience = TimeVal::from(timeval { tv_sec: PATIENCE_S, tv_usec: 0 });
    setsockopt(&socket, ReceiveTimeout, &patience).unwrap();
    socket
}

impl Cable {
    /// The next frame from the other end that `wanted` wants.
    fn hear(&self, wanted: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        let mac = self.one.mac.unwrap().0;
        loop {
            let mut buffer = [0; 2048];
            let length = match recv(self.far.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                // With a time limit it isn't taken up again when the process has been stopped.
                Err(Errno::EINTR) => continue,
                received => received.unwrap(),
            };
            let frame = &buffer[..length];
            if frame.get(6..12) == Some(mac.as_slice()) && wanted(frame) {
                return frame.to_vec();
            }
        }
    }

    fn announce(&self, addresses: &[&str]) -> Vec<IpAddr> {
        let addresses: Vec<IpAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
        let links = self.bench.links();
        links.announce(links.host(), self.one.index, &addresses).unwrap()
    }

    fn is_set(&self, sysctl: &str) -> bool {
        let path = format!("/proc/sys/net/{sysctl}");
        let args = ["netns", "exec", self.bench.host().name(), "cat", &path];
        let output = process::Command::new("ip").args(args).output().unwrap();
        output.stdout == b"1\n"
    }
}

fn is_arp(frame: &[u8]) -> bool {
    frame[12..14] == [0x08, 0x06]
}

fn is_advertisement(frame: &[u8]) -> bool {
    frame[12..14] == [0x86, 0xdd] && frame[20] == 58 && frame[54] == 136
}

#[test]
fn an_ipv4_address_is_heard_as_it_should_be() {
    let Some(cable) = cable().unwrap() else { return };
    let host = cable.bench.host();
    host.ip(&["addr", "add", "192.0.2.7/24", "dev", "one"]).unwrap();
    host.ip(&["link", "set", "one", "up"]).unwrap();
    assert_eq!(cable.announce(&["192.0.2.7"]).len(), 1);
    let mac = cable.one.mac.unwrap().0;
    let mut expected = [[0xff; 6], mac].concat();
    expected.extend([0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1]);
    expected.extend([mac.as_slice(), &[192, 0, 2, 7], &[0xff; 6], &[192, 0, 2, 7]].concat());
    assert_eq!(cable.hear(is_arp), expected);
}

#[test]
fn an_ipv6_address_is_heard_as_it_should_be() {
    let Some(cable) = cable().unwrap() else { return };
    let host = cable.bench.host();
    host.ip(&["link", "set", "one", "up"]).unwrap();
    host.ip(&["addr", "add", "2001:db8::7/64", "dev", "one", "nodad"]).unwrap();
    assert_eq!(cable.announce(&["2001:db8::7"]).len(), 1);
    let mac = cable.one.mac.unwrap().0;
    let address = "2001:db8::7".parse::<std::net::Ipv6Addr>().unwrap().octets();
    let everyone = "ff02::1".parse::<std::net::Ipv6Addr>().unwrap().octets();
    let heard = cable.hear(|frame| is_advertisement(frame) && frame[22..38] == address);
    let mut expected = [[0x33, 0x33, 0, 0, 0, 1].as_slice(), &mac, &[0x86, 0xdd]].concat();
    expected.extend([0x60, 0, 0, 0, 0, 32, 58, 255]);
    expected.extend([address, everyone].concat());
    expected.extend([136, 0, heard[56], heard[57], 0x20, 0, 0, 0]);
    expected.extend([address.as_slice(), &[2, 1], &mac].concat());
    assert_eq!(heard, expected);
    // The checksum is right if a kernel takes the message: see below.
}

#[test]
fn a_neighbour_takes_the_new_mac() {
    let Some(cable) = cable().unwrap() else { return };
    let host = cable.bench.host();
    let neighbour = KernelBench::make().unwrap();
    // A cable of its own: a neighbour that knows both addresses by another MAC.
    host.ip(&["link", "add", "to", "type", "veth", "peer", "name", "from"]).unwrap();
    host.ip(&["link", "set", "from", "netns", neighbour.host().name()]).unwrap();
    for args in [
        ["addr", "add", "192.0.2.1/24", "dev", "from"].as_slice(),
        &["addr", "add", "2001:db8::1/64", "dev", "from", "nodad"],
        &["link", "set", "from", "up"],
        &["neigh", "add", "192.0.2.7", "lladdr", "02:00:00:00:00:99", "dev", "from", "nud", "stale"],
        &["neigh", "add", "2001:db8::7", "lladdr", "02:00:00:00:00:99", "dev", "from", "nud", "stale"],
    ] {
        neighbour.host().ip(args).unwrap();
    }
    host.ip(&["link", "set", "to", "up"]).unwrap();
    host.ip(&["addr", "add", "192.0.2.7/24", "dev", "to"]).unwrap();
    host.ip(&["addr", "add", "2001:db8::7/64", "dev", "to", "nodad"]).unwrap();
    let links = cable.bench.links();
    let to = links.link_named(links.host(), "to").unwrap().unwrap();
    let addresses = ["192.0.2.7", "2001:db8::7"].map(|text| text.parse::<IpAddr>().unwrap());
    assert_eq!(links.announce(links.host(), to.index, &addresses).unwrap(), addresses);
    for address in ["192.0.2.7", "2001:db8::7"] {
        let args = ["-n", neighbour.host().name(), "neigh", "show", address, "dev", "from"];
        let shown = process::Command::new("ip").args(args).output().unwrap();
        let shown = String::from_utf8(shown.stdout).unwrap();
        assert!(shown.contains(&to.mac.unwrap().to_string()), "{address}: {shown}");
    }
}

/// While an address is checked for duplicates, we say nothing, and when that's done the kernel does.
#[test]
fn an_address_that_is_being_checked_is_announced_by_the_kernel() {
    let Some(cable) = cable().unwrap() else { return };
    let links = cable.bench.links();
    links.set_announce(links.host(), cable.one.index).unwrap();
    assert!(cable.is_set("ipv4/conf/one/arp_notify"));
    assert!(cable.is_set("ipv6/conf/one/ndisc_notify"));
    assert!(!cable.is_set("ipv6/conf/lo/ndisc_notify"));
    links.set_up(links.host(), cable.one.index, true).unwrap();
    let host = cable.bench.host();
    // The check takes as many seconds as it sends probes: time enough to find it going on.
    process::Command::new("ip")
        .args(["netns", "exec", host.name(), "sysctl", "-qw", "net.ipv6.conf.one.dad_transmits=5"])
        .status()
        .unwrap();
    links.add_address(links.host(), cable.one.index, "2001:db8::7/64".parse().unwrap()).unwrap();
    assert!(cable.announce(&["2001:db8::7"]).is_empty());
    let address = "2001:db8::7".parse::<std::net::Ipv6Addr>().unwrap().octets();
    let heard = cable.hear(|frame| is_advertisement(frame) && frame[62..78] == address);
    assert_eq!(heard[58] & 0xe0, 0x20, "unsolicited, and overriding");
    assert_eq!(cable.announce(&["2001:db8::7"]).len(), 1);
}
