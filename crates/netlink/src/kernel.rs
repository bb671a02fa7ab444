//! The kernel's own links.

mod rdma;
pub(crate) mod request;

use std::ffi::OsStr;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::path::Path;

use ipnet::IpNet;
use netlink_packet_core::{Emitable, NLM_F_CREATE, NLM_F_EXCL};
use nix::errno::Errno;

use crate::announce;
use crate::attributes::{Link, NamespaceId, Route, VfChange, VfConfig};
use crate::client::{DUMP_TRIES, Failure, Message};
use crate::error::{Error, Verb};
use crate::events::KernelEvents;
use crate::ifname::IfName;
use crate::links::Links;
use crate::mac::MacAddr;
use crate::namespace::{Namespace, OWN};
use crate::rdma::{RdmaDevice, RdmaMode};
use crate::view;

use request::{
    RTM_DELLINK, RTM_DELLINKPROP, RTM_DELROUTE, RTM_GETADDR, RTM_GETLINK, RTM_GETROUTE, RTM_NEWADDR,
    RTM_NEWLINK, RTM_NEWROUTE, RTM_SETLINK,
};

/// The ARP hardware type of Ethernet.
const ETHERNET: u16 = 1;

/// The links of this machine.
#[derive(Debug)]
pub struct Kernel {
    host: Namespace,
}

impl Kernel {
    /// With this process's namespace as the host's.
    pub fn new() -> Result<Self, Error> {
        Self::with_host(Path::new(OWN))
    }

    /// With another namespace as the host's: `/proc/1/ns/net` from a container that shares the host's processes but
    /// not its network.
    pub fn with_host(path: &Path) -> Result<Self, Error> {
        Ok(Self { host: Namespace::open(path)? })
    }
}

/// What's being asked, for errors.
struct Question {
    verb: Verb,
    target: String,
}

impl Question {
    fn new(verb: Verb, target: impl Into<String>) -> Self {
        Self { verb, target: target.into() }
    }

    fn of_link(verb: Verb, ifindex: u32, namespace: &Namespace) -> Self {
        Self::new(verb, format!("link {ifindex} in {}", namespace.path().display()))
    }

    fn failed(self, failure: Failure) -> Error {
        let Self { verb, target } = self;
        match failure {
            Failure::Refused(refusal) => Error::refused(verb, target, refusal.errno, refusal.text),
            Failure::Socket(source) => Error::Socket { verb, target, source },
            Failure::Interrupted => Error::Interrupted { verb, target, tries: DUMP_TRIES },
            Failure::Malformed(what) => Error::Malformed { verb, target, what },
        }
    }

    fn malformed(self, what: String) -> Error {
        self.failed(Failure::Malformed(what))
    }
}

/// Makes a change to one link.
fn change(
    namespace: &Namespace,
    question: Question,
    kind: u16,
    message: &impl Emitable,
) -> Result<(), Error> {
    let outcome = namespace.client().ask(kind, 0, message);
    outcome.map(drop).map_err(|failure| question.failed(failure))
}

/// The link that an answer is about, or none when there's no such link.
fn one_link(question: Question, answer: Result<Vec<Message>, Failure>) -> Result<Option<Link>, Error> {
    match answer {
        Err(Failure::Refused(refusal)) if refusal.errno == Errno::ENODEV => Ok(None),
        Err(failure) => Err(question.failed(failure)),
        Ok(messages) => {
            let link = messages.iter().find(|message| message.kind == RTM_NEWLINK);
            let link = link.map(|message| view::link(&message.payload)).transpose();
            link.map_err(|what| question.malformed(what))
        }
    }
}

/// A list, read whole.
fn list<T>(
    namespace: &Namespace,
    question: Question,
    kinds: (u16, u16),
    message: &impl Emitable,
    read: impl Fn(&[u8]) -> Result<T, String>,
) -> Result<Vec<T>, Error> {
    let (asked, answered) = kinds;
    let messages = namespace.client().list(asked, message);
    let entries = messages.and_then(|messages| {
        let answers = messages.iter().filter(|message| message.kind == answered);
        answers.map(|message| read(&message.payload).map_err(Failure::Malformed)).collect()
    });
    entries.map_err(|failure| question.failed(failure))
}

impl Links for Kernel {
    type Namespace = Namespace;
    type Events = KernelEvents;

    fn host(&self) -> &Namespace {
        &self.host
    }

