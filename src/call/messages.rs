//! Messages on their way to the session, in buffers that are used again.

use std::collections::VecDeque;

/// A message for the session's WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// JSON text.
    pub text: &'a str,
    /// Caller audio, which may be dropped when the backend is slow.
    pub audio: bool,
}

/// A queue; an owner that takes what is there after every input keeps it short.
#[derive(Debug, Default)]
pub(super) struct Messages {
    waiting: VecDeque<Waiting>,
    /// The one that was taken last.
    taken: String,
    spare: Vec<String>,
}

#[derive(Debug)]
struct Waiting {
    text: String,
    audio: bool,
}

/// Buffers kept for the next messages, beside the one that was taken last.
const SPARE_MAX: usize = 1;

/// A buffer that held a longer message is not used again.
const SPARE_BYTES_MAX: usize = 4 << 10;

impl Messages {
    /// Queues what must arrive.
    pub(super) fn push(&mut self, text: String) {
        self.waiting.push_back(Waiting { text, audio: false });
    }

    /// Queues a frame of caller audio, if it is written. Whether it was.
    pub(super) fn push_audio(&mut self, write: impl FnOnce(&mut String) -> bool) -> bool {
        let mut text = self.spare.pop().unwrap_or_default();
        let written = write(&mut text);
        match written {
            true => self.waiting.push_back(Waiting { text, audio: true }),
            false => self.spare.push(text),
        }
        written
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn pop(&mut self) -> Option<Message<'_>> {
        let Waiting { text, audio } = self.waiting.pop_front()?;
        let mut before = std::mem::replace(&mut self.taken, text);
        if self.spare.len() < SPARE_MAX && before.capacity() <= SPARE_BYTES_MAX {
            before.clear();
            self.spare.push(before);
        }
        let text = self.taken.as_str();
        Some(Message { text, audio })
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    #[test]
    fn messages_are_taken_in_order_and_their_buffers_used_again() {
        let mut messages = Messages::default();
        messages.push("control".to_owned());
        for round in 0..20 {
            messages.push_audio(|text| write!(text, "frame {round}").is_ok());
            messages.push_audio(|_| false);
            messages.push_audio(|text| write!(text, "more").is_ok());
            if round == 0 {
                let text = "control";
                assert_eq!(messages.pop(), Some(Message { text, audio: false }));
            }
            let text = &*format!("frame {round}");
            assert_eq!(messages.pop(), Some(Message { text, audio: true }));
            assert_eq!(messages.pop().map(|message| message.text), Some("more"));
            assert_eq!(messages.pop(), None);
        }
        assert!(messages.spare.len() <= SPARE_MAX);
    }
}
