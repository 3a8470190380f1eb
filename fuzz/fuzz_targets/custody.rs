//! The libFuzzer entry of [`segue_fuzz::custody`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| segue_fuzz::custody(data));
