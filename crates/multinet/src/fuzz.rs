//! Properties of the annotation, for the fuzzer and for the replay of its corpus.

use std::collections::BTreeSet;

use cni::Object;

use crate::selection::{MAX_NETWORKS, Selection, parse_default_network, parse_networks};

/// Reads bytes as both annotations.
///
/// # Panics
/// If a property doesn't hold.
pub fn selection(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Err(error) = parse_default_network(&text, "kube-system") {
        assert!(error.to_string().contains(crate::DEFAULT_NETWORK_ANNOTATION), "{error}");
    }
    let selections = match parse_networks(&text, "default") {
        Ok(selections) => selections,
        Err(error) => {
            assert!(error.to_string().contains(crate::NETWORKS_ANNOTATION), "{error}");
            return;
        }
    };
    assert!(selections.len() <= MAX_NETWORKS);
    let chosen: Vec<&String> = selections.iter().filter_map(|it| it.interface.as_ref()).collect();
    assert_eq!(chosen.iter().collect::<BTreeSet<_>>().len(), chosen.len(), "{chosen:?}");
    assert!(chosen.iter().all(|name| cni::args::is_interface_name(name)), "{chosen:?}");
    for selection in &selections {
        assert!(!selection.name.is_empty() && !selection.namespace.is_empty(), "{selection:?}");
        assert!(!selection.name.contains('/') && !selection.namespace.contains('/'), "{selection:?}");
    }

    let elements: Vec<String> = selections.iter().map(|it| written(it).to_string()).collect();
    let json = format!("[{}]", elements.join(","));
    assert_eq!(parse_networks(&json, "default").ok(), Some(selections), "{json}");
}

/// An element in the form of JSON.
fn written(selection: &Selection) -> Object {
    let mut object = selection.other.clone();
    object.set("name", selection.name.as_str());
    object.set("namespace", selection.namespace.as_str());
    let texts = [
        ("interface", &selection.interface),
        ("mac", &selection.mac),
        ("infiniband-guid", &selection.infiniband_guid),
        ("deviceID", &selection.device_id),
        ("ipam-claim-reference", &selection.ipam_claim_reference),
    ];
    for (key, text) in texts {
        if let Some(text) = text {
            object.set(key, text.as_str());
        }
    }
    object.set("ips", selection.ips.as_slice());
    object.set_list("portMappings", &selection.port_mappings);
    if let Some(bandwidth) = &selection.bandwidth {
        object.set_object("bandwidth", bandwidth);
    }
    object.set_object("cni-args", &selection.cni_args);
    if let Some(gateways) = &selection.default_route {
        let texts: Vec<String> = gateways.iter().map(ToString::to_string).collect();
        object.set("default-route", texts);
    }
    object
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_corpus_is_replayed() {
        testbed::corpus::replay("selection", super::selection).unwrap();
    }
}
