//! The API server's HTTP.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::stream;
use serde_json::{Value, json};

use super::objects::{Happening, Refused};
use super::{FakeApiServer, Fault, Kind};

/// The biggest body that is taken.
const MAX_BODY: usize = 3 << 20;

pub(super) fn router(server: FakeApiServer) -> Router {
    Router::new().fallback(handle).with_state(server)
}

/// What a path names.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    kind: Kind,
    namespace: Option<String>,
    name: Option<String>,
    status: bool,
}

impl Target {
    fn parse(path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (["api", "v1", rest @ ..] | ["apis", "k8s.cni.cncf.io" | "events.k8s.io", "v1", rest @ ..]) =
            parts.as_slice()
        else {
            return None;
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] => (Some((*namespace).to_owned()), rest),
            rest => (None, rest),
        };
        let (plural, name, status) = match rest {
            [plural] => (plural, None, false),
            [plural, name] => (plural, Some((*name).to_owned()), false),
            [plural, name, "status"] => (plural, Some((*name).to_owned()), true),
            _ => return None,
        };
        let kind = match *plural {
            "pods" => Kind::Pod,
            "network-attachment-definitions" => Kind::NetworkAttachmentDefinition,
            "events" => Kind::Event,
            _ => return None,
        };
        Some(Self { kind, namespace, name, status })
    }

    fn object(&self) -> Option<(&str, &str)> {
        Some((self.namespace.as_deref()?, self.name.as_deref()?))
    }
}

async fn handle(State(server): State<FakeApiServer>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let query = parts.uri.query().unwrap_or_default().to_owned();
    server.lock().requests.push(super::Request {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: query.clone(),
    });
    let fault = server.lock().fault;
    match fault {
        None => {}
        Some(Fault::Slow(delay)) => tokio::time::sleep(delay).await,
        Some(Fault::Status(code)) => return refusal(code, "InternalError", "the fault that was asked for"),
        Some(Fault::Away) => std::future::pending::<()>().await,
    }
    let Some(target) = Target::parse(parts.uri.path()) else {
        return refusal(404, "NotFound", "the server could not find the requested resource");
    };
    let Ok(body) = to_bytes(body, MAX_BODY).await else {
        return refusal(413, "RequestEntityTooLarge", "the body is too big");
    };
    let query = Query(query);
    match (&parts.method, target.object()) {
        (&Method::GET, Some(object)) => get(&server, &target, object, &parts.headers),
        (&Method::GET, None) if query.value("watch").is_some_and(|v| v == "true" || v == "1") => {
            watch(server, target, &query, metadata_only(&parts.headers))
        }
        (&Method::GET, None) => list(&server, &target, &query, metadata_only(&parts.headers)),
        (&Method::PATCH, Some(object)) => patch(&server, &target, object, &parts.headers, &body),
        (&Method::POST, None) => create(&server, &target, &body),
        (&Method::DELETE, Some((namespace, name))) => {
            if server.delete(target.kind, namespace, name) {
                answer(StatusCode::OK, &json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}))
            } else {
                not_found()
            }
        }
        _ => refusal(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        ),
    }
}

fn get(
    server: &FakeApiServer,
    target: &Target,
    (namespace, name): (&str, &str),
    headers: &HeaderMap,
) -> Response {
    match server.get(target.kind, namespace, name) {
        Some(object) => answer(StatusCode::OK, &shape(&object, metadata_only(headers))),
        None => not_found(),
    }
}

fn list(server: &FakeApiServer, target: &Target, query: &Query, metadata: bool) -> Response {
    let state = server.lock();
    let items: Vec<Value> = state
        .objects
        .all(target.kind)
        .iter()
        .filter(|object| selected(object, target, query))
        .map(|object| shape(object, metadata))
        .collect();
    let (kind, api_version) = if metadata {
        ("PartialObjectMetadataList".to_owned(), "meta.k8s.io/v1")
    } else {
        (format!("{}List", target.kind.name()), target.kind.api_version())
    };
    answer(
        StatusCode::OK,
        &json!({
            "kind": kind, "apiVersion": api_version, "items": items,
            "metadata": {"resourceVersion": state.objects.version().to_string()},
        }),
    )
}

fn patch(
    server: &FakeApiServer,
    target: &Target,
    object: (&str, &str),
    headers: &HeaderMap,
    body: &Bytes,
) -> Response {
    let form = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if form != Some("application/merge-patch+json") {
        return refusal(415, "UnsupportedMediaType", "only merge patches are taken");
    }
    let Ok(patch) = serde_json::from_slice(body) else {
        return refusal(400, "BadRequest", "the patch is not JSON");
    };
    let patched = server.lock().objects.patch(target.kind, object, &patch, target.status);
    server.changed();
    match patched {
        Ok(object) => answer(StatusCode::OK, &shape(&object, metadata_only(headers))),
        Err(Refused::NotFound) => not_found(),
        Err(Refused::Conflict) => refusal(409, "Conflict", "a precondition of the patch does not hold"),
    }
}

