//! Hands the container runtime's CNI call to patchbayd and waits.
//!
//! The plugin `patchbay` is started for every pod, so there is next to nothing in it: it reads its
//! environment and standard input, sends both over a unix socket in one HTTP/1.0 request, and prints the
//! answer in the version that the runtime asked for. The configuration's bytes travel untouched.
//!
//! What it decides by itself is what to do when the daemon doesn't answer:
//!
//! | command | waits for the daemon | then |
//! |---|---|---|
//! | ADD, CHECK | `daemonWaitSeconds`, 60 by default | fails with code 11: the pod isn't started on the default network alone |
//! | DEL | 2 s | writes a durable [`intent`] and succeeds; the daemon carries it out when it is back |
//! | GC | 2 s | fails with code 11 |
//! | STATUS | 2 s | succeeds for 60 s after the daemon last showed that it is [alive](protocol::alive_path), then fails with code 50 |
//! | VERSION | | is answered here |
//!
//! The daemon uses [`protocol`] and [`intent`] for the other end.

mod base64;
pub mod client;
pub mod forward;
pub mod http;
pub mod intent;
pub mod protocol;
pub mod settings;
