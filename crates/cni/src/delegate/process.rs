//! The process itself: start, exchange, end.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use super::{Error, Invocation, MAX_STDERR, MAX_STDOUT, beginning};

/// How often a program that is just being written is tried again, and how long apart.
const BUSY_RETRIES: u32 = 6;
const BUSY_PAUSE: Duration = Duration::from_millis(500);
/// How long a plugin that has ended may keep its pipes open through a child that it left behind.
const PIPE_GRACE: Duration = Duration::from_secs(1);
/// How long a killed plugin is waited for.
const KILL_GRACE: Duration = Duration::from_secs(5);

/// A plugin that has ended.
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

/// Why the exchange was broken off.
enum Broken {
    Deadline,
    TooMuchOutput,
    Io(io::Error),
}

pub(super) fn run(invocation: &Invocation) -> Result<Ended, Error> {
    let until = Instant::now() + invocation.deadline;
    let start_error = |source| Error::Start { plugin: invocation.plugin.clone(), source };
    let mut child = start(invocation, until).map_err(start_error)?;
    let pipes = Pipes::new(&mut child, &invocation.stdin);
    let running = Running::new(child).map_err(start_error)?;

    let mut pipes = match pipes {
        Ok(pipes) => pipes,
        Err(source) => {
            running.kill();
            return Err(Error::Exchange { plugin: invocation.plugin.clone(), source });
        }
    };
    let exchanged = pipes.exchange(&running, until);
    let (plugin, command) = (invocation.plugin.clone(), invocation.args.command);
    match exchanged {
        Ok(()) => {
            let status = running.status().map_err(|source| Error::Exchange { plugin, source })?;
            Ok(Ended { status, stdout: pipes.stdout.bytes, stderr: pipes.stderr.bytes })
        }
        Err(broken) => {
            running.kill();
            Err(match broken {
                Broken::Deadline => Error::Deadline {
                    plugin,
                    command,
                    deadline: invocation.deadline,
                    stderr: beginning(&pipes.stderr.bytes),
                },
                Broken::TooMuchOutput => Error::TooMuchOutput { plugin, command },
                Broken::Io(source) => Error::Exchange { plugin, source },
            })
        }
    }
}

/// Starts the plugin as the leader of a process group, again while its file is being written.
fn start(invocation: &Invocation, until: Instant) -> io::Result<Child> {
    let mut command = match invocation.prefix.split_first() {
        Some((program, arguments)) => {
            let mut command = Command::new(program);
            command.args(arguments).arg(&invocation.plugin);
            command
        }
        None => Command::new(&invocation.plugin),
    };
    command
        .env_clear()
        .envs(invocation.env.iter().map(|(name, value)| (name, value)))
        .envs(invocation.args.to_env())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let mut retries = 0;
    loop {
        match command.spawn() {
            Err(error)
                if error.kind() == io::ErrorKind::ExecutableFileBusy
                    && retries < BUSY_RETRIES
                    && Instant::now() + BUSY_PAUSE < until =>
            {
                retries += 1;
                std::thread::sleep(BUSY_PAUSE);
            }
            outcome => return outcome,
        }
    }
}

/// A child and the thread that waits for it. The child stays a zombie until its status is fetched, so that
/// its process group's number can't have become someone else's.
struct Running {
    group: Pid,
    /// Closed by the thread when the child has ended.
    ended: UnixStream,
    /// Dropped to let the thread fetch the status.
    release: mpsc::Sender<()>,
    status: mpsc::Receiver<io::Result<ExitStatus>>,
}

impl Running {
    fn new(mut child: Child) -> io::Result<Running> {
        let number = i32::try_from(child.id()).map_err(io::Error::other)?;
        let group = Pid::from_raw(number);
        let (release, released) = mpsc::channel::<()>();
        let (status_sender, status) = mpsc::channel();
        let prepared = UnixStream::pair().and_then(|(ended, ending)| {
            std::thread::Builder::new().name("plugin-wait".into()).spawn(move || {
                while waitid(Id::Pid(group), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) == Err(Errno::EINTR)
                {
                }
                drop(ending);
                // Nothing is ever sent; this ends when the other side is dropped.
                let _closed = released.recv();
                let _nobody_waits = status_sender.send(child.wait());
            })?;
            Ok(ended)
        });
        match prepared {
            Ok(ended) => Ok(Running { group, ended, release, status }),
            Err(error) => {
                let _gone = killpg(group, Signal::SIGKILL);
                Err(error)
            }
        }
    }

    /// The status of a child that has ended.
    fn status(self) -> io::Result<ExitStatus> {
        drop(self.release);
        self.status.recv().map_err(io::Error::other)?
    }

    /// Kills the group and waits a while for its leader to be gone.
    fn kill(self) {
        let _gone = killpg(self.group, Signal::SIGKILL);
        let until = Instant::now() + KILL_GRACE;
        let ended = [PollFd::new(self.ended.as_fd(), PollFlags::POLLIN)];
        if wait(&mut { ended }, until).is_ok_and(|ready| ready) {
            let _collected = self.status();
        }
    }
}

