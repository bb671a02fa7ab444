//! `vlanTrunk`, as text or as the bridge plugin has it.

use cni::Object;
use pci::Vlans;
use serde::Deserialize;

use super::{InvalidConfig, vlan};

/// The ways to write it.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected VLANs, as \"100,200-210\" or as [{\"id\":100},{\"minID\":200,\"maxID\":210}]"
)]
enum Value {
    Text(String),
    One(i64),
    List(Vec<Element>),
}

/// An element of the list.
#[derive(Deserialize)]
#[serde(untagged)]
enum Element {
    One(i64),
    Range(Range),
}

/// As the bridge plugin has it: a VLAN, a range, or both.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Range {
    #[serde(alias = "ID")]
    id: Option<i64>,
    #[serde(rename = "minID", alias = "minId", alias = "minid")]
    first: Option<i64>,
    #[serde(rename = "maxID", alias = "maxId", alias = "maxid")]
    last: Option<i64>,
}

/// The VLANs that the VF may tag itself; `None` where nothing is said, or nothing in it.
pub(super) fn trunk(object: &Object) -> Result<Option<Vlans>, InvalidConfig> {
    let Some(value) = object.read::<Value>("vlanTrunk")? else { return Ok(None) };
    let mut vlans = Vlans::default();
    match value {
        Value::Text(text) => vlans = text.parse()?,
        Value::One(id) => vlans.insert(id, id)?,
        Value::List(elements) => {
            for element in elements {
                add(&mut vlans, &element)?;
            }
        }
    }
    if vlans.is_empty() {
        return Ok(None);
    }
    match vlan(object)? {
        Some(vlan) if vlan.id != 0 => Err(InvalidConfig::TrunkInVlan { vlan: vlan.id }),
        _ => Ok(Some(vlans)),
    }
}

fn add(vlans: &mut Vlans, element: &Element) -> Result<(), InvalidConfig> {
    let range = match element {
        Element::One(id) => return Ok(vlans.insert(*id, *id)?),
        Element::Range(range) => range,
    };
    match (range.id, range.first, range.last) {
        (None, None, None) | (_, Some(_), None) | (_, None, Some(_)) => return Err(InvalidConfig::NoVlans),
        (id, first, last) => {
            if let Some(id) = id {
                vlans.insert(id, id)?;
            }
            if let (Some(first), Some(last)) = (first, last) {
                vlans.insert(first, last)?;
            }
        }
    }
    Ok(())
}
