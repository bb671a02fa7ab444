//! The CNI protocol: configuration, arguments, results, errors; running a delegate.