    fn open(&self, path: &Path) -> Result<Namespace, Error> {
        Namespace::open(path)
    }

    fn id(&self, namespace: &Namespace) -> NamespaceId {
        namespace.id()
    }

    fn links(&self, namespace: &Namespace) -> Result<Vec<Link>, Error> {
        let question = Question::new(Verb::Links, format!("the links in {}", namespace.path().display()));
        let kinds = (RTM_GETLINK, RTM_NEWLINK);
        let mut links = list(namespace, question, kinds, &request::links(0), view::link)?;
        links.sort_unstable_by_key(|link| link.index);
        Ok(links)
    }

    fn link(&self, namespace: &Namespace, ifindex: u32) -> Result<Option<Link>, Error> {
        let answer = namespace.client().ask(RTM_GETLINK, 0, &request::links(ifindex));
        one_link(Question::of_link(Verb::Links, ifindex, namespace), answer)
    }

    fn link_named(&self, namespace: &Namespace, name: &str) -> Result<Option<Link>, Error> {
        let question = Question::new(Verb::Links, format!("link {name} in {}", namespace.path().display()));
        let answer = namespace.client().ask(RTM_GETLINK, 0, &request::link_named(name));
        one_link(question, answer)
    }

    fn vfs(&self, pf_ifindex: u32) -> Result<Vec<VfConfig>, Error> {
        let question = Question::of_link(Verb::Vfs, pf_ifindex, &self.host);
        let answer = self.host.client().ask(RTM_GETLINK, 0, &request::link_with_vfs(pf_ifindex));
        let messages = match answer {
            Err(Failure::Refused(refusal)) if refusal.errno == Errno::ENODEV => {
                return Err(Error::Absent { verb: question.verb, target: question.target });
            }
            answer => answer,
        };
        let vfs = messages.and_then(|messages| match messages.first() {
            Some(message) => view::vfs(&message.payload).map_err(Failure::Malformed),
            None => Err(Failure::Malformed("it has no link".to_owned())),
        });
        vfs.map_err(|failure| question.failed(failure))
    }

    fn vf(&self, pf_ifindex: u32, vf_index: u16) -> Result<VfConfig, Error> {
        let vfs = self.vfs(pf_ifindex)?;
        vfs.into_iter().find(|vf| vf.index == vf_index).ok_or_else(|| Error::Absent {
            verb: Verb::Vfs,
            target: format!("VF {vf_index} of link {pf_ifindex} in {}", self.host.path().display()),
        })
    }

    fn set_vf(&self, pf_ifindex: u32, vf_index: u16, vf_change: &VfChange) -> Result<(), Error> {
        let host = self.host.path().display();
        let target = format!("VF {vf_index} of link {pf_ifindex} in {host} to {vf_change}");
        let message = request::set_vf(pf_ifindex, vf_index, vf_change);
        change(&self.host, Question::new(Verb::SetVf, target), RTM_SETLINK, &message)
    }

    fn move_link(
        &self,
        from: &Namespace,
        ifindex: u32,
        to: &Namespace,
        new_name: &IfName,
        mtu: Option<u32>,
    ) -> Result<Link, Error> {
        let target = || {
            let (from, to) = (from.path().display(), to.path().display());
            format!("link {ifindex} from {from} to {to} as {new_name}")
        };
        let refused = |errno| Error::refused(Verb::Move, target(), errno, None);
        let before = self.link(from, ifindex)?.ok_or_else(|| refused(Errno::ENODEV))?;
        // The kernel moves first and renames then: a name that's taken would leave the link there under its old one.
        let rival = self.link_named(to, new_name.as_str())?;
        if rival.is_some_and(|rival| from.id() != to.id() || rival.index != ifindex) {
            return Err(refused(Errno::EEXIST));
        }
        let message = request::move_link(ifindex, to.file().as_raw_fd(), new_name.as_str(), mtu);
        let moved = change(from, Question::new(Verb::Move, target()), RTM_SETLINK, &message);
        if let Err(error) = moved {
            if from.id() != to.id() {
                self.move_back(from, to, &before, new_name);
            }
            return Err(error);
        }
        self.link_named(to, new_name.as_str())?.ok_or_else(|| refused(Errno::ENODEV))
    }

    fn rename(&self, namespace: &Namespace, ifindex: u32, name: &IfName) -> Result<(), Error> {
        let target = format!("link {ifindex} in {} to {name}", namespace.path().display());
        let message = request::rename(ifindex, name);
        change(namespace, Question::new(Verb::Rename, target), RTM_SETLINK, &message)
    }

