//! What the kernel says about the node's NICs and their virtual functions, read with `ip` and from sysfs alone: the
//! judge of what our own crates do to them.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::exec;

/// Why hardware could not be looked at or prepared.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `ip` gave no answer.
    #[error("cannot list the links")]
    Links(#[source] exec::Error),
    /// `ip` answered with something else than JSON.
    #[error("what ip says is no JSON")]
    Json(#[source] serde_json::Error),
    /// A part of sysfs could not be read.
    #[error("cannot read {path}")]
    Read {
        /// File or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A part of sysfs or procfs refuses a value.
    #[error("cannot write {value:?} to {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The value.
        value: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A VF has another driver than it was told to.
    #[error("{address} has the driver {found:?} and not {wanted}")]
    Driver {
        /// PCI address of the VF.
        address: String,
        /// The driver it was to have.
        wanted: String,
        /// The one it has.
        found: Option<String>,
    },
    /// There are fewer huge pages than asked for.
    #[error("the node has memory for {found} huge pages, and {wanted} are needed")]
    HugePages {
        /// How many were asked for.
        wanted: u32,
        /// How many there are.
        found: String,
    },
}

/// A physical function with its virtual ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nic {
    /// PCI address.
    pub address: String,
    /// Name of its interface.
    pub name: String,
    /// Its driver.
    pub driver: Option<String>,
    /// Virtual functions by index.
    pub vfs: Vec<Vf>,
}

/// All that can be seen of a virtual function from the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vf {
    /// PCI address.
    pub address: String,
    /// Its driver.
    pub driver: Option<String>,
    /// IOMMU group.
    pub group: Option<String>,
    /// Its entry in the PF's list: MAC, VLAN, rates, switches.
    pub seen_by_pf: Value,
    /// Its interface where the host has it: name, MAC, MTU, other names, addresses.
    pub link: Option<Link>,
}

/// An interface of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Name.
    pub name: String,
    /// MAC address.
    pub mac: String,
    /// MTU in bytes.
    pub mtu: u64,
    /// Alternative names.
    pub altnames: Value,
    /// Promiscuity, as a count.
    pub promiscuity: Value,
}

const DEVICES: &str = "/sys/bus/pci/devices";

/// Every NIC of the node that has virtual functions, in the order of PCI addresses.
pub fn nics() -> Result<Vec<Nic>, Error> {
    let text = exec::succeed("ip", &["-json", "-details", "link", "show"]).map_err(Error::Links)?;
    let links: Vec<Value> = serde_json::from_str(&text).map_err(Error::Json)?;
    let mut nics = Vec::new();
    for address in names_in(Path::new(DEVICES))? {
        let folder = Path::new(DEVICES).join(&address);
        let count: usize = read_number(&folder.join("sriov_numvfs"));
        if count == 0 {
            continue;
        }
        let Some(pf) = link_of(&folder, &links) else { continue };
        let entries = pf.get("vfinfo_list").cloned().unwrap_or_default();
        let vfs = (0..count)
            .filter_map(|index| {
                let target = std::fs::read_link(folder.join(format!("virtfn{index}"))).ok()?;
                let address = target.file_name()?.to_string_lossy().into_owned();
                let own = Path::new(DEVICES).join(&address);
                Some(Vf {
                    driver: base_of_link(&own.join("driver")),
                    group: base_of_link(&own.join("iommu_group")),
                    seen_by_pf: entries.get(index).cloned().unwrap_or_default(),
                    link: link_of(&own, &links).map(link),
                    address,
                })
            })
            .collect();
        nics.push(Nic {
            name: text_of(pf, "ifname"),
            driver: base_of_link(&folder.join("driver")),
            vfs,
            address,
        });
    }
    Ok(nics)
}

/// The driver of a VF at this moment.
pub fn driver(address: &str) -> Option<String> {
    base_of_link(&Path::new(DEVICES).join(address).join("driver"))
}

/// Binds a VF to a driver, as a node's administrator would.
pub fn bind(address: &str, driver: &str) -> Result<(), Error> {
    let folder = Path::new(DEVICES).join(address);
    write(&folder.join("driver_override"), driver)?;
    if folder.join("driver").exists() {
        write(&folder.join("driver/unbind"), address)?;
    }
    write(Path::new("/sys/bus/pci/drivers_probe"), address)?;
    let found = base_of_link(&folder.join("driver"));
    if found.as_deref() == Some(driver) {
        Ok(())
    } else {
        Err(Error::Driver { address: address.to_owned(), wanted: driver.to_owned(), found })
    }
}

