//! What was said, by whom: reported as it happens, and kept so that the next session can be told.
//!
//! The conversation that is kept is the one that was heard. A turn of the caller has its place from when the server took
//! it, although its words come later; what the agent says is kept as far as it left the playout, to the last whole word.

use std::collections::VecDeque;

use crate::audio::{Heard, Utterance};

/// Items kept for the next session; past it the oldest are forgotten.
const ITEMS_MAX: usize = 128;

/// Text kept for the next session, in bytes; past it the oldest items are forgotten.
const BYTES_MAX: usize = 64 * 1024;

/// The longest text kept of one thing said, in bytes; the rest is cut off.
pub(super) const TEXT_BYTES_MAX: usize = 16 * 1024;

/// How the words of an agent end that was not heard to the end.
pub const CUT_MARK: char = '…';

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
        /// What was said; of an agent, what was heard, which ends in [`CUT_MARK`] when it was cut off.
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
#[derive(Debug, Clone, Default)]
pub(super) struct History {
    entries: VecDeque<Entry>,
}

#[derive(Debug, Clone)]
enum Entry {
    /// Nothing about it changes any more.
    Known(HistoryItem),
    /// The caller's turn of this item, whose words have not come.
    Turn { item: String },
    /// One that was answered in a session the call has left, which may still say its words.
    Late { item: String },
    /// What the agent says.
    Speech(Speech),
}

/// One part of the agent's speech.
#[derive(Debug, Clone)]
struct Speech {
    item: String,
    content_index: u32,
    /// None until its audio begins to come.
    utterance: Option<Utterance>,
    text: String,
    hearing: Hearing,
}

/// How far it was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hearing {
    /// That is not known yet; nothing, should it stay so.
    Going,
    Whole,
    /// So much of the audio that belongs to the words.
    Until {
        sent_ms: u32,
        of_ms: u32,
    },
}

impl History {
    /// The caller said or pressed something, in words of ours.
    pub fn caller_wrote(&mut self, text: &str) {
        self.keep_said(Speaker::Caller, text);
    }

    /// The server took a turn of the caller; its words may come later.
    pub fn caller_took_turn(&mut self, item: &str) {
        if self.turn(item).is_none() {
            self.keep(Entry::Turn { item: item.to_owned() });
        }
    }

    /// The words of a turn of the caller have come.
    pub fn caller_said(&mut self, item: &str, text: &str) {
        match self.turn(item) {
            None => self.keep_said(Speaker::Caller, text),
            Some(index) => match said(Speaker::Caller, text) {
                Some(said) => {
                    self.entries[index] = Entry::Known(said);
                    self.forget();
                }
                None => drop(self.entries.remove(index)),
            },
        }
    }

    /// Whether the last turn the server took has neither words nor an answer that was heard, nor led to a tool call: then
    /// only its sound can tell what was asked. After a tool call that sound must not be told again, or the tool would be at
    /// work twice.
    pub fn has_wordless_turn(&self) -> bool {
        let asked = self.entries.iter().rev().find(|entry| match entry {
            Entry::Turn { .. } | Entry::Known(HistoryItem::Said { .. } | HistoryItem::Called { .. }) => true,
            Entry::Speech(speech) => speech.is_heard(),
            Entry::Known(HistoryItem::Answered { .. }) | Entry::Late { .. } => false,
        });
        matches!(asked, Some(Entry::Turn { .. }))
    }

    /// The audio of a part begins to come.
    pub fn agent_speaks(&mut self, item: &str, content_index: u32, utterance: Utterance) {
        self.speech(item, content_index).utterance = Some(utterance);
    }

    /// More words of a part, which may come before its audio.
    pub fn agent_goes_on(&mut self, item: &str, content_index: u32, words: &str) {
        let text = &mut self.speech(item, content_index).text;
        text.push_str(bounded(words, TEXT_BYTES_MAX.saturating_sub(text.len())));
    }

    /// All words of a part.
    pub fn agent_said(&mut self, item: &str, content_index: u32, text: &str) {
        let speech = self.speech(item, content_index);
        speech.text.clear();
        speech.text.push_str(bounded(text, TEXT_BYTES_MAX));
        self.forget();
    }

    /// Whether anything is known of this part.
    pub fn knows(&self, item: &str, content_index: u32) -> bool {
        self.position(item, content_index).is_some()
    }

