//! `cargo +nightly fuzz run proc`, from the root of the repository.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| netmem_fuzz::proc::run(bytes));
