//! The life of a virtual function: baseline, steps, apply, read back, return.
