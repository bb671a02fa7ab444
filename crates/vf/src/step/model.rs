//! A model of a VF, to take steps on.

use netlink::VfChange;
use pci::Vlans;

use super::{Step, steps};
use crate::driver::{self, AdminMac};
use crate::settings::{Guids, Place, Rate, Rdma, Settings, Situation, Vlan};

/// What a driver makes of a step, without a kernel: the double of that has tests of its own.
pub(crate) fn take(situation: &mut Situation, step: &Step) {
    let settings = &mut situation.settings;
    let guarded = driver::admin_mac(settings.driver.as_deref()) == AdminMac::SetBetween;
    let admin_mac = settings.admin.as_ref().and_then(|admin| admin.mac).filter(|mac| !mac.is_zero());
    if let (Step::Admin(change), Some(admin)) = (step, &mut settings.admin) {
        match *change {
            VfChange::Mac(mac) => {
                admin.mac = Some(mac);
                let at_once = driver::admin_mac(settings.driver.as_deref()) == AdminMac::TakenLater;
                if let Some(netdev) = settings.netdev.as_mut().filter(|_| at_once && !mac.is_zero()) {
                    netdev.mac = Some(mac);
                }
            }
            VfChange::Vlan { id, qos, proto } => {
                assert!(admin.trunk.as_ref().is_none_or(Vlans::is_empty), "drivers refuse it beside a trunk");
                admin.vlan = Vlan { id, qos, proto };
            }
            VfChange::Rate { min, max } => admin.rate = Rate { min, max },
            VfChange::SpoofCheck(on) => admin.spoofchk = Some(on),
            VfChange::Trust(on) => admin.trust = Some(on),
            VfChange::LinkState(state) => admin.link_state = Some(state),
            VfChange::NodeGuid(guid) => admin.guids = admin.guids.map(|guids| Guids { node: guid, ..guids }),
            VfChange::PortGuid(guid) => admin.guids = admin.guids.map(|guids| Guids { port: guid, ..guids }),
        }
    }
    let guid = settings.admin.as_ref().and_then(|admin| admin.guids).map(|guids| guids.port);
    let trunk =
        settings.admin.as_mut().and_then(|admin| admin.trunk.as_mut().map(|trunk| (trunk, admin.vlan)));
    match (step, trunk) {
        (Step::AllowVlans(vlans), Some((trunk, vlan))) => {
            assert!(!vlan.tags(), "drivers refuse it beside a VLAN");
            *trunk = trunk.with(vlans);
        }
        (Step::ForbidVlans(vlans), Some((trunk, _))) => *trunk = trunk.without(vlans),
        _ => {}
    }
    let rdma = &mut settings.rdma;
    let Some(netdev) = &mut settings.netdev else {
        let of_pf = matches!(step, Step::Admin(_) | Step::AllowVlans(_) | Step::ForbidVlans(_));
        assert!(of_pf, "{step}, and there is no interface");
        return;
    };
    match step {
        Step::Down => netdev.up = false,
        Step::Up => netdev.up = true,
        Step::RemoveAltname(altname) => netdev.altnames.retain(|other| other != altname),
        Step::Move { to, name, mtu } => {
            assert_ne!(situation.place, *to, "a move to where it is");
            situation.place = *to;
            netdev.name = name.to_string();
            netdev.mtu = mtu.unwrap_or(netdev.mtu);
            netdev.up = false;
        }
        Step::Rename(name) => {
            assert!(!netdev.up, "older kernels refuse to rename what is up");
            netdev.name = name.to_string();
        }
        Step::Mtu(mtu) => netdev.mtu = *mtu,
        Step::Promisc(on) => netdev.promisc = *on,
        Step::Allmulti(on) => netdev.allmulti = *on,
        Step::Mac(mac) => {
            assert!(!netdev.up, "drivers refuse to change the MAC of what is up");
            assert!(!guarded || admin_mac.is_none(), "the PF refuses it beside an admin MAC");
            netdev.mac = Some(*mac);
        }
        Step::Admin(_) | Step::AllowVlans(_) | Step::ForbidVlans(_) => {}
        Step::Rebind => {
            situation.place = Place::Home;
            (netdev.name, netdev.up, netdev.guid) = ("anew".to_owned(), false, guid);
            if let Some(rdma) = rdma {
                rdma.place = Place::Home;
            }
        }
        Step::MoveRdma(to) => {
            assert!(*to == Place::Home || situation.place == Place::Pod, "the interface is there first");
            assert!(rdma.as_ref().is_some_and(|rdma| rdma.place != *to), "a move to where it is");
            *rdma = rdma.take().map(|rdma| Rdma { place: *to, ..rdma });
        }
        Step::RenameRdma(name) => {
            *rdma = rdma.take().map(|rdma| Rdma { name: name.clone(), ..rdma });
        }
        Step::Bind(_) | Step::Reset | Step::RemoveUpper { .. } => {
            unreachable!("every situation here has the same driver, and none is reset")
        }
    }
}

/// Plans and takes until there's nothing more to do, as a restore does.
pub(crate) fn arrive(situation: &mut Situation, goal: &Situation) -> usize {
    for round in 0..4 {
        let plan = steps(situation, goal);
        if plan.is_empty() {
            return round;
        }
        for step in &plan {
            take(situation, step);
        }
    }
    unreachable!("no end of steps from {situation:?} to {goal:?}");
}

/// A VF's MAC of its own is the admin MAC where one is set, unless someone made it otherwise.
pub(crate) fn at_home(mut settings: Settings) -> Situation {
    let admin = settings.admin.as_ref().and_then(|admin| admin.mac).filter(|mac| !mac.is_zero());
    if let Some(netdev) = &mut settings.netdev {
        netdev.mac = admin.or(netdev.mac);
    }
    if let Some(rdma) = &mut settings.rdma {
        rdma.place = Place::Home;
    }
    Situation { settings, place: Place::Home }
}
