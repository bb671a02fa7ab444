//! What the API server keeps: objects, their resource versions, and what happened to them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// A kind of object that the server knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `v1` `Pod`.
    Pod,
    /// `k8s.cni.cncf.io/v1` `NetworkAttachmentDefinition`.
    NetworkAttachmentDefinition,
    /// `v1` `Event`, and `events.k8s.io/v1` `Event`.
    Event,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pod => "Pod",
            Self::NetworkAttachmentDefinition => "NetworkAttachmentDefinition",
            Self::Event => "Event",
        }
    }

    pub(super) fn api_version(self) -> &'static str {
        match self {
            Self::Pod | Self::Event => "v1",
            Self::NetworkAttachmentDefinition => "k8s.cni.cncf.io/v1",
        }
    }
}

/// Something that happened, as a watch reports it.
#[derive(Debug, Clone)]
pub(super) struct Happening {
    pub(super) version: u64,
    pub(super) kind: Kind,
    /// `ADDED`, `MODIFIED` or `DELETED`.
    pub(super) what: &'static str,
    pub(super) object: Value,
}

/// Why a patch isn't taken: an HTTP status and a reason as the API server gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    NotFound,
    Conflict,
}

type Key = (Kind, String, String);

#[derive(Debug, Default)]
pub(super) struct Objects {
    by_key: BTreeMap<Key, Value>,
    history: Vec<Happening>,
    version: u64,
    /// The newest version that is no longer in the history.
    forgotten: u64,
    uids: u64,
}

impl Objects {
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn put(&mut self, kind: Kind, mut object: Value) -> Value {
        let generated = format!("event-{}", self.version);
        let uid = format!("00000000-0000-4000-8000-{:012}", self.uids);
        let Some(map) = object.as_object_mut() else { return object };
        map.entry("apiVersion").or_insert(kind.api_version().into());
        map.entry("kind").or_insert(kind.name().into());
        let metadata = map.entry("metadata").or_insert_with(|| json!({}));
        let Some(metadata) = metadata.as_object_mut() else { return object };
        metadata.entry("namespace").or_insert("default".into());
        metadata.entry("name").or_insert(generated.into());
        metadata.entry("uid").or_insert_with(|| {
            self.uids += 1;
            uid.into()
        });
        metadata.entry("creationTimestamp").or_insert("2026-01-01T00:00:00Z".into());
        let key = (kind, text(metadata, "namespace"), text(metadata, "name"));
        let what = if self.by_key.contains_key(&key) { "MODIFIED" } else { "ADDED" };
        self.store(key, what, object)
    }

    /// Gives `object` the next version, stores it and remembers that.
    fn store(&mut self, key: Key, what: &'static str, mut object: Value) -> Value {
        self.version += 1;
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("resourceVersion".into(), self.version.to_string().into());
        }
        self.history.push(Happening { version: self.version, kind: key.0, what, object: object.clone() });
        if what == "DELETED" {
            self.by_key.remove(&key);
        } else {
            self.by_key.insert(key, object.clone());
        }
        object
    }

    pub(super) fn delete(&mut self, kind: Kind, namespace: &str, name: &str) -> bool {
        let key = (kind, namespace.to_owned(), name.to_owned());
        match self.by_key.get(&key).cloned() {
            None => false,
            Some(object) => {
                self.store(key, "DELETED", object);
                true
            }
        }
    }

    pub(super) fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<&Value> {
        self.by_key.get(&(kind, namespace.to_owned(), name.to_owned()))
    }

    pub(super) fn all(&self, kind: Kind) -> Vec<Value> {
        let mut all: Vec<Value> = self
            .by_key
            .iter()
            .filter(|((of, ..), _)| *of == kind)
            .map(|(_, object)| object.clone())
            .collect();
        if kind == Kind::Event {
            all.sort_by_key(version_of);
        }
        all
    }

    /// What happened after `version`; `None` when that is forgotten.
    pub(super) fn since(&self, version: u64) -> Option<impl Iterator<Item = &Happening>> {
        (version >= self.forgotten).then(|| self.history.iter().filter(move |h| h.version > version))
    }

    pub(super) fn forget_history(&mut self) {
        // The version moves on, so that a client that has seen everything is behind as well.
        self.version += 1;
        self.forgotten = self.version;
        self.history.clear();
    }

    /// A JSON merge patch; with `status`, of nothing but metadata and status, as the subresource takes it.
    pub(super) fn patch(
        &mut self,
        kind: Kind,
        (namespace, name): (&str, &str),
        patch: &Value,
        status: bool,
    ) -> Result<Value, Refused> {
        let key = (kind, namespace.to_owned(), name.to_owned());
        let mut object = self.by_key.get(&key).cloned().ok_or(Refused::NotFound)?;
        for precondition in ["uid", "resourceVersion"] {
            let wanted = patch.pointer(&format!("/metadata/{precondition}"));
            if wanted
                .is_some_and(|wanted| object.pointer(&format!("/metadata/{precondition}")) != Some(wanted))
            {
                return Err(Refused::Conflict);
            }
        }
        if let Some(patch) = patch.as_object() {
            for (part, value) in
                patch.iter().filter(|(part, _)| !status || matches!(part.as_str(), "metadata" | "status"))
            {
                let map = object.as_object_mut().ok_or(Refused::NotFound)?;
                merge(map.entry(part).or_insert(Value::Null), value);
            }
        }
        Ok(self.store(key, "MODIFIED", object))
    }
}

/// RFC 7386.
fn merge(target: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let Some(map) = target.as_object_mut() else { return };
    for (key, value) in patch {
        if value.is_null() {
            map.remove(key);
        } else {
            merge(map.entry(key).or_insert(Value::Null), value);
        }
    }
}

fn version_of(object: &Value) -> u64 {
    object
        .pointer("/metadata/resourceVersion")
        .and_then(Value::as_str)
        .and_then(|v| v.parse().ok())
        .unwrap_or(0)
}

fn text(map: &Map<String, Value>, key: &str) -> String {
    map.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}
