//! A double of the Kubernetes API server, driven at its protocol.
//!
//! It keeps pods, `NetworkAttachmentDefinition`s and events, and speaks as much HTTP as a node's programs use:
//! get, list and watch (whole objects or metadata only), merge patches with their preconditions, creation,
//! deletion. [`FakeApiServer::router`] is a tower service for a client inside a test;
//! [`FakeApiServer::serve`] is the same on a TCP socket.
//!
//! What goes wrong is said with [`FakeApiServer::set_fault`], [`FakeApiServer::disconnect_watches`] and
//! [`FakeApiServer::forget_history`]. A PUT is answered 405, as no program of ours may send one.

mod objects;
mod routes;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;

pub use objects::Kind;
use objects::Objects;

/// How requests go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Every answer takes this much longer.
    Slow(Duration),
    /// Every answer is an error with this HTTP status.
    Status(u16),
    /// No request is ever answered.
    Away,
}

/// A request that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The HTTP method.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The query as it came, percent-encoded; empty without one.
    pub query: String,
}

/// The API server. Clones are the same server.
#[derive(Debug, Clone)]
pub struct FakeApiServer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Changes whenever a watch has something to look at.
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    objects: Objects,
    fault: Option<Fault>,
    /// Watches of an older generation end.
    generation: u64,
    requests: Vec<Request>,
}

impl Default for FakeApiServer {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeApiServer {
    /// A server without objects.
    pub fn new() -> Self {
        let shared = Shared { state: Mutex::default(), changes: watch::Sender::new(0) };
        Self { shared: Arc::new(shared) }
    }

    /// The server as a tower service.
    pub fn router(&self) -> axum::Router {
        routes::router(self.clone())
    }

    /// Serves HTTP on `listener` until the future is dropped.
    pub async fn serve(&self, listener: TcpListener) -> std::io::Result<()> {
        axum::serve(listener, self.router()).await
    }

    /// Stores an object, in place of one with its namespace and name. What is missing of `apiVersion`, `kind`,
    /// `metadata.namespace` (`default`) and `metadata.uid` is filled in; the answer is what was stored.
    pub fn put(&self, kind: Kind, object: Value) -> Value {
        let stored = self.lock().objects.put(kind, object);
        self.changed();
        stored
    }

    /// Removes an object; says whether there was one.
    pub fn delete(&self, kind: Kind, namespace: &str, name: &str) -> bool {
        let deleted = self.lock().objects.delete(kind, namespace, name);
        self.changed();
        deleted
    }

    /// An object as it's stored.
    pub fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<Value> {
        self.lock().objects.get(kind, namespace, name).cloned()
    }

    /// All objects of a kind, by namespace and name; events in the order they came.
    pub fn all(&self, kind: Kind) -> Vec<Value> {
        self.lock().objects.all(kind)
    }

    /// The requests so far, in their order.
    pub fn requests(&self) -> Vec<Request> {
        self.lock().requests.clone()
    }

    /// Makes every request from now on go wrong, or none. Running watches see nothing new while a fault is set
    /// that answers no request.
    pub fn set_fault(&self, fault: Option<Fault>) {
        self.lock().fault = fault;
        self.changed();
    }

    /// Ends every watch that is open.
    pub fn disconnect_watches(&self) {
        self.lock().generation += 1;
        self.changed();
    }

    /// Forgets what happened so far: a watch that asks for it is told 410 (too old), and its client has to list.
    pub fn forget_history(&self) {
        self.lock().objects.forget_history();
        self.changed();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.shared.changes.send_modify(|version| *version += 1);
    }
}

#[cfg(test)]
mod tests;
