//! What's asked of an InfiniBand VF: the keys of the existing plugin for those.

use cni::Object;
use netlink::Guid;
use pci::Pkey;

use super::{InvalidConfig, boolean, text};

/// What ib-kubernetes leaves in `args.cni` once it has told the subnet manager.
const MARK: &str = "mellanox.infiniband.app";

/// The GUID, from whoever is nearest to the pod.
pub(super) fn guid(object: &Object) -> Result<Option<Guid>, InvalidConfig> {
    let runtime = object.read::<Object>("runtimeConfig")?.unwrap_or_default();
    let args = object.read::<Object>("args")?.unwrap_or_default().read::<Object>("cni")?.unwrap_or_default();
    let candidates = [
        ("runtimeConfig.infinibandGUID", text(&runtime, "infinibandGUID")?),
        ("args.cni.guid", text(&args, "guid")?),
        ("guid", text(object, "guid")?),
    ];
    let first = candidates.into_iter().find_map(|(origin, text)| Some((origin, text?)));
    if boolean(object, "ibKubernetesEnabled")? == Some(true) {
        let is_configured = text(&args, MARK)?.as_deref() == Some("configured");
        if !is_configured || first.is_none() {
            return Err(InvalidConfig::NotYetConfigured);
        }
    }
    let Some((origin, text)) = first else { return Ok(None) };
    let guid: Guid = text.trim().parse().map_err(|source| InvalidConfig::Guid { origin, source })?;
    if guid.is_usable() { Ok(Some(guid)) } else { Err(InvalidConfig::UnusableGuid { origin, guid }) }
}

/// The partition.
pub(super) fn pkey(object: &Object) -> Result<Option<Pkey>, InvalidConfig> {
    let text = text(object, "pkey")?;
    Ok(text.map(|text| text.trim().parse()).transpose()?)
}
