//! Hands the container runtime's CNI call to patchbayd and waits.
