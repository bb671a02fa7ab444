//! The program against daemons that behave and daemons that don't.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail where it stands")]
#![expect(clippy::disallowed_methods, reason = "a test's own files need no atomic writes")]

mod absence;
mod answers;
mod intents;
mod misuse;
mod node;
