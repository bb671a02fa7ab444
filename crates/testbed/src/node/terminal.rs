//! A terminal for a container that asks for one: runc makes it and hands its other end over a socket; what comes out of
//! it goes to a log.

use std::fs::File;
use std::io::{self, IoSliceMut, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread;

use nix::cmsg_space;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

/// Listens at `socket` for the terminal that runc will hand over, and copies what it shows into `log` until the
/// container ends.
pub(super) fn into_log(socket: &Path, log: File) -> io::Result<()> {
    let listener = UnixListener::bind(socket)?;
    // It ends with the terminal, and with the program if runc never comes.
    thread::Builder::new().name("terminal".to_owned()).spawn(move || copy(&listener, log))?;
    Ok(())
}

fn copy(listener: &UnixListener, mut log: File) -> io::Result<()> {
    let (connection, _) = listener.accept()?;
    let mut terminal = File::from(received(connection.as_raw_fd())?);
    let mut buffer = [0; 4096];
    loop {
        // The last process that has the terminal open takes it along: reading it is an error then.
        match terminal.read(&mut buffer) {
            Ok(0) | Err(_) => return Ok(()),
            Ok(count) => log.write_all(buffer.get(..count).unwrap_or_default())?,
        }
    }
}

/// The one descriptor that a message brings.
fn received(socket: i32) -> io::Result<OwnedFd> {
    let mut name = [0; 256];
    let mut slices = [IoSliceMut::new(&mut name)];
    let mut space = cmsg_space!([i32; 1]);
    let message = recvmsg::<()>(socket, &mut slices, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)?;
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(descriptors) = part
            && let [descriptor] = descriptors.as_slice()
        {
            #[expect(unsafe_code, reason = "nix hands received descriptors over as numbers")]
            // SAFETY: the kernel has just made this descriptor for this process, and nobody else knows it.
            return Ok(unsafe { OwnedFd::from_raw_fd(*descriptor) });
        }
    }
    Err(io::Error::other("runc has sent no terminal"))
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use nix::sys::socket::{ControlMessage, sendmsg};

    use super::*;
    use crate::node::exec;

    #[test]
    fn what_the_terminal_shows_is_in_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        into_log(&folder.path().join("socket"), File::create(&path).unwrap()).unwrap();

        let (mut shown, terminal) = UnixStream::pair().unwrap();
        let runc = UnixStream::connect(folder.path().join("socket")).unwrap();
        let descriptors = [terminal.as_raw_fd()];
        sendmsg::<()>(
            runc.as_raw_fd(),
            &[IoSlice::new(b"/dev/ptmx")],
            &[ControlMessage::ScmRights(&descriptors)],
            MsgFlags::empty(),
            None,
        )
        .unwrap();
        drop(terminal);
        shown.write_all(b"hello\r\n").unwrap();
        let seen = exec::until(Duration::from_mins(1), || {
            std::fs::read_to_string(&path).ok().filter(|text| text == "hello\r\n")
        });
        assert!(seen.is_some());
    }
}
