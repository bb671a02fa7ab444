use rstest::rstest;

use super::*;

fn read(conf: &str) -> Result<Settings, cni::Error> {
    Ok(Settings::read(&Object::parse(conf.as_bytes()).unwrap())?)
}

#[test]
fn without_keys_the_defaults_hold() {
    let settings = read(r#"{"cniVersion":"1.1.0","name":"n","type":"patchbay"}"#).unwrap();
    assert_eq!(
        settings,
        Settings {
            socket: "/run/patchbay/patchbayd.sock".into(),
            intents: "/var/lib/patchbay/intents".into(),
            daemon_wait: Duration::from_mins(1),
            answer_wait: Duration::from_mins(3),
            log_file: None,
            log_to_stderr: false,
        }
    );
}

#[test]
fn every_key_is_read() {
    let settings = read(
        r#"{"socket":"/s","daemonSocketDir":"/d","intents":"/i","daemonWaitSeconds":0.5,"answerSeconds":7,
            "logFile":"/l","logToStderr":true}"#,
    );
    assert_eq!(
        settings.unwrap(),
        Settings {
            socket: "/s".into(),
            intents: "/i".into(),
            daemon_wait: Duration::from_millis(500),
            answer_wait: Duration::from_secs(7),
            log_file: Some("/l".into()),
            log_to_stderr: true,
        }
    );
    assert_eq!(
        read(r#"{"daemonSocketDir":"/d","logFile":""}"#).unwrap().socket,
        Path::new("/d/patchbayd.sock")
    );
}

#[rstest]
#[case(r#"{"daemonWaitSeconds":0}"#, "daemonWaitSeconds")]
#[case(r#"{"daemonWaitSeconds":-1}"#, "daemonWaitSeconds")]
#[case(r#"{"daemonWaitSeconds":601}"#, "daemonWaitSeconds")]
#[case(r#"{"answerSeconds":1e300}"#, "answerSeconds")]
#[case(r#"{"answerSeconds":"1"}"#, "answerSeconds")]
#[case(r#"{"socket":"patchbayd.sock"}"#, "patchbayd.sock")]
#[case(r#"{"intents":"../x"}"#, "../x")]
#[case(r#"{"socket":5}"#, "socket")]
#[case(r#"{"logToStderr":"yes"}"#, "logToStderr")]
fn wrong_values_are_named(#[case] conf: &str, #[case] contains: &str) {
    let error = read(conf).unwrap_err();
    assert_eq!(error.code, cni::code::INVALID_CONFIG);
    assert!(error.msg.contains(contains), "{error}");
}
