//! What the model behind the one that speaks waits for.
//!
//! It calls several tools at once, and goes on only when all of them have been answered; a part of the answers is
//! refused. So its calls are told when its response is complete, and it is asked to go on with the last answer.

use std::collections::VecDeque;

use serde_json::Value;

use crate::realtime::{
    event::{Call, ResponseDone, ServerEvent},
    ga::object::{call, member_id, server_error, usage},
};

/// Calls of one response; past it the newest are not made.
const CALLS_MAX: usize = 32;

/// The calls of the response under way, and those that have not been answered.
#[derive(Debug, Default)]
pub struct Delegation {
    called: Vec<Call>,
    owed: Vec<String>,
    /// Something has been answered since it was last asked to go on.
    answered: bool,
}

impl Delegation {
    /// Takes one of the model's own events.
    pub fn take(&mut self, event: &Value, implied: &mut VecDeque<ServerEvent<'static>>) -> ServerEvent<'static> {
        let response = event.get("response");
        match event.get("type").and_then(Value::as_str).unwrap_or_default() {
            "response.output_item.done" => self.item_done(event.get("item")),
            "response.completed" | "response.incomplete" => {
                let id = member_id(response, "id").unwrap_or("delegated").to_owned();
                self.call_all(&id, implied);
                let used = response.and_then(|response| response.get("usage")).map(spent);
                return used.unwrap_or(ServerEvent::Noted);
            }
            "response.failed" => return self.failed(response),
            _ => {}
        }
        ServerEvent::Noted
    }

    fn item_done(&mut self, item: Option<&Value>) {
        if self.called.len() < CALLS_MAX {
            self.called.extend(item.and_then(call));
        }
    }

    fn call_all(&mut self, response: &str, implied: &mut VecDeque<ServerEvent<'static>>) {
        for Call { id, name, arguments } in self.called.drain(..) {
            self.owed.push(id.clone());
            implied.push_back(ServerEvent::ToolCall {
                response: response.to_owned().into(),
                call: id.into(),
                name: name.into(),
                arguments: arguments.into(),
            });
        }
    }

    /// Calls of a response that failed can no longer be answered.
    fn failed(&mut self, response: Option<&Value>) -> ServerEvent<'static> {
        self.called.clear();
        self.owed.clear();
        self.answered = false;
        ServerEvent::ResponseDone(ResponseDone {
            id: member_id(response, "id").unwrap_or("delegated").to_owned(),
            status: "failed".to_owned(),
            error: Some(server_error(response.and_then(|response| response.get("error")))),
            ..ResponseDone::default()
        })
    }

    /// A call is being answered.
    pub fn answer(&mut self, call: &str) {
        self.owed.retain(|owed| owed != call);
        self.answered = true;
    }

    /// Whether it may be asked to go on; true once.
    pub fn may_go_on(&mut self) -> bool {
        self.owed.is_empty() && std::mem::take(&mut self.answered)
    }
}

/// Its tokens. What the one that speaks costs is billed by time.
fn spent(object: &Value) -> ServerEvent<'static> {
    ServerEvent::Used(usage(object))
}
