//! See `mlaan_fuzz_targets::targets::evaluation`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mlaan_fuzz_targets::targets::evaluation(data));
