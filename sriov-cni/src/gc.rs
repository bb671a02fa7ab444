//! GC.

use std::collections::HashSet;

use cni::chain::AttachmentId;
use cni::{Args, Command, NetConf};
use netlink::Links;

use crate::error::{all, of_vf};
use crate::sriov::Sriov;

impl<L: Links> Sriov<'_, L> {
    /// Takes back the VFs of this network whose attachments the runtime doesn't know any more. Those of other
    /// networks are left alone. IPAM does its own part.
    pub fn gc(&self, args: &Args, stdin: &[u8]) -> Result<(), cni::Error> {
        let conf = NetConf::parse(stdin)?;
        let network = conf.require_name()?;
        let valid: Vec<AttachmentId> = conf.object().read("cni.dev/valid-attachments")?.ok_or_else(|| {
            // Without the list, every VF of the network would be taken for left over.
            cni::Error::invalid_config(
                "\"cni.dev/valid-attachments\" is missing: GC needs the runtime's list",
            )
        })?;
        let valid: HashSet<(String, String)> =
            valid.into_iter().map(|id| (id.container_id, id.ifname)).collect();
        let swept = self
            .host
            .sweep_network(network, &|owner| {
                valid.contains(&(owner.container_id.clone(), owner.ifname.clone()))
            })
            .map_err(|error| of_vf(&error))?;
        let mut errors: Vec<cni::Error> = swept
            .into_iter()
            .filter_map(|(_pci, outcome)| outcome.err())
            .map(|error| of_vf(&error))
            .collect();
        if let Some(kind) = conf.ipam_type() {
            errors.extend(self.ipam.run(kind, Command::Gc, args, stdin).err());
        }
        all(errors)
    }
}
