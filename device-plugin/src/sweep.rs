//! Freeing devices that were marked for a pod and are no pod's any more.
//!
//! Kubelet doesn't say when it takes a device back, and a pod that uses its device without CNI never returns it. So a
//! mark goes when kubelet hasn't shown the device for several reads in a row, and nobody has claimed it meanwhile.
//!
//! Kubelet's checkpoint has pods that are gone until kubelet writes it anew, and it does so only when it allocates a
//! device or gets a list of devices. So it is sent one where only the checkpoint keeps a mark alive.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kubelet::checkpoint::{self, Checkpoint};
use kubelet::{Kubelet, podresources};
use netlink::Links;
use pci::PciAddress;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use vf::Unprepared;

use crate::node::Node;
use crate::report::chain;
use crate::timing::Timing;

/// How many reads in a row have to miss a device: a pod shows up in them only a moment after its allocation.
const READS: u32 = 3;

/// What a pod has, by resource.
type Allocated = BTreeMap<String, BTreeSet<String>>;

/// Counts for how many reads a marked device hasn't been shown.
#[derive(Debug, Default)]
pub struct Misses(BTreeMap<PciAddress, u32>);

impl Misses {
    /// Takes one successful read into account, and names the devices whose marks are to go.
    pub fn observe(
        &mut self,
        marked: &BTreeMap<PciAddress, String>,
        allocated: &Allocated,
    ) -> Vec<PciAddress> {
        let shown = |device: &PciAddress, resource: &str| {
            allocated.get(resource).is_some_and(|ids| ids.contains(&device.to_string()))
        };
        let missed: Vec<PciAddress> = marked
            .iter()
            .filter(|(device, resource)| !shown(device, resource))
            .map(|(device, _)| *device)
            .collect();
        self.0.retain(|device, _| missed.contains(device));
        for device in missed {
            *self.0.entry(device).or_default() += 1;
        }
        self.0.iter().filter(|(_, count)| **count >= READS).map(|(device, _)| *device).collect()
    }
}

/// Who has what, by either account.
struct Accounts {
    /// What pod resources list, where they are served. They leave out init containers.
    listed: Option<Allocated>,
    /// That, and what the checkpoint has. To free a device late does no harm.
    all: Allocated,
}

/// What is remembered from one read to the next.
#[derive(Debug, Default)]
struct Sweep {
    /// Devices that neither account shows.
    unused: Misses,
    /// Devices that pod resources don't show.
    unlisted: Misses,
}

impl Sweep {
    /// The devices whose marks are to go, and whether kubelet is to be sent the list of devices again.
    fn observe(
        &mut self,
        marked: &BTreeMap<PciAddress, String>,
        accounts: &Accounts,
    ) -> (Vec<PciAddress>, bool) {
        let unused = self.unused.observe(marked, &accounts.all);
        let Some(listed) = &accounts.listed else { return (unused, false) };
        let outdated =
            self.unlisted.observe(marked, listed).iter().any(|device| !self.unused.0.contains_key(device));
        if outdated {
            // An init container may have it: then this is as it should be, and isn't to be asked for all the time.
            self.unlisted = Misses::default();
        }
        (unused, outdated)
    }
}

/// Why it isn't known who has what.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("pod resources")]
    PodResources(#[source] podresources::Error),
    #[error("checkpoint")]
    Checkpoint(#[source] checkpoint::Error),
}

/// Frees what nobody has any more, until `stop`. `again` asks for the lists of devices to be sent to kubelet again.
pub(crate) async fn keep_swept<L: Links + 'static>(
    node: Arc<Node<L>>,
    kubelet: Kubelet,
    timing: Timing,
    again: watch::Sender<()>,
    stop: CancellationToken,
) {
    let mut state = Sweep::default();
    loop {
        tokio::select! {
            () = tokio::time::sleep(timing.sweep) => {}
            () = stop.cancelled() => return,
        }
        if sweep(&node, &kubelet, timing.answer, &mut state).await {
            again.send_replace(());
        }
    }
}

