//! `cargo +nightly fuzz run lint`, from the root of the repository.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| netmem_fuzz::lint::run(bytes));
