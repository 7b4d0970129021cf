//! Signatures as Standard Webhooks have them: HMAC-SHA-256 over the message's id, the time and the body.

use ring::hmac;

/// The value of `webhook-signature`.
pub(super) fn signature(key: &[u8], id: &str, unix_s: u64, body: &[u8]) -> String {
    let mut signer = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    signer.update(format!("{id}.{unix_s}.").as_bytes());
    signer.update(body);
    format!("v1,{}", base64_simd::STANDARD.encode_to_string(signer.sign().as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's reference implementations.
    #[test]
    fn the_published_example_is_signed_as_published() {
        let key = base64_simd::STANDARD
            .decode_to_vec("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
            .unwrap();
        let signed = signature(
            &key,
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
