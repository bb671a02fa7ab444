//! The CNI plugin `patchbay`: see the library.

use std::process::ExitCode;

use meta_cni_shim::forward;

fn main() -> ExitCode {
    cni::plugin::run(concat!("patchbay ", env!("CARGO_PKG_VERSION")), |request| {
        forward::serve(request, forward::environment(std::env::vars_os()))
    })
}
