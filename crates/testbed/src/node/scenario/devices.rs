//! A pod with two containers and two networks of one resource: each network has the device of its container, whether
//! kubelet tells so on its pod-resources socket or only in its checkpoint.

use serde_json::{Value, json};

use super::Error;
use crate::node::cluster::{self, Node};
use crate::node::hardware::Nic;
use crate::node::manifest::Pod;
use crate::node::report::Report;

pub(super) fn play(node: &mut Node, _nics: &[Nic], report: &mut Report) -> Result<(), Error> {
    report.title("Two containers, two networks of one resource");
    once(node, "from the pod-resources socket", report)?;
    node.kubelet.refuse(Some("rate limit exceeded"));
    let outcome = once(node, "from kubelet's checkpoint, while the socket refuses", report);
    node.kubelet.refuse(None);
    outcome
}

fn once(node: &mut Node, whence: &str, report: &mut Report) -> Result<(), Error> {
    let mut running = node.admit(twofold(node)?)?;
    let given: Vec<String> =
        running.grants.iter().flat_map(|grant| grant.allocated.values().flatten().cloned()).collect();
    node.start(&mut running)?;
    let attached: Vec<(String, String)> = node
        .network_status(&running.pod)
        .iter()
        .skip(1)
        .map(|entry| (text(entry, "/interface"), text(entry, "/device-info/pci/pci-address")))
        .collect();
    let expected: Vec<(String, String)> =
        ["first", "second"].iter().map(ToString::to_string).zip(given).collect();
    report.check(
        &format!("each network has the device of its container, {whence}"),
        attached == expected && expected.len() == 2,
        &format!("{attached:?} and not {expected:?}"),
    );
    let differ = attached.first().map(|(_, device)| device) != attached.get(1).map(|(_, device)| device);
    report.check(&format!("the devices differ, {whence}"), differ, &format!("{attached:?}"));
    Ok(node.delete(&running)?)
}

/// The pod *web* with its container twice.
fn twofold(node: &Node) -> Result<Pod, Error> {
    let mut object = node.manifests.pod("web").map_err(cluster::Error::from)?.object;
    if let Some(annotations) = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        let networks = "vlan100-a@first,vlan100-a@second";
        annotations.insert("k8s.v1.cni.cncf.io/networks".to_owned(), json!(networks));
    }
    if let Some(containers) = object.pointer_mut("/spec/containers").and_then(Value::as_array_mut)
        && let Some(mut another) = containers.first().cloned()
    {
        if let Some(map) = another.as_object_mut() {
            map.insert("name".to_owned(), json!("another"));
        }
        containers.push(another);
    }
    Ok(Pod::from_object(object).map_err(cluster::Error::from)?)
}

fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}
