//! What kubelet's device manager knows.

use std::collections::{BTreeMap, BTreeSet};

use kubelet::deviceplugin::v1beta1 as api;
use kubelet::deviceplugin::v1beta1::device_plugin_client::DevicePluginClient;
use tonic::transport::Channel;

use super::Error;

/// A pod, as kubelet tells it from others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

/// A device, as its plugin listed it last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Whether kubelet would give it to a container.
    pub healthy: bool,
    /// The NUMA nodes that it's near to.
    pub nodes: Vec<i64>,
}

/// Devices of one resource that a container has.
#[derive(Debug, Clone, PartialEq)]
pub struct Allocation {
    /// The container.
    pub container: String,
    /// The resource.
    pub resource: String,
    /// The devices.
    pub ids: Vec<String>,
    /// What the plugin answered: environment, device nodes and so on.
    pub response: api::ContainerAllocateResponse,
}

/// What an allocation chooses from.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) free: Vec<String>,
    pub(super) options: api::DevicePluginOptions,
    pub(super) client: DevicePluginClient<Channel>,
}

/// A pod's allocation, with the NUMA nodes under which the checkpoint lists its devices.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) pod: Pod,
    pub(super) allocation: Allocation,
    pub(super) nodes: BTreeMap<i64, Vec<String>>,
}

#[derive(Debug)]
struct Connection {
    client: DevicePluginClient<Channel>,
    options: api::DevicePluginOptions,
}

#[derive(Debug, Default)]
struct Plugin {
    connection: Option<Connection>,
    devices: BTreeMap<String, Device>,
    registrations: usize,
}

#[derive(Debug, Default)]
pub(super) struct State {
    plugins: BTreeMap<String, Plugin>,
    records: Vec<Record>,
}

impl State {
    pub(super) fn records(&self) -> &[Record] {
        &self.records
    }

    pub(super) fn devices(&self, resource: &str) -> BTreeMap<String, Device> {
        self.plugins.get(resource).map(|plugin| plugin.devices.clone()).unwrap_or_default()
    }

    pub(super) fn registered(&self) -> BTreeSet<String> {
        let connected = self.plugins.iter().filter(|(_, plugin)| plugin.connection.is_some());
        connected.map(|(resource, _)| resource.clone()).collect()
    }

    pub(super) fn registrations(&self, resource: &str) -> usize {
        self.plugins.get(resource).map_or(0, |plugin| plugin.registrations)
    }

    pub(super) fn allocations(&self, pod: &Pod) -> Vec<Allocation> {
        self.records
            .iter()
            .filter(|record| record.pod == *pod)
            .map(|record| record.allocation.clone())
            .collect()
    }

    pub(super) fn client(&self, resource: &str) -> Result<DevicePluginClient<Channel>, Error> {
        Ok(self.connection(resource)?.client.clone())
    }

    pub(super) fn options(&self, resource: &str) -> api::DevicePluginOptions {
        self.connection(resource).map(|connection| connection.options).unwrap_or_default()
    }

    fn connection(&self, resource: &str) -> Result<&Connection, Error> {
        let connection = self.plugins.get(resource).and_then(|plugin| plugin.connection.as_ref());
        connection.ok_or_else(|| Error::NotRegistered { resource: resource.to_owned() })
    }

    pub(super) fn choose(&self, resource: &str, count: usize) -> Result<Choice, Error> {
        let connection = self.connection(resource)?;
        let taken: BTreeSet<&String> = self
            .records
            .iter()
            .filter(|record| record.allocation.resource == resource)
            .flat_map(|record| &record.allocation.ids)
            .collect();
        let devices = self.plugins.get(resource).into_iter().flat_map(|plugin| &plugin.devices);
        let free: Vec<String> = devices
            .filter(|(id, device)| device.healthy && !taken.contains(id))
            .map(|(id, _)| id.clone())
            .collect();
        if free.len() < count {
            return Err(Error::TooFew { resource: resource.to_owned(), wanted: count, free: free.len() });
        }
        Ok(Choice { free, options: connection.options, client: connection.client.clone() })
    }

    pub(super) fn insert(&mut self, pod: &Pod, allocation: Allocation) {
        let devices = self.devices(&allocation.resource);
        let mut nodes: BTreeMap<i64, Vec<String>> = BTreeMap::new();
        for id in &allocation.ids {
            let near = devices.get(id).map(|device| device.nodes.clone()).unwrap_or_default();
            // Kubelet's key for "no node".
            let near = if near.is_empty() { vec![-1] } else { near };
            for node in near {
                nodes.entry(node).or_default().push(id.clone());
            }
        }
        self.records.push(Record { pod: pod.clone(), allocation, nodes });
    }

    pub(super) fn free(&mut self, pod: &Pod) {
        self.records.retain(|record| record.pod != *pod);
    }

    /// Starts over with what a checkpoint says. A checkpoint has no names of pods, so pods that are still known by
    /// their UID keep theirs.
    pub(super) fn remember(&mut self, mut records: Vec<Record>) {
        for record in &mut records {
            if let Some(known) = self.records.iter().find(|known| known.pod.uid == record.pod.uid) {
                record.pod = known.pod.clone();
            }
        }
        let registrations = std::mem::take(&mut self.plugins);
        for (resource, Plugin { registrations, .. }) in registrations {
            self.plugins.insert(resource, Plugin { registrations, ..Plugin::default() });
        }
        self.records = records;
    }

    pub(super) fn connected(
        &mut self,
        resource: &str,
        client: DevicePluginClient<Channel>,
        options: api::DevicePluginOptions,
    ) {
        let plugin = self.plugins.entry(resource.to_owned()).or_default();
        plugin.registrations += 1;
        plugin.connection = Some(Connection { client, options });
    }

    pub(super) fn listed(&mut self, resource: &str, devices: Vec<api::Device>) {
        let Some(plugin) = self.plugins.get_mut(resource) else { return };
        plugin.devices = devices
            .into_iter()
            .map(|device| {
                let nodes = device.topology.unwrap_or_default().nodes.iter().map(|node| node.id).collect();
                let healthy = device.health == kubelet::deviceplugin::HEALTHY;
                (device.id, Device { healthy, nodes })
            })
            .collect();
    }

    pub(super) fn disconnected(&mut self, resource: &str) {
        if let Some(plugin) = self.plugins.get_mut(resource) {
            plugin.connection = None;
            plugin.devices.values_mut().for_each(|device| device.healthy = false);
        }
    }

    pub(super) fn disconnect_all(&mut self) {
        for resource in self.registered() {
            self.disconnected(&resource);
        }
    }

    /// Every known resource with the ids of its healthy devices, as the checkpoint lists them.
    pub(super) fn registered_devices(&self) -> BTreeMap<&str, Vec<&str>> {
        self.plugins
            .iter()
            .map(|(resource, plugin)| {
                let ids =
                    plugin.devices.iter().filter(|(_, device)| device.healthy).map(|(id, _)| id.as_str());
                (resource.as_str(), ids.collect())
            })
            .collect()
    }
}
