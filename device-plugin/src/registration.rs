//! Keeping a pool known to kubelet.
//!
//! ```text
//!             ┌───────────── own socket gone ───────────────┐
//!             v                                             │
//! start ──> listening ──> registering ──> registered ───────┤
//!                            ^   │ refused, no answer       │
//!                            │   v                          │
//!                            └── waiting <── kubelet.sock is another one, or nobody follows the list
//! ```
//!
//! Kubelet empties the directory whenever it starts and knows no plugin then, so the own socket is made again first.
//! A pool is registered while kubelet follows its list. When it stops to, although nothing else has changed, it's
//! registered again: kubelet drops a new registration together with an old one whose stream ends a moment later.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kubelet::deviceplugin::v1beta1 as api;
use kubelet::deviceplugin::v1beta1::device_plugin_server::DevicePluginServer;
use kubelet::deviceplugin::v1beta1::registration_client::RegistrationClient;
use kubelet::watch::{Directory, Identity, identity};
use kubelet::{Kubelet, deviceplugin, socket};
use netlink::Links;
use tokio::time::Instant;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use crate::report::chain;
use crate::server::{Pool, Service};
use crate::timing::Timing;

/// How long a closing server may take to let its connections go.
const CLOSE: Duration = Duration::from_secs(2);

/// Why a registration failed.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("cannot reach kubelet")]
    Connect(#[source] socket::Error),
    #[error("kubelet refuses the registration")]
    Refused(#[source] Box<tonic::Status>),
    #[error("kubelet did not answer the registration within {0:?}")]
    Timeout(Duration),
}

/// A pause that doubles.
#[derive(Debug)]
struct Pause {
    next: Duration,
    longest: Duration,
}

impl Pause {
    fn new(timing: &Timing) -> Self {
        Self { next: timing.first_pause, longest: timing.longest_pause }
    }

    fn next(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.longest);
        pause
    }
}

/// Serves a pool and keeps it registered until `stop`; then its socket is removed.
///
/// A pool without devices isn't registered until it has some.
pub(crate) async fn keep_registered<L: Links + 'static>(
    pool: Arc<Pool<L>>,
    kubelet: Kubelet,
    timing: Timing,
    stop: CancellationToken,
) {
    let resource = pool.config.resource.to_string();
    let mut offer = pool.offer.clone();
    tokio::select! {
        filled = offer.wait_for(|offer| !offer.devices.is_empty()) => if filled.is_err() { return },
        () = stop.cancelled() => return,
    }
    let path = kubelet.device_plugins().join(pool.config.resource.socket_name());
    let mut pause = Pause::new(&timing);
    while !stop.is_cancelled() {
        match Serving::start(&pool, path.clone(), &stop) {
            Ok(serving) => {
                pause = Pause::new(&timing);
                register_while_served(&pool, &kubelet, timing, &serving, &stop).await;
                serving.end().await;
            }
            Err(error) => {
                tracing::error!(resource, error = chain(&error), "cannot serve the pool, trying again");
                tokio::select! {
                    () = tokio::time::sleep(pause.next()) => {}
                    () = stop.cancelled() => {}
                }
            }
        }
    }
}

/// A pool's server on its socket.
struct Serving {
    path: PathBuf,
    identity: Option<Identity>,
    closing: CancellationToken,
    server: tokio::task::JoinHandle<()>,
}

impl Serving {
    fn start<L: Links + 'static>(
        pool: &Arc<Pool<L>>,
        path: PathBuf,
        stop: &CancellationToken,
    ) -> Result<Self, socket::Error> {
        let listener = socket::listen(&path)?;
        let identity = identity(&path);
        let closing = stop.child_token();
        let service = DevicePluginServer::new(Service::new(Arc::clone(pool), closing.clone()));
        let (resource, closed) = (pool.config.resource.to_string(), closing.clone());
        let server = pool.tasks.spawn(async move {
            let incoming = UnixListenerStream::new(listener);
            let router = Server::builder().add_service(service);
            if let Err(error) = router.serve_with_incoming_shutdown(incoming, closed.cancelled()).await {
                tracing::error!(resource, error = chain(&error), "the pool's server has ended");
            }
        });
        Ok(Self { path, identity, closing, server })
    }

    fn is_whole(&self) -> bool {
        !self.server.is_finished() && self.identity.is_some() && identity(&self.path) == self.identity
    }

    async fn end(mut self) {
        self.closing.cancel();
        if tokio::time::timeout(CLOSE, &mut self.server).await.is_err() {
            self.server.abort();
        }
        // Another process may have taken the name over by now.
        if identity(&self.path) == self.identity
            && let Err(error) = socket::remove(&self.path)
        {
            tracing::warn!(error = chain(&error), "the pool's socket stays behind");
        }
    }
}

