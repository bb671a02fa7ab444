//! What a VF is set to, and how two settings differ.

use std::ffi::OsString;
use std::fmt;

use netlink::{Guid, LinkState, MacAddr, VfConfig, VlanProto};
use pci::Vlans;
use serde::{Deserialize, Serialize};

/// Everything about a VF that a pod or its network may change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// Its driver; `None` when it has none.
    pub driver: Option<String>,
    /// Its interface; `None` while a driver for user space has it, or none, or while no namespace that we can see
    /// has the interface.
    pub netdev: Option<Netdev>,
    /// What its PF says of it; `None` when no PF is in sight, as in a virtual machine.
    pub admin: Option<Admin>,
    /// Its RDMA device; `None` where its network doesn't ask for that, or while no namespace that we can see has it.
    #[serde(default)]
    pub rdma: Option<Rdma>,
}

/// A VF's interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Netdev {
    /// Its name.
    pub name: String,
    /// Its effective MAC.
    pub mac: Option<MacAddr>,
    /// Its effective GUID, where it's InfiniBand.
    #[serde(default)]
    pub guid: Option<Guid>,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Whether it's administratively up.
    pub up: bool,
    /// Whether it's set to take every frame.
    #[serde(default)]
    pub promisc: bool,
    /// Whether it's set to take every multicast frame.
    #[serde(default)]
    pub allmulti: bool,
    /// Its alternative names.
    #[serde(default, with = "altnames")]
    pub altnames: Vec<OsString>,
}

/// A VF's RDMA device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rdma {
    /// Its index: the machine's, the same in whatever namespace it is, and another one when its driver is bound anew.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Where it is.
    pub place: Place,
}

/// What is set on a VF through its PF.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Admin {
    /// The admin MAC; zero where none is set, `None` where the driver doesn't say.
    pub mac: Option<MacAddr>,
    /// The VLAN; id 0 for none.
    pub vlan: Vlan,
    /// The rates.
    pub rate: Rate,
    /// The check of source addresses; `None` where the driver doesn't say.
    pub spoofchk: Option<bool>,
    /// Trust; `None` where the driver doesn't say.
    pub trust: Option<bool>,
    /// The link state it's shown; `None` where the driver doesn't say.
    pub link_state: Option<LinkState>,
    /// The VLANs that it may tag itself, none for any; `None` where the driver can't restrict them.
    #[serde(default)]
    pub trunk: Option<Vlans>,
    /// The GUIDs; `None` where it isn't InfiniBand.
    #[serde(default)]
    pub guids: Option<Guids>,
}

/// What an InfiniBand VF was given as its identifiers through the PF; all zero where it never was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guids {
    /// The node's.
    pub node: Guid,
    /// The port's.
    pub port: Guid,
}

impl Guids {
    /// One for both.
    pub const fn both(guid: Guid) -> Self {
        Self { node: guid, port: guid }
    }
}

/// The GUID that has to be set through the PF where `now` is, for `goal` to be there again; `None` when it's there.
///
/// One that never was set is all zero, and can't be set to that again: it's `own`, the GUID that the interface should
/// have, and where that has none, none.
pub(crate) fn guid_to_set(now: Guid, goal: Guid, own: Option<Guid>) -> Option<Guid> {
    let usable = [Some(goal), own].into_iter().flatten().find(|guid| guid.is_usable());
    let to_set = usable.unwrap_or(Guid::NONE);
    let is_there = now == goal || now == to_set || !now.is_usable() && !to_set.is_usable();
    (!is_there).then_some(to_set)
}

/// A GUID that no port can have is as good as none.
pub(crate) fn usable(guid: Option<Guid>) -> Option<Guid> {
    guid.map(|guid| if guid.is_usable() { guid } else { Guid::NONE })
}

/// A VLAN tag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vlan {
    /// 0 (none) to 4094.
    pub id: u16,
    /// 0 to 7.
    pub qos: u8,
    /// The tag's protocol.
    pub proto: VlanProto,
}

impl Vlan {
    /// Whether the PF tags frames: with an id, or with a priority alone.
    pub const fn tags(&self) -> bool {
        self.id != 0 || self.qos != 0
    }
}

/// Rates in Mbit/s, 0 for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// The guaranteed rate.
    pub min: u32,
    /// The highest rate.
    pub max: u32,
}

impl From<VfConfig> for Admin {
    fn from(config: VfConfig) -> Self {
        Self {
            mac: config.mac,
            vlan: Vlan { id: config.vlan, qos: config.qos, proto: config.proto },
            rate: Rate { min: config.min_tx_rate, max: config.max_tx_rate },
            spoofchk: config.spoofchk,
            trust: config.trust,
            link_state: config.link_state,
            // It isn't in what the kernel's own interface tells.
            trunk: None,
            guids: config.node_guid.zip(config.port_guid).map(|(node, port)| Guids { node, port }),
        }
    }
}

/// Where a VF's interface or RDMA device is. A VF without an interface is at home.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Place {
    /// In the host's network namespace.
    Home,
    /// In the namespace of its owner's pod.
    Pod,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Home => "the host",
            Self::Pod => "the pod",
        })
    }
}

/// A VF's settings, and where its interface is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Situation {
    /// What it's set to.
    pub settings: Settings,
    /// Where its interface is.
    pub place: Place,
}

/// One attribute that isn't as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Which.
    pub attribute: &'static str,
    /// What it should be.
    pub wanted: String,
    /// What it is.
    pub found: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {} in place of {}", self.attribute, self.found, self.wanted)
    }
}

