//! The node as the plugin finds it: the one place that looks at devices and marks them.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ledger::Owner;
use multinet::deviceinfo::{self, DeviceInfo, PciInfo};
use netlink::Links;
use pci::{Function, PciAddress};
use vf::{Host, Prepared};

use crate::allocate::{self, Access, Given, Missing};
use crate::config::PoolConfig;
use crate::health::Standing;
use crate::inventory::{self, Device, Inventory};
use crate::pools::{Miss, miss};
use crate::report::chain;

/// How long one look at the node, or the work for one allocation, may take. Kubelet admits no other pod meanwhile.
pub const PATIENCE: Duration = Duration::from_secs(45);

/// The node.
#[derive(Debug)]
pub struct Node<L: Links> {
    /// Its VFs and their ledger.
    pub host: Host<L>,
    /// Where device-info files are: usually [`deviceinfo::ROOT`].
    pub device_info: PathBuf,
}

/// Why a device can't be given to a container.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It isn't there, or can't be read.
    #[error("cannot look at device {device}")]
    Look {
        /// The device.
        device: PciAddress,
        /// Why not.
        #[source]
        source: pci::Error,
    },
    /// What it takes to reach it isn't there.
    #[error("device {device} cannot be used: {missing}")]
    Missing {
        /// The device.
        device: PciAddress,
        /// What is missing.
        missing: Missing,
    },
    /// It has become something that its pool doesn't ask for.
    #[error("device {device} has changed: its driver is {}, and {resource} asks for others ({key})", driver.as_deref().unwrap_or("none"))]
    Changed {
        /// The device.
        device: PciAddress,
        /// Its driver.
        driver: Option<String>,
        /// The pool.
        resource: String,
        /// The selector's key that speaks against it.
        key: &'static str,
    },
    /// The ledger doesn't let it be given away.
    #[error("device {device} cannot be handed out")]
    Prepare {
        /// The device.
        device: PciAddress,
        /// Why not.
        #[source]
        source: Box<vf::Error>,
    },
    /// Its description can't be written.
    #[error("cannot describe device {device} to the network plugins")]
    Describe {
        /// The device.
        device: PciAddress,
        /// Why not.
        #[source]
        source: deviceinfo::Error,
    },
    /// The look at the node, or the work on the device, hangs in the kernel.
    #[error("{what} took more than {PATIENCE:?}: a driver may hang, see the kernel's log")]
    Stuck {
        /// What hangs.
        what: String,
    },
}

impl<L: Links + 'static> Node<L> {
    /// Runs blocking work on the node's devices, off the async threads, for a bounded time. Work that hangs in the
    /// kernel can't be stopped; it keeps its thread, and the VF's lock with it.
    pub async fn work<T: Send + 'static>(
        self: &Arc<Self>,
        what: impl Into<String>,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let node = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || work(&node));
        match tokio::time::timeout(PATIENCE, done).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(panic)) => std::panic::resume_unwind(panic.into_panic()),
            Err(_elapsed) => Err(Error::Stuck { what: what.into() }),
        }
    }
}

impl<L: Links> Node<L> {
    /// The node's devices.
    pub fn inventory(&self) -> Result<Inventory, inventory::Error> {
        Inventory::read(&self.host.sysfs, &self.host.links)
    }

    /// What the ledger says of the devices that aren't free, and which ones the existing plugin has left in a state
    /// that nobody knows.
    pub fn standing(&self) -> Result<BTreeMap<PciAddress, Standing>, ledger::Error> {
        let entries = self.host.ledger.entries::<vf::Intent>()?;
        let of = |entry| Standing::of(&entry, &self.host.boot_id);
        let mut standing: BTreeMap<PciAddress, Standing> = entries
            .into_iter()
            .filter_map(|(device, entry)| Some((device.as_str().parse().ok()?, of(entry))))
            .collect();
        let left = self.host.left_by_existing().into_iter();
        standing.extend(left.map(|(device, error)| (device, Standing::Unknown(chain(&error)))));
        Ok(standing)
    }

    /// The devices that are marked for a pod and that nobody has claimed, with their resources.
    pub fn marked(&self) -> Result<BTreeMap<PciAddress, String>, ledger::Error> {
        let marked = |(device, entry): (ledger::Device, Result<vf::Entry, ledger::Error>)| {
            let entry = entry.ok().filter(|entry| entry.boot_id == self.host.boot_id)?;
            let vf::State::Prepared { resource } = entry.state else { return None };
            Some((device.as_str().parse().ok()?, resource))
        };
        Ok(self.host.ledger.entries::<vf::Intent>()?.into_iter().filter_map(marked).collect())
    }

