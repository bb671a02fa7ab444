//! The daemon's configuration: one JSON object, by default `/etc/patchbay/patchbayd.json`.
//!
//! An absent file means all defaults. Keys are matched without regard to case. Keys that an existing
//! meta-CNI daemon knows keep their names and meaning; an unknown key is a warning, a value of the wrong
//! type is an error that names file and key.
//!
//! | key | default | meaning |
//! |---|---|---|
//! | `nodeName` | environment `NODE_NAME` | this node's name; which pods are watched |
//! | `kubeconfig` | `""` | path; empty: in-cluster (`KUBERNETES_SERVICE_HOST`, `_PORT`, service-account token) |
//! | `clusterNetwork` | `""` | default network: path of a CNI file or directory, NAD name in `multusNamespace`, or network name in `confDir`; empty: first CNI file by name in `multusAutoconfigDir` that isn't ours |
//! | `defaultNetworks` | `[]` | further networks for every pod outside `systemNamespaces`, named as above |
//! | `systemNamespaces` | `["kube-system"]` | pods there get no `defaultNetworks` |
//! | `multusNamespace` | `"kube-system"` | where NADs named by the two keys above are |
//! | `namespaceIsolation` | `false` | a pod may only name NADs of its own and of `globalNamespaces` |
//! | `globalNamespaces` | `"default"` | comma separated |
//! | `confDir` | `/etc/cni/multus/net.d` | CNI files of networks whose NAD has an empty `config` |
//! | `binDir` | `/opt/cni/bin` | searched for plugins before `CNI_PATH`; where `patchbay` and `sriov` are installed |
//! | `cniConfigDir` | `/etc/cni/net.d` | where `00-patchbay.conflist` is written |
//! | `multusAutoconfigDir` | `cniConfigDir` | where the cluster's own CNI file is looked for |
//! | `multusMasterCNI` | `""` | file name in `multusAutoconfigDir` to use as default network |
//! | `multusConfigFile` | `"auto"` | `auto`: write `00-patchbay.conflist`; `none`: don't |
//! | `cniVersion` | the cluster's own | version of the file that is written |
//! | `overrideNetworkName` | `false` | name the written list as the default network is named, not `patchbay` |
//! | `capabilities` | `{}` | added to those of the cluster's own CNI |
//! | `readinessindicatorfile` | `""` | file that must exist before the configuration is written and before an ADD |
//! | `logLevel` | `"info"` | `error`, `warning`, `info` (or `verbose`), `debug`, `trace`; environment `RUST_LOG` wins |
//! | `socket` | `/run/patchbay/patchbayd.sock` | what the `patchbay` plugin connects to |
//! | `stateDir` | `/var/lib/patchbay` | `attachments/` and `intents/` |
//! | `vfDir` | `/run/patchbay/vf` | the VF ledger |
//! | `kubeletDir` | `/var/lib/kubelet` | `pod-resources/kubelet.sock`, `device-plugins/kubelet_internal_checkpoint` |
//! | `deviceInfoDir` | `/var/run/k8s.cni.cncf.io/devinfo` | device-info files |
//! | `installFrom` | `""` | directory with the binaries `patchbay` and `sriov`, placed into `binDir`; empty: install nothing |
//! | `overwriteSriov` | `false` | replace a `sriov` binary in `binDir` that isn't ours |
//! | `inProcessSriov` | `true` | run the type `sriov` inside the daemon |
//! | `tolerateMissingCapability` | `false` | attach although no plugin takes the `ips`, `mac`, … asked for |
//! | `addWorkers`, `delWorkers` | 16, 16 | how many ADD/CHECK/STATUS and how many DEL/GC run at once |
//! | `pluginSeconds`, `requestSeconds` | 60, 110 | deadline of one plugin, and of one request |
//!
//! # What the `DaemonSet` must give
//!
//! Environment: `NODE_NAME` (field reference `spec.nodeName`); `KUBERNETES_SERVICE_HOST` and
//! `KUBERNETES_SERVICE_PORT` where the service address doesn't work on the node.
//! Pod: `hostNetwork`, `hostPID` (plugins are run in the mount namespace of process 1), privileged,
//! `terminationGracePeriodSeconds` of 30 or more.
//!
//! Mounts, each at the same path inside and outside: `/run/patchbay` and `/var/lib/patchbay`,
//! `/etc/cni/net.d`, `/opt/cni/bin`, the namespaces at `/run/netns` and `/var/run/netns`
//! (`mountPropagation: HostToContainer`), `/var/lib/kubelet/pod-resources` and
//! `/var/lib/kubelet/device-plugins` (read-only, the first may be absent), `/var/run/k8s.cni.cncf.io`, the
//! `ConfigMap` at `/etc/patchbay`, and where used `/etc/cni/multus/net.d` (read-only).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Where the file is unless `--config` says otherwise.
pub const DEFAULT_FILE: &str = "/etc/patchbay/patchbayd.json";

