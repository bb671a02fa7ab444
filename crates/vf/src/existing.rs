//! Taking VFs over from the existing SR-IOV plugin, whose pods and ours are on a node together while that changes.
//!
//! | file below its directory | says |
//! |---|---|
//! | `<container ID>-<interface>` | what an attachment asked for, and what its VF was like before ([`cache`]) |
//! | `pci/<address>` | the path of the network namespace that has the VF |
//! | `pci/vf_lock/<address>.lock` | nothing; it's locked ([`lock`]) |
//!
//! A VF that the ledger has as free and that a file of the first kind names is **adopted**: [`Host::adopted`] makes a
//! claim of what the file says, as if we had attached the VF ourselves, so that DEL, CHECK, GC, the sweep and the next
//! ADD find it by their ordinary ways. Nothing is written for that: the file is the record until the VF is taken
//! back, which puts the claim into the ledger before the first change, and removes the files once a read-back equals
//! what they said.
//!
//! Where only `pci/<address>` is left, or a record is cut off, nobody knows what the VF was like: it's refused, with
//! what to do. Files outlive a reboot, which VFs don't, so those from before it say nothing.

mod cache;
mod error;
mod lock;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use ledger::{NamespaceRecord, Owner};
use netlink::{Links, NamespaceId};
use pci::{PciAddress, USERSPACE_DRIVERS};

use crate::error::Error;
use crate::host::Host;
use crate::namespace::record_of;
use crate::observe::Seen;
use crate::record::{Baseline, Claim, Intent, State};
use crate::settings::{Netdev, Place, Settings};

use cache::Cache;
pub use cache::Unusable;
pub use error::ExistingError;
pub(crate) use lock::Held;
use lock::record_name;

/// The MTU of an interface where neither a file nor the interface tells.
const ETHERNET_MTU: u32 = 1500;

/// The largest file that is read, in bytes. A network's configuration may be long, but not that long.
const MAX_FILE: u64 = 1024 * 1024;

impl<L: Links> Host<L> {
    /// A VF's state, given what the ledger says: an attachment of the existing plugin's counts as one of ours.
    pub(crate) fn adopted(&self, pci: PciAddress, state: Option<State>) -> Result<Option<State>, Error> {
        let known = state.as_ref().and_then(State::claim);
        if known.is_some_and(|known| known.wanted.existing.is_empty()) {
            return Ok(state);
        }
        let caches = self.caches_of(pci)?;
        let Some(newest) = caches.first() else { return Ok(state) };
        if known.is_some_and(|known| known.wanted.existing.first() == Some(&newest.path)) {
            return Ok(state);
        }
        let mut claim = self.existing_claim(pci, newest, &caches)?;
        // Where it couldn't be restored before the existing plugin gave it away again.
        if let Some(known) = known.map(|known| &known.wanted.baseline)
            && known.incarnation == claim.wanted.baseline.incarnation
        {
            claim.wanted.baseline = known.clone();
        }
        if let Some(State::Prepared { resource }) = state {
            claim.resource = Some(resource);
        }
        Ok(Some(State::Attached { claim }))
    }

    /// Whose a VF is by the existing plugin's files, where the ledger doesn't know of it.
    pub fn existing_owner(&self, pci: PciAddress) -> Result<Option<Owner>, Error> {
        Ok(self.caches_of(pci)?.first().map(owner_of))
    }

    /// The VFs that the existing plugin gave to attachments in this boot, as far as its files can be read.
    pub(crate) fn existing_vfs(&self) -> Result<BTreeSet<PciAddress>, Error> {
        Ok(self.caches()?.into_iter().map(|cache| cache.pci).collect())
    }

    /// The VF that the existing plugin gave to an attachment.
    ///
    /// A record from before the machine was booted says nothing of the VF any more, and is removed.
    pub fn existing_vf(&self, owner: &Owner) -> Result<Option<PciAddress>, Error> {
        let name = record_name(&owner.container_id, &owner.ifname);
        // It's a file's name, so there's none with a separator in it.
        if name.components().count() != 1 {
            return Ok(None);
        }
        let file = self.existing_state.join(name);
        let cache = match cache_at(&file) {
            Ok(cache) => cache,
            Err(_unusable) if self.is_older_than_boot(&file) => None,
            Err(source) => return Err(ExistingError::Unusable { file, source }.into()),
        };
        if !self.is_older_than_boot(&file) {
            return Ok(cache.map(|cache| cache.pci));
        }
        let record =
            cache.map(|cache| self.allocation(cache.pci)).filter(|record| self.is_older_than_boot(record));
        for file in record.into_iter().chain([file]) {
            remove(&file).map_err(|source| ExistingError::File { file, source })?;
        }
        Ok(None)
    }