    /// More audio of a part came that nobody will hear.
    pub fn agent_goes_on_unheard(&mut self, item: &str, content_index: u32, ms: u32) {
        if let Some(index) = self.position(item, content_index)
            && let Entry::Speech(speech) = &mut self.entries[index]
            && let Hearing::Until { of_ms, .. } = &mut speech.hearing
        {
            *of_ms = of_ms.saturating_add(ms);
        }
    }

    /// An utterance was heard to its end.
    pub fn heard_whole(&mut self, utterance: Utterance) {
        self.hear(utterance, Hearing::Whole);
    }

    /// An utterance was cut off.
    pub fn heard_until(&mut self, heard: &Heard, whole: bool) {
        let until = Hearing::Until {
            sent_ms: heard.sent_ms,
            of_ms: heard.received_ms,
        };
        self.hear(heard.utterance, if whole { Hearing::Whole } else { until });
    }

    /// The agent called a tool.
    pub fn called(&mut self, call: &str, name: &str, arguments: &str) {
        self.keep(Entry::Known(HistoryItem::Called {
            call: call.to_owned(),
            name: name.to_owned(),
            arguments: arguments.to_owned(),
        }));
    }

    /// A tool answered.
    pub fn answered(&mut self, call: &str, output: &str) {
        self.keep(Entry::Known(HistoryItem::Answered {
            call: call.to_owned(),
            output: bounded(output, TEXT_BYTES_MAX).to_owned(),
        }));
    }

    /// Nothing more becomes known: what is not known to have been heard was not.
    ///
    /// But for the words of turns that were answered: those may still come, see [`Self::caller_said_late`]. A turn without an
    /// answer is told to the next session by its sound, which then has its words.
    pub fn settle(&mut self) {
        let answered = self.entries.iter().rposition(Entry::is_answer).unwrap_or_default();
        let entries = std::mem::take(&mut self.entries).into_iter().enumerate();
        let settled = entries.filter_map(|(index, entry)| match entry {
            Entry::Turn { item } if index < answered => Some(Entry::Late { item }),
            entry => entry.item().map(Entry::Known),
        });
        self.entries = settled.collect();
    }

    /// The turns of the session that was left whose words have not come.
    pub fn late_items(&self) -> Vec<String> {
        let late = |entry: &Entry| match entry {
            Entry::Late { item } => Some(item.clone()),
            _ => None,
        };
        self.entries.iter().filter_map(late).collect()
    }

    /// Words of such a turn have come.
    pub fn caller_said_late(&mut self, item: &str, text: &str) {
        let late = |entry: &Entry| matches!(entry, Entry::Late { item: late } if late == item);
        let place = self.entries.iter_mut().find(|entry| late(entry));
        if let (Some(place), Some(said)) = (place, said(Speaker::Caller, text)) {
            *place = Entry::Known(said);
            self.forget();
        }
    }

    /// The conversation as it was heard so far. An answer whose call is forgotten is left out, for no server takes it.
    pub fn items(&self) -> impl Iterator<Item = HistoryItem> {
        let is_called = |call: &str| {
            let mut items = self.entries.iter();
            items.any(|entry| matches!(entry, Entry::Known(HistoryItem::Called { call: known, .. }) if known == call))
        };
        let items = self.entries.iter().filter_map(Entry::item);
        items.filter(move |item| match item {
            HistoryItem::Answered { call, .. } => is_called(call),
            HistoryItem::Said { .. } | HistoryItem::Called { .. } => true,
        })
    }

    fn keep_said(&mut self, who: Speaker, text: &str) {
        if let Some(said) = said(who, text) {
            self.keep(Entry::Known(said));
        }
    }

    fn keep(&mut self, entry: Entry) {
        self.entries.push_back(entry);
        self.forget();
    }

    /// Forgets the oldest, down to the bounds.
    fn forget(&mut self) {
        let mut bytes: usize = self.entries.iter().map(Entry::bytes).sum();
        while self.entries.len() > ITEMS_MAX || bytes > BYTES_MAX {
            bytes -= self.entries.pop_front().map_or(bytes, |entry| entry.bytes());
        }
    }

    fn hear(&mut self, utterance: Utterance, hearing: Hearing) {
        let speeches = self.entries.iter_mut().rev().filter_map(Entry::speech);
        let mut ours = speeches.filter(|speech| speech.utterance == Some(utterance));
        if let Some(speech) = ours.next().filter(|speech| speech.hearing == Hearing::Going) {
            speech.hearing = hearing;
        }
    }

