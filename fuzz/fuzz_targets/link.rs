//! The libFuzzer entry of [`segue_fuzz::link`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| segue_fuzz::link(data));
