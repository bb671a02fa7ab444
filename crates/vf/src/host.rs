//! Where VFs are: the machine, as the other modules see it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ledger::{Device, Ledger};
use netlink::{LinkEvents, Links};
use pci::{PciAddress, Sysfs};

use crate::error::Error;
use crate::existing::Held;
use crate::witness::Witness;

/// Without an event, links are looked at again this soon, and then less and less often: some drivers take what was
/// set through the PF a little later, and don't tell.
const LOOK_SOON: Duration = Duration::from_millis(20);

/// And at least this often.
const LOOK_SELDOM: Duration = Duration::from_millis(500);

/// How long is waited for what others do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// For a VF's lock: its holder is at work on the VF.
    pub lock: Duration,
    /// For a living owner to give the VF back, when another asks for it.
    pub turn: Duration,
    /// For a VF to show what was set.
    pub read_back: Duration,
    /// For the kernel to bring an interface home from a namespace that was deleted.
    pub home_coming: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            lock: Duration::from_secs(30),
            turn: Duration::from_secs(10),
            read_back: Duration::from_secs(5),
            home_coming: Duration::from_secs(10),
        }
    }
}

/// A machine with VFs.
#[derive(Debug)]
pub struct Host<L: Links> {
    /// Its PCI functions.
    pub sysfs: Sysfs,
    /// Its links.
    pub links: L,
    /// Who owns which VF.
    pub ledger: Ledger,
    /// Its current boot, see [`boot_id`].
    pub boot_id: String,
    /// How long is waited for what.
    pub deadlines: Deadlines,
    /// The state of the existing SR-IOV plugin: `/var/lib/cni/sriov`.
    pub existing_state: PathBuf,
    /// Its processes: `/proc`. One namespace of processes only shows its own, so an interface that someone
    /// moved into an unnamed namespace is found from the host's only.
    pub proc: PathBuf,
    /// Who is told what is done, as it's done; nobody unless set.
    pub witness: Witness,
}

/// The ID of the current boot, from a `proc` file system.
pub fn boot_id(proc: &Path) -> Result<String, Error> {
    let path = proc.join("sys/kernel/random/boot_id");
    let text = fs::read_to_string(&path).map_err(|source| Error::BootId { path, source })?;
    Ok(text.trim().to_owned())
}

impl<L: Links> Host<L> {
    /// A machine with the usual deadlines and paths.
    pub fn new(sysfs: Sysfs, links: L, ledger: Ledger, boot_id: String) -> Self {
        Self {
            sysfs,
            links,
            ledger,
            boot_id,
            deadlines: Deadlines::default(),
            existing_state: PathBuf::from("/var/lib/cni/sriov"),
            proc: PathBuf::from("/proc"),
            witness: Witness::default(),
        }
    }

    pub(crate) fn lock(&self, pci: PciAddress) -> Result<Held<'_>, Error> {
        self.lock_within(pci, self.deadlines.lock)
    }

    pub(crate) fn lock_within(&self, pci: PciAddress, limit: Duration) -> Result<Held<'_>, Error> {
        let locked = self.ledger.lock(&device(pci), limit).map_err(|source| Error::Ledger { pci, source })?;
        self.hold(locked, pci, limit)
    }

    /// Calls `look` until it gives a value, at least once, and at most for `limit`: at once, and then after each
    /// change of a link in the host's namespace or in `pod`.
    pub(crate) fn await_links<T>(
        &self,
        pci: PciAddress,
        pod: Option<&L::Namespace>,
        limit: Duration,
        mut look: impl FnMut() -> Result<Option<T>, Error>,
    ) -> Result<Option<T>, Error> {
        let links = |source| Error::Links { pci, source };
        let (begun, mut pause) = (Instant::now(), LOOK_SOON);
        let mut events = None;
        loop {
            let found = look()?;
            let left = limit.saturating_sub(begun.elapsed());
            if found.is_some() || left.is_zero() {
                return Ok(found);
            }
            match &mut events {
                // The next look is after this, so that no change falls between.
                None => {
                    let namespaces: Vec<_> = [self.links.host()].into_iter().chain(pod).collect();
                    events = Some(self.links.events(&namespaces).map_err(links)?);
                }
                Some(events) => {
                    events.wait(Instant::now() + pause.min(left)).map_err(links)?;
                    pause = LOOK_SELDOM.min(pause * 2);
                }
            }
        }
    }

    /// The inode of the device's directory in sysfs; `None` when there's no such device.
    pub(crate) fn incarnation(&self, pci: PciAddress) -> Result<Option<u64>, Error> {
        let path = self.sysfs.root().join("bus/pci/devices").join(pci.to_string());
        match fs::metadata(path) {
            Ok(metadata) => Ok(Some(metadata.ino())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Incarnation { pci, source }),
        }
    }
}

/// A VF's key in the ledger.
pub(crate) fn device(pci: PciAddress) -> Device {
    #[expect(clippy::expect_used, reason = "a PCI address holds nothing that a key can't hold")]
    pci.to_string().parse().expect("a PCI address is a device's key")
}
