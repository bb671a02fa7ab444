//! One operation at a time per sandbox.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// The locks of the sandboxes that something is being done with.
#[derive(Debug, Default)]
pub struct Sandboxes {
    locks: Mutex<HashMap<String, Weak<AsyncMutex<()>>>>,
}

impl Sandboxes {
    /// Waits for the sandbox, at most for `patience`; `None` when it was busy all that time.
    pub async fn lock(&self, container_id: &str, patience: Duration) -> Option<OwnedMutexGuard<()>> {
        let lock = self.of(container_id);
        tokio::time::timeout(patience, lock.lock_owned()).await.ok()
    }

    /// The sandbox, if nothing is being done with it.
    pub fn try_lock(&self, container_id: &str) -> Option<OwnedMutexGuard<()>> {
        self.of(container_id).try_lock_owned().ok()
    }

    fn of(&self, container_id: &str) -> Arc<AsyncMutex<()>> {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that nobody holds or waits for any more.
        locks.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = locks.get(container_id).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::new(AsyncMutex::new(()));
        locks.insert(container_id.to_owned(), Arc::downgrade(&lock));
        lock
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_sandbox_is_held_by_one_and_others_are_free() {
        let sandboxes = Sandboxes::default();
        let held = sandboxes.lock("a", Duration::from_secs(1)).await.unwrap();
        assert!(sandboxes.lock("a", Duration::from_secs(1)).await.is_none());
        assert!(sandboxes.try_lock("a").is_none());
        let other = sandboxes.try_lock("b").unwrap();
        drop(held);
        assert!(sandboxes.lock("a", Duration::from_secs(1)).await.is_some());
        drop(other);
        assert!(sandboxes.try_lock("c").is_some());
        assert_eq!(sandboxes.locks.lock().unwrap().len(), 1, "locks that nobody holds are forgotten");
    }

    #[tokio::test]
    async fn who_waits_gets_the_sandbox_next() {
        let sandboxes = Arc::new(Sandboxes::default());
        let held = sandboxes.try_lock("a").unwrap();
        let waiting = sandboxes.lock("a", Duration::from_mins(1));
        let (got, ()) = tokio::join!(waiting, async { drop(held) });
        assert!(got.is_some());
    }
}