    /// What a container is to be given for a device of a pool, as things are now: `known` is what was found of it
    /// before. Changes nothing.
    pub fn given(&self, pool: &PoolConfig, known: &Device) -> Result<(Given, Function), Error> {
        let device = known.function.address;
        let function = self.host.sysfs.function(&device).map_err(|source| Error::Look { device, source })?;
        let access = self.access(&function).map_err(|missing| Error::Missing { device, missing })?;
        let now = Device { function, ..known.clone() };
        if let Some(Miss(key)) = miss(pool, &now) {
            let (driver, resource) = (now.function.driver, pool.resource.to_string());
            return Err(Error::Changed { device, driver, resource, key: key.unwrap_or("selectors") });
        }
        let additional = pool.additional_info(&device);
        Ok((Given { address: device, access, additional }, now.function))
    }

    /// Marks a device in the ledger and describes it to the network plugins.
    pub fn hand_out(&self, pool: &PoolConfig, function: &Function) -> Result<(), Error> {
        self.mark(pool, function.address)?;
        self.describe(pool, function)
    }

    /// Undoes [`Node::hand_out`] for a device that no container gets after all.
    pub fn take_back(&self, device: PciAddress) {
        if let Err(error) = self.host.unprepare(device) {
            // It stays marked until nobody is seen to have it.
            tracing::warn!(%device, error = chain(&error), "cannot unmark a device that was not given away");
        }
    }

    fn mark(&self, pool: &PoolConfig, device: PciAddress) -> Result<(), Error> {
        let resource = pool.resource.to_string();
        let failed = |source| Error::Prepare { device, source: Box::new(source) };
        // Kubelet takes a pod's device back before that pod is taken down, and asks before each start of a container.
        // Whose it is then isn't this program's to judge, which may not see the pods' namespaces: the next ADD does.
        if let Some(owner) = self.owner(device).map_err(failed)? {
            tracing::debug!(%device, %resource, container = owner.container_id, "marked for its owner already");
            return Ok(());
        }
        match self.host.prepare(device, &resource) {
            Ok(Prepared::Marked(vf::Freshness::Replaced(differences))) => tracing::warn!(
                %device, %resource, differences = %vf::describe(&differences),
                "something has changed this free VF; what it is now counts as its baseline"
            ),
            Ok(Prepared::Marked(_) | Prepared::Already) => {}
            Err(
                error @ (vf::Error::Busy { .. }
                | vf::Error::NotAtHome { .. }
                | vf::Error::OfExistingPlugin { .. }),
            ) => {
                tracing::info!(%device, %resource, reason = chain(&error), "not at home yet, its new pod waits for it");
            }
            Err(error) => return Err(failed(error)),
        }
        Ok(())
    }

    /// Whose the device is in this boot, if anybody's: by the ledger, or by the existing plugin's files.
    fn owner(&self, device: PciAddress) -> Result<Option<Owner>, vf::Error> {
        let Ok(key) = device.to_string().parse() else { return Ok(None) };
        let entry = match self.host.ledger.entry::<vf::Intent>(&key) {
            // What is lost is told, with what to do, where the device is marked.
            Err(error) if error.is_damaged() => None,
            entry => entry.map_err(|source| vf::Error::Ledger { pci: device, source })?,
        };
        match entry.filter(|entry| entry.boot_id == self.host.boot_id).map(|entry| entry.state) {
            Some(
                vf::State::Claimed { claim } | vf::State::Attached { claim } | vf::State::Releasing { claim },
            ) => Ok(Some(claim.owner)),
            Some(vf::State::Quarantined { .. }) => Ok(None),
            Some(vf::State::Prepared { .. }) | None => self.host.existing_owner(device),
        }
    }

    fn describe(&self, pool: &PoolConfig, function: &Function) -> Result<(), Error> {
        let (device, resource) = (function.address, pool.resource.to_string());
        let pf = function.vf.map(|vf| vf.pf.to_string());
        let address = device.to_string();
        let info =
            DeviceInfo::pci(&PciInfo { address: &address, pf_address: pf.as_deref(), ..PciInfo::default() });
        let path = deviceinfo::dp_path(&self.device_info, &resource, &address);
        deviceinfo::write(&path, &info).map_err(|source| Error::Describe { device, source })
    }

    fn access(&self, function: &Function) -> Result<Access, Missing> {
        let uio = || {
            let device = self.host.sysfs.root().join("bus/pci/devices").join(function.address.to_string());
            let entries = fs::read_dir(device.join("uio")).into_iter().flatten().flatten();
            entries.filter_map(|entry| entry.file_name().into_string().ok()).min()
        };
        allocate::access(function.driver.as_deref(), function.iommu_group.as_ref(), uio)
    }
}
