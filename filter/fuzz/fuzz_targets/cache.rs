//! libFuzzer around one target.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| meliproxy_fuzz::cache(data));
