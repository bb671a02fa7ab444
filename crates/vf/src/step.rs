//! The steps that take a VF from one situation to another.
//!
//! One function plans both ways: ADD goes from the baseline to what is wanted, DEL from whatever is found to the
//! baseline. So the inverse of any step is what [`steps`] plans from the situation after it to the baseline, and
//! the baseline is in the ledger before the first step is taken.

use std::ffi::OsString;
use std::fmt;

use netlink::{IfName, MacAddr, VfChange};
use pci::{Driver, USERSPACE_DRIVERS, Vlans};

use crate::driver::{self, AdminMac};
use crate::settings::{Admin, Netdev, Place, Rdma, Situation, guid_to_set, usable};

/// One change to a VF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Reset the function, where the kernel offers that.
    Reset,
    /// Set the interface down.
    Down,
    /// Remove what someone has put on the interface: it would stay behind, and use the VF on.
    RemoveUpper {
        /// Its index, in the namespace where the interface is.
        ifindex: u32,
        /// Its name.
        name: String,
    },
    /// Remove an alternative name.
    RemoveAltname(OsString),
    /// Set an attribute through the PF.
    Admin(VfChange),
    /// Let the VF tag these VLANs too.
    AllowVlans(Vlans),
    /// Don't let the VF tag these VLANs any more.
    ForbidVlans(Vlans),
    /// Give the VF a driver.
    Bind(Driver),
    /// Let the VF's driver go and take it anew, so that it takes the GUID. The interface is another one afterwards:
    /// nothing else can be planned until it's seen.
    Rebind,
    /// Move the interface, renaming it and setting its MTU on the way.
    Move {
        /// Where to.
        to: Place,
        /// Its name there.
        name: IfName,
        /// Its MTU there in bytes, where that changes.
        mtu: Option<u32>,
    },
    /// Rename the interface where it is.
    Rename(IfName),
    /// Set the interface's MTU in bytes where it is.
    Mtu(u32),
    /// Set the interface's own MAC.
    Mac(MacAddr),
    /// Set whether the interface takes every frame.
    Promisc(bool),
    /// Set whether the interface takes every multicast frame.
    Allmulti(bool),
    /// Set the interface up.
    Up,
    /// Move the RDMA device.
    MoveRdma(Place),
    /// Rename the RDMA device.
    RenameRdma(String),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reset => f.write_str("reset the function"),
            Self::Down => f.write_str("set the interface down"),
            Self::RemoveUpper { name, .. } => write!(f, "remove {name}, which is on the interface"),
            Self::RemoveAltname(name) => write!(f, "remove alternative name {}", name.display()),
            Self::Admin(change) => write!(f, "set {change}"),
            Self::AllowVlans(vlans) => write!(f, "add {vlans} to vlanTrunk"),
            Self::ForbidVlans(vlans) => write!(f, "take {vlans} from vlanTrunk"),
            Self::Bind(Driver::Named(name)) => write!(f, "bind to {name}"),
            Self::Bind(Driver::Kernel) => f.write_str("bind to its kernel driver"),
            Self::Rebind => f.write_str("let its driver take it anew"),
            Self::Move { to, name, mtu: None } => write!(f, "move the interface to {to} as {name}"),
            Self::Move { to, name, mtu: Some(mtu) } => {
                write!(f, "move the interface to {to} as {name} with mtu {mtu}")
            }
            Self::Rename(name) => write!(f, "rename the interface to {name}"),
            Self::Mtu(mtu) => write!(f, "set mtu {mtu}"),
            Self::Mac(mac) => write!(f, "set the interface's mac {mac}"),
            Self::Promisc(on) => write!(f, "set promisc {}", on_off(*on)),
            Self::Allmulti(on) => write!(f, "set allmulti {}", on_off(*on)),
            Self::Up => f.write_str("set the interface up"),
            Self::MoveRdma(to) => write!(f, "move the RDMA device to {to}"),
            Self::RenameRdma(name) => write!(f, "rename the RDMA device to {name}"),
        }
    }
}

const fn on_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

