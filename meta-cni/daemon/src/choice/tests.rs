use rstest::rstest;

use super::*;

fn pod(annotations: &[(&str, &str)]) -> Pod {
    Pod {
        namespace: "ns".to_owned(),
        name: "web".to_owned(),
        uid: "u".to_owned(),
        annotations: annotations
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
    }
}

fn rules(isolation: bool) -> Rules {
    Rules { isolation, global: vec!["shared".to_owned()], default_namespace: "kube-system".to_owned() }
}

#[test]
fn a_pod_without_annotations_chooses_nothing() {
    assert_eq!(choice(&pod(&[]), &rules(true)).unwrap(), Choice::default());
    assert_eq!(choice(&pod(&[(NETWORKS_ANNOTATION, "")]), &rules(true)).unwrap(), Choice::default());
}

#[test]
fn both_annotations_are_read_each_with_its_own_namespace() {
    let pod = pod(&[(NETWORKS_ANNOTATION, "a, other/b@lan"), (DEFAULT_NETWORK_ANNOTATION, "own-default")]);
    let choice = choice(&pod, &rules(false)).unwrap();
    assert_eq!(choice.default.unwrap().full_name(), "kube-system/own-default");
    let names: Vec<_> = choice.networks.iter().map(Selection::full_name).collect();
    assert_eq!(names, ["ns/a", "other/b"]);
}

#[rstest]
#[case::own(NETWORKS_ANNOTATION, "a", true)]
#[case::shared(NETWORKS_ANNOTATION, "shared/a", true)]
#[case::foreign(NETWORKS_ANNOTATION, "other/a", false)]
#[case::default_of_the_node(DEFAULT_NETWORK_ANNOTATION, "a", true)]
#[case::default_foreign(DEFAULT_NETWORK_ANNOTATION, "other/a", false)]
fn isolation_keeps_a_pod_to_its_namespace(#[case] key: &str, #[case] value: &str, #[case] allowed: bool) {
    let pod = pod(&[(key, value)]);
    assert!(choice(&pod, &rules(false)).is_ok());
    match choice(&pod, &rules(true)) {
        Ok(_) => assert!(allowed),
        Err(error) => {
            assert!(!allowed, "{error}");
            let text = error.to_string();
            assert!(
                text.contains("pod ns/web") && text.contains("other/a") && text.contains("shared"),
                "{text}"
            );
        }
    }
}

#[rstest]
#[case::json("[{")]
#[case::no_list(r#"{"name": "a"}"#)]
#[case::ifname("a@much-too-long-for-linux")]
#[case::slashes("a/b/c")]
fn a_wrong_annotation_names_pod_and_annotation(#[case] value: &str) {
    let error = cni::Error::from(choice(&pod(&[(NETWORKS_ANNOTATION, value)]), &rules(false)).unwrap_err());
    assert_eq!(error.code, cni::code::INVALID_CONFIG);
    assert!(error.msg.contains("pod ns/web") && error.msg.contains(NETWORKS_ANNOTATION), "{error}");
}
