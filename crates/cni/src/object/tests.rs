use proptest::prelude::*;
use rstest::rstest;

use super::*;

fn object(text: &str) -> Object {
    Object::parse(text.as_bytes()).unwrap()
}

#[test]
fn what_is_not_touched_keeps_its_text_and_place() {
    let mut conf = object(
        r#"{"b": 1.50, "a": 123456789012345678901234567890, "n" : null, "deep":{ "z":[1e-7, "\u00e9"] }}"#,
    );
    conf.set("new", "x");
    conf.set("b", 2);
    assert_eq!(
        conf.to_string(),
        r#"{"b":2,"a":123456789012345678901234567890,"n":null,"deep":{ "z":[1e-7, "\u00e9"] },"new":"x"}"#
    );
}

#[test]
fn of_a_repeated_key_the_last_value_counts() {
    assert_eq!(object(r#"{"a":1,"b":2,"a":3}"#).to_string(), r#"{"a":3,"b":2}"#);
}

#[test]
fn the_exact_key_goes_before_one_that_differs_in_case() {
    let conf = object(r#"{"DeviceID":"1","deviceID":"2","deviceid":"3","MAC":"m"}"#);
    assert_eq!(conf.read::<String>("deviceID").unwrap().as_deref(), Some("2"));
    assert_eq!(conf.read::<String>("DEVICEID").unwrap().as_deref(), Some("3"));
    assert_eq!(conf.read::<String>("mac").unwrap().as_deref(), Some("m"));
    assert_eq!(conf.get("mac"), None);
    let mut conf = conf;
    assert_eq!(conf.take::<String>("deviceID").unwrap().as_deref(), Some("2"));
    assert_eq!(conf.to_string(), r#"{"MAC":"m"}"#);
}

#[test]
fn null_reads_as_missing_and_the_wrong_kind_names_the_key() {
    let conf = object(r#"{"a":null,"b":"text"}"#);
    assert_eq!(conf.read::<u32>("a").unwrap(), None);
    assert_eq!(conf.read::<u32>("c").unwrap(), None);
    let error = conf.read::<u32>("b").unwrap_err();
    assert!(error.to_string().contains("\"b\""), "{error}");
}

#[rstest]
#[case("")]
#[case("null")]
#[case("[]")]
#[case("{")]
#[case("{}{}")]
#[case(r#"{"a":01}"#)]
#[case("{\"a\":\"\u{1}\"}")]
fn other_text_is_refused(#[case] text: &str) {
    assert!(matches!(Object::parse(text.as_bytes()), Err(Error::Parse(_))));
}

#[test]
fn text_that_is_no_json_cant_be_set() {
    let mut conf = Object::default();
    assert!(conf.set_json("a", "1,\"b\":2").is_err());
    assert!(conf.set_json("a", "").is_err());
    assert!(conf.is_empty());
    conf.set_json("a", " [1.0] ").unwrap();
    assert_eq!(conf.to_string(), r#"{"a":[1.0]}"#);
}

#[test]
fn a_list_and_a_merge_keep_the_text() {
    let one = object(r#"{"x":1.0}"#);
    let mut all = object(r#"{"keep":0.10,"x":2}"#);
    all.set_list("list", [&one, &one]);
    all.merge(&one);
    assert_eq!(all.to_string(), r#"{"keep":0.10,"x":1.0,"list":[{"x":1.0},{"x":1.0}]}"#);
}

#[test]
fn serde_json_carries_it_with_its_text() {
    #[derive(Serialize, Deserialize)]
    struct Stored {
        conf: Object,
    }
    let text = r#"{"conf":{"a":1.50,"b":{ "c": 18446744073709551617 }}}"#;
    let stored: Stored = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_string(&stored).unwrap(), text);
}

/// JSON text: any number that the grammar allows, at any size.
fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        r"-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?",
        ".*".prop_map(|text| Value::from(text).to_string()),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(", "))),
            prop::collection::btree_map("[a-z]{1,4}", inner, 0..4).prop_map(|map| {
                let entries: Vec<String> =
                    map.into_iter().map(|(key, value)| format!("\"{key}\": {value}")).collect();
                format!("{{ {} }}", entries.join(","))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn every_other_value_survives_an_edit_byte_for_byte(
        entries in prop::collection::btree_map(".{0,8}", json(), 0..8),
        key in ".{0,8}",
        value in json(),
    ) {
        let members: Vec<String> = entries
            .iter()
            .map(|(key, value)| format!("{}: {value}", Value::from(key.as_str())))
            .collect();
        let mut conf = object(&format!("{{{}}}", members.join(" , ")));
        conf.set_json(&key, &value).unwrap();
        let read_again = object(&conf.to_string());
        prop_assert_eq!(read_again.get(&key), Some(value.as_str()));
        for (other, text) in entries.iter().filter(|(other, _)| **other != key) {
            prop_assert_eq!(read_again.get(other), Some(text.as_str()));
        }
        prop_assert_eq!(serde_json::to_string(&conf).unwrap(), conf.to_string());
    }

    #[test]
    fn rubbish_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _either = Object::parse(&bytes);
    }
}