/// What is wrong with the configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is there but couldn't be read.
    #[error("cannot read the configuration {file}")]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file isn't a JSON object.
    #[error("the configuration {file} is not a JSON object")]
    Parse {
        /// The file.
        file: PathBuf,
        /// Where it stops being one.
        #[source]
        source: serde_json::Error,
    },
    /// A key's value has the wrong type.
    #[error("configuration {file}: key {key:?} has a wrong value")]
    Value {
        /// The file.
        file: PathBuf,
        /// The key.
        key: &'static str,
        /// What was expected.
        #[source]
        source: serde_json::Error,
    },
    /// A key's value is outside of what makes sense.
    #[error("configuration {file}: key {key:?} must be {expected}")]
    Range {
        /// The file.
        file: PathBuf,
        /// The key.
        key: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// Nobody said which node this is.
    #[error(
        "the node's name is unknown: set NODE_NAME in the environment (field reference spec.nodeName) \
         or nodeName in {file}"
    )]
    NoNodeName {
        /// The file.
        file: PathBuf,
    },
}

/// The whole configuration. One field per key of the table above.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches of a configuration file")]
pub struct Config {
    /// This node's name.
    pub node_name: String,
    /// Path of a kubeconfig; `None`: in-cluster.
    pub kubeconfig: Option<PathBuf>,
    /// Reference to the default network; `None`: the cluster's own.
    pub cluster_network: Option<String>,
    /// References to networks that every pod gets besides.
    pub default_networks: Vec<String>,
    /// Namespaces whose pods get no default networks.
    pub system_namespaces: Vec<String>,
    /// Namespace of the NADs that configuration names.
    pub multus_namespace: String,
    /// Whether pods are kept to NADs of their own namespace.
    pub namespace_isolation: bool,
    /// Namespaces whose NADs everyone may name.
    pub global_namespaces: Vec<String>,
    /// CNI files by network name.
    pub conf_dir: PathBuf,
    /// Plugins.
    pub bin_dir: PathBuf,
    /// Where our CNI configuration goes.
    pub cni_config_dir: PathBuf,
    /// Where the cluster's own is.
    pub autoconfig_dir: PathBuf,
    /// File name of the cluster's own, when pinned.
    pub master_cni: Option<String>,
    /// Whether our CNI configuration is written at all.
    pub write_cni_config: bool,
    /// `cniVersion` of our CNI configuration; `None`: as the cluster's own.
    pub cni_version: Option<String>,
    /// Whether our CNI configuration takes the default network's name.
    pub override_network_name: bool,
    /// Capabilities to declare besides the cluster's own.
    pub capabilities: BTreeMap<String, bool>,
    /// File that must exist before pods are served.
    pub readiness_indicator: Option<PathBuf>,
    /// Log filter directive.
    pub log_level: String,
    /// The daemon's socket.
    pub socket: PathBuf,
    /// Attachments and intents.
    pub state_dir: PathBuf,
    /// The VF ledger.
    pub vf_dir: PathBuf,
    /// Kubelet's directory.
    pub kubelet_dir: PathBuf,
    /// Device-info files.
    pub device_info_dir: PathBuf,
    /// Where the CNI binaries to install are; `None`: install nothing.
    pub install_from: Option<PathBuf>,
    /// Whether a foreign `sriov` binary is replaced.
    pub overwrite_sriov: bool,
    /// Whether the type `sriov` runs inside the daemon.
    pub in_process_sriov: bool,
    /// Whether a capability that no plugin takes is only a warning.
    pub tolerate_missing_capability: bool,
    /// How many ADD, CHECK and STATUS run at once.
    pub add_workers: usize,
    /// How many DEL and GC run at once.
    pub del_workers: usize,
    /// Deadline of one plugin.
    pub plugin_deadline: Duration,
    /// Deadline of one request.
    pub request_deadline: Duration,
}

