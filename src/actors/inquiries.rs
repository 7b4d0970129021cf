//! Inquiries: what would become of a call, with the counts of the running gateway. It lets nobody in: the room it looks
//! at is the call manager's to give away.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use axum::http::StatusCode;
use serde_json::Value;

use crate::{
    http,
    routing::{Explainer, Question, Room},
};

/// Whoever knows the rules and sees the counts.
#[derive(Debug)]
pub struct Inquiries {
    explainer: Arc<Explainer>,
    room: Arc<Mutex<Room>>,
}

impl Inquiries {
    /// Explains by these rules, with the counts of this room.
    pub fn new(explainer: Arc<Explainer>, room: Arc<Mutex<Room>>) -> Self {
        Self { explainer, room }
    }

    /// The answer to `POST /v1/explain`.
    pub fn answer(&self, body: &[u8]) -> (StatusCode, Value) {
        let explain = |question: &Question, room: &Room| self.explainer.explain(question, room, Instant::now());
        let room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        http::explain::answer(body, &room, explain)
    }
}
