//! The plugin against a kubelet: registration, what is offered, what containers get, and what becomes of it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends where it goes wrong, and so do its helpers"
)]

mod allocation;
mod existing;
mod node;
mod registration;
mod release;
