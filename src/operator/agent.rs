//! What the operator answers. It has no model: it greets, repeats the caller, names pressed keys, and hangs up on star.

use super::item::{Body, Content, Item, Role};
use super::session::{Defaults, Modality};
use super::sound::{self, Clip, Sound};
use super::tools;

/// What a response will consist of.
#[derive(Clone, Debug)]
pub enum Plan {
    /// Speech and its transcript.
    Say {
        /// The audio.
        sound: Sound,
        /// The words.
        text: String,
    },
    /// Text alone.
    Write(String),
    /// A function call.
    Call {
        /// The function.
        name: String,
        /// JSON in a string.
        arguments: &'static str,
    },
}

/// The function that ends a call; a client that can hang up offers it as a tool.
pub const HANG_UP: &str = "hang_up";
/// A user message of this and one key tells that the caller pressed it.
const KEY_PREFIX: &str = "DTMF ";

/// Decides on the answer to a conversation: its newest word by the caller counts, or the greeting when there is none.
pub fn plan<'a>(context: impl DoubleEndedIterator<Item = &'a Item>, defaults: &Defaults) -> Plan {
    if let Some(name) = tools::forced(&defaults.tools, &defaults.tool_choice) {
        return Plan::Call {
            name: name.to_owned(),
            arguments: "{}",
        };
    }
    let (sound, text) = match context.rev().find_map(heard) {
        None => spoken(sound::GREETING),
        Some(Heard::Voice(sound)) => (sound.clone(), describe(sound)),
        Some(Heard::Key('*')) if tools::allowed(&defaults.tools, &defaults.tool_choice, HANG_UP) => {
            return Plan::Call {
                name: HANG_UP.to_owned(),
                arguments: r#"{"reason":"caller pressed star"}"#,
            };
        }
        Some(Heard::Key('*')) => spoken(sound::GOODBYE),
        Some(Heard::Key(key)) => spoken(sound::pressed(key).unwrap_or(sound::OKAY)),
        Some(Heard::Silence) => spoken(sound::GREETING),
        Some(Heard::Other) => spoken(sound::OKAY),
    };
    match defaults.modality {
        Modality::Audio => Plan::Say { sound, text },
        Modality::Text => Plan::Write(text),
    }
}

/// Stands for the words of a voice, which the operator does not understand.
pub fn describe(spoken: &Sound) -> String {
    let tenths = spoken.ms().saturating_add(50) / 100;
    format!("(speech, {}.{} s)", tenths / 10, tenths % 10)
}

enum Heard<'a> {
    Voice(&'a Sound),
    Key(char),
    Silence,
    Other,
}

/// What an item means to the agent; its own words and instructions mean nothing.
fn heard(item: &Item) -> Option<Heard<'_>> {
    match &item.body {
        Body::Message {
            role: Role::User,
            content,
        } => content.last().map(|part| match part {
            Content::InputAudio {
                spoken: Some(spoken), ..
            } => Heard::Voice(spoken),
            Content::InputAudio { spoken: None, .. } => Heard::Silence,
            Content::InputText(text) => key(text).map_or(Heard::Other, Heard::Key),
            _ => Heard::Other,
        }),
        Body::CallOutput { .. } => Some(Heard::Other),
        _ => None,
    }
}

fn key(text: &str) -> Option<char> {
    let mut keys = text.strip_prefix(KEY_PREFIX)?.chars();
    keys.next().filter(|_| keys.next().is_none())
}

fn spoken(clip: Clip) -> (Sound, String) {
    (Sound::Clip(clip.code), clip.text.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::audio::SampleRate;

    #[test]
    fn an_empty_conversation_is_greeted() {
        assert!(said(&[], &Defaults::default()).starts_with("Hello."));
    }

    #[test]
    fn keys_are_named_and_letters_acknowledged() {
        for (text, answer) in [
            ("DTMF 5", "You pressed five."),
            ("DTMF #", "You pressed hash."),
            ("DTMF A", "Okay."),
            ("DTMF 55", "Okay."),
            ("Hi", "Okay."),
            ("DTMF *", "Goodbye."),
        ] {
            assert_eq!(said(&[written(text)], &Defaults::default()), answer, "{text}");
        }
    }

    #[test]
    fn the_newest_voice_is_repeated() {
        let items = [written("DTMF 5"), voice(1_800), reply()];
        let Plan::Say { sound, text } = plan(items.iter(), &Defaults::default()) else {
            panic!("speech")
        };
        assert_eq!((sound.ms(), text.as_str()), (1_800, "(speech, 1.8 s)"));
    }

    #[test]
    fn star_hangs_up_only_with_the_tool_and_the_permission() {
        let tools = vec![json!({"type": "function", "name": "hang_up"})];
        let offered = Defaults {
            tools,
            ..Defaults::default()
        };
        let star = [written("DTMF *")];
        assert!(matches!(plan(star.iter(), &offered), Plan::Call { name, arguments }
            if name == HANG_UP && arguments == r#"{"reason":"caller pressed star"}"#));
        assert_eq!(
            said(
                &star,
                &Defaults {
                    tool_choice: json!("none"),
                    ..offered.clone()
                }
            ),
            "Goodbye."
        );
        let forced = Defaults {
            tool_choice: json!("required"),
            ..offered
        };
        assert!(matches!(plan([].iter(), &forced), Plan::Call { name, .. } if name == HANG_UP));
    }

    #[test]
    fn text_is_written_when_only_text_is_wanted() {
        let text = Defaults {
            modality: Modality::Text,
            ..Defaults::default()
        };
        assert!(matches!(plan([voice(950)].iter(), &text), Plan::Write(text) if text == "(speech, 1.0 s)"));
    }

    fn said(items: &[Item], defaults: &Defaults) -> String {
        match plan(items.iter(), defaults) {
            Plan::Say { text, .. } => text,
            other => panic!("{other:?}"),
        }
    }

    fn message(role: Role, content: Content) -> Item {
        Item::new(
            String::new(),
            Body::Message {
                role,
                content: vec![content],
            },
        )
    }

    fn written(text: &str) -> Item {
        message(Role::User, Content::InputText(text.to_owned()))
    }

    fn reply() -> Item {
        message(Role::Assistant, Content::OutputText("Okay.".to_owned()))
    }

    fn voice(ms: usize) -> Item {
        let sound = Sound::recorded(SampleRate::Hz8000, &vec![0; ms * 8]);
        message(
            Role::User,
            Content::InputAudio {
                spoken: Some(sound.clone()),
                sound,
                transcript: None,
            },
        )
    }
}
