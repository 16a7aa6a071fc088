//! `cargo +nightly fuzz run netlink`, from the root of the repository.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| netmem_fuzz::netlink::run(bytes));
