use rstest::rstest;

use super::NamespaceId;

const NAMESPACE: NamespaceId = NamespaceId { dev: 4, ino: 4_026_531_841, cookie: Some(7) };

#[rstest]
#[case::itself(NAMESPACE, true)]
#[case::the_next_with_its_inode(NamespaceId { cookie: Some(8), ..NAMESPACE }, false)]
#[case::known_by_its_inode_only(NamespaceId { cookie: None, ..NAMESPACE }, true)]
#[case::another_inode(NamespaceId { ino: 4_026_531_842, ..NAMESPACE }, false)]
#[case::another_inode_and_no_cookie(NamespaceId { ino: 4_026_531_842, cookie: None, ..NAMESPACE }, false)]
#[case::another_file_system(NamespaceId { dev: 5, ..NAMESPACE }, false)]
fn a_namespace_is_told_by_its_cookie_where_that_is_known(#[case] other: NamespaceId, #[case] same: bool) {
    assert_eq!((NAMESPACE.is(other), other.is(NAMESPACE)), (same, same));
}
