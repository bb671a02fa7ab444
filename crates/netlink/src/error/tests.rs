use std::path::PathBuf;

use nix::errno::Errno;
use rstest::rstest;

use super::{Error, Verb};

fn refused(errno: Errno) -> Error {
    Error::refused(Verb::SetVf, "VF 3 of link 5 to trust on", errno, None)
}

#[rstest]
#[case(Errno::EOPNOTSUPP, true, false, false, false)]
#[case(Errno::EPROTONOSUPPORT, true, false, false, false)]
#[case(Errno::EINVAL, false, false, false, false)]
#[case(Errno::ENODEV, false, true, false, false)]
#[case(Errno::EEXIST, false, false, true, false)]
#[case(Errno::EBUSY, false, false, false, true)]
#[case(Errno::ENOBUFS, false, false, false, true)]
fn a_refusal_is_told_apart_by_its_number(
    #[case] errno: Errno,
    #[case] unsupported: bool,
    #[case] gone: bool,
    #[case] taken: bool,
    #[case] transient: bool,
) {
    let error = refused(errno);
    assert_eq!(error.is_unsupported(), unsupported);
    assert_eq!(error.is_gone(), gone);
    assert_eq!(error.is_taken(), taken);
    assert_eq!(error.is_transient(), transient);
}

#[test]
fn a_refusal_says_what_of_what_and_the_kernels_words() {
    assert_eq!(refused(Errno::EINVAL).to_string(), "can't set VF 3 of link 5 to trust on");
    let text = Some("VF index out of range".to_owned());
    let error = Error::refused(Verb::SetVf, "VF 9 of link 5 to trust on", Errno::EINVAL, text);
    assert_eq!(error.to_string(), "can't set VF 9 of link 5 to trust on (kernel: VF index out of range)");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("Invalid argument"), "{source}");
}

#[test]
fn what_is_not_there_is_gone_and_a_changing_list_transient() {
    assert!(Error::NamespaceGone { path: PathBuf::from("/run/netns/pod") }.is_gone());
    assert!(Error::Absent { verb: Verb::Vfs, target: "link 5".to_owned() }.is_gone());
    let changing = Error::Interrupted { verb: Verb::Links, target: "x".to_owned(), tries: 8 };
    assert!(changing.is_transient() && !changing.is_gone());
}
