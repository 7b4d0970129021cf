//! libFuzzer target: SRTP, SRTCP and DTLS bytes.

#![no_main]

#[allow(dead_code)]
mod feed;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| feed::secure(bytes));
