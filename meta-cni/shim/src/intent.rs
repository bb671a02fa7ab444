//! A DEL that the daemon couldn't be told: a file that holds the whole call.
//!
//! The plugin writes one when the daemon is away, and says that DEL succeeded only once the file will
//! survive a power cut. The daemon carries it out and removes it. One file per container and interface;
//! a repeated DEL replaces it by the same.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::protocol::{CallRequest, MAX_REQUEST};

/// The format that is written. A file with a newer one is left alone.
pub const FORMAT: u32 = 1;

/// A DEL to be carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// See [`FORMAT`].
    pub format: u32,
    /// The call.
    pub request: CallRequest,
}

/// The part of an intent that every format has.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// Why an intent can't be written, read or removed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The call's container or interface can't be told.
    #[error("the DEL can't be kept for later")]
    Args(#[source] cni::args::InvalidArgs),
    /// Writing failed; nothing is kept.
    #[error("the DEL can't be kept for later in {path:?}; make room there or start patchbayd")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The directory can't be listed.
    #[error("the DEL intents in {path:?} can't be listed")]
    List {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file can't be read.
    #[error("DEL intent {path:?} can't be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file holds something else.
    #[error("DEL intent {path:?} is damaged; the sandbox is left to GC")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A newer version wrote the file.
    #[error("DEL intent {path:?} has format {format}, and {FORMAT} is the newest known; update patchbayd")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: u32,
    },
    /// A file can't be removed.
    #[error("DEL intent {path:?} can't be removed")]
    Remove {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Where the intent for a container's interface is.
pub fn path(directory: &Path, container_id: &str, ifname: &str) -> PathBuf {
    directory.join(format!("{container_id}-{ifname}.json"))
}

/// Keeps a DEL. When this returns, the file survives a power cut.
pub fn write(directory: &Path, request: &CallRequest) -> Result<PathBuf, Error> {
    let args = request.args().map_err(Error::Args)?;
    let path = path(directory, &args.container_id, &args.ifname);
    let failed = |source| Error::Write { path: path.clone(), source };
    let intent = Intent { format: FORMAT, request: request.clone() };
    let text = serde_json::to_vec(&intent).map_err(|error| failed(error.into()))?;
    make_directory(directory).map_err(failed)?;
    write_durably(directory, &path, &text).map_err(failed)?;
    Ok(path)
}

/// The files of a directory that hold intents, in the order of their names. None where there is no
/// directory.
pub fn list(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |source| Error::List { path: directory.to_owned(), source };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|extension| extension == "json") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Reads an intent; `None` when the file is gone.
pub fn read(path: &Path) -> Result<Option<Intent>, Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let limit = u64::try_from(MAX_REQUEST).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes).map_err(failed)?;

    let damaged = |source| Error::Parse { path: path.to_owned(), source };
    // The format first: what follows may look different in a newer one.
    let Format { format } = serde_json::from_slice(&bytes).map_err(damaged)?;
    if format > FORMAT {
        return Err(Error::Newer { path: path.to_owned(), format });
    }
    serde_json::from_slice(&bytes).map(Some).map_err(damaged)
}

/// Removes an intent that has been carried out; it isn't an error when it is gone.
pub fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(Error::Remove { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// Makes the directory and what leads there, so that it survives a power cut.
fn make_directory(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    if let Some(parent) = directory.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_directory(parent)?;
        match DirBuilder::new().mode(0o700).create(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => File::open(parent)?.sync_all()?,
        }
    }
    Ok(())
}

fn write_durably(directory: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = directory.join(format!(".{}.tmp", std::process::id()));
    let written = (|| {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    if let Err(error) = written {
        // The error that matters is the first one.
        let _best_effort = fs::remove_file(&temporary);
        return Err(error);
    }
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests;
