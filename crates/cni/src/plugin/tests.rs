use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::error::code;

const CONF: &str = r#"{"cniVersion":"0.3.1","name":"n","type":"t","x":1.0}"#;

fn call(
    command: &str,
    stdin: &[u8],
    serve: impl FnOnce(&Request) -> Result<Option<AddResult>, Error>,
) -> (bool, Value) {
    let variable = |name: &str| {
        Some(match name {
            "CNI_COMMAND" => command.to_owned(),
            "CNI_CONTAINERID" => "c1".to_owned(),
            "CNI_NETNS" => "/ns".to_owned(),
            "CNI_IFNAME" => "net1".to_owned(),
            _ => return None,
        })
    };
    let answer = answer(variable, stdin, serve);
    let stdout =
        if answer.stdout.is_empty() { Value::Null } else { serde_json::from_slice(&answer.stdout).unwrap() };
    (answer.success, stdout)
}

#[test]
fn a_result_goes_out_in_the_version_of_the_configuration() {
    let served = call("ADD", CONF.as_bytes(), |request| {
        assert_eq!(request.stdin, CONF.as_bytes());
        assert_eq!((request.conf.name(), request.args.ifname.as_str()), ("n", "net1"));
        Ok(Some(AddResult::default()))
    });
    assert_eq!(served, (true, json!({"cniVersion": "0.3.1", "dns": {}})));
}

#[rstest]
#[case("DEL")]
#[case("CHECK")]
#[case("GC")]
#[case("STATUS")]
fn the_other_commands_print_nothing(#[case] command: &str) {
    assert_eq!(call(command, CONF.as_bytes(), |_| Ok(None)), (true, Value::Null));
}

#[test]
fn an_error_goes_out_with_its_code() {
    let served = call("DEL", CONF.as_bytes(), |_| Err(Error::try_again("busy")));
    assert_eq!(served, (false, json!({"cniVersion": "0.3.1", "code": 11, "msg": "busy"})));
}

#[test]
fn version_is_answered_here() {
    let versions = json!(["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]);
    let serve = |_: &Request| panic!("not to be called");
    let asked = call("VERSION", br#"{"cniVersion":"1.0.0"}"#, serve);
    assert_eq!(asked, (true, json!({"cniVersion": "1.0.0", "supportedVersions": versions})));
    let asked = call("VERSION", b"", serve);
    assert_eq!(asked, (true, json!({"cniVersion": "1.1.0", "supportedVersions": versions})));
}

#[rstest]
#[case("FROB", CONF.as_bytes(), code::INVALID_ENVIRONMENT)]
#[case("ADD", b"".as_slice(), code::DECODE)]
#[case("ADD", b"\xff\x00", code::DECODE)]
#[case("ADD", br#"{"cniVersion":"7.0.0","name":"n"}"#, code::INCOMPATIBLE_VERSION)]
#[case("ADD", br#"{"cniVersion":"1.0.0"}"#, code::INVALID_CONFIG)]
#[case("ADD", br#"{"cniVersion":"1.0.0","name":"../n"}"#, code::INVALID_CONFIG)]
fn malformed_calls_dont_reach_the_plugin(#[case] command: &str, #[case] stdin: &[u8], #[case] code: u32) {
    let (success, error) = call(command, stdin, |_| panic!("not to be called"));
    assert!(!success);
    assert_eq!(error["code"], code, "{error}");
}

#[test]
fn endless_input_is_refused() {
    let variable = |name: &str| (name == "CNI_COMMAND").then(|| "STATUS".to_owned());
    let answer = answer(variable, std::io::repeat(b' '), |_| panic!("not to be called"));
    assert!(!answer.success);
    assert_eq!(Error::parse(&answer.stdout).unwrap().code, code::DECODE);
}
