//! CHECK.

use cni::{AddResult, Args, Command, NetConf};
use netlink::Links;

use crate::config::Config;
use crate::error::{CHECK_DIFFERS, POD_REFUSED, all, chain, of_vf};
use crate::sriov::{Sriov, owner};

impl<L: Links> Sriov<'_, L> {
    /// Compares the VF, as its PF shows it and as it is in the pod, with what was asked for, and the interface's
    /// addresses with the result of ADD. IPAM checks its own part.
    pub fn check(&self, args: &Args, stdin: &[u8]) -> Result<(), cni::Error> {
        let conf = NetConf::parse(stdin)?;
        conf.require_name()?;
        let config = Config::new(&conf, args)?;
        let previous = conf.prev_result().ok_or_else(|| {
            cni::Error::invalid_config("\"prevResult\" is missing: CHECK compares with the result of ADD")
        })?;
        let previous = AddResult::parse(previous.as_bytes())?;
        let found = self.host.verify(config.device, &owner(args, &conf)).map_err(|error| of_vf(&error))?;
        let mut errors = Vec::new();
        if !found.is_empty() {
            let text = format!("VF {} isn't as asked for: {}", config.device, vf::describe(&found));
            errors.push(cni::Error::new(CHECK_DIFFERS, text));
        }
        errors.extend(self.missing_addresses(args, &config, &previous).err());
        if let Some(kind) = conf.ipam_type() {
            errors.extend(self.ipam.run(kind, Command::Check, args, stdin).err());
        }
        all(errors)
    }

    fn missing_addresses(
        &self,
        args: &Args,
        config: &Config,
        previous: &AddResult,
    ) -> Result<(), cni::Error> {
        let failed = |error: netlink::Error| cni::Error::new(POD_REFUSED, chain(&error));
        let Some(netns) = &args.netns else { return Ok(()) };
        let links = &self.host.links;
        let namespace = links.open(netns).map_err(failed)?;
        let link = links.link_of_device(&namespace, &config.device.to_string()).map_err(failed)?;
        // Without an interface, the VF is driven by a program, which sets its addresses itself or not at all.
        let Some(link) = link else { return Ok(()) };
        let present = links.addresses(&namespace, link.index).map_err(failed)?;
        let missing: Vec<String> = previous
            .ips
            .iter()
            .filter(|ip| !present.contains(&ip.address))
            .map(|ip| ip.address.to_string())
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let text =
            format!("{} of VF {} lacks the address {}", args.ifname, config.device, missing.join(", "));
        Err(cni::Error::new(CHECK_DIFFERS, text))
    }
}
