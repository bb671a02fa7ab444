//! The SR-IOV CNI plugin: one virtual function, one pod.
