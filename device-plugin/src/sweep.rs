//! Freeing devices that were marked for a pod and are no pod's any more.
//!
//! Kubelet doesn't say when it takes a device back, and a pod that uses its device without CNI never returns it. So a
//! mark goes when kubelet hasn't shown the device for several reads in a row, and nobody has claimed it meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kubelet::checkpoint::{self, Checkpoint};
use kubelet::{Kubelet, podresources};
use netlink::Links;
use pci::PciAddress;
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

/// Why it isn't known who has what.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("pod resources")]
    PodResources(#[source] podresources::Error),
    #[error("checkpoint")]
    Checkpoint(#[source] checkpoint::Error),
}

/// Frees what nobody has any more, until `stop`.
pub(crate) async fn keep_swept<L: Links + 'static>(
    node: Arc<Node<L>>,
    kubelet: Kubelet,
    timing: Timing,
    stop: CancellationToken,
) {
    let mut misses = Misses::default();
    loop {
        tokio::select! {
            () = tokio::time::sleep(timing.sweep) => {}
            () = stop.cancelled() => return,
        }
        sweep(&node, &kubelet, timing.answer, &mut misses).await;
    }
}

async fn sweep<L: Links + 'static>(
    node: &Arc<Node<L>>,
    kubelet: &Kubelet,
    deadline: Duration,
    misses: &mut Misses,
) {
    let marked = match node.work("reading the ledger", Node::marked).await {
        Ok(Ok(marked)) if marked.is_empty() => return,
        Ok(Ok(marked)) => marked,
        Ok(Err(error)) => {
            return tracing::warn!(error = chain(&error), "cannot read which devices are marked");
        }
        Err(error) => return tracing::warn!(error = chain(&error), "cannot read which devices are marked"),
    };
    let allocated = match allocated(kubelet, deadline).await {
        Ok(allocated) => allocated,
        Err(error) => {
            return tracing::debug!(error = chain(&error), "kubelet does not say who has which device");
        }
    };
    for device in misses.observe(&marked, &allocated) {
        match node.work(format!("freeing {device}"), move |node| node.host.unprepare(device)).await {
            Ok(Ok(Unprepared::Freed)) => {
                tracing::info!(%device, "no pod has this device any more: it is free");
            }
            Ok(Ok(Unprepared::NotPrepared)) => {}
            Ok(Err(error)) => tracing::warn!(%device, error = chain(&error), "cannot free the device"),
            Err(error) => tracing::warn!(%device, error = chain(&error), "cannot free the device"),
        }
    }
}

/// What pods have by either account: pod resources leave out init containers, and the checkpoint keeps what pods had
/// that are gone. To free a device late does no harm.
async fn allocated(kubelet: &Kubelet, deadline: Duration) -> Result<Allocated, Error> {
    let listed = match podresources::allocated(&kubelet.pod_resources_socket(), deadline).await {
        Ok(listed) => Some(listed),
        Err(error) if error.is_absent() => None,
        Err(error) => return Err(Error::PodResources(error)),
    };
    match (listed, Checkpoint::read(&kubelet.checkpoint())) {
        (Some(listed), Err(error)) if error.is_absent() => Ok(listed),
        (_, Err(error)) => Err(Error::Checkpoint(error)),
        (listed, Ok(checkpoint)) => {
            let mut all = listed.unwrap_or_default();
            for (resource, ids) in checkpoint.allocated() {
                all.entry(resource).or_default().extend(ids);
            }
            Ok(all)
        }
    }
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
}
