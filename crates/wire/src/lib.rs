//! Packet headers in place: bytes to meaning and back.
#![no_std]
#![forbid(unsafe_code)]
