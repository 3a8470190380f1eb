//! The libFuzzer entry of [`segue_fuzz::roster`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| segue_fuzz::roster(data));
