//! What messages say, in our own types.

mod link;
mod route;
mod vf;

pub(crate) use link::link;
pub(crate) use route::{address, routes};
pub(crate) use vf::vfs;

#[cfg(test)]
mod tests;
