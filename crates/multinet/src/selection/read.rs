//! Both forms of an annotation into selections.

use std::collections::BTreeSet;

use cni::Object;

use super::address::{is_address, is_hardware_address};
use super::{ElementError, Error, MAX_NETWORKS, Selection, is_kubernetes_name, valid_interface};

pub(super) fn selections(
    annotation: &'static str,
    text: &str,
    namespace: &str,
) -> Result<Vec<Selection>, Error> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let selections = if text.contains(['[', '{', '"']) {
        let elements: Vec<Object> =
            serde_json::from_str(text).map_err(|source| Error::Json { annotation, source })?;
        read_all(
            annotation,
            elements,
            |object| object.read("name").ok().flatten().unwrap_or_default(),
            |object| json_element(object, namespace),
        )?
    } else {
        let elements: Vec<&str> = text.split(',').map(str::trim).collect();
        read_all(annotation, elements, |item| (*item).to_owned(), |item| comma_element(item, namespace))?
    };
    Ok(selections)
}

/// Reads every element, and puts the annotation and the element's name and place on its error.
fn read_all<E>(
    annotation: &'static str,
    elements: Vec<E>,
    written_name: impl Fn(&E) -> String,
    read: impl Fn(E) -> Result<Selection, ElementError>,
) -> Result<Vec<Selection>, Error> {
    if elements.len() > MAX_NETWORKS {
        return Err(Error::TooMany { annotation, count: elements.len() });
    }
    let mut interfaces = BTreeSet::new();
    let mut selections = Vec::with_capacity(elements.len());
    for (index, element) in elements.into_iter().enumerate() {
        let network = written_name(&element);
        let selection = read(element).and_then(|selection| match &selection.interface {
            Some(interface) if !interfaces.insert(interface.clone()) => {
                Err(ElementError::RepeatedInterface(interface.clone()))
            }
            _ => Ok(selection),
        });
        selections.push(selection.map_err(|source| Error::Element {
            annotation,
            number: index + 1,
            network,
            source,
        })?);
    }
    Ok(selections)
}

/// `[namespace/]name[@interface]`.
fn comma_element(item: &str, namespace: &str) -> Result<Selection, ElementError> {
    let (explicit, rest) =
        split_once_only(item, '/')?.map_or((None, item), |(left, right)| (Some(left), right));
    let (name, interface) =
        split_once_only(rest, '@')?.map_or((rest, None), |(left, right)| (left, Some(right)));
    Ok(Selection {
        namespace: namespace_or(explicit.map(str::trim), namespace)?,
        name: valid_name(name.trim())?,
        interface: match interface.map(str::trim) {
            None | Some("") => None,
            Some(interface) => Some(valid_interface(interface.to_owned())?),
        },
        ..Selection::default()
    })
}

fn split_once_only(text: &str, separator: char) -> Result<Option<(&str, &str)>, ElementError> {
    match text.split_once(separator) {
        Some((_, right)) if right.contains(separator) => Err(ElementError::Repeated(separator)),
        split => Ok(split),
    }
}

fn json_element(mut object: Object, namespace: &str) -> Result<Selection, ElementError> {
    let mut text =
        |key: &str| object.take::<String>(key).map(|value| value.filter(|value| !value.is_empty()));
    let (name, explicit) = (text("name")?, text("namespace")?);
    let (interface, old_interface) = (text("interface")?, text("interfaceRequest")?);
    let (mac, infiniband_guid) = (text("mac")?, text("infiniband-guid")?);
    let (device_id, ipam_claim_reference) = (text("deviceID")?, text("ipam-claim-reference")?);

    let selection = Selection {
        name: valid_name(name.as_deref().unwrap_or_default())?,
        namespace: namespace_or(explicit.as_deref(), namespace)?,
        interface: interface.or(old_interface).map(valid_interface).transpose()?,
        ips: object.take::<Vec<String>>("ips")?.unwrap_or_default(),
        mac,
        infiniband_guid,
        port_mappings: object.take::<Vec<Object>>("portMappings")?.unwrap_or_default(),
        bandwidth: object.take("bandwidth")?,
        device_id,
        cni_args: object.take("cni-args")?.unwrap_or_default(),
        default_route: default_route(&mut object)?,
        ipam_claim_reference,
        other: object,
    };
    check(&selection)?;
    Ok(selection)
}

fn default_route(object: &mut Object) -> Result<Option<Vec<std::net::IpAddr>>, ElementError> {
    let Some(texts) = object.take::<Vec<String>>("default-route")? else {
        return Ok(None);
    };
    let addresses = texts.into_iter().map(|text| {
        text.parse().map_err(|_unspecific| ElementError::Address {
            key: "default-route",
            text,
            expected: "an IP address",
        })
    });
    addresses.collect::<Result<_, _>>().map(Some)
}

fn check(selection: &Selection) -> Result<(), ElementError> {
    if let Some(text) = selection.ips.iter().find(|text| !is_address(text)) {
        let expected = "an IP address, alone or with a prefix length as in 10.1.0.5/16";
        return Err(ElementError::Address { key: "ips", text: text.clone(), expected });
    }
    for (key, address) in [("mac", &selection.mac), ("infiniband-guid", &selection.infiniband_guid)] {
        if let Some(text) = address.as_ref().filter(|text| !is_hardware_address(text)) {
            let expected = "a hardware address such as 02:00:00:00:00:01";
            return Err(ElementError::Address { key, text: text.clone(), expected });
        }
    }
    check_numbers(selection)?;
    if !selection.ips.is_empty() && selection.ipam_claim_reference.is_some() {
        return Err(ElementError::IpsAndClaim);
    }
    Ok(())
}

/// The kinds of the values that are passed on as they were written.
fn check_numbers(selection: &Selection) -> Result<(), ElementError> {
    for mapping in &selection.port_mappings {
        mapping.read::<i64>("hostPort")?;
        mapping.read::<i64>("containerPort")?;
        mapping.read::<String>("protocol")?;
        mapping.read::<String>("hostIP")?;
    }
    if let Some(bandwidth) = &selection.bandwidth {
        for key in ["ingressRate", "ingressBurst", "egressRate", "egressBurst"] {
            bandwidth.read::<i64>(key)?;
        }
    }
    Ok(())
}

fn valid_name(name: &str) -> Result<String, ElementError> {
    match name {
        "" => Err(ElementError::NoName),
        name if is_kubernetes_name(name) => Ok(name.to_owned()),
        name => Err(ElementError::Name { what: "name", text: name.to_owned() }),
    }
}

fn namespace_or(explicit: Option<&str>, default: &str) -> Result<String, ElementError> {
    match explicit {
        None | Some("") => Ok(default.to_owned()),
        Some(namespace) if is_kubernetes_name(namespace) => Ok(namespace.to_owned()),
        Some(namespace) => Err(ElementError::Name { what: "namespace", text: namespace.to_owned() }),
    }
}
