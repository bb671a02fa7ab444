//! The host's own way to the network. A VF inside a virtual machine looks like any other NIC, and so does the NIC that
//! the machine itself is reached by.

use netlink::{Links, Route};
use pci::PciAddress;

use crate::error::Error;
use crate::host::Host;
use crate::observe::Seen;

impl<L: Links> Host<L> {
    /// Refuses a device without a PF in sight that the host itself stands on: its interface has a default route, or
    /// is a member of something else. Where there's a PF, the device is a VF for sure, and whoever allocates VFs
    /// leaves such a one out.
    pub(crate) fn refuse_uplink(&self, pci: PciAddress, seen: &Seen) -> Result<(), Error> {
        let (None, Some(ifindex)) = (&seen.pf, seen.ifindex) else { return Ok(()) };
        let links = |source| Error::Links { pci, source };
        let host = self.links.host();
        let Some(link) = self.links.link(host, ifindex).map_err(links)? else { return Ok(()) };
        let is_way_out = |route: &Route| route.is_default() && route.ifindex == ifindex;
        let routes = self.links.routes(host).map_err(links)?;
        if link.master.is_some() || routes.iter().any(is_way_out) {
            return Err(Error::Uplink { pci, link: link.name });
        }
        Ok(())
    }
}
