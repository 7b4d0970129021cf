//! Signed requests: the headers of Standard Webhooks, by which a server knows that a request is ours and new.

use base64_simd::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// What stands before a secret that is written in base64.
const PREFIX: &str = "whsec_";

/// The headers that sign this body: its id, when it was sent (seconds since 1970), and the signature over all three.
pub fn headers(secret: &str, id: &str, sent_at_s: u64, body: &[u8]) -> [(&'static str, String); 3] {
    let sent_at = sent_at_s.to_string();
    let signature = format!("v1,{}", sign(&key(secret), id, &sent_at, body));
    [
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", sent_at),
        ("webhook-signature", signature),
    ]
}

/// A secret is the base64 behind its prefix, or, without one, its own letters.
fn key(secret: &str) -> Vec<u8> {
    let encoded = secret.strip_prefix(PREFIX);
    let decoded = encoded.and_then(|encoded| STANDARD.decode_to_vec(encoded).ok());
    decoded.unwrap_or_else(|| secret.as_bytes().to_vec())
}

fn sign(key: &[u8], id: &str, sent_at: &str, body: &[u8]) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return String::new();
    };
    for part in [id.as_bytes(), b".", sent_at.as_bytes(), b".", body] {
        mac.update(part);
    }
    STANDARD.encode_to_string(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_the_published_example() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let body = br#"{"test": 2432232314}"#;
        let headers = headers(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(headers[0].1, "msg_p5jXN8AQM9LWM0D4loKWxJek");
        assert_eq!(headers[1].1, "1614265330");
        assert_eq!(headers[2].1, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_without_the_prefix_is_its_letters() {
        assert_eq!(key("whsec_AAEC"), [0, 1, 2]);
        assert_eq!(key("plain"), b"plain");
        assert_eq!(key("whsec_?"), b"whsec_?");
    }
}
