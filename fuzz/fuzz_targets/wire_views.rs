//! `cargo +nightly fuzz run wire_views`, from the root of the repository.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| netmem_fuzz::wire_views::run(bytes));
