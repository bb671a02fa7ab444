//! One request to the daemon, with deadlines.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::http::{self, Malformed, Progress};
use crate::protocol::{CallReply, CallRequest};

/// How long to pause before trying an absent socket again.
const PAUSE: Duration = Duration::from_millis(100);

/// Why there is no success to report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody took the connection in the time given.
    #[error("patchbayd does not answer on {socket:?} (waited {} s); see whether its pod runs on this node, and its log", waited.as_secs())]
    Absent {
        /// The socket.
        socket: PathBuf,
        /// How long it was tried.
        waited: Duration,
        /// The last failure.
        #[source]
        source: io::Error,
    },
    /// The connection broke, or no answer came in time: whether the call was carried out isn't known.
    #[error("patchbayd took the call on {socket:?} and did not answer it; see its log")]
    Broken {
        /// The socket.
        socket: PathBuf,
        /// What happened.
        #[source]
        source: io::Error,
    },
    /// The answer isn't one of the protocol's.
    #[error("the answer on {socket:?} is not patchbayd's; see which program listens there")]
    Malformed {
        /// The socket.
        socket: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Malformed,
    },
    /// The answer to ADD holds no result.
    #[error(
        "patchbayd answered ADD on {socket:?} without a result; plugin and daemon may be of different versions"
    )]
    NoResult {
        /// The socket.
        socket: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// The request can't be written as JSON.
    #[error("the call can't be put into a request")]
    Encode(#[source] serde_json::Error),
    /// The daemon said no, with a CNI error.
    #[error("patchbayd refused the call")]
    Refused(#[source] cni::Error),
    /// The daemon said no, with something else.
    #[error("patchbayd answered with status {status}: {text:?}")]
    RefusedText {
        /// The HTTP status.
        status: u16,
        /// The beginning of its text.
        text: String,
    },
}

/// How long to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For a connection.
    pub connect: Duration,
    /// For the answer, once there is one.
    pub answer: Duration,
}

/// Sends a call and returns the body of the answer to it.
pub fn call(socket: &Path, request: &CallRequest, patience: Patience) -> Result<Vec<u8>, Error> {
    let body = serde_json::to_vec(request).map_err(Error::Encode)?;
    let stream = connect(socket, patience.connect)?;
    let until = Instant::now() + patience.answer;
    let response = exchange(socket, stream, &http::request(&body), until)?;
    if response.status == 200 {
        return Ok(response.body);
    }
    if let Some(error) = cni::Error::parse(&response.body).filter(|error| !error.msg.is_empty()) {
        return Err(Error::Refused(error));
    }
    let beginning = response.body.get(..1024).unwrap_or(&response.body);
    Err(Error::RefusedText { status: response.status, text: String::from_utf8_lossy(beginning).into_owned() })
}

/// The result in the body of an answer to ADD.
pub fn result(socket: &Path, body: &[u8]) -> Result<cni::Object, Error> {
    match serde_json::from_slice::<CallReply>(body) {
        Ok(reply) => Ok(reply.result),
        Err(source) => Err(Error::NoResult { socket: socket.to_owned(), source }),
    }
}

/// Connects, again while the socket is missing or nobody listens on it.
fn connect(socket: &Path, patience: Duration) -> Result<UnixStream, Error> {
    let start = Instant::now();
    loop {
        let source = match connect_once(socket, patience.saturating_sub(start.elapsed())) {
            Ok(stream) => return Ok(stream),
            Err(error) => error,
        };
        let waited = start.elapsed();
        let may_come = matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused);
        if !may_come || waited + PAUSE > patience {
            return Err(Error::Absent { socket: socket.to_owned(), waited, source });
        }
        std::thread::sleep(PAUSE);
    }
}

/// Connects in a thread of its own: with a full queue of connections the kernel waits without end.
fn connect_once(socket: &Path, patience: Duration) -> io::Result<UnixStream> {
    let (sender, receiver) = mpsc::channel();
    let path = socket.to_owned();
    std::thread::Builder::new().name("connect".into()).spawn(move || {
        let _nobody_waits = sender.send(UnixStream::connect(path));
    })?;
    receiver.recv_timeout(patience.max(PAUSE)).map_err(|_timeout| io::ErrorKind::TimedOut)?
}

fn exchange(
    socket: &Path,
    mut stream: UnixStream,
    request: &[u8],
    until: Instant,
) -> Result<http::Response, Error> {
    let broken = |source| Error::Broken { socket: socket.to_owned(), source };
    write(&mut stream, request, until).map_err(broken)?;
    let mut received = Vec::new();
    let mut buffer = [0; 16 << 10];
    loop {
        match http::response(&received) {
            Ok(Progress::Complete(response)) => return Ok(response),
            Ok(Progress::Incomplete) => {}
            Err(source) => return Err(Error::Malformed { socket: socket.to_owned(), source }),
        }
        stream.set_read_timeout(Some(left(until).map_err(broken)?)).map_err(broken)?;
        match stream.read(&mut buffer) {
            Ok(0) => return Err(broken(io::ErrorKind::UnexpectedEof.into())),
            Ok(count) => received.extend_from_slice(buffer.get(..count).unwrap_or_default()),
            Err(error) if retry(&error) => {}
            Err(error) => return Err(broken(error)),
        }
    }
}

fn write(stream: &mut UnixStream, mut bytes: &[u8], until: Instant) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.set_write_timeout(Some(left(until)?))?;
        match stream.write(bytes) {
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(error) if retry(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The time that is left; an error when there is none.
fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// A timeout shows as either; the deadline is looked at before the next try.
fn retry(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
