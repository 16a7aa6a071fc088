//! Ports on several interfaces and queues over one pool, on veth pairs in namespaces of their own:
//! shared UMEMs, split ports, teardown and what is left when something fails.
//!
//! Planted and caught: a donor kept open while its set is taken down again; a worker's half that claims
//! to have seen the queue free; slots of the fill ring counted twice at the start; a worker process whose pool hands out
//! slots that are with a device; sockets of a set to be registered later that are registered by the bind,
//! and that never are; busy polling that is not switched on, and one that is without being asked for.
#![allow(clippy::unwrap_used, reason = "a test: an error where none may be is a failure")]

mod advice;
mod bed;
mod metadata;
mod processes;
mod sets;
mod shape;
mod split;
