use super::*;

#[test]
fn the_patch_touches_one_annotation_of_one_pod() {
    let status = [NetworkStatus { name: "cluster".to_owned(), default: true, ..NetworkStatus::default() }];
    let patch = status_patch("uid-1", &status).unwrap();
    assert_eq!(patch["metadata"]["uid"], "uid-1");
    let annotations = patch["metadata"]["annotations"].as_object().unwrap();
    assert_eq!(annotations.keys().collect::<Vec<_>>(), [STATUS_ANNOTATION]);
    assert_eq!(patch.as_object().unwrap().len(), 1);
    let text = annotations[STATUS_ANNOTATION].as_str().unwrap();
    assert!(text.contains(r#""default":true"#), "{text}");
}

#[test]
fn notes_are_kept_within_what_the_api_server_takes() {
    assert_eq!(shortened("short"), "short");
    for long in ["x".repeat(5000), "ü€😀".repeat(2000)] {
        let short = shortened(&long);
        assert!(short.len() <= 1024 && short.ends_with('…'), "{}", short.len());
    }
}
