use proptest::prelude::*;
use rstest::rstest;

use super::IfName;

#[rstest]
#[case("net1")]
#[case("eth0.100")]
#[case("a")]
#[case("fifteen-letters")]
#[case("ünï")]
fn a_name_is_taken(#[case] text: &str) {
    let name: IfName = text.parse().unwrap();
    assert_eq!(name.as_str(), text);
}

#[rstest]
#[case("")]
#[case(".")]
#[case("..")]
#[case("sixteen-letters!")]
#[case("net/1")]
#[case("net:1")]
#[case("net 1")]
#[case("net\t1")]
#[case("net\n1")]
#[case("net\u{b}1")]
#[case("net\u{a0}1")]
#[case::a_letter_with_byte_a0("à")]
#[case("net%d")]
#[case("net\0")]
#[case("ünï-ünï-ünï-ü")]
fn what_the_kernel_refuses_or_changes_is_refused(#[case] text: &str) {
    let error = text.parse::<IfName>().unwrap_err().to_string();
    assert!(error.contains("1 to 15 bytes"), "{error}");
}

proptest! {
    #[test]
    fn what_is_taken_fits_into_the_kernels_field(text: String) {
        if let Ok(name) = text.parse::<IfName>() {
            prop_assert!(name.as_str().len() < 16 && !name.as_str().contains('\0'));
        }
    }
}
