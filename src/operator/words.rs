//! Text let out word by word, in step with the audio it belongs to.

/// A text and how much of it is out.
#[derive(Debug)]
pub struct Words {
    text: String,
    said_len: usize,
}

impl Words {
    /// Nothing is out yet.
    pub fn new(text: String) -> Self {
        Self { text, said_len: 0 }
    }

    /// The words that belong to the audio up to a position.
    pub fn up_to(&mut self, ms: u32, ms_all: u32) -> &str {
        let share = u64::from(ms) * self.text.len() as u64 / u64::from(ms_all.max(1));
        self.up_to_len(usize::try_from(share).unwrap_or(usize::MAX))
    }

    /// The words that begin before a length, since the last call.
    pub fn up_to_len(&mut self, len: usize) -> &str {
        let from = self.said_len;
        if len > from {
            let space = self.text.bytes().skip(len).position(|byte| byte == b' ');
            self.said_len = space.map_or(self.text.len(), |at| len + at);
        }
        &self.text[from..self.said_len]
    }

    /// All that is out.
    pub fn said(&self) -> &str {
        &self.text[..self.said_len]
    }

    /// Nothing is left.
    pub fn finished(&self) -> bool {
        self.said_len == self.text.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_whole_and_join_to_the_text() {
        let mut words = Words::new("Grüße an alle".to_owned());
        assert_eq!(words.up_to(0, 1_000), "");
        assert_eq!(words.up_to(10, 1_000), "");
        assert_eq!(words.up_to(200, 1_000), "Grüße");
        assert_eq!(words.up_to(600, 1_000), " an");
        assert_eq!(words.up_to(1_000, 1_000), " alle");
        assert!(words.finished());
        assert_eq!(words.said(), "Grüße an alle");
    }
}
