use rstest::rstest;

use super::*;

#[test]
fn a_request_says_how_long_it_is() {
    let text = String::from_utf8(request(b"{\"a\":1}")).unwrap();
    assert!(text.starts_with("POST /cni HTTP/1.0\r\n"), "{text}");
    assert!(text.contains("\r\nContent-Length: 7\r\n") && text.ends_with("\r\n\r\n{\"a\":1}"), "{text}");
}

#[test]
fn an_answer_is_complete_with_its_last_byte_and_not_before() {
    let bytes = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 5\r\ncontent-type: x\r\n\r\nhello and more";
    let complete = bytes.len() - " and more".len();
    for length in 0..complete {
        assert_eq!(response(&bytes[..length]), Ok(Progress::Incomplete), "{length}");
    }
    let expected = Ok(Progress::Complete(Response { status: 400, body: b"hello".to_vec() }));
    assert_eq!(response(&bytes[..complete]), expected);
    assert_eq!(response(bytes), expected);
}

#[rstest]
#[case("SSH-2.0-OpenSSH", Malformed::StatusLine)]
#[case("HTTP/2 200\r\n\r\n", Malformed::StatusLine)]
#[case("HTTP/1.1 abc\r\nContent-Length: 0\r\n\r\n", Malformed::StatusLine)]
#[case("HTTP/1.1 99999\r\nContent-Length: 0\r\n\r\n", Malformed::StatusLine)]
#[case("HTTP/1.1\r\nContent-Length: 0\r\n\r\n", Malformed::StatusLine)]
#[case("HTTP/1.1 200 OK\r\n\r\n{}", Malformed::NoLength)]
#[case("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}", Malformed::NoLength)]
#[case("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", Malformed::NoLength)]
#[case("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", Malformed::TooLong(99_999_999))]
fn what_is_no_answer_is_told(#[case] text: &str, #[case] expected: Malformed) {
    assert_eq!(response(text.as_bytes()), Err(expected));
}

#[test]
fn a_head_without_end_is_cut_off() {
    let bytes = [b"HTTP/1.1 200 OK\r\n".as_slice(), &vec![b'a'; 64 << 10]].concat();
    assert_eq!(response(&bytes), Err(Malformed::Head));
}
