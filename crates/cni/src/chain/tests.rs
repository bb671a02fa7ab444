use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::error::code;

/// The list in the specification's appendix.
fn dbnet() -> Value {
    json!({
        "cniVersion": "1.0.0",
        "cniVersions": ["0.3.1", "0.4.0", "1.0.0", "1.1.0"],
        "name": "dbnet",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "keyA": ["some more", "plugin specific", "configuration"],
                "ipam": {"type": "host-local", "subnet": "10.1.0.0/16", "gateway": "10.1.0.1", "routes": [{"dst": "0.0.0.0/0"}]},
                "dns": {"nameservers": ["10.1.0.1"]}
            },
            {"type": "tuning", "capabilities": {"mac": true, "promisc": false}, "sysctl": {"net.core.somaxconn": "500"}},
            {"type": "portmap", "capabilities": {"portMappings": true}}
        ]
    })
}

fn capability_args() -> Object {
    Object::parse(br#"{"mac":"00:11:22:33:44:66","promisc":true,"portMappings":[{"hostPort": 8080,"containerPort": 80}],"other":1}"#)
        .unwrap()
}

fn chain(list: &Value) -> Chain {
    let list = NetConfList::parse(list.to_string().as_bytes()).unwrap();
    Chain::new(&list, &capability_args()).unwrap()
}

/// Answers every call of a walk, and remembers what each plugin read.
#[derive(Default)]
struct Journal {
    calls: Vec<(Command, usize, String, Value)>,
    fail_at: Option<usize>,
}

impl Journal {
    fn answer(&mut self, call: &Call<'_>) -> Result<Vec<u8>, Error> {
        let stdin = serde_json::from_slice(&call.stdin).unwrap();
        self.calls.push((call.command, call.index, call.kind.to_owned(), stdin));
        if self.fail_at == Some(call.index) {
            return Err(Error::try_again("busy"));
        }
        Ok(format!(r#"{{"cniVersion":"1.1.0","made by":"{}"}}"#, call.kind).into_bytes())
    }

    fn kinds(&self) -> Vec<&str> {
        self.calls.iter().map(|(_, _, kind, _)| kind.as_str()).collect()
    }
}

#[test]
fn add_hands_each_result_to_the_next_plugin() {
    let mut journal = Journal::default();
    let result = chain(&dbnet()).add(|call| journal.answer(call)).unwrap();
    assert_eq!(result, r#"{"cniVersion":"1.1.0","made by":"portmap"}"#);
    assert_eq!(journal.kinds(), ["bridge", "tuning", "portmap"]);
    assert!(journal.calls.iter().all(|(command, ..)| *command == Command::Add));

    let mut bridge = dbnet()["plugins"][0].clone();
    bridge["cniVersion"] = json!("1.1.0");
    bridge["name"] = json!("dbnet");
    assert_eq!(journal.calls[0].3, bridge);
    assert_eq!(
        journal.calls[1].3,
        json!({
            "cniVersion": "1.1.0", "name": "dbnet", "type": "tuning",
            "capabilities": {"mac": true, "promisc": false},
            "sysctl": {"net.core.somaxconn": "500"},
            "runtimeConfig": {"mac": "00:11:22:33:44:66"},
            "prevResult": {"cniVersion": "1.1.0", "made by": "bridge"}
        })
    );
    let portmap = &journal.calls[2].3;
    assert_eq!(portmap["runtimeConfig"], json!({"portMappings": [{"hostPort": 8080, "containerPort": 80}]}));
    assert_eq!(portmap["prevResult"]["made by"], "tuning");
}

#[test]
fn del_and_check_read_what_add_read_and_the_last_result() {
    let chain = chain(&dbnet());
    let mut add = Journal::default();
    let result = chain.add(|call| add.answer(call)).unwrap();
    let (mut check, mut del) = (Journal::default(), Journal::default());
    chain.check(&result, |call| check.answer(call)).unwrap();
    chain.del(Some(&result), |call| del.answer(call)).unwrap();
    assert_eq!(check.kinds(), ["bridge", "tuning", "portmap"]);
    assert_eq!(del.kinds(), ["portmap", "tuning", "bridge"]);
    for (_, index, _, stdin) in check.calls.iter().chain(&del.calls) {
        let mut expected = add.calls[*index].3.clone();
        expected["prevResult"] = serde_json::from_str(&result).unwrap();
        assert_eq!(*stdin, expected);
    }
}

#[test]
fn numbers_reach_the_plugin_as_they_were_written() {
    let conf =
        br#"{"cniVersion":"1.0.0","name":"n","type":"t","rate":1.50,"id":123456789012345678901234567890}"#;
    let list = NetConfList::parse(conf).unwrap();
    let chain = Chain::new(&list, &Object::default()).unwrap();
    let stored: Chain = serde_json::from_slice(&serde_json::to_vec(&chain).unwrap()).unwrap();
    assert_eq!(stored, chain);
    let mut seen = Vec::new();
    stored
        .del(Some(r#"{"x": 0.10}"#), |call| {
            seen.clone_from(&call.stdin);
            Ok(Vec::new())
        })
        .unwrap();
    assert_eq!(
        String::from_utf8(seen).unwrap(),
        r#"{"cniVersion":"1.0.0","name":"n","type":"t","rate":1.50,"id":123456789012345678901234567890,"prevResult":{"x": 0.10}}"#
    );
}

#[test]
fn the_first_failure_ends_add_check_and_del() {
    let chain = chain(&dbnet());
    let failing = || Journal { fail_at: Some(1), ..Journal::default() };
    let (mut add, mut check, mut del) = (failing(), failing(), failing());
    assert_eq!(chain.add(|call| add.answer(call)).unwrap_err().code, code::TRY_AGAIN);
    assert_eq!(chain.check("{}", |call| check.answer(call)).unwrap_err().code, code::TRY_AGAIN);
    assert_eq!(chain.del(None, |call| del.answer(call)).unwrap_err().code, code::TRY_AGAIN);
    assert_eq!(add.kinds(), ["bridge", "tuning"]);
    assert_eq!(check.kinds(), ["bridge", "tuning"]);
    assert_eq!(del.kinds(), ["portmap", "tuning"]);
}

fn single(version: &str) -> Value {
    json!({"cniVersion": version, "name": "n", "type": "t"})
}

#[rstest]
#[case("0.1.0", false)]
#[case("0.3.1", false)]
#[case("0.4.0", true)]
#[case("1.1.0", true)]
fn check_and_the_previous_result_on_del_came_with_0_4_0(#[case] version: &str, #[case] known: bool) {
    let chain = chain(&single(version));
    let mut journal = Journal::default();
    chain.del(Some("{}"), |call| journal.answer(call)).unwrap();
    assert_eq!(journal.calls[0].3.get("prevResult").is_some(), known);
    let checked = chain.check("{}", |call| journal.answer(call));
    assert_eq!(
        checked.map_err(|error| error.code),
        if known { Ok(()) } else { Err(code::INCOMPATIBLE_VERSION) }
    );
}

#[rstest]
#[case("1.0.0", 0)]
#[case("1.1.0", 1)]
fn status_and_gc_came_with_1_1_0(#[case] version: &str, #[case] calls: usize) {
    let chain = chain(&single(version));
    let mut journal = Journal::default();
    chain.status(|call| journal.answer(call)).unwrap();
    assert_eq!(journal.calls.len(), calls);
    let valid = [AttachmentId { container_id: "c1".to_owned(), ifname: "net1".to_owned() }];
    assert!(chain.gc(&valid, |call| journal.answer(call)).is_empty());
    assert_eq!(journal.calls.len(), 2 * calls);
    if let Some((command, _, _, stdin)) = journal.calls.last() {
        assert_eq!(*command, Command::Gc);
        let expected = json!([{"containerID": "c1", "ifname": "net1"}]);
        assert_eq!(
            (&stdin["cni.dev/valid-attachments"], &stdin["cni.dev/attachments"]),
            (&expected, &expected)
        );
    }
}

#[test]
fn gc_goes_on_after_a_failure_and_status_doesnt() {
    let chain = chain(&dbnet());
    let failing = || Journal { fail_at: Some(0), ..Journal::default() };
    let (mut gc, mut status) = (failing(), failing());
    assert_eq!(chain.gc(&[], |call| gc.answer(call)).len(), 1);
    assert_eq!(gc.kinds(), ["bridge", "tuning", "portmap"]);
    assert!(chain.status(|call| status.answer(call)).is_err());
    assert_eq!(status.kinds(), ["bridge"]);
}

#[test]
fn what_is_disabled_isnt_called() {
    let mut list = dbnet();
    list["disableCheck"] = json!(true);
    list["disableGC"] = json!(true);
    let chain = chain(&list);
    let mut journal = Journal::default();
    chain.check("{}", |call| journal.answer(call)).unwrap();
    assert!(chain.gc(&[], |call| journal.answer(call)).is_empty());
    assert!(journal.calls.is_empty());
}

#[rstest]
#[case(b"".as_slice(), code::DECODE)]
#[case(b"hello", code::DECODE)]
#[case(b"[]", code::DECODE)]
#[case(b"\xff\xfe", code::DECODE)]
#[case(br#"{"cniVersion":5}"#, code::DECODE)]
#[case(br#"{"code":11,"msg":"busy"}"#, code::TRY_AGAIN)]
fn an_answer_that_is_no_result_names_the_plugin(#[case] stdout: &[u8], #[case] code: u32) {
    let error = chain(&single("1.0.0")).add(|_| Ok(stdout.to_vec())).unwrap_err();
    assert_eq!(error.code, code);
    assert!(error.msg.contains("plugin \"t\""), "{error}");
}

#[test]
fn a_result_without_a_version_gets_the_networks() {
    let result = chain(&single("1.0.0")).add(|_| Ok(br#"{"ips":[],"x":1.0}"#.to_vec())).unwrap();
    assert_eq!(result, r#"{"ips":[],"x":1.0,"cniVersion":"1.0.0"}"#);
}

#[test]
fn a_previous_result_that_is_no_json_is_an_error() {
    let chain = chain(&single("1.0.0"));
    let mut journal = Journal::default();
    assert_eq!(chain.del(Some("{"), |call| journal.answer(call)).unwrap_err().code, code::DECODE);
    assert!(journal.calls.is_empty());
}

#[rstest]
#[case(r#"{"type":"t"}"#)]
#[case(r#"{"type":"t","name":"a/b"}"#)]
fn a_network_needs_a_name(#[case] conf: &str) {
    let list = NetConfList::parse(conf.as_bytes()).unwrap();
    assert!(matches!(Chain::new(&list, &Object::default()), Err(InvalidConf::Name(_))));
}
