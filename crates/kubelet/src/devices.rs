use std::collections::{BTreeMap, BTreeSet};

/// The devices of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerDevices {
    /// The container's name.
    pub container: String,
    /// Its devices, one entry per resource, sorted by resource.
    pub resources: Vec<ResourceDevices>,
}

/// The devices of one resource in one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceDevices {
    /// The resource's full name, such as `intel.com/sriov`.
    pub resource: String,
    /// The device ids, sorted. Kubelet itself has no order for them: it reports them by NUMA node, out of a set.
    pub ids: Vec<String>,
}

impl ContainerDevices {
    /// Gathers what kubelet reports in several entries (one per NUMA node) into one entry per resource.
    pub(crate) fn gather(
        container: String,
        entries: impl IntoIterator<Item = (String, Vec<String>)>,
    ) -> Self {
        let mut resources: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (resource, ids) in entries {
            resources.entry(resource).or_default().extend(ids);
        }
        let resources = resources
            .into_iter()
            .map(|(resource, ids)| ResourceDevices { resource, ids: ids.into_iter().collect() })
            .collect();
        Self { container, resources }
    }
}

/// A pod's devices as networks use them up: per resource, the ids of its containers in their order, sorted within each
/// container, an id that several containers share (an init container's goes on to a container) counted once, where it
/// comes first.
pub fn ids_by_resource(containers: &[ContainerDevices]) -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for ResourceDevices { resource, ids } in containers.iter().flat_map(|container| &container.resources) {
        let known = all.entry(resource.clone()).or_default();
        for id in ids {
            if !known.contains(id) {
                known.push(id.clone());
            }
        }
    }
    all
}
