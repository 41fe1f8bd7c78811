//! See `mlaan_fuzz_targets::targets::manifest`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mlaan_fuzz_targets::targets::manifest(data));