/// Differences in one line, for a person to read.
pub fn describe(differences: &[Difference]) -> String {
    let texts: Vec<String> = differences.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

/// In which attributes `found` isn't as `wanted`. What a driver doesn't say isn't compared.
///
/// Where the wanted admin MAC is zero, the VF has a MAC of its own choice, and several PF drivers show that as
/// soon as the VF uses it: its own is as good as zero.
pub fn differences(wanted: &Situation, found: &Situation) -> Vec<Difference> {
    let mut list = List(Vec::new());
    let (goal, now) = (&wanted.settings, &found.settings);
    list.compare("driver", &text(goal.driver.as_ref()), &text(now.driver.as_ref()));
    match (&goal.netdev, &now.netdev) {
        (Some(goal), Some(now)) => {
            list.compare("namespace", &wanted.place, &found.place);
            list.compare("name", &goal.name, &now.name);
            list.compare_known("mac", goal.mac, now.mac);
            list.compare_known("guid", usable(goal.guid), usable(now.guid));
            list.compare("mtu", &goal.mtu, &now.mtu);
            list.compare("promisc", &goal.promisc, &now.promisc);
            list.compare("allmulti", &goal.allmulti, &now.allmulti);
            if goal.up && wanted.place == Place::Pod {
                list.compare("link", &"up", if now.up { &"up" } else { &"down" });
            }
            for altname in &now.altnames {
                if wanted.place == Place::Home && !goal.altnames.contains(altname) {
                    list.add("alternative name", "none".to_owned(), altname.to_string_lossy().into_owned());
                }
            }
        }
        (Some(goal), None) => list.add("interface", goal.name.clone(), "in no namespace in sight".to_owned()),
        (None, Some(now)) => list.add("interface", "none".to_owned(), now.name.clone()),
        (None, None) => {}
    }
    match (&goal.admin, &now.admin) {
        (Some(goal), Some(now)) => {
            let own = found.settings.netdev.as_ref().and_then(|netdev| netdev.mac);
            let of_its_own = goal.mac.is_some_and(MacAddr::is_zero) && now.mac == own;
            if !of_its_own {
                list.compare_known("admin mac", goal.mac, now.mac);
            }
            list.compare("vlan", &goal.vlan.id, &now.vlan.id);
            list.compare("vlan qos", &goal.vlan.qos, &now.vlan.qos);
            if goal.vlan.id != 0 {
                list.compare("vlan protocol", &goal.vlan.proto, &now.vlan.proto);
            }
            list.compare("min_tx_rate", &goal.rate.min, &now.rate.min);
            list.compare("max_tx_rate", &goal.rate.max, &now.rate.max);
            list.compare_known("spoofchk", goal.spoofchk, now.spoofchk);
            list.compare_known("trust", goal.trust, now.trust);
            list.compare_known("link_state", goal.link_state, now.link_state);
            if let (Some(goal), Some(now)) = (goal.guids, now.guids) {
                let own = wanted.settings.netdev.as_ref().and_then(|netdev| netdev.guid);
                for (attribute, goal, now) in
                    [("node guid", goal.node, now.node), ("port guid", goal.port, now.port)]
                {
                    if let Some(goal) = guid_to_set(now, goal, own) {
                        list.add(attribute, goal.to_string(), now.to_string());
                    }
                }
            }
            list.compare_known("vlanTrunk", goal.trunk.as_ref().map(ids), now.trunk.as_ref().map(ids));
        }
        (Some(_), None) => list.add("PF", "in sight".to_owned(), "out of sight".to_owned()),
        // A PF that has come into sight since shows more than there is to restore.
        (None, _) => {}
    }
    match (&goal.rdma, &now.rdma) {
        (Some(goal), Some(now)) => {
            list.compare("RDMA device's namespace", &goal.place, &now.place);
            list.compare("RDMA device's name", &goal.name, &now.name);
        }
        (Some(goal), None) => {
            list.add("RDMA device", goal.name.clone(), "in no namespace in sight".to_owned());
        }
        (None, _) => {}
    }
    list.0
}

/// VLANs for a person to read.
fn ids(vlans: &Vlans) -> String {
    if vlans.is_empty() { "any".to_owned() } else { vlans.to_string() }
}

fn text(driver: Option<&String>) -> String {
    driver.cloned().unwrap_or_else(|| "none".to_owned())
}

struct List(Vec<Difference>);

impl List {
    fn add(&mut self, attribute: &'static str, wanted: String, found: String) {
        self.0.push(Difference { attribute, wanted, found });
    }

    fn compare<T: PartialEq + fmt::Display>(&mut self, attribute: &'static str, wanted: &T, found: &T) {
        if wanted != found {
            self.add(attribute, wanted.to_string(), found.to_string());
        }
    }

    fn compare_known<T: PartialEq + fmt::Display>(
        &mut self,
        attribute: &'static str,
        wanted: Option<T>,
        found: Option<T>,
    ) {
        if let (Some(wanted), Some(found)) = (wanted, found) {
            self.compare(attribute, &wanted, &found);
        }
    }
}

/// Alternative names as text. One that isn't UTF-8 loses its bytes, so after that it counts as another one.
mod altnames {
    use std::ffi::OsString;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(names: &[OsString], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(names.iter().map(|name| name.to_string_lossy()))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<OsString>, D::Error> {
        Ok(Vec::<String>::deserialize(deserializer)?.into_iter().map(OsString::from).collect())
    }
}

#[cfg(test)]
mod tests;