/// Keys of an existing meta-CNI daemon that have no meaning here, and why.
const WITHOUT_EFFECT: [(&str, &str); 18] = [
    ("auxiliaryCNIChainName", "chaining by subdirectory isn't supported"),
    ("chrootDir", "plugins run in the host's mount namespace"),
    ("cniDir", "state is in stateDir"),
    ("connectionLimit", "use addWorkers and delWorkers"),
    ("daemonSocketDir", "use socket"),
    ("delegates", "use clusterNetwork"),
    ("enablePprof", "there is no such profile"),
    ("forceCNIVersion", "the cluster's own file is never changed"),
    ("logFile", "logs go to stderr"),
    ("logOptions", "logs go to stderr"),
    ("logToStderr", "logs go to stderr"),
    ("metricsPort", "metrics aren't served"),
    ("name", "the written file's name is patchbay, or see overrideNetworkName"),
    ("perNodeCertificate", "the service-account token is used"),
    ("retryDeleteOnError", "a failed DEL is always kept and repeated"),
    ("runtimeConfig", "only the runtime's own is passed on"),
    ("socketDir", "use socket"),
    ("type", "the written file's type is patchbay"),
];

/// The file's object while keys are taken from it.
struct Keys<'a> {
    file: &'a Path,
    map: Map<String, Value>,
}

impl Keys<'_> {
    /// Takes `key` out, matched without regard to case; an absent or null key is `None`.
    fn take<T: DeserializeOwned>(&mut self, key: &'static str) -> Result<Option<T>, Error> {
        let Some(spelled) = self.map.keys().find(|k| k.eq_ignore_ascii_case(key)).cloned() else {
            return Ok(None);
        };
        match self.map.remove(&spelled) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => serde_json::from_value(value).map(Some).map_err(|source| Error::Value {
                file: self.file.to_owned(),
                key,
                source,
            }),
        }
    }

    fn or<T: DeserializeOwned>(&mut self, key: &'static str, default: T) -> Result<T, Error> {
        Ok(self.take(key)?.unwrap_or(default))
    }

    /// A string where the empty one means "not set".
    fn text(&mut self, key: &'static str) -> Result<Option<String>, Error> {
        Ok(self.take::<String>(key)?.filter(|text| !text.is_empty()))
    }

    fn path(&mut self, key: &'static str, default: &str) -> Result<PathBuf, Error> {
        Ok(self.text(key)?.map_or_else(|| PathBuf::from(default), PathBuf::from))
    }

    fn seconds(&mut self, key: &'static str, default: u64) -> Result<Duration, Error> {
        match self.or(key, default)? {
            seconds @ 1..=3600 => Ok(Duration::from_secs(seconds)),
            _ => Err(self.range(key, "a number of seconds from 1 to 3600")),
        }
    }

    fn workers(&mut self, key: &'static str, default: usize) -> Result<usize, Error> {
        match self.or(key, default)? {
            workers @ 1..=1024 => Ok(workers),
            _ => Err(self.range(key, "from 1 to 1024")),
        }
    }

    fn range(&self, key: &'static str, expected: &'static str) -> Error {
        Error::Range { file: self.file.to_owned(), key, expected }
    }
}

/// Reads the file. `node_name` is the environment's `NODE_NAME`, which wins over the file's.
/// The second part of the answer is what to warn about.
pub fn load(file: &Path, node_name: Option<String>) -> Result<(Config, Vec<String>), Error> {
    let bytes = match std::fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => b"{}".to_vec(),
        Err(source) => return Err(Error::Read { file: file.to_owned(), source }),
    };
    parse(file, &bytes, node_name)
}

