//! The whole plugin: every pool served, registered, followed and swept.

use std::sync::Arc;

use kubelet::Kubelet;
use netlink::Links;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::follow::Follower;
use crate::node::{self, Node};
use crate::pools::pools;
use crate::registration::keep_registered;
use crate::server::Pool;
use crate::sweep::keep_swept;
use crate::timing::Timing;
use crate::{inventory, report};

/// Why the plugin can't start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The node's devices can't be told.
    #[error("cannot start without knowing the node's devices")]
    Inventory(#[source] inventory::Error),
    /// The ledger can't be read.
    #[error("cannot start without knowing whose the node's VFs are")]
    Ledger(#[source] ledger::Error),
    /// A look at the node hangs.
    #[error("cannot start")]
    Stuck(#[source] node::Error),
}

/// Offers the pools of `config` to `kubelet` until `stop`, then removes the own sockets and returns.
///
/// Device-info files stay: running pods' network plugins still read them.
pub async fn run<L: Links + 'static>(
    node: Arc<Node<L>>,
    config: Config,
    kubelet: Kubelet,
    timing: Timing,
    stop: CancellationToken,
) -> Result<(), Error> {
    for warning in &config.warnings {
        tracing::warn!(warning, "pool file");
    }
    if config.pools.is_empty() {
        tracing::warn!("the pool file lists no pools: nothing is offered");
    }
    let inventory =
        node.work("the first look at the node's devices", Node::inventory).await.map_err(Error::Stuck)?;
    let inventory = inventory.map_err(Error::Inventory)?;
    let standing = node.work("reading the ledger", Node::standing).await.map_err(Error::Stuck)?;
    let standing = standing.map_err(Error::Ledger)?;
    let assignment = pools(&inventory, &config);
    report::log_inventory(&inventory, &assignment);
    let (follower, offers) =
        Follower::new(Arc::clone(&node), config.clone(), inventory, assignment, &standing);

    let tasks = TaskTracker::new();
    tasks.spawn(follower.keep_following(timing, stop.clone()));
    let again = watch::Sender::new(());
    let sweeping = keep_swept(Arc::clone(&node), kubelet.clone(), timing, again.clone(), stop.clone());
    tasks.spawn(sweeping);
    for (config, offer) in config.pools.into_iter().zip(offers) {
        let streams = watch::Sender::new(0);
        let (node, again) = (Arc::clone(&node), again.subscribe());
        let pool = Pool { config, node, offer, again, streams, tasks: tasks.clone() };
        tasks.spawn(keep_registered(Arc::new(pool), kubelet.clone(), timing, stop.clone()));
    }
    stop.cancelled().await;
    tasks.close();
    tasks.wait().await;
    Ok(())
}
