//! patchbayd from its socket to its plugins: against an API server and a kubelet that are driven at their
//! protocols, with plugins that are shell scripts.
#![expect(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "what a test and its helpers can't do fails the test"
)]

mod add;
mod del;
mod faults;
mod gc;
mod killed;
mod node;
mod plugin;
mod restart;
mod vf;
