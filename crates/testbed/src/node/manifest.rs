//! The objects of YAML files, as data: what a person applies to a cluster is what the scenarios run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

/// Why manifests could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A folder or file could not be read.
    #[error("cannot read {path}")]
    Read {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is no YAML.
    #[error("{path} is no YAML")]
    Yaml {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<serde_saphyr::Error>,
    },
    /// An object lacks something, or something in it has the wrong type.
    #[error("{kind} {name} cannot be used")]
    Object {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// An object is not among those that were read.
    #[error("there is no {kind} named {name} in the manifests")]
    Missing {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
    },
}

/// Objects in the order of files and of documents in them.
#[derive(Debug, Clone, Default)]
pub struct Manifests {
    objects: Vec<Value>,
}

impl Manifests {
    /// Reads every `*.yaml` of each folder, in the order of names.
    pub fn read(folders: &[&Path]) -> Result<Self, Error> {
        let mut objects = Vec::new();
        for folder in folders {
            let read = |source| Error::Read { path: folder.to_path_buf(), source };
            let mut files: Vec<PathBuf> = Vec::new();
            for entry in std::fs::read_dir(folder).map_err(read)? {
                let path = entry.map_err(read)?.path();
                if path.extension().is_some_and(|extension| extension == "yaml") {
                    files.push(path);
                }
            }
            files.sort();
            for path in files {
                let text = std::fs::read_to_string(&path)
                    .map_err(|source| Error::Read { path: path.clone(), source })?;
                let documents: Vec<Value> = serde_saphyr::from_multiple(&text)
                    .map_err(|source| Error::Yaml { path, source: Box::new(source) })?;
                objects.extend(documents);
            }
        }
        Ok(Self { objects })
    }

    /// The objects of one kind.
    pub fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.objects.iter().filter(move |object| object.get("kind").and_then(Value::as_str) == Some(kind))
    }

    fn named(&self, kind: &str, name: &str) -> Result<&Value, Error> {
        self.of_kind(kind)
            .find(|object| object.pointer("/metadata/name").and_then(Value::as_str) == Some(name))
            .ok_or_else(|| Error::Missing { kind: kind.to_owned(), name: name.to_owned() })
    }

    /// A pod by its name.
    pub fn pod(&self, name: &str) -> Result<Pod, Error> {
        let object = self.named("Pod", name)?;
        Pod::from_object(object.clone())
    }

    /// One file of a `ConfigMap`.
    pub fn config(&self, name: &str, file: &str) -> Result<String, Error> {
        self.named("ConfigMap", name)?
            .get("data")
            .and_then(|data| data.get(file))
            .and_then(Value::as_str)
            .map(str::to_owned)
            .ok_or_else(|| Error::Missing {
                kind: "file of ConfigMap".to_owned(),
                name: format!("{name}/{file}"),
            })
    }
}

/// A pod, with what a node needs to run it.
#[derive(Debug, Clone)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its containers, in order.
    pub containers: Vec<Container>,
    /// Names of its volumes on huge pages.
    pub hugepage_volumes: Vec<String>,
    /// How long its containers have to end by themselves.
    pub grace: Duration,
    /// The whole object, as the API server has it.
    pub object: Value,
}

/// One container of a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// Its image.
    pub image: String,
    /// Its program.
    pub command: Vec<String>,
    /// The program's arguments.
    pub args: Vec<String>,
    /// Whether it has a terminal.
    pub tty: bool,
    /// Its resources.
    pub resources: Resources,
    /// Its volumes.
    pub volume_mounts: Vec<VolumeMount>,
    /// Its privileges.
    pub security_context: SecurityContext,
}

/// Limits of a container, by resource name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// As written in the manifest.
    pub limits: BTreeMap<String, String>,
}

/// Where a container sees a volume.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeMount {
    /// The volume.
    pub name: String,
    /// The path in the container.
    pub mount_path: String,
}

/// Privileges of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SecurityContext {
    /// Linux capabilities.
    pub capabilities: Capabilities,
}

/// Linux capabilities beyond the runtime's usual ones.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Capabilities {
    /// Names without `CAP_`.
    pub add: Vec<String>,
}

#[derive(Deserialize)]
struct PodObject {
    metadata: Metadata,
    spec: PodSpec,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    #[serde(default = "default_namespace")]
    namespace: String,
}

fn default_namespace() -> String {
    "default".to_owned()
}

fn default_grace() -> u64 {
    30
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodSpec {
    containers: Vec<Container>,
    #[serde(default = "default_grace")]
    termination_grace_period_seconds: u64,
    #[serde(default)]
    volumes: Vec<Volume>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Volume {
    name: String,
    #[serde(default)]
    empty_dir: EmptyDir,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct EmptyDir {
    medium: String,
}

impl Pod {
    /// Takes a pod's object apart.
    pub fn from_object(object: Value) -> Result<Self, Error> {
        let name =
            object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("without a name").to_owned();
        let parsed: PodObject = serde_json::from_value(object.clone()).map_err(|source| Error::Object {
            kind: "Pod".to_owned(),
            name,
            source,
        })?;
        Ok(Self {
            name: parsed.metadata.name,
            namespace: parsed.metadata.namespace,
            containers: parsed.spec.containers,
            grace: Duration::from_secs(parsed.spec.termination_grace_period_seconds),
            hugepage_volumes: parsed
                .spec
                .volumes
                .into_iter()
                .filter(|volume| volume.empty_dir.medium.starts_with("HugePages"))
                .map(|volume| volume.name)
                .collect(),
            object,
        })
    }

    /// The annotation that selects its networks, as it was written.
    pub fn networks(&self) -> &str {
        self.annotation("k8s.v1.cni.cncf.io/networks").unwrap_or("none")
    }

    fn annotation(&self, key: &str) -> Option<&str> {
        self.object.get("metadata")?.get("annotations")?.get(key)?.as_str()
    }
}

impl Container {
    /// What it asks of device plugins: resources with a domain in front, and how many.
    pub fn devices(&self) -> Vec<(String, usize)> {
        self.resources
            .limits
            .iter()
            .filter(|(name, _)| name.contains('/'))
            .filter_map(|(name, count)| Some((name.clone(), count.parse().ok()?)))
            .collect()
    }

    /// A limit in bytes, such as `memory` or `hugepages-2Mi`.
    pub fn bytes(&self, resource: &str) -> Option<u64> {
        quantity(self.resources.limits.get(resource)?)
    }
}

/// A quantity in whole binary units, or none.
fn quantity(text: &str) -> Option<u64> {
    let split = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(split)?;
    let shift = match unit {
        "" => 0,
        "Ki" => 10,
        "Mi" => 20,
        "Gi" => 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests;
