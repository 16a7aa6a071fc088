//! The `netmem` command.
#![forbid(unsafe_code)]

fn main() {}
