//! The daemon's socket: HTTP in the protocol of the plugin.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::Listener;
use cni::error::with_sources;
use meta_cni_shim::protocol::{CNI_ENDPOINT, CallReply, CallRequest, MAX_REQUEST};
use nix::unistd::Uid;
use tokio::net::unix::SocketAddr;
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::engine::Engine;

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {}", path.display())]
pub struct Error {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// What requests are served with.
#[derive(Debug, Clone)]
pub struct Service {
    /// Who carries calls out.
    pub engine: Arc<Engine>,
    /// Calls under way. They aren't given up when the runtime hangs up.
    pub calls: TaskTracker,
    /// Cancelled when the daemon is about to stop.
    pub stopping: CancellationToken,
}

/// The socket; mode 0600, and only connections of our own user (root) are served.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    user: Uid,
}

impl Socket {
    /// Listens at `path`, in place of a socket that is there. The directory is made with mode 0700 if needed.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error { path: path.to_owned(), source };
        if let Some(dir) = path.parent().filter(|dir| !dir.exists()) {
            fs::create_dir_all(dir).map_err(failed)?;
            fs::set_permissions(dir, Permissions::from_mode(0o700)).map_err(failed)?;
        }
        // Bound aside and renamed: whoever connects to `path` finds a socket that listens, with its mode.
        let aside = path.with_extension("new");
        match fs::remove_file(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let listener = UnixListener::bind(&aside).map_err(failed)?;
        fs::set_permissions(&aside, Permissions::from_mode(0o600)).map_err(failed)?;
        fs::rename(&aside, path).map_err(failed)?;
        Ok(Self { listener, user: Uid::effective() })
    }
}

impl Listener for Socket {
    type Io = UnixStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = Listener::accept(&mut self.listener).await;
            match stream.peer_cred() {
                Ok(peer) if peer.uid() == self.user.as_raw() => return (stream, address),
                Ok(peer) => tracing::warn!(uid = peer.uid(), "a connection of another user is refused"),
                Err(error) => tracing::warn!(%error, "a connection of nobody knows whom is refused"),
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// The routes.
pub fn router(service: Service) -> Router {
    Router::new()
        .route(CNI_ENDPOINT, post(call))
        .route("/healthz", get(|| async {}).post(|| async {}))
        .route("/readyz", get(ready).post(ready))
        .with_state(service)
}

async fn ready(State(service): State<Service>) -> StatusCode {
    if service.stopping.is_cancelled() { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK }
}

async fn call(State(service): State<Service>, request: Request) -> Response {
    let request = match read(request.into_body()).await {
        Ok(request) => request,
        Err(error) => return failure(&error),
    };
    if service.stopping.is_cancelled() {
        return failure(&cni::Error::try_again("patchbayd is stopping"));
    }
    let hung_up = CancellationToken::new();
    // Dropped with this future, which the server drops when the connection ends.
    let waiting = hung_up.clone().drop_guard();
    let engine = Arc::clone(&service.engine);
    let outcome = service.calls.spawn(async move { engine.call(&request, hung_up).await }).await;
    let _waiting = waiting.disarm();
    match outcome {
        Ok(Ok(None)) => StatusCode::OK.into_response(),
        Ok(Ok(Some(result))) => match serde_json::to_vec(&CallReply { result }) {
            Ok(reply) => ([(header::CONTENT_TYPE, "application/json")], reply).into_response(),
            Err(error) => failure(&cni::Error::internal(format!("the result can't be written: {error}"))),
        },
        Ok(Err(error)) => failure(&error),
        Err(panicked) => {
            tracing::error!(error = with_sources(&panicked), "a call ended in a panic");
            failure(&cni::Error::internal("patchbayd failed on this call; see its log"))
        }
    }
}

async fn read(body: Body) -> Result<CallRequest, cni::Error> {
    let bytes = to_bytes(body, MAX_REQUEST).await.map_err(|error| {
        cni::Error::decode(format!("the request can't be read: {}", with_sources(&error)))
    })?;
    serde_json::from_slice(&bytes)
        .map_err(|error| cni::Error::decode(format!("the request is not one of the plugin's: {error}")))
}

fn failure(error: &cni::Error) -> Response {
    let body = error.to_json(cni::Version::LATEST);
    (StatusCode::BAD_REQUEST, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

#[cfg(test)]
mod tests;
