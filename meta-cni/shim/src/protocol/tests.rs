use super::*;

#[test]
fn a_request_is_what_the_daemon_of_multus_reads() {
    let request = CallRequest {
        env: [("CNI_COMMAND".to_owned(), "ADD".to_owned())].into(),
        config: b"{\"x\": 1.50}".to_vec(),
    };
    let json = r#"{"env":{"CNI_COMMAND":"ADD"},"config":"eyJ4IjogMS41MH0="}"#;
    assert_eq!(serde_json::to_string(&request).unwrap(), json);
    assert_eq!(serde_json::from_str::<CallRequest>(json).unwrap(), request);
}

#[test]
fn an_older_plugins_request_is_read() {
    let json = r#"{"env":{"HOME":"/"},"config":null,"interfaceAttributes":{"cni-args":null}}"#;
    let request: CallRequest = serde_json::from_str(json).unwrap();
    assert!(request.config.is_empty());
    assert!(serde_json::from_str::<CallRequest>(r#"{"env":{},"config":"?"}"#).is_err());
    assert!(serde_json::from_str::<CallRequest>(r#"{"env":{"A":1}}"#).is_err());
}

#[test]
fn a_reply_keeps_the_text_of_its_result() {
    let json = r#"{"Result":{"cniVersion":"1.1.0","x":{"y": 1.50}}}"#;
    let reply: CallReply = serde_json::from_str(json).unwrap();
    assert_eq!(serde_json::to_string(&reply).unwrap(), json);
}

#[test]
fn the_sign_of_life_is_beside_the_socket() {
    assert_eq!(alive_path(Path::new(DEFAULT_SOCKET)), Path::new("/run/patchbay/alive"));
}
