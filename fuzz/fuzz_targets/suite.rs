//! See `mlaan_fuzz_targets::targets::suite`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mlaan_fuzz_targets::targets::suite(data));
