//! What messages say, in our own types.

mod link;
mod rdma;
mod route;
mod vf;

pub(crate) use link::link;
pub(crate) use rdma::{rdma_device, rdma_mode};
pub(crate) use route::{address, is_settled, routes};
pub(crate) use vf::vfs;

#[cfg(test)]
mod tests;