/// What takes a VF from `now` to `goal`, in order; nothing when it's there.
///
/// A driver may need more than one round (an interface appears only once its driver is bound, and setting the
/// interface's MAC shows in the PF's view of some drivers), so who restores observes and plans again.
pub fn steps(now: &Situation, goal: &Situation) -> Vec<Step> {
    if let Some(steps) = guid_steps(now, goal) {
        return steps;
    }
    let mut steps = Vec::new();
    let netdev = now.settings.netdev.as_ref().zip(goal.settings.netdev.as_ref());
    let admin = now.settings.admin.as_ref().zip(goal.settings.admin.as_ref());
    let goal_admin = admin.map(|(admin, goal_admin)| reachable(goal_admin, admin, netdev));
    let admin = now.settings.admin.as_ref().zip(goal_admin.as_ref());
    let mac = mac_steps(driver::admin_mac(goal.settings.driver.as_deref()), admin, netdev);
    let attributes = admin.map(|(now, goal)| attribute_steps(now, goal)).unwrap_or_default();
    let moves = now.place != goal.place;
    let rdma = now.settings.rdma.as_ref().zip(goal.settings.rdma.as_ref());
    let mut rdma = rdma.map(|(now, goal)| rdma_steps(now, goal)).unwrap_or_default();

    let touches_admin = !attributes.is_empty() || !mac.at_first.is_empty();
    let mut goes_down = false;
    if goal.place == Place::Home {
        // First, so that it never stays in a pod that its interface has left.
        steps.append(&mut rdma);
    }
    if let Some((now, goal)) = netdev {
        let changes_itself = moves || now.name != goal.name || now.mac != goal.mac || now.mtu != goal.mtu;
        goes_down = now.up && (!goal.up || changes_itself || touches_admin);
        steps.extend(goes_down.then_some(Step::Down));
        // Before the move: an alternative name that's taken in the other namespace would stop it.
        let surplus = now.altnames.iter().filter(|altname| !goal.altnames.contains(altname));
        steps.extend(surplus.cloned().map(Step::RemoveAltname));
    }
    steps.extend(mac.at_first);
    steps.extend(attributes);
    if now.settings.driver != goal.settings.driver
        && let Some(driver) = &goal.settings.driver
    {
        steps.push(Step::Bind(bound_to(driver)));
    }
    if let Some((netdev, goal_netdev)) = netdev {
        steps.extend(place_steps(netdev, goal_netdev, moves.then_some(goal.place)));
        steps.extend(mac.at_last);
        steps.extend(changed(Some(netdev.promisc), Some(goal_netdev.promisc)).map(Step::Promisc));
        steps.extend(changed(Some(netdev.allmulti), Some(goal_netdev.allmulti)).map(Step::Allmulti));
        let is_down = !netdev.up || goes_down || moves;
        steps.extend((goal_netdev.up && is_down).then_some(Step::Up));
    }
    steps.append(&mut rdma);
    steps
}

/// What takes a VF home. Where a reset is due it's the first step, as soon as the driver that the VF has lets it be:
/// what it shows after it, and what the PF forgets by it, is for the next round. `uppers` are on its interface.
pub(crate) fn steps_home(
    now: &Situation,
    goal: &Situation,
    reset_due: bool,
    uppers: &[(u32, String)],
) -> Vec<Step> {
    let resets = reset_due && driver::outlives_reset(now.settings.driver.as_deref());
    let mut plan: Vec<Step> = resets.then_some(Step::Reset).into_iter().collect();
    plan.extend(uppers.iter().cloned().map(|(ifindex, name)| Step::RemoveUpper { ifindex, name }));
    plan.extend(steps(now, goal));
    plan
}

/// A plan in which the VF's own MAC is set as its admin MAC, where the PF's driver is known to refuse to remove one.
pub(crate) fn without_zero_mac(
    mut plan: Vec<Step>,
    pf_driver: Option<&str>,
    own_mac: Option<MacAddr>,
) -> Vec<Step> {
    let refused = pf_driver.is_some_and(driver::refuses_zero_mac);
    if let Some(own_mac) = own_mac.filter(|_| refused) {
        let removal = Step::Admin(VfChange::Mac(MacAddr::default()));
        for step in plan.iter_mut().filter(|step| **step == removal) {
            *step = Step::Admin(VfChange::Mac(own_mac));
        }
    }
    plan
}

/// The steps for the GUID of an InfiniBand VF, which its interface takes only from a driver that's bound after that.
fn guid_steps(now: &Situation, goal: &Situation) -> Option<Vec<Step>> {
    let own = goal.settings.netdev.as_ref().and_then(|netdev| netdev.guid);
    let admin = now.settings.admin.as_ref().zip(goal.settings.admin.as_ref());
    let (now_set, goal_set) = admin.and_then(|(now, goal)| now.guids.zip(goal.guids))?;
    let node = guid_to_set(now_set.node, goal_set.node, own).map(VfChange::NodeGuid);
    let port = guid_to_set(now_set.port, goal_set.port, own).map(VfChange::PortGuid);
    let netdev = now.settings.netdev.as_ref().zip(goal.settings.netdev.as_ref());
    let rebind = netdev.is_some_and(|(now, goal)| usable(now.guid) != usable(goal.guid));
    let set = node.into_iter().chain(port).map(Step::Admin);
    let steps: Vec<Step> = set.chain(rebind.then_some(Step::Rebind)).collect();
    (!steps.is_empty()).then_some(steps)
}

fn rdma_steps(now: &Rdma, goal: &Rdma) -> Vec<Step> {
    let moved = (now.place != goal.place).then_some(Step::MoveRdma(goal.place));
    let renamed = (now.name != goal.name).then(|| Step::RenameRdma(goal.name.clone()));
    moved.into_iter().chain(renamed).collect()
}

/// The steps for both MACs, before and after the others.
#[derive(Debug, Default)]
struct MacSteps {
    at_first: Vec<Step>,
    at_last: Vec<Step>,
}

