//! Arguments of a tool call as they come, for whoever watches: told in steps, because a model writes them letter by letter.

/// Bytes by which they grow before they are told again.
const STEP_BYTES: usize = 64;

/// Bytes of one call's arguments that are told on the way; further ones are only in the call itself.
const BYTES_MAX: usize = 4096;

/// The arguments of the call that is being written.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    call: String,
    text: String,
    told: usize,
}

impl Arguments {
    /// Takes in a piece; what there is of this call, if it is worth telling now.
    pub fn push(&mut self, call: &str, delta: &str) -> Option<&str> {
        if self.call != call {
            *self = Self {
                call: call.to_owned(),
                ..Self::default()
            };
        }
        let room = BYTES_MAX.saturating_sub(self.text.len());
        self.text.push_str(&delta[..delta.floor_char_boundary(room)]);
        let grown = self.text.len() - self.told;
        let last = self.told == 0 || self.text.len() >= BYTES_MAX;
        let due = grown >= STEP_BYTES || (last && grown > 0);
        due.then(|| {
            self.told = self.text.len();
            self.text.as_str()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_told_at_once_then_in_steps_and_not_without_end() {
        let mut arguments = Arguments::default();
        assert_eq!(arguments.push("a", ""), None);
        assert_eq!(arguments.push("a", "{\"x\""), Some("{\"x\""));
        assert_eq!(arguments.push("a", ":"), None);
        assert_eq!(arguments.push("a", &"é".repeat(40)).map(str::len), Some(85));
        assert_eq!(arguments.push("b", "{"), Some("{"));
        let told = (0..1000).filter_map(|_| arguments.push("b", "0123456789").map(str::len));
        assert_eq!(told.last(), Some(BYTES_MAX));
    }
}
