use axum::body::Body;
use serde_json::json;
use testbed::api::{FakeApiServer, Fault, Kind};
use tower::ServiceExt;

use super::*;

const SHORT: Patience =
    Patience { answer: Duration::from_millis(500), appearance: Duration::from_millis(200) };

fn client(api: &FakeApiServer) -> kube::Client {
    let api = api.clone();
    let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
        api.router().oneshot(request.map(Body::new))
    });
    kube::Client::new(service, "default")
}

fn put_pod(api: &FakeApiServer, name: &str, uid: &str) {
    let metadata = json!({"name": name, "namespace": "ns", "uid": uid, "annotations": {"a": "b"}});
    api.put(Kind::Pod, json!({"metadata": metadata, "spec": {"nodeName": "node"}}));
}

/// Runs `test` while the watches are running.
async fn watched<T>(api: &FakeApiServer, test: impl AsyncFnOnce(Cluster) -> T) -> T {
    let (cluster, watches) = Cluster::new(client(api), "node", SHORT);
    tokio::select! {
        () = watches => unreachable!("watches never end"),
        done = test(cluster) => done,
    }
}

#[tokio::test]
async fn what_a_watch_has_shown_is_not_asked_for() {
    let api = FakeApiServer::new();
    put_pod(&api, "web", "u1");
    let nad = json!({
        "metadata": {"name": "n", "namespace": "ns", "annotations": {"k8s.v1.cni.cncf.io/resourceName": "r/a"}},
        "spec": {"config": "{}"},
    });
    api.put(Kind::NetworkAttachmentDefinition, nad);
    watched(&api, async |cluster| {
        cluster.synced().await;
        let before = api.requests().len();
        let pod = cluster.pod("ns", "web", Some("u1")).await.unwrap();
        assert_eq!((pod.uid.as_str(), pod.annotations["a"].as_str()), ("u1", "b"));
        let nad = cluster.nad("ns", "n").await.unwrap();
        assert_eq!((nad.config.as_str(), nad.resource_name.as_deref()), ("{}", Some("r/a")));
        let new = api.requests().split_off(before);
        assert!(new.iter().all(|request| request.query.contains("watch")), "{new:?}");
    })
    .await;
    let lists: Vec<_> =
        api.requests().into_iter().filter(|request| !request.query.contains("watch")).collect();
    let pods: Vec<_> = lists.iter().filter(|request| request.path == "/api/v1/pods").collect();
    assert!(pods.iter().all(|request| request.query.contains("spec.nodeName%3Dnode")), "{pods:?}");
}

#[tokio::test]
async fn another_uid_is_another_pod() {
    let api = FakeApiServer::new();
    put_pod(&api, "web", "u1");
    watched(&api, async |cluster| {
        let error = cluster.pod("ns", "web", Some("u0")).await.unwrap_err();
        assert!(matches!(&error, Error::NoPod { uid: Some(uid), .. } if uid == "u0"), "{error}");
        assert!(
            cluster.pod("ns", "web", None).await.is_ok(),
            "a runtime that names no UID takes what there is"
        );
    })
    .await;
}

#[tokio::test]
async fn errors_tell_what_is_missing_from_what_can_not_be_asked() {
    let api = FakeApiServer::new();
    watched(&api, async |cluster| {
        assert!(matches!(cluster.nad("ns", "n").await, Err(Error::NoNad { .. })));
        api.set_fault(Some(Fault::Status(403)));
        let error = cluster.nad("ns", "n").await.unwrap_err();
        assert!(matches!(error, Error::Api { .. }), "{error}");
        api.set_fault(Some(Fault::Status(500)));
        let error = cni::Error::from(cluster.pod("ns", "p", None).await.unwrap_err());
        assert_eq!(error.code, cni::code::TRY_AGAIN);
        api.set_fault(Some(Fault::Away));
        let error = cluster.pod("ns", "p", None).await.unwrap_err();
        assert!(matches!(error, Error::Timeout { .. }), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_malformed_nad_spoils_nothing_but_itself() {
    let api = FakeApiServer::new();
    let nad = |name: &str, spec| json!({"metadata": {"name": name, "namespace": "ns"}, "spec": spec});
    api.put(Kind::NetworkAttachmentDefinition, nad("bad", json!({"config": {"type": "x"}})));
    api.put(Kind::NetworkAttachmentDefinition, nad("empty", json!({})));
    api.put(Kind::NetworkAttachmentDefinition, json!({"metadata": {"name": "none", "namespace": "ns"}}));
    watched(&api, async |cluster| {
        cluster.synced().await;
        assert!(matches!(cluster.nad("ns", "bad").await, Err(Error::MalformedNad { .. })));
        for name in ["empty", "none"] {
            assert_eq!(cluster.nad("ns", name).await.unwrap().config, "");
        }
    })
    .await;
}

#[tokio::test]
async fn containers_come_in_the_order_of_the_spec_init_containers_first() {
    let api = FakeApiServer::new();
    let spec = json!({
        "nodeName": "node", "initContainers": [{"name": "setup"}], "containers": [{"name": "z"}, {"name": "a"}],
    });
    api.put(Kind::Pod, json!({"metadata": {"name": "web", "namespace": "ns"}, "spec": spec}));
    watched(&api, async |cluster| {
        assert_eq!(cluster.container_order("ns", "web").await.unwrap(), ["setup", "z", "a"]);
    })
    .await;
}
