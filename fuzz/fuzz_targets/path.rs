//! The libFuzzer entry of [`segue_fuzz::path`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| segue_fuzz::path(data));
