//! ADD.

use std::path::Path;

use cni::result::Interface;
use cni::{AddResult, Args, Command, NetConf};
use ledger::Owner;
use netlink::{LinkState, Links};
use vf::{Attach, Attached};

use crate::address;
use crate::config::Config;
use crate::error::{also, of_vf};
use crate::sriov::{Sriov, owner, pod};

impl<L: Links> Sriov<'_, L> {
    /// Attaches a pod to a network. Whatever fails, the VF is at its baseline afterwards and no address is taken;
    /// where that can't be done, the error says so and the VF is quarantined.
    pub fn add(&self, args: &Args, stdin: &[u8]) -> Result<AddResult, cni::Error> {
        let conf = NetConf::parse(stdin)?;
        conf.require_name()?;
        let config = Config::new(&conf, args)?;
        let netns = args.netns.as_deref().ok_or_else(|| {
            cni::Error::invalid_environment("CNI_NETNS is not set: ADD needs the pod's network namespace")
        })?;
        let owner = owner(args, &conf);
        let pod = pod(args);
        let attached = self
            .host
            .attach(&Attach {
                pci: config.device,
                owner: &owner,
                netns,
                wanted: &config.wanted,
                pod: pod.as_ref(),
                resource: None,
            })
            .map_err(|error| of_vf(&error))?;

        let mut result =
            AddResult { interfaces: vec![interface(args, netns, &attached)], ..AddResult::default() };
        let outcome = self
            .address(args, stdin, &conf, &attached, &mut result)
            .and_then(|()| self.host.confirm(config.device, &owner).map_err(|error| of_vf(&error)));
        if let Err(error) = outcome {
            return Err(self.undo(args, stdin, &conf, &attached, &owner, error));
        }
        if let Some(ifindex) = attached.ifindex {
            let is_up = attached.pf_carrier && config.wanted.link_state != Some(LinkState::Disable);
            address::announce(&self.host.links, netns, ifindex, &result, is_up);
        }
        if result.dns.is_empty() {
            result.dns = config.dns;
        }
        Ok(result)
    }

    /// Gets addresses and sets them.
    fn address(
        &self,
        args: &Args,
        stdin: &[u8],
        conf: &NetConf,
        attached: &Attached,
        result: &mut AddResult,
    ) -> Result<(), cni::Error> {
        let Some(kind) = conf.ipam_type() else { return Ok(()) };
        let from_ipam = self.ipam.add(kind, args, stdin)?;
        (result.ips, result.routes, result.dns) = (from_ipam.ips, from_ipam.routes, from_ipam.dns);
        for ip in &mut result.ips {
            ip.interface = Some(0);
        }
        match (attached.ifindex, &args.netns) {
            (Some(ifindex), Some(netns)) => address::configure(&self.host.links, netns, ifindex, result),
            // A program in the pod drives the VF: it learns of its addresses from the result.
            _ => Ok(()),
        }
    }

    fn undo(
        &self,
        args: &Args,
        stdin: &[u8],
        conf: &NetConf,
        attached: &Attached,
        owner: &Owner,
        error: cni::Error,
    ) -> cni::Error {
        let detached = self.host.detach(attached.pci, owner, args.netns.as_deref());
        // Also where IPAM itself failed: it may have failed after it had taken an address.
        let freed = conf.ipam_type().map(|kind| self.ipam.run(kind, Command::Del, args, stdin));
        let also_failed = [detached.err().map(|error| of_vf(&error)), freed.and_then(Result::err)];
        also_failed.iter().flatten().fold(error, also)
    }
}

fn interface(args: &Args, netns: &Path, attached: &Attached) -> Interface {
    Interface {
        name: args.ifname.clone(),
        mac: attached.mac.map(|mac| mac.to_string()).unwrap_or_default(),
        mtu: attached.mtu,
        sandbox: netns.display().to_string(),
        pci_id: attached.pci.to_string(),
        ..Interface::default()
    }
}