/// Registers the pool whenever kubelet doesn't know it. Returns when the server has to be made again, or at `stop`.
async fn register_while_served<L: Links + 'static>(
    pool: &Pool<L>,
    kubelet: &Kubelet,
    timing: Timing,
    serving: &Serving,
    stop: &CancellationToken,
) {
    let resource = pool.config.resource.to_string();
    let mut streams = pool.streams.subscribe();
    let mut pause = Pause::new(&timing);
    let mut registered: Option<Identity> = None;
    let mut watch = None;
    // When to look again at the latest.
    let mut next = Instant::now();
    loop {
        if watch.is_none() {
            watch = Directory::watch(&kubelet.device_plugins()).ok();
        }
        if stop.is_cancelled() || !serving.is_whole() {
            return;
        }
        let present = identity(&kubelet.registration_socket());
        let followed = *streams.borrow_and_update() > 0;
        if present.is_none() {
            registered = None;
        } else if (registered != present || !followed) && Instant::now() >= next {
            let attempt = tokio::select! {
                attempt = register(kubelet, &resource, pool, timing.register) => attempt,
                () = stop.cancelled() => return,
            };
            match attempt {
                Ok(()) => {
                    tracing::info!(resource, "registered with kubelet");
                    registered = present;
                    let follows =
                        tokio::time::timeout(timing.follow, streams.wait_for(|count| *count > 0)).await;
                    if follows.is_ok() {
                        pause = Pause::new(&timing);
                    } else {
                        tracing::warn!(resource, "kubelet took the registration but doesn't follow the list");
                        next = Instant::now() + pause.next();
                    }
                }
                Err(error) => {
                    registered = None;
                    next = Instant::now() + pause.next();
                    tracing::warn!(resource, error = chain(&error), "not registered, trying again");
                }
            }
            continue;
        }
        let wake = if next > Instant::now() {
            next.min(Instant::now() + timing.look)
        } else {
            Instant::now() + timing.look
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep_until(wake) => {}
            event = noticed(watch.as_ref()) => {
                if event.is_err() {
                    watch = None;
                }
                if identity(&kubelet.registration_socket()) != present {
                    // A kubelet that has just come back is asked at once, whatever the last one answered.
                    pause = Pause::new(&timing);
                    next = Instant::now();
                }
            }
            changed = streams.changed() => {
                if changed.is_err() {
                    return;
                }
                // A stream that ended may be kubelet going down: its socket tells in a moment.
                next = next.max(Instant::now() + timing.first_pause);
            }
        }
    }
}

async fn noticed(watch: Option<&Directory>) -> Result<(), kubelet::watch::Error> {
    match watch {
        Some(watch) => watch.changed().await,
        None => std::future::pending().await,
    }
}

async fn register<L: Links>(
    kubelet: &Kubelet,
    resource: &str,
    pool: &Pool<L>,
    deadline: Duration,
) -> Result<(), Error> {
    let call = async {
        let channel =
            socket::connect(&kubelet.registration_socket(), deadline).await.map_err(Error::Connect)?;
        let request = api::RegisterRequest {
            version: deviceplugin::VERSION.to_owned(),
            endpoint: pool.config.resource.socket_name(),
            resource_name: resource.to_owned(),
            options: Some(api::DevicePluginOptions {
                pre_start_required: true,
                get_preferred_allocation_available: false,
            }),
        };
        let answer = RegistrationClient::new(channel).register(request).await;
        answer.map_err(|status| Error::Refused(Box::new(status)))
    };
    match tokio::time::timeout(deadline, call).await {
        Ok(answer) => answer.map(drop),
        Err(_elapsed) => Err(Error::Timeout(deadline)),
    }
}
