//! DEL.

use std::collections::BTreeSet;

use cni::{Args, Command, NetConf};
use netlink::Links;
use pci::PciAddress;

use crate::config;
use crate::error::{all, of_vf};
use crate::sriov::{Sriov, owner};

impl<L: Links> Sriov<'_, L> {
    /// Detaches a pod from a network. Repeating it changes nothing, and it needs no namespace.
    ///
    /// The configuration isn't validated: what was refused at ADD has to be deletable. The VFs are those that the
    /// ledger or the existing plugin has for this attachment, and the one that's named here.
    pub fn del(&self, args: &Args, stdin: &[u8]) -> Result<(), cni::Error> {
        let conf = NetConf::parse(stdin)?;
        conf.require_name()?;
        let owner = owner(args, &conf);
        let mut errors = Vec::new();
        let mut vfs: BTreeSet<PciAddress> =
            config::device(conf.object()).ok().flatten().into_iter().collect();
        match self.host.owned_by(&owner) {
            Ok(recorded) => vfs.extend(recorded),
            Err(error) => errors.push(of_vf(&error)),
        }
        match self.host.existing_vf(&owner) {
            Ok(existing) => vfs.extend(existing),
            Err(error) => errors.push(of_vf(&error)),
        }
        for pci in vfs {
            errors.extend(
                self.host.detach(pci, &owner, args.netns.as_deref()).err().map(|error| of_vf(&error)),
            );
        }
        if let Some(kind) = conf.ipam_type() {
            errors.extend(self.ipam.run(kind, Command::Del, args, stdin).err());
        }
        all(errors)
    }
}
