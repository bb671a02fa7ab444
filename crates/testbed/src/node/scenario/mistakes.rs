//! Pods and networks that can't work, and a pool file that can't: each is refused with an error that names what is
//! wrong, and leaves nothing behind.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::{Error, SETTLE, left_behind};
use crate::api::Kind;
use crate::node::cluster::{self, Node};
use crate::node::hardware::{self, Nic};
use crate::node::manifest::Pod;
use crate::node::report::Report;
use crate::node::{cni, exec};

/// A pod whose sandbox can't be made.
struct Mistake {
    what: &'static str,
    /// The annotation that selects networks.
    networks: &'static str,
    /// Networks to add: name, resource, configuration.
    added: &'static [(&'static str, Option<&'static str>, &'static str)],
    /// Whether the pod asks for a device at all.
    asks: bool,
    /// What the error has to say.
    says: &'static [&'static str],
}

const MISTAKES: [Mistake; 9] = [
    Mistake {
        what: "a network that is not there",
        networks: "nowhere",
        added: &[],
        asks: true,
        says: &["default/nowhere"],
    },
    Mistake {
        what: "an annotation that is no JSON",
        networks: r#"[{"name": "vlan100-a"]"#,
        added: &[],
        asks: true,
        says: &["k8s.v1.cni.cncf.io/networks", "default/wrong"],
    },
    Mistake {
        what: "an interface name that is too long",
        networks: "vlan100-a@an-interface-of-seventeen",
        added: &[],
        asks: true,
        says: &["an-interface-of-seventeen", "15"],
    },
    Mistake {
        what: "a network whose resource the pod does not ask for",
        networks: "vlan100-a",
        added: &[],
        asks: false,
        says: &["default/wrong", "vlan100-a", "intel.com/sriov_a"],
    },
    Mistake {
        what: "two networks and one device",
        networks: "vlan100-a,vlan100-a",
        added: &[],
        asks: true,
        says: &["default/wrong", "vlan100-a", "intel.com/sriov_a"],
    },
    Mistake {
        what: "a NAD that is no JSON",
        networks: "broken",
        added: &[("broken", Some("intel.com/sriov_a"), r#"{"type": "sriov""#)],
        asks: true,
        says: &["default/broken"],
    },
    Mistake {
        what: "a VLAN that there can't be",
        networks: "vlan5000",
        added: &[(
            "vlan5000",
            Some("intel.com/sriov_a"),
            r#"{"cniVersion": "1.0.0", "type": "sriov", "vlan": 5000}"#,
        )],
        asks: true,
        says: &["vlan5000", "vlan", "4094"],
    },
    Mistake {
        what: "a PCI address that no device has",
        networks: "absent",
        added: &[("absent", None, r#"{"cniVersion": "1.0.0", "type": "sriov", "deviceID": "0000:7f:1f.7"}"#)],
        asks: false,
        says: &["absent", "0000:7f:1f.7"],
    },
    Mistake {
        what: "a plugin that is not installed",
        networks: "unknown",
        added: &[("unknown", None, r#"{"cniVersion": "1.0.0", "type": "no-such-plugin"}"#)],
        asks: false,
        says: &["no-such-plugin"],
    },
];

pub(super) fn play(node: &mut Node, nics: &[Nic], report: &mut Report) -> Result<(), Error> {
    report.title("Pods that can't have their networks");
    for mistake in &MISTAKES {
        refused(node, nics, mistake, report)?;
    }
    report.title("Pool files that can't be used");
    for (what, file, says) in POOL_FILES {
        refused_pools(node, what, file, says, report)?;
    }
    Ok(())
}

fn refused(node: &mut Node, nics: &[Nic], mistake: &Mistake, report: &mut Report) -> Result<(), Error> {
    for (name, resource, config) in mistake.added {
        let mut network = json!({"metadata": {"name": name}, "spec": {"config": config}});
        if let (Some(resource), Some(metadata)) = (resource, network.get_mut("metadata")) {
            merge(metadata, "annotations", json!({"k8s.v1.cni.cncf.io/resourceName": resource}));
        }
        node.api.put(Kind::NetworkAttachmentDefinition, network);
    }
    let mut running = node.admit(pod(node, mistake)?)?;
    let before = left_behind();
    let error = match node.start(&mut running) {
        Ok(()) => "no error".to_owned(),
        Err(error) => chain(&error),
    };
    report.line(&error);
    report.check(
        &format!("{}: refused, naming {}", mistake.what, mistake.says.join(", ")),
        error.contains("code") && mistake.says.iter().all(|word| error.contains(word)),
        &error,
    );

    let mut found = (String::new(), Vec::new());
    let clean = exec::until(SETTLE, || {
        let after = hardware::nics().ok()?;
        found = (hardware::differences(nics, &after), left_behind());
        (found.0.is_empty() && found.1 == before).then_some(())
    });
    report.check(
        &format!("{}: no lease, attachment or claim is left, and no VF differs", mistake.what),
        clean.is_some(),
        &format!("{found:?} where it was {before:?}"),
    );
    match node.machine.del(&running.sandbox, None) {
        Ok(()) => node.forget(&running)?,
        Err(error) => report.broken(&format!("{}: DEL succeeds all the same", mistake.what), &error),
    }
    Ok(())
}

/// The pod *web*, made wrong.
fn pod(node: &Node, mistake: &Mistake) -> Result<Pod, Error> {
    let mut object = node.manifests.pod("web").map_err(cluster::Error::from)?.object;
    if let Some(metadata) = object.get_mut("metadata") {
        merge(metadata, "name", json!("wrong"));
        merge(metadata, "annotations", json!({"k8s.v1.cni.cncf.io/networks": mistake.networks}));
    }
    if !mistake.asks
        && let Some(container) = object.pointer_mut("/spec/containers/0")
    {
        merge(container, "resources", json!({}));
    }
    Ok(Pod::from_object(object).map_err(cluster::Error::from)?)
}

fn merge(object: &mut Value, key: &str, value: Value) {
    if let Some(map) = object.as_object_mut() {
        map.insert(key.to_owned(), value);
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// What is wrong, the file, and what the error has to say besides the file's name.
const POOL_FILES: [(&str, &str, &[&str]); 3] = [
    ("no JSON", "{\"resourceList\": [", &["not valid JSON"]),
    (
        "a range of VFs that isn't one",
        r#"{"resourceList": [{"resourceName": "a", "selectors": {"pfNames": ["enp1s0#3-1"]}}]}"#,
        &["pool a", "pfNames", "enp1s0#3-1"],
    ),
    (
        "a PCI address that isn't one",
        r#"{"resourceList": [{"resourceName": "a", "selectors": {"pciAddresses": ["01:10.0"]}}]}"#,
        &["pool a", "pciAddresses", "01:10.0"],
    ),
];

fn refused_pools(
    node: &Node,
    what: &str,
    text: &str,
    says: &[&str],
    report: &mut Report,
) -> Result<(), Error> {
    let path = PathBuf::from("/etc/pcidp/wrong.json");
    cni::place(&path, text).map_err(|source| cluster::Error::Write { path: path.clone(), source })?;
    let mut command = Command::new(node.program("patchbay-device-plugin"));
    command.arg("--config-file").arg(&path);
    let output = exec::run(&mut command, b"", exec::DEADLINE)?;
    let said = output.said();
    report.line(&said);
    report.check(
        &format!("{what}: the device plugin ends, naming the file and {}", says.join(", ")),
        !output.status.success()
            && output.status.code() != Some(101)
            && said.contains("/etc/pcidp/wrong.json")
            && says.iter().all(|word| said.contains(word)),
        &said,
    );
    let registered = node.kubelet.registered().len();
    report.check(
        &format!("{what}: the pools that are served already stay"),
        registered == super::pods::OFFERED.len() && Path::new("/etc/pcidp/config.json").exists(),
        &format!("{registered} resources are registered"),
    );
    Ok(())
}
