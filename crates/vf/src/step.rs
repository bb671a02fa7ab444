//! The steps that take a VF from one situation to another.
//!
//! One function plans both ways: ADD goes from the baseline to what is wanted, DEL from whatever is found to the
//! baseline. So the inverse of any step is what [`steps`] plans from the situation after it to the baseline, and
//! the baseline is in the ledger before the first step is taken.

use std::ffi::OsString;
use std::fmt;

use netlink::{IfName, MacAddr, VfChange};
use pci::{Driver, USERSPACE_DRIVERS};

use crate::driver::{self, AdminMac};
use crate::settings::{Admin, Netdev, Place, Situation};

/// One change to a VF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Set the interface down.
    Down,
    /// Remove an alternative name.
    RemoveAltname(OsString),
    /// Set an attribute through the PF.
    Admin(VfChange),
    /// Give the VF a driver.
    Bind(Driver),
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
    /// Set the interface up.
    Up,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Down => f.write_str("set the interface down"),
            Self::RemoveAltname(name) => write!(f, "remove alternative name {}", name.display()),
            Self::Admin(change) => write!(f, "set {change}"),
            Self::Bind(Driver::Named(name)) => write!(f, "bind to {name}"),
            Self::Bind(Driver::Kernel) => f.write_str("bind to its kernel driver"),
            Self::Move { to, name, mtu: None } => write!(f, "move the interface to {to} as {name}"),
            Self::Move { to, name, mtu: Some(mtu) } => {
                write!(f, "move the interface to {to} as {name} with mtu {mtu}")
            }
            Self::Rename(name) => write!(f, "rename the interface to {name}"),
            Self::Mtu(mtu) => write!(f, "set mtu {mtu}"),
            Self::Mac(mac) => write!(f, "set the interface's mac {mac}"),
            Self::Up => f.write_str("set the interface up"),
        }
    }
}

/// What takes a VF from `now` to `goal`, in order; nothing when it's there.
///
/// A driver may need more than one round (an interface appears only once its driver is bound, and setting the
/// interface's MAC shows in the PF's view of some drivers), so who restores observes and plans again.
pub fn steps(now: &Situation, goal: &Situation) -> Vec<Step> {
    let mut steps = Vec::new();
    let netdev = now.settings.netdev.as_ref().zip(goal.settings.netdev.as_ref());
    let moves = now.place != goal.place;
    let admin = match (&now.settings.admin, &goal.settings.admin) {
        (Some(admin), Some(goal_admin)) => admin_steps(admin, &reachable(goal_admin, admin, netdev)),
        _ => Vec::new(),
    };
    if let Some((now, goal)) = netdev {
        let changes_itself = moves || now.name != goal.name || now.mac != goal.mac || now.mtu != goal.mtu;
        if now.up && (!goal.up || changes_itself || !admin.is_empty()) {
            steps.push(Step::Down);
        }
        // Before the move: an alternative name that's taken in the other namespace would stop it.
        let surplus = now.altnames.iter().filter(|altname| !goal.altnames.contains(altname));
        steps.extend(surplus.cloned().map(Step::RemoveAltname));
    }
    let admin_changes = !admin.is_empty();
    let sets_admin_mac = admin.iter().any(|step| matches!(step, Step::Admin(VfChange::Mac(_))));
    // Before the interface's own MAC: a VF that isn't trusted can't change that against the PF's.
    steps.extend(admin);
    if now.settings.driver != goal.settings.driver
        && let Some(driver) = &goal.settings.driver
    {
        steps.push(Step::Bind(bound_to(driver)));
    }
    if let Some((netdev, goal_netdev)) = netdev {
        steps.extend(place_steps(netdev, goal_netdev, moves.then_some(goal.place)));
        let awaited = awaits_admin_mac(goal, goal_netdev);
        let changed = netdev.mac != goal_netdev.mac;
        match awaited {
            // Setting it up lets it take the admin MAC; it needn't stay up for that.
            Some(AdminMac::TakenAtUp) if changed && !goal_netdev.up => steps.extend([Step::Up, Step::Down]),
            Some(AdminMac::TakenAtUp) => {}
            Some(AdminMac::TakenLater) if sets_admin_mac => {}
            Some(AdminMac::TakenLater | AdminMac::SetTwice) | None => {
                steps.extend(goal_netdev.mac.filter(|_| changed).map(Step::Mac));
            }
        }
        let went_down = moves || netdev.up && steps.contains(&Step::Down);
        if goal_netdev.up && (!netdev.up || went_down || admin_changes) {
            steps.push(Step::Up);
        }
    }
    steps
}

/// How the interface comes by its MAC, where that's to be the admin MAC.
fn awaits_admin_mac(goal: &Situation, netdev: &Netdev) -> Option<AdminMac> {
    let admin = goal.settings.admin.as_ref()?.mac?;
    (Some(admin) == netdev.mac && !admin.is_zero())
        .then(|| driver::admin_mac(goal.settings.driver.as_deref()))
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

fn admin_steps(now: &Admin, goal: &Admin) -> Vec<Step> {
    let mut changes = Vec::new();
    let proto_differs = goal.vlan.id != 0 && now.vlan.proto != goal.vlan.proto;
    if (now.vlan.id, now.vlan.qos) != (goal.vlan.id, goal.vlan.qos) || proto_differs {
        let proto = if goal.vlan.id == 0 { now.vlan.proto } else { goal.vlan.proto };
        changes.push(VfChange::Vlan { id: goal.vlan.id, qos: goal.vlan.qos, proto });
    }
    changes.extend(changed(now.mac, goal.mac).map(VfChange::Mac));
    if now.rate != goal.rate {
        changes.push(VfChange::Rate { min: goal.rate.min, max: goal.rate.max });
    }
    changes.extend(changed(now.spoofchk, goal.spoofchk).map(VfChange::SpoofCheck));
    changes.extend(changed(now.trust, goal.trust).map(VfChange::Trust));
    changes.extend(changed(now.link_state, goal.link_state).map(VfChange::LinkState));
    changes.into_iter().map(Step::Admin).collect()
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

#[cfg(test)]
mod tests;