    fn turn(&self, item: &str) -> Option<usize> {
        self.entries
            .iter()
            .rposition(|entry| matches!(entry, Entry::Turn { item: turn } if turn == item))
    }

    fn position(&self, item: &str, content_index: u32) -> Option<usize> {
        self.entries
            .iter()
            .rposition(|entry| matches!(entry, Entry::Speech(speech) if speech.is(item, content_index)))
    }

    fn speech(&mut self, item: &str, content_index: u32) -> &mut Speech {
        let index = self.position(item, content_index).unwrap_or_else(|| {
            self.keep(Entry::Speech(Speech::new(item, content_index)));
            self.entries.len() - 1
        });
        match &mut self.entries[index] {
            Entry::Speech(speech) => speech,
            Entry::Known(_) | Entry::Turn { .. } | Entry::Late { .. } => {
                unreachable!("positions are those of speeches")
            }
        }
    }
}

impl Entry {
    fn bytes(&self) -> usize {
        match self {
            Self::Known(item) => item.bytes(),
            Self::Turn { item } | Self::Late { item } => item.len(),
            Self::Speech(speech) => speech.text.len() + speech.item.len(),
        }
    }

    fn speech(&mut self) -> Option<&mut Speech> {
        match self {
            Self::Speech(speech) => Some(speech),
            Self::Known(_) | Self::Turn { .. } | Self::Late { .. } => None,
        }
    }

    /// Whether the turns before it were answered by it.
    fn is_answer(&self) -> bool {
        match self {
            Self::Speech(speech) => speech.is_heard(),
            Self::Known(item) => matches!(item, HistoryItem::Called { .. }),
            Self::Turn { .. } | Self::Late { .. } => false,
        }
    }

    /// What the next session is told of it.
    fn item(&self) -> Option<HistoryItem> {
        match self {
            Self::Known(item) => Some(item.clone()),
            Self::Turn { .. } | Self::Late { .. } => None,
            Self::Speech(speech) => said(Speaker::Agent, &speech.heard()),
        }
    }
}

impl Speech {
    fn new(item: &str, content_index: u32) -> Self {
        Self {
            item: item.to_owned(),
            content_index,
            utterance: None,
            text: String::new(),
            hearing: Hearing::Going,
        }
    }

    fn is(&self, item: &str, content_index: u32) -> bool {
        self.content_index == content_index && self.item == item
    }

    fn is_heard(&self) -> bool {
        match self.hearing {
            Hearing::Going => false,
            Hearing::Whole => true,
            Hearing::Until { sent_ms, .. } => sent_ms > 0,
        }
    }

    fn heard(&self) -> String {
        match self.hearing {
            Hearing::Going => String::new(),
            Hearing::Whole => self.text.clone(),
            Hearing::Until { sent_ms, of_ms } => words_heard(&self.text, sent_ms, of_ms),
        }
    }
}

/// What was heard of a text of which so many milliseconds left, to the last whole word. A text without spaces is cut
/// between two letters.
fn words_heard(text: &str, sent_ms: u32, of_ms: u32) -> String {
    let text = text.trim();
    let bytes = text.len() as u64 * u64::from(sent_ms.min(of_ms)) / u64::from(of_ms.max(1));
    let part = bounded(text, usize::try_from(bytes).unwrap_or(usize::MAX));
    let ends_a_word = text[part.len()..].chars().next().is_none_or(char::is_whitespace);
    let words = match part.rfind(char::is_whitespace) {
        _ if ends_a_word => part,
        Some(space) => &part[..space],
        None if text.contains(char::is_whitespace) => "",
        None => part,
    };
    match words.trim_end() {
        "" => String::new(),
        words => format!("{words}{CUT_MARK}"),
    }
}

