use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rstest::rstest;
use tempfile::TempDir;

use super::*;

const VF: &str = "0000:01:10.0";

fn address() -> PciAddress {
    VF.parse().unwrap()
}

#[expect(clippy::disallowed_methods, reason = "files of a test's own tree")]
fn vf(methods: Option<&str>) -> (TempDir, Sysfs, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let device = directory.path().join("bus/pci/devices").join(VF);
    fs::create_dir_all(&device).unwrap();
    if let Some(methods) = methods {
        fs::write(device.join("reset_method"), format!("{methods}\n")).unwrap();
        fs::write(device.join("reset"), "").unwrap();
    }
    let sysfs = Sysfs::new(directory.path());
    (directory, sysfs, device)
}

/// What was written lastly: a file of the tree keeps the tail of what was longer.
fn first_line(path: PathBuf) -> String {
    fs::read_to_string(path).unwrap().lines().next().unwrap_or_default().to_owned()
}

#[rstest]
#[case("flr", "flr", false)]
#[case("af_flr pm", "af_flr pm", false)]
#[case("device_specific flr", "device_specific flr", false)]
#[case("flr bus", "flr", true)]
#[case("acpi flr pm bus cxl_bus", "flr pm", true)]
#[case("bus", "", true)]
#[case("unheard", "", true)]
#[case("", "", false)]
fn only_what_is_about_this_function_counts(#[case] listed: &str, #[case] own: &str, #[case] others: bool) {
    assert_eq!(own_methods(listed), (own.to_owned(), others));
}

#[rstest]
#[case("flr")]
#[case("flr bus")]
fn a_function_is_reset_and_its_methods_are_listed_as_before(#[case] methods: &str) {
    let (_directory, sysfs, device) = vf(Some(methods));
    assert_eq!(sysfs.reset(&address()).unwrap(), Reset::Done);
    assert_eq!(first_line(device.join("reset")), "1");
    assert_eq!(first_line(device.join("reset_method")), methods);
}

/// A pipe has no reader until the test opens it, which holds up the reset in the middle.
#[test]
fn while_it_is_reset_no_method_is_listed_that_is_about_others() {
    let (_directory, sysfs, device) = vf(Some("flr bus"));
    let reset = device.join("reset");
    fs::remove_file(&reset).unwrap();
    assert!(Command::new("mkfifo").arg(&reset).status().unwrap().success());
    thread::scope(|scope| {
        let resetting = scope.spawn(|| sysfs.reset(&address()));
        let begun = Instant::now();
        while first_line(device.join("reset_method")) != "flr" {
            assert!(begun.elapsed() < Duration::from_mins(1), "the others are still listed");
            thread::yield_now();
        }
        assert_eq!(fs::read_to_string(&reset).unwrap(), "1\n");
        assert_eq!(resetting.join().unwrap().unwrap(), Reset::Done);
    });
    assert_eq!(first_line(device.join("reset_method")), "flr bus");
}

#[rstest]
#[case::none(None)]
#[case::disabled_by_hand(Some(""))]
#[case::of_neighbours_too(Some("bus"))]
fn what_is_not_offered_is_not_done(#[case] methods: Option<&str>) {
    let (_directory, sysfs, device) = vf(methods);
    assert_eq!(sysfs.reset(&address()).unwrap(), Reset::NotOffered);
    assert!(methods.is_none() || first_line(device.join("reset")).is_empty());
}

#[test]
fn methods_without_the_file_that_starts_them_are_not_offered() {
    let (_directory, sysfs, device) = vf(Some("flr"));
    fs::remove_file(device.join("reset")).unwrap();
    assert_eq!(sysfs.reset(&address()).unwrap(), Reset::NotOffered);
}

#[test]
fn a_refusal_names_device_method_and_file_and_leaves_the_methods_as_they_were() {
    let (_directory, sysfs, device) = vf(Some("flr bus"));
    fs::remove_file(device.join("reset")).unwrap();
    symlink("/dev/full", device.join("reset")).unwrap();
    let error = sysfs.reset(&address()).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(VF) && text.contains("by flr (") && text.contains("/reset"), "{text}");
    assert!(!error.is_transient());
    assert_eq!(first_line(device.join("reset_method")), "flr bus");
}

#[test]
fn a_device_that_is_busy_may_be_reset_later() {
    let refused = |errno| ResetError::Refused {
        address: address(),
        methods: "flr".to_owned(),
        path: PathBuf::from("reset"),
        source: io::Error::from_raw_os_error(errno),
    };
    assert!(refused(EAGAIN).is_transient() && refused(EBUSY).is_transient());
    assert!(!refused(25).is_transient());
}

#[test]
fn what_is_not_there_is_an_error() {
    let (_directory, sysfs, device) = vf(Some("flr"));
    fs::remove_dir_all(device).unwrap();
    let error = sysfs.reset(&address()).unwrap_err();
    assert!(matches!(error, ResetError::Look { source: Error::Absent { .. }, .. }), "{error}");
}