    /// Removes what the existing plugin has on a VF that's as it was before: the allocation first, which without the
    /// record beside it would leave a VF in a state that nobody knows.
    pub(crate) fn forget_existing(&self, pci: PciAddress, claim: &Claim) -> Result<(), Error> {
        let caches = &claim.wanted.existing;
        let allocation = (!caches.is_empty()).then(|| self.allocation(pci));
        for file in allocation.iter().chain(caches) {
            remove(file).map_err(|source| ExistingError::File { file: file.clone(), source })?;
        }
        Ok(())
    }

    /// Refuses a VF that the existing plugin gave to a pod, or took back in a way that leaves it in doubt.
    pub(crate) fn refuse_existing(&self, pci: PciAddress) -> Result<(), Error> {
        let Some((record, netns)) = self.allocated_to(pci)? else { return Ok(()) };
        if self.has_left(pci, &netns) {
            Err(Error::LeftByExistingPlugin { pci, record })
        } else {
            Err(Error::OfExistingPlugin { pci, record })
        }
    }

    /// Refuses to call a VF released that's in the namespace of an attachment, given by the existing plugin, whose
    /// record of it is lost.
    pub(crate) fn refuse_lost(&self, pci: PciAddress, netns: Option<&Path>) -> Result<(), Error> {
        match self.allocated_to(pci)? {
            Some((record, allocated)) if netns.is_some_and(|netns| self.is_same(netns, &allocated)) => {
                Err(Error::LeftByExistingPlugin { pci, record })
            }
            _ => Ok(()),
        }
    }

    /// Whether two paths are, or were, one namespace's.
    fn is_same(&self, one: &Path, other: &Path) -> bool {
        let id = |path| Some(self.links.id(&self.links.open(path).ok()?));
        one == other || id(one).is_some_and(|found| Some(found) == id(other))
    }

    /// The VFs that the existing plugin has left in a state that nobody knows, each with what to do about it.
    pub fn left_by_existing(&self) -> BTreeMap<PciAddress, Error> {
        let Ok(entries) = fs::read_dir(self.existing_state.join("pci")) else { return BTreeMap::new() };
        let vfs = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        vfs.filter(|pci| matches!(self.caches_of(*pci), Ok(caches) if caches.is_empty()))
            .filter_map(|pci| Some((pci, self.refuse_existing(pci).err()?)))
            .filter(|(_pci, error)| matches!(error, Error::LeftByExistingPlugin { .. }))
            .collect()
    }

    /// Whether the existing plugin has any file on a VF, besides its lock.
    fn is_known_to_existing(&self, pci: PciAddress) -> bool {
        self.allocation(pci).exists() || !matches!(self.caches_of(pci), Ok(caches) if caches.is_empty())
    }

    /// The claim on a VF that the existing plugin's files amount to.
    ///
    /// An attachment whose DEL never came leaves its record, and the next one found the VF as that left it: the
    /// newest record has the owner, and the older ones have what the VF was like before.
    fn existing_claim(&self, pci: PciAddress, newest: &Cache, caches: &[Cache]) -> Result<Claim, Error> {
        let netns = match self.allocated_to(pci)? {
            Some((_record, netns)) => Some(self.existing_namespace(&netns)?),
            None => None,
        };
        let incarnation = self.incarnation(pci)?;
        let seen = match incarnation {
            Some(_) => {
                let pod = netns.as_ref().and_then(|record| self.recorded_namespace(record).ok().flatten());
                Some(self.observe(pci, pod.as_ref())?)
            }
            None => None,
        };
        let owner = owner_of(newest);
        let mut settings = self.kept(newest, &owner, seen)?;
        for cache in caches {
            cache.lay_over(&mut settings);
        }
        let baseline = Baseline {
            boot_id: self.boot_id.clone(),
            incarnation: incarnation.unwrap_or_default(),
            settings,
        };
        let existing = caches.iter().map(|cache| cache.path.clone()).collect();
        let wanted = Intent { wanted: newest.wanted.clone(), baseline, existing };
        Ok(Claim { owner, resource: None, netns, pod: None, wanted })
    }