/// One look; whether kubelet is to be sent the list of devices again.
async fn sweep<L: Links + 'static>(
    node: &Arc<Node<L>>,
    kubelet: &Kubelet,
    deadline: Duration,
    state: &mut Sweep,
) -> bool {
    let marked = match node.work("reading the ledger", Node::marked).await {
        Ok(Ok(marked)) if marked.is_empty() => return false,
        Ok(Ok(marked)) => marked,
        Ok(Err(error)) => {
            tracing::warn!(error = chain(&error), "cannot read which devices are marked");
            return false;
        }
        Err(error) => {
            tracing::warn!(error = chain(&error), "cannot read which devices are marked");
            return false;
        }
    };
    let accounts = match accounts(kubelet, deadline).await {
        Ok(accounts) => accounts,
        Err(error) => {
            tracing::debug!(error = chain(&error), "kubelet does not say who has which device");
            return false;
        }
    };
    let (unused, again) = state.observe(&marked, &accounts);
    for device in unused {
        match node.work(format!("freeing {device}"), move |node| node.host.unprepare(device)).await {
            Ok(Ok(Unprepared::Freed)) => {
                tracing::info!(%device, "no pod has this device any more: it is free");
            }
            Ok(Ok(Unprepared::NotPrepared)) => {}
            Ok(Err(error)) => tracing::warn!(%device, error = chain(&error), "cannot free the device"),
            Err(error) => tracing::warn!(%device, error = chain(&error), "cannot free the device"),
        }
    }
    again
}

async fn accounts(kubelet: &Kubelet, deadline: Duration) -> Result<Accounts, Error> {
    let listed = match podresources::allocated(&kubelet.pod_resources_socket(), deadline).await {
        Ok(listed) => Some(listed),
        Err(error) if error.is_absent() => None,
        Err(error) => return Err(Error::PodResources(error)),
    };
    let mut all = listed.clone().unwrap_or_default();
    match Checkpoint::read(&kubelet.checkpoint()) {
        Ok(checkpoint) => {
            for (resource, ids) in checkpoint.allocated() {
                all.entry(resource).or_default().extend(ids);
            }
        }
        Err(error) if error.is_absent() && listed.is_some() => {}
        Err(error) => return Err(Error::Checkpoint(error)),
    }
    Ok(Accounts { listed, all })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const DEVICE: &str = "0000:01:10.0";

    fn marked() -> BTreeMap<PciAddress, String> {
        BTreeMap::from([(DEVICE.parse().unwrap(), "intel.com/a".to_owned())])
    }

    fn shown(resource: &str) -> Allocated {
        BTreeMap::from([(resource.to_owned(), BTreeSet::from([DEVICE.to_owned()]))])
    }

    #[rstest]
    #[case::never_shown(&[false, false, false], true)]
    #[case::shown_once_more(&[false, false, true], false)]
    #[case::missed_again_but_too_seldom(&[false, false, true, false, false], false)]
    #[case::missed_long_enough_after_it_was_shown(&[true, false, false, false], true)]
    fn a_mark_goes_after_several_reads_in_a_row(#[case] reads: &[bool], #[case] freed: bool) {
        let mut misses = Misses::default();
        let mut last = Vec::new();
        for read in reads {
            let allocated = if *read { shown("intel.com/a") } else { Allocated::new() };
            last = misses.observe(&marked(), &allocated);
        }
        assert_eq!(!last.is_empty(), freed);
    }

    #[test]
    fn a_device_under_another_resource_is_not_this_one() {
        let mut misses = Misses::default();
        let freed = (0..READS).map(|_| misses.observe(&marked(), &shown("intel.com/b"))).last().unwrap();
        assert_eq!(freed, [DEVICE.parse().unwrap()]);
    }

    #[test]
    fn a_device_that_is_marked_again_starts_from_nothing() {
        let mut misses = Misses::default();
        for _ in 1..READS {
            misses.observe(&marked(), &Allocated::new());
        }
        misses.observe(&BTreeMap::new(), &Allocated::new());
        assert!(misses.observe(&marked(), &Allocated::new()).is_empty());
    }

    #[rstest]
    #[case::only_in_the_checkpoint(Some(false), true, 2)]
    #[case::listed(Some(true), true, 0)]
    #[case::in_neither(Some(false), false, 0)]
    #[case::no_pod_resources(None, true, 0)]
    fn kubelet_is_asked_to_look_again_where_its_accounts_differ(
        #[case] listed: Option<bool>,
        #[case] checkpointed: bool,
        #[case] asked: usize,
    ) {
        let account = |shows| if shows { shown("intel.com/a") } else { Allocated::new() };
        let accounts =
            Accounts { listed: listed.map(account), all: account(checkpointed || listed == Some(true)) };
        let mut sweep = Sweep::default();
        let observed: Vec<_> = (0..2 * READS).map(|_| sweep.observe(&marked(), &accounts)).collect();
        assert_eq!(observed.iter().filter(|(_, again)| *again).count(), asked);
        assert_eq!(observed.iter().any(|(freed, _)| !freed.is_empty()), accounts.all.is_empty());
    }
}
