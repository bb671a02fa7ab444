#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sriov_cni::fuzz::result(bytes));
