//! The conversation: items in order.

use super::error::Refusal;
use super::item::{Body, Content, Item, Role, Status};

/// The items the session remembers.
#[derive(Clone, Debug)]
pub struct Conversation {
    /// `conv_…`.
    pub id: String,
    items: Vec<Item>,
}

/// Where a new item goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// Behind all others.
    Last,
    /// Before all others.
    First,
    /// Behind this one.
    After(&'a str),
}

/// Most items remembered; the oldest are forgotten, as a model forgets what leaves its context.
const ITEMS_MAX: usize = 500;
/// Most memory for text and audio of items; again the oldest are forgotten.
const BYTES_MAX: usize = 24 << 20;
/// Most memory for recorded audio, some 90 seconds; beyond it the oldest items stay but fall silent.
const AUDIO_BYTES_MAX: usize = 4 << 20;

impl Conversation {
    /// Empty.
    pub fn new(id: String) -> Self {
        Self { id, items: Vec::new() }
    }

    /// All items, oldest first.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// Id of the last item.
    pub fn last_id(&self) -> Option<&str> {
        self.items.last().map(|item| item.id.as_str())
    }

    /// Id of the item before this one.
    pub fn previous_id(&self, id: &str) -> Option<&str> {
        let before = self.position(id)?.checked_sub(1)?;
        self.items.get(before).map(|item| item.id.as_str())
    }

    /// An item by id.
    pub fn get(&self, id: &str) -> Option<&Item> {
        self.items.iter().find(|item| item.id == id)
    }

    /// Inserts an item and returns the id of the one before it.
    pub fn add(&mut self, item: Item, place: &Place<'_>) -> Result<Option<String>, Refusal> {
        if self.get(&item.id).is_some() {
            return Err(duplicate(&item.id));
        }
        let at = match place {
            Place::Last => self.items.len(),
            Place::First => 0,
            Place::After(id) => self.position(id).ok_or_else(|| unknown_previous(id))? + 1,
        };
        self.items.insert(at, item);
        let previous = at.checked_sub(1).map(|before| self.items[before].id.clone());
        self.forget();
        Ok(previous)
    }

    /// Appends an item of the server's own, whose id is new by construction.
    pub fn push(&mut self, item: Item) -> Option<String> {
        let previous = self.last_id().map(str::to_owned);
        self.items.push(item);
        self.forget();
        previous
    }

    /// Takes over the progress of an item being produced, unless the client has cut or deleted it meanwhile.
    pub fn settle(&mut self, item: &Item) {
        if let Some(known) = self.items.iter_mut().find(|known| known.id == item.id) {
            known.status = item.status;
            if !known.truncated {
                known.body = item.body.clone();
            }
        }
    }

    /// Writes down what the caller said in an item.
    pub fn transcribe(&mut self, id: &str, words: &str) {
        let item = self.items.iter_mut().find(|item| item.id == id);
        if let Some(Body::Message { content, .. }) = item.map(|item| &mut item.body)
            && let Some(Content::InputAudio { transcript, .. }) = content.first_mut()
        {
            *transcript = Some(words.to_owned());
        }
    }

    /// Removes an item.
    pub fn delete(&mut self, id: &str) -> Result<(), Refusal> {
        let at = self
            .position(id)
            .ok_or_else(|| unknown(id, "item_delete_invalid_item_id", "deleting"))?;
        self.items.remove(at);
        Ok(())
    }

    /// An item for the client to look at.
    pub fn retrieve(&self, id: &str) -> Result<&Item, Refusal> {
        self.get(id)
            .ok_or_else(|| unknown(id, "item_retrieve_invalid_item_id", "retrieving"))
    }

    /// Cuts agent speech to what was heard and forgets its transcript.
    pub fn truncate(&mut self, id: &str, content_index: u64, audio_end_ms: u64) -> Result<(), Refusal> {
        let found = self.items.iter_mut().find(|item| item.id == id);
        let item = found.ok_or_else(|| unknown(id, "item_truncate_invalid_item_id", "truncating"))?;
        let content = match &mut item.body {
            Body::Message {
                role: Role::Assistant,
                content,
            } => content.as_mut_slice(),
            _ => &mut [],
        };
        let part = usize::try_from(content_index)
            .ok()
            .and_then(|index| content.get_mut(index));
        let Some(Content::OutputAudio { ms, transcript, .. }) = part else {
            return Err(Refusal::at(
                "item_id",
                "invalid_value",
                "Only model output audio messages can be truncated",
            ));
        };
        match u32::try_from(audio_end_ms) {
            Ok(end_ms) if end_ms <= *ms => (*ms, *transcript) = (end_ms, None),
            _ => return Err(too_short(*ms, audio_end_ms)),
        }
        item.truncated = true;
        Ok(())
    }

    fn position(&self, id: &str) -> Option<usize> {
        self.items.iter().position(|item| item.id == id)
    }

    /// Silences and drops the oldest finished items until all bounds hold; the newest always stays whole.
    fn forget(&mut self) {
        let mut audio: usize = self.items.iter().map(Item::audio_bytes_held).sum();
        let mut bytes: usize = self.items.iter().map(Item::bytes_held).sum();
        let older = self.items.len().saturating_sub(1);
        for item in self
            .items
            .iter_mut()
            .take(older)
            .filter(|item| item.status != Status::InProgress)
        {
            if audio <= AUDIO_BYTES_MAX {
                break;
            }
            let held = item.audio_bytes_held();
            (audio, bytes) = (audio - held, bytes - held);
            item.silence();
        }
        let mut count = 0;
        for item in self.items.iter().take(older) {
            let fits = self.items.len() - count <= ITEMS_MAX && bytes <= BYTES_MAX;
            if fits || item.status == Status::InProgress {
                break;
            }
            bytes -= item.bytes_held();
            count += 1;
        }
        self.items.drain(..count);
    }
}