    /// The namespace of an allocation. One that's gone, also where the host's is at its path now, is recorded as one
    /// that no other can be.
    fn existing_namespace(&self, path: &Path) -> Result<NamespaceRecord, Error> {
        let id = match self.links.open(path) {
            Ok(namespace) => Some(self.links.id(&namespace)),
            Err(error) if error.is_gone() => None,
            Err(source) => return Err(Error::Namespace { path: path.to_owned(), source }),
        };
        let id = id.filter(|id| *id != self.links.id(self.links.host()));
        Ok(record_of(path, id.unwrap_or(NamespaceId { dev: 0, ino: 0, cookie: None })))
    }

    /// What a VF keeps of what it is now, where the files don't say what it was.
    ///
    /// Whether its interface was up isn't saved: the existing plugin leaves it down. Nor are the promiscuous modes,
    /// which that plugin doesn't know: a pod has set them.
    fn kept(&self, cache: &Cache, owner: &Owner, seen: Option<Seen>) -> Result<Settings, Error> {
        let Some(seen) = seen else {
            return Ok(Settings { driver: None, netdev: None, admin: None, rdma: None });
        };
        let Settings { driver, netdev, admin, rdma } = seen.situation.settings;
        let driver = match driver {
            Some(driver) if is_kernel(&driver) != cache.had_interface() => {
                Some(self.drivers_before(cache, driver)?)
            }
            driver => driver,
        };
        let netdev = cache.had_interface().then(|| {
            let up = seen.situation.place == Place::Home && netdev.as_ref().is_some_and(|netdev| netdev.up);
            let altnames = netdev.as_ref().map(|netdev| netdev.altnames.clone()).unwrap_or_default();
            let is_free = |altname: &OsString| {
                let named = altname.to_str().map(|name| self.links.link_named(self.links.host(), name));
                seen.situation.place == Place::Home || matches!(named, Some(Ok(None)))
            };
            let altnames = altnames
                .into_iter()
                .filter(|altname| *altname != *owner.ifname && is_free(altname))
                .collect();
            let mtu = netdev.as_ref().map_or(ETHERNET_MTU, |netdev| netdev.mtu);
            let mac = netdev.as_ref().and_then(|netdev| netdev.mac);
            let (promisc, allmulti) = (false, false);
            let guid = netdev.as_ref().and_then(|netdev| netdev.guid);
            Netdev { name: String::new(), mac, guid, mtu, up, promisc, allmulti, altnames }
        });
        Ok(Settings { driver, netdev, admin, rdma })
    }

    /// The driver that a VF had that has another one now, which the files don't say: what others of its PF have.
    fn drivers_before(&self, cache: &Cache, now: String) -> Result<String, Error> {
        let kernel = cache.had_interface();
        let device = |source| Error::Device { pci: cache.pci, source };
        let function = self.sysfs.function(&cache.pci).map_err(device)?;
        let siblings = match function.vf {
            Some(vf) => self.sysfs.vfs(&vf.pf).map_err(device)?,
            None => BTreeMap::new(),
        };
        siblings
            .values()
            .filter_map(|sibling| self.sysfs.function(sibling).ok()?.driver)
            .find(|driver| is_kernel(driver) == kernel)
            .ok_or_else(|| {
                let source = Unusable::Driver { driver: now, kernel };
                ExistingError::Unusable { file: cache.path.clone(), source }.into()
            })
    }

    /// Whether a namespace is gone, and the VF with it no longer a pod's.
    fn has_left(&self, pci: PciAddress, netns: &Path) -> bool {
        if !self.existing_namespace(netns).is_ok_and(|record| self.is_namespace_gone(&record)) {
            return false;
        }
        let Ok(seen) = self.observe(pci, None) else { return false };
        let Settings { driver, netdev, .. } = seen.situation.settings;
        let in_user_space = driver.is_some_and(|driver| !is_kernel(&driver));
        netdev.is_some() || in_user_space && !netns.exists() && netns.parent().is_some_and(Path::exists)
    }