    fn remove_altname(&self, namespace: &Namespace, ifindex: u32, altname: &OsStr) -> Result<(), Error> {
        let target = format!("{} of link {ifindex} in {}", altname.display(), namespace.path().display());
        let message = request::remove_altname(ifindex, altname);
        change(namespace, Question::new(Verb::RemoveAltname, target), RTM_DELLINKPROP, &message)
    }

    fn remove_link(&self, namespace: &Namespace, ifindex: u32) -> Result<(), Error> {
        let question = Question::of_link(Verb::RemoveLink, ifindex, namespace);
        change(namespace, question, RTM_DELLINK, &request::remove_link(ifindex))
    }

    fn set_mac(&self, namespace: &Namespace, ifindex: u32, mac: MacAddr) -> Result<(), Error> {
        let target = format!("link {ifindex} in {} to {mac}", namespace.path().display());
        let message = request::set_mac(ifindex, mac);
        change(namespace, Question::new(Verb::SetMac, target), RTM_SETLINK, &message)
    }

    fn set_mtu(&self, namespace: &Namespace, ifindex: u32, mtu: u32) -> Result<(), Error> {
        let target = format!("link {ifindex} in {} to {mtu}", namespace.path().display());
        let message = request::set_mtu(ifindex, mtu);
        change(namespace, Question::new(Verb::SetMtu, target), RTM_SETLINK, &message)
    }

    fn set_up(&self, namespace: &Namespace, ifindex: u32, up: bool) -> Result<(), Error> {
        let state = if up { "up" } else { "down" };
        let target = format!("link {ifindex} in {} to {state}", namespace.path().display());
        change(namespace, Question::new(Verb::SetUp, target), RTM_SETLINK, &request::set_up(ifindex, up))
    }

    fn set_promisc(&self, namespace: &Namespace, ifindex: u32, on: bool) -> Result<(), Error> {
        let question = switched(Verb::SetPromisc, ifindex, namespace, on);
        change(namespace, question, RTM_SETLINK, &request::set_promisc(ifindex, on))
    }

    fn set_allmulti(&self, namespace: &Namespace, ifindex: u32, on: bool) -> Result<(), Error> {
        let question = switched(Verb::SetAllmulti, ifindex, namespace, on);
        change(namespace, question, RTM_SETLINK, &request::set_allmulti(ifindex, on))
    }

    fn add_address(&self, namespace: &Namespace, ifindex: u32, address: IpNet) -> Result<(), Error> {
        let target = format!("{address} to link {ifindex} in {}", namespace.path().display());
        let question = Question::new(Verb::AddAddress, target);
        let message = request::add_address(ifindex, address);
        let outcome = namespace.client().ask(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &message);
        outcome.map(drop).map_err(|failure| question.failed(failure))
    }

    fn addresses(&self, namespace: &Namespace, ifindex: u32) -> Result<Vec<IpNet>, Error> {
        let question = Question::of_link(Verb::Addresses, ifindex, namespace);
        let kinds = (RTM_GETADDR, RTM_NEWADDR);
        let all = match list(namespace, question, kinds, &request::addresses(ifindex), view::address) {
            // A link that isn't there has none.
            Err(error) if error.is_gone() => Vec::new(),
            listed => listed?,
        };
        // Older kernels list those of all links.
        Ok(all.into_iter().filter(|(of, _)| *of == ifindex).map(|(_, net)| net).collect())
    }

    fn add_route(&self, namespace: &Namespace, route: &Route) -> Result<(), Error> {
        let target = format!("{} in {}", describe(route), namespace.path().display());
        let question = Question::new(Verb::AddRoute, target);
        let message = request::add_route(route);
        let outcome = namespace.client().ask(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &message);
        outcome.map(drop).map_err(|failure| question.failed(failure))
    }

    fn routes(&self, namespace: &Namespace) -> Result<Vec<Route>, Error> {
        let question = Question::new(Verb::Routes, namespace.path().display().to_string());
        let kinds = (RTM_GETROUTE, RTM_NEWROUTE);
        let routes = list(namespace, question, kinds, &request::routes(), view::routes)?;
        Ok(routes.into_iter().flatten().collect())
    }