/// [`load`] for bytes already read; `file` is only named in errors.
pub fn parse(file: &Path, bytes: &[u8], node_name: Option<String>) -> Result<(Config, Vec<String>), Error> {
    let map =
        serde_json::from_slice(bytes).map_err(|source| Error::Parse { file: file.to_owned(), source })?;
    let mut keys = Keys { file, map };

    let in_file = keys.text("nodeName")?;
    let cni_config_dir = keys.path("cniConfigDir", "/etc/cni/net.d")?;
    let autoconfig_dir = keys.text("multusAutoconfigDir")?;
    let write_cni_config = match keys.or("multusConfigFile", "auto".to_owned())?.as_str() {
        "auto" | "" => true,
        "none" => false,
        _ => return Err(keys.range("multusConfigFile", "\"auto\" or \"none\"")),
    };
    let master_cni = keys.text("multusMasterCNI")?;
    if master_cni.as_ref().is_some_and(|name| name.contains('/')) {
        return Err(keys.range("multusMasterCNI", "a file name without a directory"));
    }
    let globals = keys.or("globalNamespaces", "default".to_owned())?;
    let config = Config {
        node_name: node_name
            .filter(|name| !name.is_empty())
            .or(in_file)
            .ok_or_else(|| Error::NoNodeName { file: file.to_owned() })?,
        kubeconfig: keys.text("kubeconfig")?.map(PathBuf::from),
        cluster_network: keys.text("clusterNetwork")?,
        default_networks: keys.or("defaultNetworks", Vec::new())?,
        system_namespaces: keys.or("systemNamespaces", vec!["kube-system".to_owned()])?,
        multus_namespace: keys.text("multusNamespace")?.unwrap_or_else(|| "kube-system".to_owned()),
        namespace_isolation: keys.or("namespaceIsolation", false)?,
        global_namespaces: globals
            .split(',')
            .map(|name| name.trim().to_owned())
            .filter(|name| !name.is_empty())
            .collect(),
        conf_dir: keys.path("confDir", "/etc/cni/multus/net.d")?,
        bin_dir: keys.path("binDir", "/opt/cni/bin")?,
        autoconfig_dir: autoconfig_dir.map_or_else(|| cni_config_dir.clone(), PathBuf::from),
        cni_config_dir,
        master_cni,
        write_cni_config,
        cni_version: keys.text("cniVersion")?,
        override_network_name: keys.or("overrideNetworkName", false)?,
        capabilities: keys.or("capabilities", BTreeMap::new())?,
        readiness_indicator: keys.text("readinessindicatorfile")?.map(PathBuf::from),
        log_level: log_directive(&keys.or("logLevel", String::new())?)
            .ok_or_else(|| keys.range("logLevel", "error, warning, info, verbose, debug or trace"))?
            .to_owned(),
        socket: keys.path("socket", "/run/patchbay/patchbayd.sock")?,
        state_dir: keys.path("stateDir", "/var/lib/patchbay")?,
        vf_dir: keys.path("vfDir", "/run/patchbay/vf")?,
        kubelet_dir: keys.path("kubeletDir", "/var/lib/kubelet")?,
        device_info_dir: keys.path("deviceInfoDir", "/var/run/k8s.cni.cncf.io/devinfo")?,
        install_from: keys.text("installFrom")?.map(PathBuf::from),
        overwrite_sriov: keys.or("overwriteSriov", false)?,
        in_process_sriov: keys.or("inProcessSriov", true)?,
        tolerate_missing_capability: keys.or("tolerateMissingCapability", false)?,
        add_workers: keys.workers("addWorkers", 16)?,
        del_workers: keys.workers("delWorkers", 16)?,
        plugin_deadline: keys.seconds("pluginSeconds", 60)?,
        request_deadline: keys.seconds("requestSeconds", 110)?,
    };
    let warnings = keys.map.keys().map(|key| warning(file, key)).collect();
    Ok((config, warnings))
}

/// What to say about a key that nothing has taken.
fn warning(file: &Path, key: &str) -> String {
    let file = file.display();
    match WITHOUT_EFFECT.iter().find(|(known, _)| known.eq_ignore_ascii_case(key)) {
        Some((known, instead)) => format!("configuration {file}: {known} has no effect: {instead}"),
        None => format!("configuration {file}: key {key:?} is unknown and ignored"),
    }
}

/// The log filter for the level names that existing configurations use.
fn log_directive(level: &str) -> Option<&'static str> {
    match level.to_ascii_lowercase().as_str() {
        "" | "info" | "verbose" => Some("info"),
        "panic" | "error" => Some("error"),
        "warning" | "warn" => Some("warn"),
        "debug" => Some("debug"),
        "trace" => Some("trace"),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
