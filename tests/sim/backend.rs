//! The other end of a call's session: the embedded operator, with everything that can go wrong between it and the gateway.
//!
//! It also watches what the gateway asks of it: an error the operator sends is only forgiven where two things crossed on
//! the way, and never about a truncation.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use patchcord::{
    operator::{Faults, Machine, Output, Settings},
    realtime::{FaultClass, classify_close},
};
use serde_json::Value;

/// What one call's backend does.
#[derive(Debug, Clone, Default)]
pub struct BackendPlan {
    /// Faults on demand, in the operator's own words.
    pub faults: Faults,
    /// When it cannot be reached, in milliseconds of the run; what was connected breaks at the beginning.
    pub down: Vec<(u64, u64)>,
    /// When nothing moves on the connection, in milliseconds of the run.
    pub stalls: Vec<(u64, u64)>,
    /// The time every message takes.
    pub delay_ms: u64,
    /// What some take longer.
    pub jitter_ms: u64,
}

/// One call's backend.
#[derive(Debug)]
pub struct Backend {
    /// What it does.
    pub plan: BackendPlan,
    /// Truncations that were accepted.
    pub truncated: u32,
    start: Instant,
    accepted: u64,
    /// Connections up to this one are not wanted any more.
    given_up: u64,
    live: Option<Live>,
}

#[derive(Debug)]
struct Live {
    number: u64,
    machine: Machine,
    /// The kinds of the gateway's events, by their ids.
    asked: HashMap<String, String>,
    /// An error was ordered, so it is nobody's mistake.
    told_to_fail: bool,
}

/// What comes out of the backend.
#[derive(Debug)]
pub enum Said {
    /// A text frame.
    Text(String),
    /// The end of the connection, and whether another may do better.
    End(FaultClass),
}

impl Backend {
    /// A backend nobody is connected to.
    pub fn new(start: Instant, plan: BackendPlan) -> Self {
        Self {
            plan,
            truncated: 0,
            start,
            accepted: 0,
            given_up: 0,
            live: None,
        }
    }

    /// Whether it can be reached.
    pub fn is_up(&self, now: Instant) -> bool {
        !self.plan.down.iter().any(|window| self.is_within(now, window))
    }

    /// How long a message sent now is held up.
    pub fn stalled_until(&self, now: Instant) -> Option<Instant> {
        let window = self.plan.stalls.iter().find(|window| self.is_within(now, window))?;
        Some(self.start + Duration::from_millis(window.1))
    }

    /// A connection is asked for.
    pub fn connect(&mut self, now: Instant, number: u64) -> Result<(), FaultClass> {
        if !self.is_up(now) || number <= self.given_up {
            return Err(FaultClass::Retryable);
        }
        let connection = self.accepted;
        self.accepted += 1;
        if let Some(status) = self.plan.faults.refusal(connection) {
            return Err(if status < 500 {
                FaultClass::Fatal
            } else {
                FaultClass::Retryable
            });
        }
        let faults: Vec<_> = self.plan.faults.on_connection(connection).collect();
        let told_to_fail = !faults.is_empty();
        let settings = Settings {
            seed: number,
            faults,
            ..Settings::default()
        };
        let machine = Machine::new(now, settings);
        self.live = Some(Live {
            number,
            machine,
            asked: HashMap::new(),
            told_to_fail,
        });
        Ok(())
    }

    /// A text frame of the gateway.
    pub fn handle_text(&mut self, now: Instant, number: u64, text: &str) {
        if let Some(live) = self.live.as_mut().filter(|live| live.number == number) {
            live.remember(text);
            live.machine.handle_text(now, text);
        }
    }

    /// The connection is gone, if it is still this one.
    pub fn disconnect(&mut self, number: u64) {
        self.live.take_if(|live| live.number == number);
        self.given_up = self.given_up.max(number);
    }

    /// The connection that stands.
    pub fn connection(&self) -> Option<u64> {
        self.live.as_ref().map(|live| live.number)
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Some(live) = &mut self.live {
            live.machine.handle_timeout(now);
        }
    }

    /// When something is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.live.as_ref().and_then(|live| live.machine.poll_timeout())
    }

    /// What it says, and on which connection.
    pub fn poll(&mut self) -> Option<(u64, Said)> {
        let live = self.live.as_mut()?;
        let number = live.number;
        let said = match live.machine.poll_output()? {
            Output::Send(text) => {
                self.truncated += u32::from(live.check(&text));
                return Some((number, Said::Text(text)));
            }
            Output::Close { code, .. } => Said::End(classify_close(code)),
            Output::Drop => Said::End(FaultClass::Retryable),
        };
        self.live = None;
        Some((number, said))
    }

    fn is_within(&self, now: Instant, window: &(u64, u64)) -> bool {
        let ms = now.saturating_duration_since(self.start).as_millis() as u64;
        (window.0..window.1).contains(&ms)
    }
}

impl Live {
    fn remember(&mut self, text: &str) {
        if is_append(text) {
            return;
        }
        let event: Value = serde_json::from_str(text).expect("the gateway writes JSON");
        let word = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        self.asked.insert(word("event_id"), word("type"));
    }

    /// Judges what the operator says; true when it accepts a truncation.
    fn check(&self, text: &str) -> bool {
        if !text.contains(r#""error""#) {
            return text.contains(r#""conversation.item.truncated""#);
        }
        let Ok(event) = serde_json::from_str::<Value>(text) else {
            return false;
        };
        if event["type"] == "error" && !self.told_to_fail {
            let asked = event["error"]["event_id"]
                .as_str()
                .and_then(|id| self.asked.get(id))
                .map(String::as_str);
            let crossed = matches!(
                (asked, event["error"]["code"].as_str()),
                (Some("response.cancel"), Some("response_cancel_not_active"))
                    | (
                        Some("response.create"),
                        Some("conversation_already_has_active_response")
                    )
            );
            assert!(crossed, "the operator refused {asked:?}: {text}");
        }
        false
    }
}

/// Whether a text frame of the gateway is caller audio.
pub fn is_append(text: &str) -> bool {
    text.get(..120)
        .unwrap_or(text)
        .contains(r#""input_audio_buffer.append""#)
}
