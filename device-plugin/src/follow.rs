//! Following the node: what each pool offers, as devices and ledger change.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kubelet::watch::Directory;
use netlink::Links;
use pci::PciAddress;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::health::Standing;
use crate::inventory::Inventory;
use crate::node::Node;
use crate::offer::{Offer, changes, offers};
use crate::pools::{Assignment, pools};
use crate::report::chain;
use crate::timing::Timing;

/// How long a burst of changes in the ledger may last before it's read.
const SETTLE: Duration = Duration::from_millis(50);

/// When devices are first offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Occasion {
    /// When the plugin starts.
    Start,
    /// When something has changed.
    Change,
}

/// What is known of the node, and who is told.
#[derive(Debug)]
pub(crate) struct Follower<L: Links> {
    node: Arc<Node<L>>,
    config: Config,
    inventory: Inventory,
    assignment: Assignment,
    offers: Vec<Offer>,
    senders: Vec<watch::Sender<Offer>>,
}

impl<L: Links + 'static> Follower<L> {
    /// Starts from an inventory; returns what each pool's service listens to, in the configuration's order.
    pub(crate) fn new(
        node: Arc<Node<L>>,
        config: Config,
        inventory: Inventory,
        assignment: Assignment,
        standing: &BTreeMap<PciAddress, Standing>,
    ) -> (Self, Vec<watch::Receiver<Offer>>) {
        let (senders, receivers) = config.pools.iter().map(|_| watch::channel(Offer::default())).unzip();
        let offers = vec![Offer::default(); config.pools.len()];
        let mut follower = Self { node, config, inventory, assignment, offers, senders };
        follower.publish(standing, Occasion::Start);
        (follower, receivers)
    }

    /// Looks at the node again whenever the ledger changes, and now and then, until `stop`.
    pub(crate) async fn keep_following(mut self, timing: Timing, stop: CancellationToken) {
        let mut watch = None;
        let mut rescan = tokio::time::interval(timing.rescan);
        rescan.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        rescan.tick().await;
        loop {
            if watch.is_none() {
                watch = self.watch_ledger();
            }
            tokio::select! {
                () = stop.cancelled() => return,
                _ = rescan.tick() => self.rescan().await,
                event = noticed(watch.as_ref()) => {
                    if event.is_err() {
                        watch = None;
                    }
                    tokio::time::sleep(SETTLE).await;
                }
            }
            self.reread_ledger().await;
        }
    }

    fn watch_ledger(&self) -> Option<Directory> {
        match Directory::watch(self.node.host.ledger.directory()) {
            Ok(watch) => Some(watch),
            Err(error) => {
                tracing::warn!(error = chain(&error), "changes of the ledger are noticed late");
                None
            }
        }
    }

    async fn rescan(&mut self) {
        match self.node.work("a look at the node's devices", Node::inventory).await {
            Ok(Ok(inventory)) => {
                self.assignment = pools(&inventory, &self.config);
                self.inventory = inventory;
            }
            // What was known stays: a device isn't gone because it couldn't be looked at.
            Ok(Err(error)) => tracing::warn!(error = chain(&error), "cannot look at the node's devices"),
            Err(error) => tracing::warn!(error = chain(&error), "cannot look at the node's devices"),
        }
    }

    async fn reread_ledger(&mut self) {
        match self.node.work("reading the ledger", Node::standing).await {
            Ok(Ok(standing)) => self.publish(&standing, Occasion::Change),
            Ok(Err(error)) => tracing::warn!(error = chain(&error), "cannot read the ledger"),
            Err(error) => tracing::warn!(error = chain(&error), "cannot read the ledger"),
        }
    }

    fn publish(&mut self, standing: &BTreeMap<PciAddress, Standing>, occasion: Occasion) {
        let now = offers(&self.assignment, &self.inventory, standing, &self.offers);
        for change in changes(&self.assignment, &self.offers, &now) {
            let (resource, device) = (&change.resource, &change.device);
            match &change.trouble {
                Some(reason) => tracing::warn!(%resource, %device, %reason, "unhealthy"),
                // The list of all devices has just been told.
                None if change.new && occasion == Occasion::Start => {}
                None if change.new => tracing::info!(%resource, %device, "offered"),
                None => tracing::info!(%resource, %device, "healthy again"),
            }
        }
        for (sender, offer) in self.senders.iter().zip(&now) {
            sender.send_if_modified(|known| {
                let differs = known != offer;
                if differs {
                    known.clone_from(offer);
                }
                differs
            });
        }
        self.offers = now;
    }
}

async fn noticed(watch: Option<&Directory>) -> Result<(), kubelet::watch::Error> {
    match watch {
        Some(watch) => watch.changed().await,
        None => std::future::pending().await,
    }
}
