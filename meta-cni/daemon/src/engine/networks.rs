//! A pod's networks, from its annotations, the node's configuration, NADs and files.

use std::path::Path;

use multinet::Nad;

use super::{Call, Engine, Pod, Wanted};
use crate::choice::{self, Choice, Rules};
use crate::cluster;
use crate::confdir::{self, Found};
use crate::plan::{self, Network, PodRef};
use crate::store::{Entry, Phase, Progress, Record};

impl Engine {
    /// The pod's networks in order, the default one first.
    pub(super) async fn networks(&self, pod: &Pod) -> Result<Vec<Wanted>, cni::Error> {
        let rules = Rules {
            isolation: self.config.namespace_isolation,
            global: self.config.global_namespaces.clone(),
            default_namespace: self.config.multus_namespace.clone(),
        };
        let choice = choice::choice(pod, &rules)?;
        let in_pod = |error: cni::Error| error.context(format_args!("pod {}/{}", pod.namespace, pod.name));
        self.chosen(pod, choice).await.map_err(in_pod)
    }

    async fn chosen(&self, pod: &Pod, choice: Choice) -> Result<Vec<Wanted>, cni::Error> {
        let mut networks = Vec::with_capacity(choice.networks.len() + 1);
        match choice.default {
            Some(selection) => {
                let network = self.nad_for(pod, &selection.namespace, &selection.name).await?;
                networks.push(Wanted { network, selection: Some(selection) });
            }
            None => networks.push(Wanted { network: self.default_network().await?, selection: None }),
        }
        if !self.config.system_namespaces.contains(&pod.namespace) {
            for reference in &self.config.default_networks {
                networks.push(Wanted { network: self.reference(reference).await?, selection: None });
            }
        }
        for selection in choice.networks {
            let network = self.nad_for(pod, &selection.namespace, &selection.name).await?;
            networks.push(Wanted { network, selection: Some(selection) });
        }
        Ok(networks)
    }

    /// The node's default network.
    pub(super) async fn default_network(&self) -> Result<Network, cni::Error> {
        match &self.config.cluster_network {
            Some(reference) => self.reference(reference).await,
            None => {
                Ok(of_file(confdir::primary(&self.config.autoconfig_dir, self.config.master_cni.as_deref())?))
            }
        }
    }

    /// What configuration names: a path; or a NAD; or else a network in the configuration directory.
    async fn reference(&self, reference: &str) -> Result<Network, cni::Error> {
        if reference.contains('/') {
            return Ok(of_file(confdir::load(Path::new(reference))?));
        }
        let nad = match self.nad(&self.config.multus_namespace, reference).await {
            Ok(network) => return Ok(network),
            Err(error) => error,
        };
        confdir::by_name(&self.config.conf_dir, reference).map(of_file).map_err(|file| {
            nad.context(format!("network {reference:?} of patchbayd's configuration ({file})"))
        })
    }

    /// The network of a NAD that the pod has chosen. Its owner is told when there is no such NAD.
    async fn nad_for(&self, pod: &Pod, namespace: &str, name: &str) -> Result<Network, cni::Error> {
        let found = self.cluster.nad(namespace, name).await;
        if let Err(error @ cluster::Error::NoNad { .. }) = &found {
            self.tell(pod, "NoNetworkFound", error.to_string(), true);
        }
        self.network_of(found?)
    }

    /// The network that a NAD defines.
    async fn nad(&self, namespace: &str, name: &str) -> Result<Network, cni::Error> {
        self.network_of(self.cluster.nad(namespace, name).await?)
    }

    fn network_of(&self, nad: Nad) -> Result<Network, cni::Error> {
        let config = if nad.config.trim().is_empty() {
            confdir::by_name(&self.config.conf_dir, &nad.name)?.config
        } else {
            nad.delegate_config()?
        };
        let list = config.list().map_err(|error| {
            cni::Error::from(error).context(format_args!("NetworkAttachmentDefinition {}", nad.full_name()))
        })?;
        confdir::refuse_own(&list, || format!("NetworkAttachmentDefinition {}", nad.full_name()))?;
        Ok(Network { name: nad.full_name(), config, resource: nad.resource_name })
    }

    /// A record of the default network alone, for a sandbox that has none: made before patchbay came, or its
    /// record is lost. The runtime's `prevResult` is that network's.
    pub(super) async fn default_only(&self, call: &Call) -> Result<Record, cni::Error> {
        let mut network = self.default_network().await?;
        // Nobody knows any more which device it had, and its plugin has its own record.
        network.resource = None;
        let arg = |key| call.args.arg(key).unwrap_or_default().to_owned();
        let pod = PodRef {
            namespace: arg("K8S_POD_NAMESPACE"),
            name: arg("K8S_POD_NAME"),
            uid: arg("K8S_POD_UID"),
        };
        let networks = [Wanted { network, selection: None }];
        let devices = crate::devices::Devices::new();
        let plan = plan::plan(&self.sandbox(call), &pod, &networks, &devices, &self.policy())?;
        let mut record = Record::new(plan, self.store.boot_id());
        record.phase = Phase::Added;
        for Entry { progress, .. } in &mut record.attachments {
            *progress = match call.conf.prev_result() {
                Some(result) => Progress::Added { result: result.to_owned() },
                None => Progress::Adding,
            };
        }
        Ok(record)
    }
}

fn of_file(found: Found) -> Network {
    Network { name: found.list.name, config: found.config, resource: None }
}