fn said(who: Speaker, text: &str) -> Option<HistoryItem> {
    let text = bounded(text, TEXT_BYTES_MAX).trim();
    (!text.is_empty()).then(|| HistoryItem::Said {
        who,
        text: text.to_owned(),
    })
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
            history.caller_wrote(&number.to_string());
        }
        let items = texts(&history);
        assert_eq!((items.len(), items[0].as_str()), (ITEMS_MAX, "3"));
    }

    #[test]
    fn the_text_kept_is_bounded() {
        let mut history = History::default();
        for number in 0..20 {
            history.agent_said(&number.to_string(), 0, &"é".repeat(TEXT_BYTES_MAX));
        }
        assert!(history.entries.iter().map(Entry::bytes).sum::<usize>() <= BYTES_MAX);
    }

    #[test]
    fn silence_is_not_remembered() {
        let mut history = History::default();
        history.caller_wrote(" \n");
        history.caller_took_turn("u");
        history.caller_said("u", "");
        assert!(history.entries.is_empty());
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(bounded("aéé", 4), "aé");
    }

    #[test]
    fn a_turn_keeps_its_place_until_its_words_come() {
        let mut history = History::default();
        history.caller_took_turn("u");
        assert!(history.has_wordless_turn());
        history.agent_speaks("a", 0, Utterance(0));
        history.agent_said("a", 0, "Yes.");
        history.heard_whole(Utterance(0));
        assert!(!history.has_wordless_turn(), "it has been answered");
        assert_eq!(texts(&history), ["Yes."]);
        history.caller_said("u", "Is it?");
        assert_eq!(texts(&history), ["Is it?", "Yes."]);
    }

    #[test]
    fn an_agent_is_kept_as_far_as_it_was_heard() {
        for (hearing, text) in [
            (Hearing::Going, None),
            (Hearing::Whole, Some("one two three")),
            (until(0, 1_000), None),
            (until(200, 1_000), None),
            (until(300, 1_000), Some("one…")),
            (until(600, 1_000), Some("one two…")),
            (until(990, 1_000), Some("one two…")),
        ] {
            let mut history = History::default();
            history.agent_speaks("a", 0, Utterance(4));
            history.agent_said("a", 0, "one two three");
            history.hear(Utterance(4), hearing);
            assert_eq!(texts(&history).first().map(String::as_str), text, "{hearing:?}");
        }
    }

    #[test]
    fn audio_that_comes_after_the_cut_belongs_to_the_words_as_well() {
        let mut history = History::default();
        history.agent_speaks("a", 0, Utterance(0));
        history.hear(Utterance(0), until(500, 500));
        history.agent_goes_on_unheard("a", 0, 500);
        history.agent_said("a", 0, "one two three four");
        assert_eq!(texts(&history), ["one two…"]);
    }

    #[test]
    fn words_without_spaces_are_cut_between_letters() {
        assert_eq!(words_heard("你好吗", 500, 1_000), "你…");
        assert_eq!(words_heard("Hallo", 500, 1_000), "Ha…");
    }

    #[test]
    fn an_answer_is_told_only_with_its_call() {
        let mut history = History::default();
        history.called("c", "look_up", "{}");
        history.answered("c", "7");
        history.answered("forgotten", "8");
        let items: Vec<HistoryItem> = history.items().collect();
        assert!(matches!(
            &items[..],
            [HistoryItem::Called { .. }, HistoryItem::Answered { output, .. }] if output == "7"
        ));
    }

    #[test]
    fn words_that_come_after_their_session_find_the_place_of_their_turn() {
        let mut history = History::default();
        history.caller_took_turn("u");
        history.agent_speaks("a", 0, Utterance(0));
        history.agent_said("a", 0, "Yes.");
        history.heard_whole(Utterance(0));
        history.caller_took_turn("unanswered");
        history.settle();
        assert_eq!(history.late_items(), ["u"]);
        history.caller_took_turn("u");
        history.caller_said("u", "And now?");
        history.caller_said_late("u", "Is it?");
        history.caller_said_late("u", "Is it?");
        history.caller_said_late("unanswered", "no");
        assert_eq!(texts(&history), ["Is it?", "Yes.", "And now?"]);
        history.caller_took_turn("v");
        history.settle();
        assert_eq!(history.late_items(), [""; 0]);
    }

    #[test]
    fn what_is_settled_does_not_change_any_more() {
        let mut history = History::default();
        history.agent_speaks("a", 0, Utterance(0));
        history.agent_goes_on("a", 0, "one two");
        history.hear(Utterance(0), until(600, 1_000));
        history.agent_speaks("b", 0, Utterance(1));
        history.agent_goes_on("b", 0, "never heard");
        history.settle();
        history.heard_whole(Utterance(1));
        assert_eq!(texts(&history), ["one…"]);
    }

    fn until(sent_ms: u32, of_ms: u32) -> Hearing {
        Hearing::Until { sent_ms, of_ms }
    }

    fn texts(history: &History) -> Vec<String> {
        history
            .items()
            .filter_map(|item| match item {
                HistoryItem::Said { text, .. } => Some(text),
                _ => None,
            })
            .collect()
    }
}
