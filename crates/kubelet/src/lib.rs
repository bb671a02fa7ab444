//! The node's sockets: device plugin, registration, pod resources; the checkpoint file.
