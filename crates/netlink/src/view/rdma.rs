//! What `RDMA_NLDEV_CMD_GET` and `RDMA_NLDEV_CMD_SYS_GET` tell.

use crate::rdma::{RdmaDevice, RdmaMode};
use crate::wire::{Attributes, text_of, u32_of, u64_of};

const RDMA_NLDEV_ATTR_DEV_INDEX: u16 = 1;
const RDMA_NLDEV_ATTR_DEV_NAME: u16 = 2;
const RDMA_NLDEV_ATTR_NODE_GUID: u16 = 6;
const RDMA_NLDEV_SYS_ATTR_NETNS_MODE: u16 = 66;

/// The RDMA device that a message is about.
pub(crate) fn rdma_device(payload: &[u8]) -> Result<RdmaDevice, String> {
    let (mut index, mut name, mut node_guid) = (None, String::new(), 0);
    for attribute in Attributes::new(payload) {
        let attribute =
            attribute.map_err(|it| format!("attribute {} of an RDMA device is too long", it.kind))?;
        match attribute.kind {
            RDMA_NLDEV_ATTR_DEV_INDEX => index = u32_of(attribute.value),
            RDMA_NLDEV_ATTR_DEV_NAME => name = text_of(attribute.value),
            RDMA_NLDEV_ATTR_NODE_GUID => node_guid = u64_of(attribute.value).unwrap_or_default(),
            _ => {}
        }
    }
    let index = index.ok_or_else(|| format!("the RDMA device {name} has no index"))?;
    if name.is_empty() {
        return Err(format!("RDMA device {index} has no name"));
    }
    Ok(RdmaDevice { index, name, node_guid })
}

/// The mode that a message tells; `None` when it doesn't, as before Linux 5.2.
pub(crate) fn rdma_mode(payload: &[u8]) -> Option<RdmaMode> {
    let mode = Attributes::new(payload).map_while(Result::ok).find_map(|attribute| {
        (attribute.kind == RDMA_NLDEV_SYS_ATTR_NETNS_MODE).then(|| attribute.value.first().copied())?
    })?;
    Some(if mode == 0 { RdmaMode::Exclusive } else { RdmaMode::Shared })
}

#[cfg(test)]
mod tests;