fn duplicate(id: &str) -> Refusal {
    let message = format!("Error adding item: an item with id '{id}' already exists.");
    Refusal::at("item.id", "item_create_duplicate_item_id", message)
}

fn unknown_previous(id: &str) -> Refusal {
    let message = format!("Error adding item: the previous item with id '{id}' does not exist.");
    Refusal::at("previous_item_id", "item_create_invalid_previous_item_id", message)
}

fn unknown(id: &str, code: &'static str, doing: &str) -> Refusal {
    Refusal::at(
        "item_id",
        code,
        format!("Error {doing} item: the item with id '{id}' does not exist."),
    )
}

fn too_short(has_ms: u32, asked_ms: u64) -> Refusal {
    let message = format!("Audio content of {has_ms}ms is already shorter than {asked_ms}ms");
    Refusal::at("audio_end_ms", "invalid_value", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::sound::{GREETING, Sound};

    #[test]
    fn previous_ids_follow_the_order() {
        let mut conversation = Conversation::new("conv_1".to_owned());
        assert_eq!(conversation.add(said("a"), &Place::Last).unwrap(), None);
        assert_eq!(conversation.add(said("b"), &Place::Last).unwrap().as_deref(), Some("a"));
        assert_eq!(
            conversation.add(said("c"), &Place::After("a")).unwrap().as_deref(),
            Some("a")
        );
        assert_eq!(conversation.add(said("d"), &Place::First).unwrap(), None);
        let order: Vec<_> = conversation.items().iter().map(|item| item.id.as_str()).collect();
        assert_eq!(order, ["d", "a", "c", "b"]);
        assert_eq!(
            conversation.add(said("e"), &Place::After("x")).unwrap_err().code,
            "item_create_invalid_previous_item_id"
        );
        assert_eq!(
            conversation.add(said("a"), &Place::Last).unwrap_err().code,
            "item_create_duplicate_item_id"
        );
    }

    #[test]
    fn truncation_is_exact_and_only_for_agent_speech() {
        let mut conversation = Conversation::new("conv_1".to_owned());
        conversation.push(said("user"));
        conversation.push(spoken("agent", 1_000));
        assert_eq!(
            conversation.truncate("agent", 0, 1_001).unwrap_err().message,
            "Audio content of 1000ms is already shorter than 1001ms"
        );
        conversation.truncate("agent", 0, 340).unwrap();
        let Body::Message { content, .. } = &conversation.get("agent").unwrap().body else {
            panic!("a message")
        };
        assert!(matches!(
            content[..],
            [Content::OutputAudio {
                ms: 340,
                transcript: None,
                ..
            }]
        ));
        assert_eq!(conversation.truncate("user", 0, 0).unwrap_err().code, "invalid_value");
        assert_eq!(conversation.truncate("agent", 1, 0).unwrap_err().code, "invalid_value");
        assert_eq!(
            conversation.truncate("x", 0, 0).unwrap_err().code,
            "item_truncate_invalid_item_id"
        );
    }

    #[test]
    fn a_cut_item_stays_cut_when_it_settles() {
        let mut conversation = Conversation::new("conv_1".to_owned());
        conversation.push(spoken("agent", 1_000));
        conversation.truncate("agent", 0, 100).unwrap();
        conversation.settle(&spoken("agent", 2_000));
        assert_eq!(
            conversation.truncate("agent", 0, 101).unwrap_err().code,
            "invalid_value"
        );
    }

    #[test]
    fn the_oldest_items_are_forgotten_at_the_bound() {
        let mut conversation = Conversation::new("conv_1".to_owned());
        for number in 0..ITEMS_MAX + 2 {
            conversation.push(said(&number.to_string()));
        }
        assert_eq!(conversation.items().len(), ITEMS_MAX);
        assert_eq!(conversation.items()[0].id, "2");
    }

    #[test]
    fn the_oldest_recordings_fall_silent_before_their_items_go() {
        let mut conversation = Conversation::new("conv_1".to_owned());
        for number in 0..4 {
            conversation.push(heard(&number.to_string(), AUDIO_BYTES_MAX / 2));
        }
        let held: Vec<usize> = conversation.items().iter().map(Item::audio_bytes_held).collect();
        assert_eq!(held, [0, 0, AUDIO_BYTES_MAX / 2, AUDIO_BYTES_MAX / 2]);
        conversation.push(heard("4", AUDIO_BYTES_MAX * 2));
        assert_eq!(conversation.items().len(), 5);
        assert_eq!(conversation.items()[4].audio_bytes_held(), AUDIO_BYTES_MAX * 2);
    }

    fn heard(id: &str, bytes: usize) -> Item {
        let sound = Sound::recorded(crate::audio::SampleRate::Hz24000, &vec![0; bytes / 2]);
        let content = vec![Content::InputAudio {
            spoken: Some(sound.clone()),
            sound,
            transcript: None,
        }];
        Item::new(
            id.to_owned(),
            Body::Message {
                role: Role::User,
                content,
            },
        )
    }

    fn said(id: &str) -> Item {
        let content = vec![Content::InputText("hello".to_owned())];
        Item::new(
            id.to_owned(),
            Body::Message {
                role: Role::User,
                content,
            },
        )
    }

    fn spoken(id: &str, ms: u32) -> Item {
        let sound = Sound::Clip(GREETING.code);
        let content = vec![Content::OutputAudio {
            sound,
            ms,
            transcript: Some("Hello.".to_owned()),
        }];
        Item::new(
            id.to_owned(),
            Body::Message {
                role: Role::Assistant,
                content,
            },
        )
    }
}
