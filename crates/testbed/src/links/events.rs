//! Being told that links of the double changed.

use std::mem;
use std::time::Instant;

use netlink::{Error, LinkEvents};

use super::world::World;
use super::{FakeLinks, FakeNamespace};

/// Changes of links of a [`FakeLinks`].
#[derive(Debug)]
pub struct FakeEvents {
    links: FakeLinks,
    /// The namespaces, each with how many of its changes were told.
    watched: Vec<(FakeNamespace, u64)>,
}

impl FakeEvents {
    pub(super) fn begin(links: &FakeLinks, world: &World, namespaces: &[&FakeNamespace]) -> Self {
        let from_now = |&namespace: &&FakeNamespace| (namespace.clone(), changes_in(world, namespace));
        Self { links: links.clone(), watched: namespaces.iter().map(from_now).collect() }
    }
}

impl LinkEvents for FakeEvents {
    fn wait(&mut self, deadline: Instant) -> Result<bool, Error> {
        let mut world = self.links.world();
        loop {
            let mut is_told = false;
            for (namespace, told) in &mut self.watched {
                let changes = changes_in(&world, namespace);
                is_told |= mem::replace(told, changes) != changes;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if is_told || left.is_zero() {
                return Ok(is_told);
            }
            let waited = self.links.changed.wait_timeout(world, left);
            world = waited.expect("no test panics with the world locked").0;
        }
    }
}

fn changes_in(world: &World, namespace: &FakeNamespace) -> u64 {
    world.spaces.get(&namespace.pin.space).map_or(0, |space| space.changes)
}
