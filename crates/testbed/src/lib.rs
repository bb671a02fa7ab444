//! What tests, demo and benchmarks stand on.
