//! Reaching a gRPC server on a unix socket, and being one, with nothing that can wait for ever.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::{UnixListener, UnixStream};
use tonic::transport::{Channel, Endpoint};

/// Why a socket couldn't be reached or opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody answers on the socket.
    #[error("cannot connect to {}", socket.display())]
    Connect {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The connection wasn't made in time.
    #[error("no connection to {} within {after:?}", socket.display())]
    ConnectTimeout {
        /// The socket.
        socket: PathBuf,
        /// How long was waited.
        after: Duration,
    },
    /// Somebody listens but doesn't speak the protocol.
    #[error("cannot speak gRPC on {}", socket.display())]
    Handshake {
        /// The socket.
        socket: PathBuf,
        /// What the transport said.
        #[source]
        source: tonic::transport::Error,
    },
    /// The path is taken by something that is no socket, which is left alone.
    #[error("{} is not a socket; remove it or name another directory", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// A socket that nobody uses any more couldn't be removed.
    #[error("cannot remove the old socket {}", path.display())]
    Remove {
        /// The path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The socket couldn't be made.
    #[error("cannot listen on {}", path.display())]
    Listen {
        /// The path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// Whether there is no such socket at all: its server isn't running, or doesn't offer this service.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Connect { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// Connects to the server on `socket`. The connection has to stand within `deadline`; each call on it gets the same
/// deadline unless its request names another one. The connection is made anew when the server restarts.
pub async fn connect(socket: &Path, deadline: Duration) -> Result<Channel, Error> {
    let timeout = || Error::ConnectTimeout { socket: socket.to_owned(), after: deadline };
    // A first connection by hand: the transport's own error doesn't tell a missing socket from a refused one.
    let probe =
        tokio::time::timeout(deadline, UnixStream::connect(socket)).await.map_err(|_elapsed| timeout())?;
    let stream = probe.map_err(|source| Error::Connect { socket: socket.to_owned(), source })?;
    let mut first = Some(stream);
    let path = socket.to_owned();
    let connector = tower::service_fn(move |_: tonic::codegen::http::Uri| {
        let (stream, path) = (first.take(), path.clone());
        async move {
            let stream = match stream {
                Some(stream) => stream,
                None => UnixStream::connect(path).await?,
            };
            Ok::<_, io::Error>(TokioIo::new(stream))
        }
    });
    // The authority must be a host's name: a path is refused by HTTP/2 libraries.
    let endpoint = Endpoint::from_static("http://localhost").connect_timeout(deadline).timeout(deadline);
    tokio::time::timeout(deadline, endpoint.connect_with_connector(connector))
        .await
        .map_err(|_elapsed| timeout())?
        .map_err(|source| Error::Handshake { socket: socket.to_owned(), source })
}

/// Listens on `path`, in the place of a socket that an earlier process left there.
pub fn listen(path: &Path) -> Result<UnixListener, Error> {
    remove(path)?;
    UnixListener::bind(path).map_err(|source| Error::Listen { path: path.to_owned(), source })
}

/// Removes the socket at `path`, if there is one. What isn't a socket is never removed.
pub fn remove(path: &Path) -> Result<(), Error> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(Error::NotASocket { path: path.to_owned() });
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(Error::Remove { path: path.to_owned(), source }),
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(Error::Remove { path: path.to_owned(), source }),
        Ok(()) => Ok(()),
    }
}
