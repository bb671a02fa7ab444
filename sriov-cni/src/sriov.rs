//! The commands, and what they have in common.

use cni::plugin::Request;
use cni::{AddResult, Args, Command, NetConf};
use ledger::{Owner, Pod};
use netlink::Links;
use vf::Host;

use crate::ipam::Ipam;

/// The plugin on a machine.
#[derive(Debug)]
pub struct Sriov<'a, L: Links> {
    /// The machine.
    pub host: &'a Host<L>,
    /// How IPAM plugins are run.
    pub ipam: Ipam,
}

impl<L: Links> Sriov<'_, L> {
    /// Serves a call, whichever command it is. Only ADD has a result.
    pub fn serve(&self, request: &Request) -> Result<Option<AddResult>, cni::Error> {
        let Request { args, stdin, .. } = request;
        match args.command {
            Command::Add => self.add(args, stdin).map(Some),
            Command::Del => self.del(args, stdin).map(|()| None),
            Command::Check => self.check(args, stdin).map(|()| None),
            Command::Gc => self.gc(args, stdin).map(|()| None),
            Command::Status => self.status(args, stdin).map(|()| None),
            // The frame answers it.
            Command::Version => Ok(None),
        }
    }
}

/// Whose call it is.
pub(crate) fn owner(args: &Args, conf: &NetConf) -> Owner {
    Owner {
        network: conf.name().to_owned(),
        container_id: args.container_id.clone(),
        ifname: args.ifname.clone(),
    }
}

/// The pod, as Kubernetes' runtimes name it in `CNI_ARGS`.
pub(crate) fn pod(args: &Args) -> Option<Pod> {
    Some(Pod {
        namespace: args.arg("K8S_POD_NAMESPACE")?.to_owned(),
        name: args.arg("K8S_POD_NAME")?.to_owned(),
        uid: args.arg("K8S_POD_UID").map(str::to_owned),
    })
}
