//! The CNI protocol: configuration, arguments, results, errors; running a delegate.
//!
//! What passes through here unread keeps its bytes: an [`Object`] is a JSON object whose values stay
//! the text that was read, so a configuration can be edited and handed on without a number or an
//! unknown key changing on the way.
//!
//! | module | |
//! |---|---|
//! | [`args`] | the command and the environment of a call |
//! | [`conf`] | a network's configuration, single or list |
//! | [`chain`] | a list as it is carried out: what each plugin reads, in which order |
//! | [`delegate`] | one plugin as a child process with a deadline |
//! | [`result`](mod@result) | what ADD answers, in every version of the specification |
//! | [`plugin`] | the frame of our own plugins: environment and standard input in, answer out |
//!
//! The specification followed is 1.1.0; versions 0.1.0 to 1.1.0 are read and written.

pub mod args;
pub mod chain;
pub mod conf;
pub mod delegate;
pub mod error;
pub mod object;
pub mod plugin;
pub mod result;
pub mod version;

pub use args::{Args, Command};
pub use chain::Chain;
pub use conf::{NetConf, NetConfList};
pub use error::{Error, code};
pub use object::Object;
pub use result::AddResult;
pub use version::Version;
