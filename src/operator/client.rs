//! What each event of the client does. A refusal becomes an `error` event; the session carries on.

use std::time::Instant;

use serde_json::json;

use super::conversation::Place;
use super::ending::Ending;
use super::error::Refusal;
use super::fault::{Fault, FaultError, Faults, Strike};
use super::field::Field;
use super::input::Change;
use super::item::Item;
use super::machine::Machine;
use super::request::Request;

/// Most responses under way, out-of-band ones included; more are refused.
const RESPONSES_MAX: usize = 8;
/// Most faults waiting; more control messages are refused.
const STRIKES_MAX: usize = 32;

impl Machine {
    pub(super) fn update_session(&mut self, update: &Field<'_>) -> Result<(), Refusal> {
        self.session = self.session.updated(update, self.spoken)?;
        if self.idle_timeout().is_none() {
            self.prompt_at = None;
        }
        self.input
            .configure(self.session.input_format, self.session.turn_detection.as_ref());
        self.outbox
            .event("session.updated", &json!({"session": self.session.to_json()}));
        Ok(())
    }

    pub(super) fn append(&mut self, now: Instant, audio: &str) -> Result<(), Refusal> {
        self.input.append(audio)?;
        while let Some(change) = self.input.poll_change() {
            match change {
                Change::Started { audio_start_ms } => self.speech_started(audio_start_ms),
                Change::Stopped {
                    audio_end_ms,
                    recording,
                } => self.speech_stopped(now, audio_end_ms, recording),
            }
        }
        Ok(())
    }

    pub(super) fn commit(&mut self) -> Result<(), Refusal> {
        let recording = self.input.commit()?;
        self.committed(recording);
        Ok(())
    }

    pub(super) fn clear(&mut self) -> Result<(), Refusal> {
        self.input.clear();
        self.turn_id = None;
        self.outbox.event("input_audio_buffer.cleared", &json!({}));
        Ok(())
    }

    pub(super) fn create_item(&mut self, event: &Field<'_>) -> Result<(), Refusal> {
        let item = Item::read(
            &event.require("item")?,
            self.outbox.id("item"),
            self.session.input_format,
        )?;
        let place = match event.get("previous_item_id").and_then(Field::present) {
            Some(previous) => match previous.string()? {
                "root" => Place::First,
                id => Place::After(id),
            },
            None => Place::Last,
        };
        let json = item.to_json();
        let previous = self.conversation.add(item, &place)?;
        let added = json!({"previous_item_id": previous, "item": json});
        self.outbox.event("conversation.item.added", &added);
        self.outbox.event("conversation.item.done", &added);
        Ok(())
    }

    pub(super) fn retrieve_item(&mut self, id: &Field<'_>) -> Result<(), Refusal> {
        let item = self.conversation.retrieve(id.string()?)?;
        let json = item.to_json_with_audio(self.session.input_format, self.session.output_format);
        self.outbox.event("conversation.item.retrieved", &json!({"item": json}));
        Ok(())
    }

    pub(super) fn truncate_item(&mut self, event: &Field<'_>) -> Result<(), Refusal> {
        let id = event.require("item_id")?.string()?;
        let content_index = event.require("content_index")?.integer(0..=u64::MAX)?;
        let audio_end_ms = event.require("audio_end_ms")?.integer(0..=u64::MAX)?;
        self.conversation.truncate(id, content_index, audio_end_ms)?;
        let truncated = json!({"item_id": id, "content_index": content_index, "audio_end_ms": audio_end_ms});
        self.outbox.event("conversation.item.truncated", &truncated);
        Ok(())
    }

    pub(super) fn delete_item(&mut self, id: &Field<'_>) -> Result<(), Refusal> {
        self.conversation.delete(id.string()?)?;
        self.outbox
            .event("conversation.item.deleted", &json!({"item_id": id.string()?}));
        Ok(())
    }

    pub(super) fn create_response(&mut self, now: Instant, event: &Field<'_>) -> Result<(), Refusal> {
        let request = match event.get("response").and_then(Field::present) {
            Some(response) => Request::read(&response, &self.session, &self.conversation, &mut self.outbox)?,
            None => Request::automatic(&self.session),
        };
        if let (true, Some(active)) = (request.in_conversation, self.default_response()) {
            return Err(already_active(self.responses[active].id()));
        }
        if self.responses.len() >= RESPONSES_MAX {
            return Err(Refusal::new(
                "rate_limit_exceeded",
                format!("More than {RESPONSES_MAX} responses at once."),
            ));
        }
        self.respond(now, request);
        Ok(())
    }

    pub(super) fn cancel_response(&mut self, event: &Field<'_>) -> Result<(), Refusal> {
        let at = match event.get("response_id").and_then(Field::present) {
            Some(id) => {
                let id = id.string()?;
                self.responses.iter().position(|response| response.id() == id)
            }
            None => self.default_response(),
        };
        let message = "Cancellation failed: no active response found";
        let at = at.ok_or_else(|| Refusal::new("response_cancel_not_active", message))?;
        self.end_response(at, Ending::ClientCancelled);
        Ok(())
    }

    pub(super) fn order_fault(&mut self, now: Instant, order: &Field<'_>) -> Result<(), Refusal> {
        let faults: Faults = order
            .string()?
            .parse()
            .map_err(|error: FaultError| order.invalid(error.to_string()))?;
        let strikes: Vec<Strike> = faults.on_connection(0).collect();
        if strikes.iter().any(|strike| matches!(strike.fault, Fault::Refuse(_))) {
            return Err(order.invalid("A connection that is open cannot be refused; use drop or close."));
        }
        if self.strikes.len() + strikes.len() > STRIKES_MAX {
            return Err(order.invalid(format!("More than {STRIKES_MAX} faults are waiting.")));
        }
        self.strikes.arm(now, strikes);
        self.handle_timeout(now);
        Ok(())
    }
}

fn already_active(id: &str) -> Refusal {
    Refusal::new(
        "conversation_already_has_active_response",
        format!(
            "Conversation already has an active response in progress: {id}. Wait until the response is finished before \
             creating a new one."
        ),
    )
}