/// Reserves huge pages of 2 MiB.
pub fn reserve_hugepages(count: u32) -> Result<(), Error> {
    let file = Path::new("/proc/sys/vm/nr_hugepages");
    write(file, &count.to_string())?;
    let found = std::fs::read_to_string(file).unwrap_or_default().trim().to_owned();
    if found.parse::<u32>().is_ok_and(|found| found >= count) {
        Ok(())
    } else {
        Err(Error::HugePages { wanted: count, found })
    }
}

/// What differs between two looks at the same NICs, one line per VF and view; empty: nothing.
pub fn differences(before: &[Nic], after: &[Nic]) -> String {
    let mut text = String::new();
    let old: Vec<(&str, &Vf)> = vfs(before).collect();
    let new: Vec<(&str, &Vf)> = vfs(after).collect();
    for (nic, vf) in &old {
        match new.iter().find(|(_, other)| other.address == vf.address) {
            None => {
                let _ = write!(text, "{nic} {}: gone; ", vf.address);
            }
            Some((_, other)) if other == vf => {}
            Some((_, other)) => {
                let _ = write!(text, "{nic} {}: was {vf:?}, is {other:?}; ", vf.address);
            }
        }
    }
    if old.len() < new.len() {
        let _ = write!(text, "{} VFs more than before", new.len() - old.len());
    }
    text
}

/// Every VF with its PF's name.
pub fn vfs(nics: &[Nic]) -> impl Iterator<Item = (&str, &Vf)> {
    nics.iter().flat_map(|nic| nic.vfs.iter().map(|vf| (nic.name.as_str(), vf)))
}

/// One VF.
pub fn vf<'a>(nics: &'a [Nic], address: &str) -> Option<&'a Vf> {
    vfs(nics).map(|(_, vf)| vf).find(|vf| vf.address == address)
}

impl Vf {
    /// The VLAN that the PF puts it on; 0 is none.
    pub fn vlan(&self) -> u64 {
        self.seen_by_pf
            .get("vlan_list")
            .and_then(|list| list.get(0))
            .and_then(|entry| entry.get("vlan"))
            .and_then(Value::as_u64)
            .unwrap_or(0)
    }

    /// Its admin MAC address.
    pub fn admin_mac(&self) -> String {
        let address = text_of(&self.seen_by_pf, "address");
        if address.is_empty() { text_of(&self.seen_by_pf, "mac") } else { address }
    }
}

fn link_of<'a>(device: &Path, links: &'a [Value]) -> Option<&'a Value> {
    let names = names_in(&device.join("net")).ok()?;
    links.iter().find(|link| names.contains(&text_of(link, "ifname")))
}

fn link(value: &Value) -> Link {
    Link {
        name: text_of(value, "ifname"),
        mac: text_of(value, "address"),
        mtu: value.get("mtu").and_then(Value::as_u64).unwrap_or(0),
        altnames: value.get("altnames").cloned().unwrap_or_default(),
        promiscuity: value.get("promiscuity").cloned().unwrap_or_default(),
    }
}

fn text_of(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn names_in(folder: &Path) -> Result<Vec<String>, Error> {
    let read = |source| Error::Read { path: folder.to_owned(), source };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(read)? {
        names.push(entry.map_err(read)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn base_of_link(path: &Path) -> Option<String> {
    let target = std::fs::read_link(path).ok()?;
    Some(target.file_name()?.to_string_lossy().into_owned())
}

fn read_number(path: &Path) -> usize {
    std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

fn write(path: &Path, value: &str) -> Result<(), Error> {
    OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|mut file| file.write_all(value.as_bytes()))
        .map_err(|source| Error::Write { path: path.to_owned(), value: value.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn nic(vlan: u64) -> Vec<Nic> {
        vec![Nic {
            address: "0000:01:00.0".to_owned(),
            name: "enp1s0".to_owned(),
            driver: Some("igb".to_owned()),
            vfs: vec![Vf {
                address: "0000:01:10.0".to_owned(),
                driver: Some("igbvf".to_owned()),
                group: Some("4".to_owned()),
                seen_by_pf: json!({"vf": 0, "address": "02:00:00:00:00:01", "vlan_list": [{"vlan": vlan}]}),
                link: None,
            }],
        }]
    }

    #[test]
    fn a_vlan_left_behind_is_a_difference_that_names_the_vf() {
        assert_eq!(differences(&nic(0), &nic(0)), "");
        let text = differences(&nic(0), &nic(100));
        assert!(text.starts_with("enp1s0 0000:01:10.0: was"), "{text}");
        assert_eq!(vf(&nic(100), "0000:01:10.0").unwrap().vlan(), 100);
    }

    #[test]
    fn a_vf_that_is_gone_or_new_is_a_difference() {
        let mut none = nic(0);
        none[0].vfs.clear();
        assert_eq!(differences(&nic(0), &none), "enp1s0 0000:01:10.0: gone; ");
        assert_eq!(differences(&none, &nic(0)), "1 VFs more than before");
    }
}