fn mac_steps(
    kind: AdminMac,
    admin: Option<(&Admin, &Admin)>,
    netdev: Option<(&Netdev, &Netdev)>,
) -> MacSteps {
    let set_admin = |mac: MacAddr| Step::Admin(VfChange::Mac(mac));
    let own = netdev.and_then(|(now, goal)| changed(now.mac, goal.mac));
    let admin = admin.and_then(|(now, goal)| Some((now.mac, goal.mac?)));
    match (admin, own, kind) {
        (Some((now, goal)), Some(own), AdminMac::SetBetween) => {
            let removed = now.is_none_or(|now| !now.is_zero()).then(|| set_admin(MacAddr::default()));
            let set = (!goal.is_zero()).then(|| set_admin(goal));
            let at_first = removed.into_iter().chain([Step::Mac(own)]).chain(set).collect();
            MacSteps { at_first, at_last: Vec::new() }
        }
        (Some((now, goal)), own, _) => {
            // Before the interface's own: a VF that isn't trusted can't change that against the PF's.
            let at_first: Vec<Step> = (now != Some(goal)).then(|| set_admin(goal)).into_iter().collect();
            let comes_by_itself = kind == AdminMac::TakenLater && own == Some(goal) && !at_first.is_empty();
            let at_last = own.filter(|_| !comes_by_itself).map(Step::Mac).into_iter().collect();
            MacSteps { at_first, at_last }
        }
        (None, own, _) => {
            MacSteps { at_first: Vec::new(), at_last: own.map(Step::Mac).into_iter().collect() }
        }
    }
}

/// The admin settings to aim for. An interface that's to stay up with a MAC of its own makes some PF drivers show
/// that MAC, as soon as it is up: zero can't be had then.
fn reachable(goal: &Admin, now: &Admin, netdev: Option<(&Netdev, &Netdev)>) -> Admin {
    let mut goal = goal.clone();
    if let Some((netdev, goal_netdev)) = netdev
        && goal.mac.is_some_and(MacAddr::is_zero)
        && goal_netdev.up
        && now.mac == netdev.mac
        && netdev.mac == goal_netdev.mac
    {
        goal.mac = now.mac;
    }
    goal
}

fn bound_to(driver: &str) -> Driver {
    if USERSPACE_DRIVERS.contains(&driver) { Driver::Named(driver.to_owned()) } else { Driver::Kernel }
}

fn attribute_steps(now: &Admin, goal: &Admin) -> Vec<Step> {
    let mut changes = Vec::new();
    let proto_differs = goal.vlan.id != 0 && now.vlan.proto != goal.vlan.proto;
    if (now.vlan.id, now.vlan.qos) != (goal.vlan.id, goal.vlan.qos) || proto_differs {
        let proto = if goal.vlan.id == 0 { now.vlan.proto } else { goal.vlan.proto };
        changes.push(VfChange::Vlan { id: goal.vlan.id, qos: goal.vlan.qos, proto });
    }
    if now.rate != goal.rate {
        changes.push(VfChange::Rate { min: goal.rate.min, max: goal.rate.max });
    }
    changes.extend(changed(now.spoofchk, goal.spoofchk).map(VfChange::SpoofCheck));
    changes.extend(changed(now.trust, goal.trust).map(VfChange::Trust));
    changes.extend(changed(now.link_state, goal.link_state).map(VfChange::LinkState));
    // A driver takes a VLAN only while there's no trunk, and a trunk only while there's no VLAN.
    let (forbidden, allowed) = trunk_steps(now, goal);
    forbidden.into_iter().chain(changes.into_iter().map(Step::Admin)).chain(allowed).collect()
}

fn trunk_steps(now: &Admin, goal: &Admin) -> (Option<Step>, Option<Step>) {
    let (Some(now), Some(goal)) = (&now.trunk, &goal.trunk) else { return (None, None) };
    let some = |vlans: Vlans| Some(vlans).filter(|vlans| !vlans.is_empty());
    (some(now.without(goal)).map(Step::ForbidVlans), some(goal.without(now)).map(Step::AllowVlans))
}

fn changed<T: PartialEq + Copy>(now: Option<T>, goal: Option<T>) -> Option<T> {
    if now == goal { None } else { goal }
}

fn place_steps(now: &Netdev, goal: &Netdev, to: Option<Place>) -> Vec<Step> {
    // A goal's name was read from the kernel or validated, so it's always a name.
    let name = goal.name.parse::<IfName>().ok();
    let mtu = (now.mtu != goal.mtu).then_some(goal.mtu);
    match (to, name) {
        (Some(to), Some(name)) => vec![Step::Move { to, name, mtu }],
        (None, Some(name)) if now.name != goal.name => {
            [Step::Rename(name)].into_iter().chain(mtu.map(Step::Mtu)).collect()
        }
        (_, _) => mtu.map(Step::Mtu).into_iter().collect(),
    }
}

#[cfg(any(test, fuzzing))]
pub(crate) mod model;
#[cfg(test)]
mod tests;
