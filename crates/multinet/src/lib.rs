//! The Network Plumbing Working Group's multi-network specification.