fn create(server: &FakeApiServer, target: &Target, body: &Bytes) -> Response {
    let Ok(object) = serde_json::from_slice::<Value>(body) else {
        return refusal(400, "BadRequest", "the object is not JSON");
    };
    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let namespace = target.namespace.as_deref().unwrap_or("default");
    if server.get(target.kind, namespace, name).is_some() {
        return refusal(409, "AlreadyExists", "there is such an object already");
    }
    answer(StatusCode::CREATED, &server.put(target.kind, object))
}

/// A stream of what happens from the version that the query names on.
fn watch(server: FakeApiServer, target: Target, query: &Query, metadata: bool) -> Response {
    let seen = query.value("resourceVersion").and_then(|v| v.parse().ok()).unwrap_or(0);
    let seconds = query.value("timeoutSeconds").and_then(|v| v.parse().ok()).unwrap_or(300);
    let until = tokio::time::Instant::now() + Duration::from_secs(seconds);
    let generation = server.lock().generation;
    let changes = server.shared.changes.subscribe();
    let selector = query.value("fieldSelector");
    let first = Watching { server, target, selector, metadata, seen, generation };
    let lines = stream::unfold(Some((first, changes)), move |state| async move {
        let (mut current, mut changes) = state?;
        loop {
            changes.mark_unchanged();
            match current.next() {
                Next::Lines(lines) => {
                    return Some((Ok::<_, std::io::Error>(lines), Some((current, changes))));
                }
                Next::Last(line) => return Some((Ok(line), None)),
                Next::Ended => return None,
                Next::Nothing => {}
            }
            tokio::select! {
                alive = changes.changed() => alive.ok()?,
                () = tokio::time::sleep_until(until) => return None,
            }
        }
    });
    let headers = [(header::CONTENT_TYPE, "application/json")];
    (headers, Body::from_stream(lines)).into_response()
}

struct Watching {
    server: FakeApiServer,
    target: Target,
    selector: Option<String>,
    metadata: bool,
    seen: u64,
    generation: u64,
}

enum Next {
    Lines(String),
    Last(String),
    Ended,
    Nothing,
}

impl Watching {
    fn next(&mut self) -> Next {
        let state = self.server.lock();
        if state.generation != self.generation {
            return Next::Ended;
        }
        if matches!(state.fault, Some(Fault::Away)) {
            return Next::Nothing;
        }
        let Some(news) = state.objects.since(self.seen) else {
            let gone = json!({"type": "ERROR", "object": status(410, "Expired", "too old resource version")});
            return Next::Last(format!("{gone}\n"));
        };
        let mut lines = String::new();
        let mut last = self.seen;
        for Happening { version, kind, what, object } in news {
            last = *version;
            if *kind == self.target.kind && matches(object, &self.target, self.selector.as_deref()) {
                let line = json!({"type": what, "object": shape(object, self.metadata)});
                lines.push_str(&line.to_string());
                lines.push('\n');
            }
        }
        self.seen = last;
        if lines.is_empty() { Next::Nothing } else { Next::Lines(lines) }
    }
}

fn selected(object: &Value, target: &Target, query: &Query) -> bool {
    matches(object, target, query.value("fieldSelector").as_deref())
}

/// Whether an object is in the target's namespace and has the fields that `a.b=c,d=e` asks for.
fn matches(object: &Value, target: &Target, selector: Option<&str>) -> bool {
    let field = |path: &str| {
        let value = object.pointer(&format!("/{}", path.replace('.', "/")));
        value.and_then(Value::as_str).unwrap_or_default()
    };
    target.namespace.as_deref().is_none_or(|namespace| field("metadata.namespace") == namespace)
        && selector.unwrap_or_default().split(',').filter(|term| !term.is_empty()).all(|term| {
            term.split_once('=').is_some_and(|(path, wanted)| field(path) == wanted.trim_start_matches('='))
        })
}

fn metadata_only(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.contains("as=PartialObjectMetadata")
}

fn shape(object: &Value, metadata: bool) -> Value {
    if metadata {
        json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
    } else {
        object.clone()
    }
}

fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    })
}

fn refusal(code: u16, reason: &str, message: &str) -> Response {
    let http = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer(http, &status(code, reason, message))
}

fn not_found() -> Response {
    refusal(404, "NotFound", "not found")
}

fn answer(code: StatusCode, value: &Value) -> Response {
    (code, [(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

/// A query string; values are decoded when they're read.
struct Query(String);

impl Query {
    fn value(&self, key: &str) -> Option<String> {
        let pairs = self.0.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(name, _)| *name == key).map(|(_, value)| decode(value)).next()
    }
}

/// Undoes percent-encoding; what isn't a valid escape stays.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = match (first, tail) {
            (b'%', [high, low, ..]) => std::str::from_utf8(&[*high, *low])
                .ok()
                .and_then(|digits| u8::from_str_radix(digits, 16).ok()),
            _ => None,
        };
        out.push(escaped.unwrap_or(if first == b'+' { b' ' } else { first }));
        rest = tail.get(if escaped.is_some() { 2 } else { 0 }..).unwrap_or_default();
    }
    String::from_utf8_lossy(&out).into_owned()
}
