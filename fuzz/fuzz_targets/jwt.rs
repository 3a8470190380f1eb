//! The libFuzzer entry of [`segue_fuzz::jwt`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| segue_fuzz::jwt(data));
