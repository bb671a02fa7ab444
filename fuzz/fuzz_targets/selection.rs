#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| multinet::fuzz::selection(bytes));
