//! Multicast listener discovery.
