//! Random programs against models: what packets hold, who has which slot, how each packet ends.
//!
//! Every slot has a `Vec<u8>` beside it that changes as the slot should (K1, K2), and the books
//! say what each device must have received, sent and dropped. After every step, while nothing moves,
//! the bytes of all owned packets equal the model, and the audit closes with the counts of the books.
//!
//! Needs feature `test-util` for the port's peer.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used, reason = "a test: an error where none may be is a failure")]

mod books;
mod chains;
mod frames;
mod loopback;
mod port;