    /// The path of a VF's allocation.
    fn allocation(&self, pci: PciAddress) -> PathBuf {
        self.existing_state.join("pci").join(pci.to_string())
    }

    /// A VF's allocation in this boot, with the path of the namespace that it names.
    fn allocated_to(&self, pci: PciAddress) -> Result<Option<(PathBuf, PathBuf)>, Error> {
        let file = self.allocation(pci);
        match fs::read_to_string(&file) {
            Ok(_) if self.is_older_than_boot(&file) => Ok(None),
            Ok(netns) => {
                let netns = PathBuf::from(netns.trim());
                Ok(Some((file, netns)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(ExistingError::File { file, source }.into()),
        }
    }

    /// The readable records of a VF in this boot, the newest first.
    fn caches_of(&self, pci: PciAddress) -> Result<Vec<Cache>, Error> {
        let mut caches = self.caches()?;
        caches.retain(|cache| cache.pci == pci);
        caches.sort_by(|one, other| (other.modified, &other.path).cmp(&(one.modified, &one.path)));
        Ok(caches)
    }

    /// The readable records of this boot.
    fn caches(&self) -> Result<Vec<Cache>, Error> {
        let entries = match fs::read_dir(&self.existing_state) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => {
                return Err(ExistingError::File { file: self.existing_state.clone(), source }.into());
            }
        };
        let files = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file());
        Ok(files
            .filter(|file| !self.is_older_than_boot(file))
            .filter_map(|file| cache_at(&file).ok().flatten())
            .collect())
    }

    fn is_older_than_boot(&self, file: &Path) -> bool {
        let modified = fs::metadata(file).and_then(|metadata| metadata.modified());
        matches!((modified, booted(&self.proc)), (Ok(modified), Ok(booted)) if modified < booted)
    }
}

/// A record, if it's there.
fn cache_at(file: &Path) -> Result<Option<Cache>, Unusable> {
    let bytes = match ledger::file::read_bounded(file, MAX_FILE) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(None),
        Err(source) => return Err(Unusable::Read(io::Error::other(source))),
    };
    let modified = fs::metadata(file).and_then(|metadata| metadata.modified()).map_err(Unusable::Read)?;
    Cache::parse(file.to_owned(), modified, &bytes).map(Some)
}

/// Whether a claim is an attachment's: its own owner's, or by the existing plugin's key.
pub(crate) fn is_of(claim: &Claim, owner: &Owner) -> bool {
    let record = record_name(&owner.container_id, &owner.ifname);
    let newest = claim.wanted.existing.first().and_then(|cache| cache.file_name());
    claim.owner == *owner || newest == Some(record.as_os_str())
}

/// The owner of a claim, and for an adopted one whoever else its record's name may mean: container ID and interface
/// are joined by a dash, which both may have in them.
pub(crate) fn possible_owners(claim: &Claim) -> Vec<Owner> {
    let newest = claim.wanted.existing.first().and_then(|cache| cache.file_name()?.to_str());
    let Some(name) = newest else { return vec![claim.owner.clone()] };
    name.match_indices('-')
        .filter_map(|(at, dash)| Some((name.get(..at)?, name.get(at..)?.strip_prefix(dash)?)))
        .map(|(container_id, ifname)| Owner {
            network: claim.owner.network.clone(),
            container_id: container_id.to_owned(),
            ifname: ifname.to_owned(),
        })
        .collect()
}

/// Whose a record is. Runtimes' container IDs have no dash in them.
fn owner_of(cache: &Cache) -> Owner {
    let name = cache.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let (container_id, ifname) = name.split_once('-').unwrap_or((&name, ""));
    Owner { network: cache.network.clone(), container_id: container_id.to_owned(), ifname: ifname.to_owned() }
}

fn is_kernel(driver: &str) -> bool {
    !USERSPACE_DRIVERS.contains(&driver)
}

fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// When the machine was booted, to the second, from the line `btime` of `stat`.
fn booted(proc: &Path) -> io::Result<SystemTime> {
    let stat = fs::read_to_string(proc.join("stat"))?;
    stat.lines()
        .find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
        .map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}