/// What is read from one pipe.
struct Sink<R> {
    pipe: Option<R>,
    bytes: Vec<u8>,
}

/// The three pipes of a child.
struct Pipes<'a> {
    stdin: Option<std::process::ChildStdin>,
    to_write: &'a [u8],
    stdout: Sink<std::process::ChildStdout>,
    stderr: Sink<std::process::ChildStderr>,
}

impl<'a> Pipes<'a> {
    fn new(child: &mut Child, to_write: &'a [u8]) -> io::Result<Self> {
        let pipes = Pipes {
            stdin: child.stdin.take(),
            to_write,
            stdout: Sink { pipe: child.stdout.take(), bytes: Vec::new() },
            stderr: Sink { pipe: child.stderr.take(), bytes: Vec::new() },
        };
        let descriptors = [
            pipes.stdin.as_ref().map(AsFd::as_fd),
            pipes.stdout.pipe.as_ref().map(AsFd::as_fd),
            pipes.stderr.pipe.as_ref().map(AsFd::as_fd),
        ];
        for descriptor in descriptors.into_iter().flatten() {
            fcntl(descriptor, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        Ok(pipes)
    }

    /// Writes and reads until the child has ended and closed its pipes.
    fn exchange(&mut self, running: &Running, until: Instant) -> Result<(), Broken> {
        let mut ended = false;
        let mut grace = until;
        while !ended || self.stdout.pipe.is_some() || self.stderr.pipe.is_some() {
            let mut waited = Vec::with_capacity(4);
            if !ended {
                waited.push(PollFd::new(running.ended.as_fd(), PollFlags::POLLIN));
            }
            let input = PollFlags::POLLIN;
            waited.extend(self.stdout.pipe.as_ref().map(|pipe| PollFd::new(pipe.as_fd(), input)));
            waited.extend(self.stderr.pipe.as_ref().map(|pipe| PollFd::new(pipe.as_fd(), input)));
            waited.extend(self.stdin.as_ref().map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLOUT)));
            let ready = wait(&mut waited, grace.min(until)).map_err(Broken::Io)?;
            let has_ended = !ended && waited.first().and_then(PollFd::any).unwrap_or(false);
            drop(waited);

            if !ready {
                if ended {
                    // The plugin is done; what it left running holds its pipes and is not waited for.
                    let _gone = killpg(running.group, Signal::SIGKILL);
                    return Ok(());
                }
                return Err(Broken::Deadline);
            }
            self.write().map_err(Broken::Io)?;
            self.stdout.read(Some(MAX_STDOUT))?;
            self.stderr.read(None)?;
            if has_ended {
                ended = true;
                grace = Instant::now() + PIPE_GRACE;
                self.stdin = None;
            }
        }
        Ok(())
    }

    /// Writes what the pipe takes; closes it after the last byte, or when nobody reads.
    fn write(&mut self) -> io::Result<()> {
        while let Some(pipe) = &mut self.stdin {
            if self.to_write.is_empty() {
                self.stdin = None;
                break;
            }
            match pipe.write(self.to_write) {
                Ok(count) => self.to_write = self.to_write.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.stdin = None,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl<R: Read> Sink<R> {
    /// Reads what there is; closes the pipe at its end. Beyond `limit` it is an error; without a limit
    /// [`MAX_STDERR`] bytes are kept and the rest is dropped.
    fn read(&mut self, limit: Option<usize>) -> Result<(), Broken> {
        let mut buffer = [0; 16 << 10];
        // Bounded: a plugin that never stops printing must not keep us from looking at the clock.
        for _ in 0..64 {
            let Some(pipe) = &mut self.pipe else { break };
            match pipe.read(&mut buffer) {
                Ok(0) => self.pipe = None,
                Ok(count) => {
                    let room = limit.unwrap_or(MAX_STDERR).saturating_sub(self.bytes.len());
                    if limit.is_some() && count > room {
                        return Err(Broken::TooMuchOutput);
                    }
                    self.bytes.extend_from_slice(buffer.get(..count.min(room)).unwrap_or_default());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Broken::Io(error)),
            }
        }
        Ok(())
    }
}

/// Waits for one of the descriptors; `false` when the time has come first.
fn wait(descriptors: &mut [PollFd<'_>], until: Instant) -> io::Result<bool> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        // Rounded up, so that the last fraction of a millisecond isn't spent spinning.
        let milliseconds = i32::try_from(left.as_millis().saturating_add(1)).unwrap_or(i32::MAX);
        let timeout = PollTimeout::try_from(milliseconds).unwrap_or(PollTimeout::MAX);
        match poll(descriptors, timeout) {
            Ok(0) if until <= Instant::now() => return Ok(false),
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(true),
            Err(errno) => return Err(errno.into()),
        }
    }
}
