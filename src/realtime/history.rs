//! What was said, by whom: reported as it happens, and kept so that the next session can be told.

use std::collections::VecDeque;

/// Items kept for the next session; past it the oldest are forgotten.
const ITEMS_MAX: usize = 128;

/// Text kept for the next session, in bytes; past it the oldest items are forgotten.
const BYTES_MAX: usize = 64 * 1024;

/// The longest text kept of one thing said, in bytes; the rest is cut off.
pub(super) const TEXT_BYTES_MAX: usize = 16 * 1024;

/// Who said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Speaker {
    /// The caller.
    Caller,
    /// The agent.
    Agent,
}

/// One thing said, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transcript {
    /// Who said it.
    pub who: Speaker,
    /// What was said, as the backend understood or meant it; an interrupted agent may have been heard less far.
    pub text: String,
    /// The session's id of the conversation item.
    pub item: String,
}

/// One item of the conversation, as the next session is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HistoryItem {
    /// Something was said.
    Said {
        /// Who said it.
        who: Speaker,
        /// What was said.
        text: String,
    },
    /// The agent called a tool.
    Called {
        /// The id of the call, by which its answer is known.
        call: String,
        /// The tool.
        name: String,
        /// Its arguments as JSON text.
        arguments: String,
    },
    /// A tool answered.
    Answered {
        /// The id of the call.
        call: String,
        /// The answer.
        output: String,
    },
}

impl HistoryItem {
    fn bytes(&self) -> usize {
        match self {
            Self::Said { text, .. } => text.len(),
            Self::Called { call, name, arguments } => call.len() + name.len() + arguments.len(),
            Self::Answered { call, output } => call.len() + output.len(),
        }
    }
}

/// The bounded memory of a conversation.
#[derive(Debug, Default)]
pub(super) struct History {
    items: VecDeque<HistoryItem>,
    bytes: usize,
}

impl History {
    pub fn new(items: Vec<HistoryItem>) -> Self {
        let mut history = Self::default();
        items.into_iter().for_each(|item| history.keep(item));
        history
    }

    pub fn push(&mut self, who: Speaker, text: &str) {
        let text = bounded(text, TEXT_BYTES_MAX).trim();
        if text.is_empty() {
            return;
        }
        self.keep(HistoryItem::Said {
            who,
            text: text.to_owned(),
        });
    }

    fn keep(&mut self, item: HistoryItem) {
        self.bytes += item.bytes();
        self.items.push_back(item);
        while self.items.len() > ITEMS_MAX || self.bytes > BYTES_MAX {
            self.forget_oldest();
        }
    }

    pub fn into_items(self) -> Vec<HistoryItem> {
        self.items.into()
    }

    pub fn items(&self) -> impl Iterator<Item = &HistoryItem> {
        self.items.iter()
    }

    fn forget_oldest(&mut self) {
        if let Some(item) = self.items.pop_front() {
            self.bytes -= item.bytes();
        }
    }
}

/// The longest beginning of `text` within `bytes_max` that ends between two characters.
pub(super) fn bounded(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_first() {
        let mut history = History::default();
        for number in 0..ITEMS_MAX + 3 {
            history.push(Speaker::Caller, &number.to_string());
        }
        let items = history.into_items();
        assert_eq!(items.len(), ITEMS_MAX);
        let oldest = HistoryItem::Said {
            who: Speaker::Caller,
            text: "3".to_owned(),
        };
        assert_eq!(items[0], oldest);
    }

    #[test]
    fn the_text_kept_is_bounded() {
        let mut history = History::default();
        for _ in 0..20 {
            history.push(Speaker::Agent, &"é".repeat(TEXT_BYTES_MAX));
        }
        assert!(history.items().map(HistoryItem::bytes).sum::<usize>() <= BYTES_MAX);
    }

    #[test]
    fn silence_is_not_remembered() {
        let mut history = History::default();
        history.push(Speaker::Caller, " \n");
        assert!(history.into_items().is_empty());
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(bounded("aéé", 4), "aé");
    }
}
