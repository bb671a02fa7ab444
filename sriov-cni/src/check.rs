//! CHECK.

use cni::error::with_sources;
use cni::{AddResult, Args, Command, NetConf};
use netlink::{Links, Route};

use crate::address;
use crate::config::Config;
use crate::error::{CHECK_DIFFERS, POD_REFUSED, all, of_vf};
use crate::sriov::{Sriov, owner};

impl<L: Links> Sriov<'_, L> {
    /// Compares the VF, as its PF shows it and as it is in the pod, with what was asked for, and the interface's
    /// addresses and routes with the result of ADD. IPAM checks its own part.
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
        errors.extend(self.lacking(args, &config, &previous).err());
        if let Some(kind) = conf.ipam_type() {
            errors.extend(self.ipam.run(kind, Command::Check, args, stdin).err());
        }
        all(errors)
    }

    fn lacking(&self, args: &Args, config: &Config, previous: &AddResult) -> Result<(), cni::Error> {
        let failed = |error: netlink::Error| cni::Error::new(POD_REFUSED, with_sources(&error));
        let Some(netns) = &args.netns else { return Ok(()) };
        let links = &self.host.links;
        let namespace = links.open(netns).map_err(failed)?;
        let link = links.link_of_device(&namespace, &config.device.to_string()).map_err(failed)?;
        // Without an interface, the VF is driven by a program, which sets its addresses itself or not at all.
        let Some(link) = link else { return Ok(()) };
        let addresses = links.addresses(&namespace, link.index).map_err(failed)?;
        let routes = links.routes(&namespace).map_err(failed)?;
        let missing_addresses = previous
            .ips
            .iter()
            .filter(|ip| !addresses.contains(&ip.address))
            .map(|ip| format!("the address {}", ip.address));
        let missing_routes = address::missing_routes(previous, link.index, &routes);
        let missing: Vec<String> = missing_addresses.chain(missing_routes.iter().map(describe)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let text = format!("{} of VF {} lacks {}", args.ifname, config.device, missing.join(", "));
        Err(cni::Error::new(CHECK_DIFFERS, text))
    }
}

fn describe(route: &Route) -> String {
    let part = |name: &str, value: Option<String>| value.map(|value| format!(" {name} {value}"));
    let parts = [
        part("via", route.gateway.map(|gateway| gateway.to_string())),
        part("metric", route.priority.map(|priority| priority.to_string())),
        part("table", route.table.map(|table| table.to_string())),
    ];
    format!("the route {}{}", route.dst, parts.into_iter().flatten().collect::<String>())
}
