//! Mint: the words we put into messages that nobody else may guess, such as tags and branches.
//!
//! Each is a keyed hash over a counter, so that the same seed gives the same words in tests, and a peer that has seen
//! one cannot tell the next. A stateless answer's tag is hashed from the request instead: a repeated request gets the
//! same tag although nothing was remembered (RFC 3261 section 8.2.7).

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::headers::Headers;
use super::via::BRANCH_MAGIC;

/// Bytes of hash in one word: 96 bits, three times what section 19.3 asks for.
const WORD_BYTES: usize = 12;

/// Bytes of hash that prove a branch to be ours; who guesses them can only have its own call refused.
const SEAL_BYTES: usize = 4;

/// Makes tags and branches.
pub struct Mint {
    key: Hmac<Sha256>,
    seed: u64,
    count: u64,
}

impl Mint {
    /// A mint with its secret and the seed of this run; two runs with one seed repeat each other.
    pub fn new(secret: &[u8; 32], seed: u64) -> Self {
        let key = Hmac::new_from_slice(secret).expect("HMAC takes a key of any length");
        Self { key, seed, count: 0 }
    }

    /// A tag for one dialog.
    pub fn tag(&mut self) -> String {
        self.next("tag")
    }

    /// A branch for one request of ours. Its end proves that it is: a request of ours that comes back is known by it.
    pub fn branch(&mut self) -> String {
        let word = self.next("branch");
        let seal = self.seal(&word);
        format!("{BRANCH_MAGIC}{word}{seal}")
    }

    /// Whether this mint made the branch.
    pub fn made(&self, branch: &str) -> bool {
        let word_and_seal = branch
            .strip_prefix(BRANCH_MAGIC)
            .and_then(|rest| rest.split_at_checked(2 * WORD_BYTES));
        word_and_seal.is_some_and(|(word, seal)| self.seal(word) == seal)
    }

    fn seal(&self, word: &str) -> String {
        let hash = self.hash(&[b"seal", word.as_bytes()]);
        hash.iter().take(SEAL_BYTES).map(|byte| format!("{byte:02x}")).collect()
    }

    /// A number from 0 to `max`, so that peers told to wait do not come back together.
    pub fn number(&mut self, max: u64) -> u64 {
        self.count = self.count.wrapping_add(1);
        let hash = self.hash(&[b"number", &self.seed.to_be_bytes(), &self.count.to_be_bytes()]);
        u64::from(hash[0]) % max.saturating_add(1)
    }

    /// A word for whatever has to be unique.
    pub fn word(&mut self) -> String {
        self.next("word")
    }

    /// The tag of an answer for which nothing is remembered.
    pub fn stateless_tag(&self, headers: &Headers) -> String {
        let part = |name| headers.first(name).unwrap_or_default().as_bytes();
        word(&self.hash(&[b"stateless", part("Call-ID"), part("From"), part("CSeq")]))
    }

    fn next(&mut self, purpose: &str) -> String {
        self.count = self.count.wrapping_add(1);
        word(&self.hash(&[purpose.as_bytes(), &self.seed.to_be_bytes(), &self.count.to_be_bytes()]))
    }

    /// Each part goes in with its length, so that no two lists of parts are the same bytes.
    fn hash(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = self.key.clone();
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

fn word(hash: &[u8; 32]) -> String {
    hash.iter().take(WORD_BYTES).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_repeat_with_the_seed_and_never_within_a_run() {
        let words = |secret: u8, seed| {
            let mut mint = Mint::new(&[secret; 32], seed);
            [mint.tag(), mint.tag(), mint.branch()]
        };
        assert_eq!(words(1, 7), words(1, 7));
        let [first, second, branch] = words(1, 7);
        assert_ne!(first, second);
        assert!(branch.starts_with(BRANCH_MAGIC) && !branch.contains(&first));
        assert_ne!(words(1, 7)[0], words(1, 8)[0]);
        assert_ne!(words(1, 7)[0], words(2, 7)[0]);
    }

    #[test]
    fn a_branch_is_known_again_by_the_mint_that_made_it() {
        let mut mint = Mint::new(&[1; 32], 7);
        let branch = mint.branch();
        assert!(mint.made(&branch));
        assert!(!Mint::new(&[2; 32], 7).made(&branch));
        for other in ["", "z9hG4bK", "z9hG4bK1", &branch[..branch.len() - 1], "\u{e4}\u{e4}"] {
            assert!(!mint.made(other), "{other}");
        }
    }

    #[test]
    fn a_stateless_tag_depends_on_the_request_only() {
        let headers = |call_id: &str| {
            let mut headers = Headers::new();
            headers.push("Call-ID", call_id);
            headers.push("From", "<sip:a@h>;tag=1");
            headers
        };
        let mut mint = Mint::new(&[1; 32], 7);
        let tag = mint.stateless_tag(&headers("one"));
        mint.tag();
        assert_eq!(mint.stateless_tag(&headers("one")), tag);
        assert_ne!(mint.stateless_tag(&headers("two")), tag);
    }

    #[test]
    fn a_number_stays_within_its_bound() {
        let mut mint = Mint::new(&[1; 32], 7);
        assert!((0..1000).all(|_| mint.number(10) <= 10));
        assert_eq!(mint.number(0), 0);
    }
}
