//! Finding network namespaces again, and telling whether they're gone.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ledger::NamespaceRecord;
use netlink::{Links, NamespaceId};

use crate::host::Host;

impl<L: Links> Host<L> {
    /// The namespace of a record, if it's still the same one at the same path.
    pub(crate) fn recorded_namespace(
        &self,
        record: &NamespaceRecord,
    ) -> Result<Option<L::Namespace>, netlink::Error> {
        self.namespace_at(&record.path, id_of(record))
    }

    fn namespace_at(&self, path: &Path, id: NamespaceId) -> Result<Option<L::Namespace>, netlink::Error> {
        match self.links.open(path) {
            Ok(namespace) => Ok(self.links.id(&namespace).is(id).then_some(namespace)),
            Err(error) if error.is_gone() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether nothing leads to a namespace any more: neither its path nor a process. What can't be told is alive.
    pub(crate) fn is_namespace_gone(&self, record: &NamespaceRecord) -> bool {
        let id = id_of(record);
        let lives = |path: &PathBuf| !matches!(self.namespace_at(path, id), Ok(None));
        matches!(self.recorded_namespace(record), Ok(None))
            && !self.namespaces_of_processes().iter().any(|(found, path)| found.is(id) && lives(path))
    }

    /// The namespace, other than the host's, of some process, that has what's looked for.
    ///
    /// A privileged pod may move an interface on, and one that was deleted may live on in a process.
    pub(crate) fn namespace_where(&self, has_it: impl Fn(&L::Namespace) -> bool) -> Option<L::Namespace> {
        let host = self.links.id(self.links.host());
        self.namespaces_of_processes()
            .into_iter()
            .filter(|(id, _path)| !id.is(host))
            .filter_map(|(id, path)| self.namespace_at(&path, id).ok().flatten())
            .find(has_it)
    }

    /// The network namespaces that processes are in, each once, as far as can be told without opening them. Processes
    /// come and go meanwhile.
    fn namespaces_of_processes(&self) -> Vec<(NamespaceId, PathBuf)> {
        let mut seen = BTreeSet::new();
        let Ok(entries) = fs::read_dir(&self.proc) else { return Vec::new() };
        entries
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()))
            .filter_map(|entry| {
                let path = entry.path().join("ns/net");
                let metadata = fs::metadata(&path).ok()?;
                let id = NamespaceId { dev: metadata.dev(), ino: metadata.ino(), cookie: None };
                seen.insert(id).then_some((id, path))
            })
            .collect()
    }
}

fn id_of(record: &NamespaceRecord) -> NamespaceId {
    NamespaceId { dev: record.dev, ino: record.ino, cookie: record.cookie }
}

/// What to know a namespace again by.
pub(crate) fn record_of(path: &Path, id: NamespaceId) -> NamespaceRecord {
    let NamespaceId { dev, ino, cookie } = id;
    NamespaceRecord { path: path.to_owned(), dev, ino, cookie }
}