    fn remove_route(&self, namespace: &Namespace, route: &Route) -> Result<(), Error> {
        let target = format!("{} in {}", describe(route), namespace.path().display());
        let message = request::remove_route(route);
        change(namespace, Question::new(Verb::RemoveRoute, target), RTM_DELROUTE, &message)
    }

    fn set_announce(&self, namespace: &Namespace, ifindex: u32) -> Result<(), Error> {
        let question = Question::of_link(Verb::SetAnnounce, ifindex, namespace);
        let link = self.existing_link(namespace, ifindex, Verb::SetAnnounce)?;
        let set = namespace.run(|| {
            announce::set(&link.name);
            Ok(())
        });
        set.map_err(|source| question.failed(Failure::Socket(source)))
    }

    fn announce(
        &self,
        namespace: &Namespace,
        ifindex: u32,
        addresses: &[IpAddr],
    ) -> Result<Vec<IpAddr>, Error> {
        let question = || Question::of_link(Verb::Announce, ifindex, namespace);
        let link = self.existing_link(namespace, ifindex, Verb::Announce)?;
        let Some(mac) = link.mac.filter(|mac| mac.is_unicast() && link.hardware == ETHERNET) else {
            return Ok(Vec::new());
        };
        let read = |payload: &[u8]| Ok((view::address(payload)?, view::is_settled(payload)));
        let kinds = (RTM_GETADDR, RTM_NEWADDR);
        let present = list(namespace, question(), kinds, &request::addresses(ifindex), read)?;
        let is_announceable = |address: &IpAddr| {
            present
                .iter()
                .any(|((of, net), is_settled)| *of == ifindex && *is_settled && net.addr() == *address)
        };
        let announced: Vec<IpAddr> = addresses.iter().copied().filter(is_announceable).collect();
        let frames: Vec<Vec<u8>> = announced.iter().map(|address| announce::frame(mac, *address)).collect();
        let sent = namespace.run(|| announce::send_all(ifindex, &frames));
        sent.map_err(|source| question().failed(Failure::Socket(source)))?;
        Ok(announced)
    }

    fn events(&self, namespaces: &[&Namespace]) -> Result<KernelEvents, Error> {
        KernelEvents::open(namespaces)
    }

    fn rdma_mode(&self) -> Result<Option<RdmaMode>, Error> {
        rdma::mode(&self.host)
    }

    fn rdma_devices(&self, namespace: &Namespace) -> Result<Vec<RdmaDevice>, Error> {
        rdma::devices(namespace)
    }

    fn move_rdma(&self, from: &Namespace, index: u32, to: &Namespace) -> Result<(), Error> {
        rdma::relocate(from, index, to)
    }

    fn rename_rdma(&self, namespace: &Namespace, index: u32, name: &str) -> Result<(), Error> {
        rdma::rename(namespace, index, name)
    }
}

impl Kernel {
    fn existing_link(&self, namespace: &Namespace, ifindex: u32, verb: Verb) -> Result<Link, Error> {
        let Question { verb, target } = Question::of_link(verb, ifindex, namespace);
        self.link(namespace, ifindex)?.ok_or(Error::Absent { verb, target })
    }

    /// Returns a link whose move failed half way. What can't be returned is found by its device.
    fn move_back(&self, from: &Namespace, to: &Namespace, before: &Link, new_name: &IfName) {
        let same = |link: &Link| link.device == before.device && link.mac == before.mac;
        let candidates = [before.name.as_str(), new_name.as_str()];
        let stray = candidates
            .into_iter()
            .filter_map(|name| self.link_named(to, name).ok().flatten())
            .find(|link| same(link));
        if let (Some(stray), Ok(None)) = (stray, self.link(from, before.index)) {
            let message =
                request::move_link(stray.index, from.file().as_raw_fd(), &before.name, Some(before.mtu));
            let question = Question::of_link(Verb::Move, stray.index, to);
            // The first error is the one that's told.
            drop(change(to, question, RTM_SETLINK, &message));
        }
    }
}

fn switched(verb: Verb, ifindex: u32, namespace: &Namespace, on: bool) -> Question {
    let state = if on { "on" } else { "off" };
    Question::new(verb, format!("link {ifindex} in {} to {state}", namespace.path().display()))
}

fn describe(route: &Route) -> String {
    let gateway = route.gateway.map(|gateway| format!(" via {gateway}")).unwrap_or_default();
    format!("{}{gateway} dev {}", route.dst, route.ifindex)
}
