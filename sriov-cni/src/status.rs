//! STATUS.

use cni::{Args, Command, NetConf};
use netlink::Links;

use crate::sriov::Sriov;

impl<L: Links> Sriov<'_, L> {
    /// Says whether an ADD can be served: the ledger can be listed, and IPAM is ready.
    pub fn status(&self, args: &Args, stdin: &[u8]) -> Result<(), cni::Error> {
        let conf = NetConf::parse(stdin)?;
        self.host
            .ledger
            .entries::<vf::Intent>()
            .map_err(|error| cni::Error::not_available(cni::error::with_sources(&error)))?;
        if let Some(kind) = conf.ipam_type() {
            self.ipam.run(kind, Command::Status, args, stdin)?;
        }
        Ok(())
    }
}
