use std::os::unix::fs::FileTypeExt;

use super::*;

#[tokio::test]
async fn the_socket_is_for_its_owner_alone_and_replaces_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run/patchbayd.sock");
    let first = Socket::open(&path).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    assert!(fs::metadata(&path).unwrap().file_type().is_socket());
    // A daemon that is restarted finds the old socket, and one that died while it opened its own.
    fs::File::create(path.with_extension("new")).unwrap();
    let mut second = Socket::open(&path).unwrap();
    drop(first);
    let (connected, (accepted, _)) = tokio::join!(UnixStream::connect(&path), second.accept());
    connected.unwrap();
    assert!(accepted.peer_cred().is_ok());
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
}

#[tokio::test]
async fn connections_of_others_are_not_served() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("patchbayd.sock");
    let mut socket = Socket::open(&path).unwrap();
    socket.user = Uid::from_raw(socket.user.as_raw() + 1);
    let _connected = UnixStream::connect(&path).await.unwrap();
    let accepting = tokio::time::timeout(std::time::Duration::from_millis(100), socket.accept());
    assert!(accepting.await.is_err());
}

#[tokio::test]
async fn a_request_that_is_none_is_an_error_and_not_a_call() {
    for body in
        [Vec::new(), b"{".to_vec(), br#"{"env": [], "config": 1}"#.to_vec(), vec![b' '; MAX_REQUEST + 1]]
    {
        let error = read(Body::from(body)).await.unwrap_err();
        assert_eq!(error.code, cni::code::DECODE, "{error}");
    }
    let read = read(Body::from(r#"{"env": {"CNI_COMMAND": "ADD"}, "config": "e30="}"#)).await.unwrap();
    assert_eq!((read.env["CNI_COMMAND"].as_str(), read.config.as_slice()), ("ADD", &b"{}"[..]));
}
