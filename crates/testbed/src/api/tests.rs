use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use futures::StreamExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;

async fn send(
    server: &FakeApiServer,
    method: &str,
    uri: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (StatusCode, Value) {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::from(body.to_owned())).unwrap();
    let response = server.router().oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

fn pod(name: &str, node: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "ns"}, "spec": {"nodeName": node}})
}

const METADATA: (&str, &str) = ("accept", "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1");
const MERGE: (&str, &str) = ("content-type", "application/merge-patch+json");

#[tokio::test]
async fn a_list_holds_what_is_selected_and_only_metadata_when_asked_so() {
    let server = FakeApiServer::new();
    server.put(Kind::Pod, pod("a", "one"));
    server.put(Kind::Pod, pod("b", "two"));
    let uri = "/api/v1/pods?fieldSelector=spec.nodeName%3Dtwo";
    let (status, list) = send(&server, "GET", uri, &[], "").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(list["kind"], "PodList");
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    assert_eq!(list["items"][0]["spec"]["nodeName"], "two");
    let (_, list) = send(&server, "GET", uri, &[METADATA], "").await;
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert_eq!(list["items"][0]["metadata"]["name"], "b");
    assert_eq!(list["items"][0].get("spec"), None);
    assert_eq!(server.requests()[0].query, "fieldSelector=spec.nodeName%3Dtwo");
}

#[tokio::test]
async fn a_merge_patch_keeps_its_preconditions_and_the_rest_of_the_object() {
    let server = FakeApiServer::new();
    let uid = server.put(Kind::Pod, pod("a", "one"))["metadata"]["uid"].clone();
    let uri = "/api/v1/namespaces/ns/pods/a/status";
    let patch = json!({"metadata": {"uid": uid, "annotations": {"k": "v"}}, "spec": {"nodeName": "x"}});
    let (status, object) = send(&server, "PATCH", uri, &[MERGE], &patch.to_string()).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(object["metadata"]["annotations"]["k"], "v");
    assert_eq!(object["spec"]["nodeName"], "one", "the subresource leaves the spec alone");

    let patch = json!({"metadata": {"uid": "another", "annotations": {"k": "w"}}});
    let (status, _) = send(&server, "PATCH", uri, &[MERGE], &patch.to_string()).await;
    assert_eq!(status, StatusCode::CONFLICT);
    let patch = json!({"metadata": {"annotations": {"k": null}}});
    let (_, object) = send(&server, "PATCH", uri, &[MERGE], &patch.to_string()).await;
    assert_eq!(object["metadata"]["annotations"], json!({}));

    assert_eq!(send(&server, "PUT", uri, &[], "{}").await.0, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(send(&server, "PATCH", uri, &[], "{}").await.0, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let missing = "/api/v1/namespaces/ns/pods/b/status";
    assert_eq!(send(&server, "PATCH", missing, &[MERGE], "{}").await.0, StatusCode::NOT_FOUND);
}

/// The next lines of a watch.
async fn lines(body: &mut axum::body::BodyDataStream) -> Vec<Value> {
    let chunk = tokio::time::timeout(Duration::from_mins(1), body.next()).await.unwrap().unwrap().unwrap();
    chunk.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

async fn open_watch(server: &FakeApiServer, version: u64) -> axum::body::BodyDataStream {
    let uri = format!("/api/v1/pods?watch=true&resourceVersion={version}&fieldSelector=spec.nodeName%3Done");
    let request = Request::get(uri).body(Body::empty()).unwrap();
    server.router().oneshot(request).await.unwrap().into_body().into_data_stream()
}

#[tokio::test]
async fn a_watch_tells_what_happens_until_it_is_cut_or_too_old() {
    let server = FakeApiServer::new();
    server.put(Kind::Pod, pod("a", "one"));
    let mut watch = open_watch(&server, 0).await;
    assert_eq!(lines(&mut watch).await[0]["type"], "ADDED");
    server.put(Kind::Pod, pod("elsewhere", "two"));
    server.put(Kind::Pod, pod("a", "one"));
    assert_eq!(lines(&mut watch).await[0]["type"], "MODIFIED");
    server.delete(Kind::Pod, "ns", "a");
    let last = lines(&mut watch).await;
    assert_eq!((last.len(), &last[0]["type"]), (1, &json!("DELETED")));
    server.disconnect_watches();
    assert!(watch.next().await.is_none());

    let mut behind = open_watch(&server, 1).await;
    assert_eq!(lines(&mut behind).await.len(), 2);
    server.forget_history();
    let gone = lines(&mut behind).await;
    assert_eq!((&gone[0]["type"], &gone[0]["object"]["code"]), (&json!("ERROR"), &json!(410)));
    assert!(behind.next().await.is_none());
}

#[tokio::test]
async fn objects_are_created_once_and_faults_answer_for_everything() {
    let server = FakeApiServer::new();
    let uri = "/apis/events.k8s.io/v1/namespaces/ns/events";
    let event = json!({"metadata": {"name": "e", "namespace": "ns"}, "reason": "AddedInterface"}).to_string();
    assert_eq!(send(&server, "POST", uri, &[], &event).await.0, StatusCode::CREATED);
    assert_eq!(send(&server, "POST", uri, &[], &event).await.0, StatusCode::CONFLICT);
    assert_eq!(server.all(Kind::Event).len(), 1);
    assert_eq!(send(&server, "GET", "/apis/apps/v1/deployments", &[], "").await.0, StatusCode::NOT_FOUND);

    server.set_fault(Some(Fault::Status(503)));
    let (status, body) = send(&server, "GET", "/api/v1/pods", &[], "").await;
    assert_eq!((status.as_u16(), &body["code"]), (503, &json!(503)));
    server.set_fault(Some(Fault::Away));
    let hung = send(&server, "GET", "/api/v1/pods", &[], "");
    assert!(tokio::time::timeout(Duration::from_millis(50), hung).await.is_err());
    server.set_fault(None);
    assert_eq!(send(&server, "GET", "/api/v1/pods", &[], "").await.0, StatusCode::OK);
}
