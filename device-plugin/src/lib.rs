//! Offers virtual functions to kubelet as extended resources.
