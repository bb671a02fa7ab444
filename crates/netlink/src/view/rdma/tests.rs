use proptest::prelude::*;
use rstest::rstest;

use super::{rdma_device, rdma_mode};
use crate::rdma::{RdmaDevice, RdmaMode};
use crate::wire::tests::attribute;

/// As Linux 6.12 tells it, shortened; the GUID is in the machine's byte order.
fn told() -> Vec<u8> {
    [
        attribute(1, &7_u32.to_ne_bytes()),
        attribute(2, b"mlx5_3\0"),
        attribute(3, &1_u32.to_ne_bytes()),
        attribute(4, &0x1234_u64.to_ne_bytes()),
        attribute(5, b"16.35.2000\0"),
        attribute(6, &0x248a_0703_008d_ae2e_u64.to_ne_bytes()),
    ]
    .concat()
}

#[test]
fn a_device_is_read() {
    let device = RdmaDevice { index: 7, name: "mlx5_3".to_owned(), node_guid: 0x248a_0703_008d_ae2e };
    assert_eq!(rdma_device(&told()), Ok(device));
}

#[test]
fn a_device_without_index_or_name_is_malformed() {
    assert!(rdma_device(&attribute(2, b"mlx5_3\0")).unwrap_err().contains("mlx5_3"));
    assert!(rdma_device(&attribute(1, &7_u32.to_ne_bytes())).unwrap_err().contains('7'));
    let mut cut = told();
    cut.truncate(cut.len() - 4);
    assert!(rdma_device(&cut).unwrap_err().contains("attribute 6"));
}

#[rstest]
#[case(attribute(66, &[1]), Some(RdmaMode::Shared))]
#[case(attribute(66, &[0]), Some(RdmaMode::Exclusive))]
#[case::among_others([attribute(93, &[1]), attribute(66, &[0])].concat(), Some(RdmaMode::Exclusive))]
#[case::an_older_kernel(Vec::new(), None)]
#[case::empty(attribute(66, &[]), None)]
fn modes(#[case] payload: Vec<u8>, #[case] expected: Option<RdmaMode>) {
    assert_eq!(rdma_mode(&payload), expected);
}

proptest! {
    #[test]
    fn any_bytes_are_a_device_or_not(bytes: Vec<u8>) {
        prop_assert!(rdma_device(&bytes).is_ok_and(|device| !device.name.is_empty()) || rdma_device(&bytes).is_err());
        prop_assert!(rdma_mode(&bytes).is_none() || bytes.len() > 4);
    }
}
