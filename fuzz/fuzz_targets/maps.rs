//! `cargo +nightly fuzz run maps`, from the root of the repository.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| netmem_fuzz::maps::run(bytes));
