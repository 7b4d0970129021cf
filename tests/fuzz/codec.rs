//! libFuzzer target: payloads of every codec.

#![no_main]

#[allow(dead_code)]
mod feed;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| feed::codec(bytes));
