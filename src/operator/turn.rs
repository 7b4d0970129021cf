//! What follows from the caller's speech: its turns become items, interrupt the agent and are answered.

use std::time::Instant;

use serde_json::json;

use super::agent;
use super::ending::Ending;
use super::input::Recording;
use super::item::{Body, Content, Item, Role};
use super::machine::Machine;
use super::request::Request;

impl Machine {
    pub(super) fn speech_started(&mut self, audio_start_ms: u64) {
        self.prompt_at = None;
        let id = self.turn_id().clone();
        let started = json!({"item_id": id, "audio_start_ms": audio_start_ms});
        self.outbox.event("input_audio_buffer.speech_started", &started);
        if self
            .session
            .turn_detection
            .as_ref()
            .is_some_and(|turns| turns.interrupt_response)
        {
            self.end_default_response(Ending::TurnDetected);
        }
    }

    pub(super) fn speech_stopped(&mut self, now: Instant, audio_end_ms: u64, recording: Recording) {
        let id = self.turn_id().clone();
        let stopped = json!({"item_id": id, "audio_end_ms": audio_end_ms});
        self.outbox.event("input_audio_buffer.speech_stopped", &stopped);
        self.committed(recording);
        let create = self
            .session
            .turn_detection
            .as_ref()
            .is_some_and(|turns| turns.create_response);
        if create && self.default_response().is_none() {
            self.respond(now, Request::automatic(&self.session));
        }
    }

    fn turn_id(&mut self) -> &String {
        self.turn_id.get_or_insert_with(|| self.outbox.id("item"))
    }

    /// Makes an item of committed audio.
    pub(super) fn committed(&mut self, recording: Recording) {
        let id = self.turn_id().clone();
        self.turn_id = None;
        let previous = self.conversation.last_id().map(str::to_owned);
        let committed = json!({"item_id": id, "previous_item_id": previous});
        self.outbox.event("input_audio_buffer.committed", &committed);
        let Recording { sound, spoken } = recording;
        let seconds = f64::from(sound.ms()) / 1_000.0;
        let words = spoken.as_ref().map(agent::describe).unwrap_or_default();
        let content = vec![Content::InputAudio {
            sound,
            spoken,
            transcript: None,
        }];
        self.announce(Item::new(
            id.clone(),
            Body::Message {
                role: Role::User,
                content,
            },
        ));
        if !self.session.transcription.is_null() {
            self.transcribed(&id, &words, seconds);
        }
    }

    fn transcribed(&mut self, id: &str, words: &str, seconds: f64) {
        self.conversation.transcribe(id, words);
        let delta = json!({"item_id": id, "content_index": 0, "delta": words});
        self.outbox
            .event("conversation.item.input_audio_transcription.delta", &delta);
        let usage = json!({"type": "duration", "seconds": seconds});
        let completed = json!({"item_id": id, "content_index": 0, "transcript": words, "usage": usage});
        self.outbox
            .event("conversation.item.input_audio_transcription.completed", &completed);
    }

    pub(super) fn announce(&mut self, item: Item) {
        let json = item.to_json();
        let previous = self.conversation.push(item);
        let event = json!({"previous_item_id": previous, "item": json});
        self.outbox.event("conversation.item.added", &event);
        self.outbox.event("conversation.item.done", &event);
    }

    /// The caller has kept silent for too long: the silence is committed and answered.
    pub(super) fn prompt(&mut self, now: Instant) {
        if self.prompt_at.is_none_or(|at| at > now) {
            return;
        }
        self.prompt_at = None;
        let (recording, audio_start_ms, audio_end_ms) = self.input.commit_silence();
        let id = self.turn_id().clone();
        let triggered = json!({"item_id": id, "audio_start_ms": audio_start_ms, "audio_end_ms": audio_end_ms});
        self.outbox.event("input_audio_buffer.timeout_triggered", &triggered);
        self.committed(recording);
        if self.default_response().is_none() {
            self.respond(now, Request::automatic(&self.session));
        }
    }
}
