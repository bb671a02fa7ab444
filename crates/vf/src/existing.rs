//! What the existing SR-IOV plugin says of a VF. Both plugins may be on a node while it changes over.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use netlink::Links;
use pci::PciAddress;

use crate::error::Error;
use crate::host::Host;

impl<L: Links> Host<L> {
    /// Refuses a VF that the existing plugin gave to a pod, or took back in a way that leaves it in doubt.
    ///
    /// Its file `pci/<address>` holds the path of a pod's namespace. It outlives a reboot, which VFs don't, so an
    /// older one says nothing.
    pub(crate) fn refuse_existing(&self, pci: PciAddress) -> Result<(), Error> {
        let record = self.existing_state.join("pci").join(pci.to_string());
        let Ok(netns) = fs::read_to_string(&record) else { return Ok(()) };
        if is_older_than_boot(&record, &self.proc) {
            return Ok(());
        }
        match self.links.open(&PathBuf::from(netns.trim())) {
            Err(error) if error.is_gone() => Err(Error::LeftByExistingPlugin { pci, record }),
            _ => Err(Error::OfExistingPlugin { pci, record }),
        }
    }
}

fn is_older_than_boot(record: &Path, proc: &Path) -> bool {
    let modified = fs::metadata(record).and_then(|metadata| metadata.modified());
    matches!((modified, booted(proc)), (Ok(modified), Ok(booted)) if modified < booted)
}

/// When the machine was booted, to the second, from the line `btime` of `stat`.
fn booted(proc: &Path) -> io::Result<SystemTime> {
    let stat = fs::read_to_string(proc.join("stat"))?;
    stat.lines()
        .find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
        .map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}
