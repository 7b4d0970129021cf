//! Tool calls in a call's record, its events and the metrics.

use serde_json::{Value, json};

use super::{Ledger, millis};
use crate::{config::ToolRecord, store::ToolCallRecord, tools::Finished};

/// Tool calls in a record; of later ones there are events and metrics alone.
const TOOL_CALLS_MAX: usize = 256;

/// Bytes of a call's arguments in its record and events; the rest is cut off.
const ARGUMENTS_BYTES_MAX: usize = 4096;

impl Ledger {
    /// The agent calls a tool.
    pub(super) fn tool_called(&self, call_id: &str, name: &str, arguments: String) {
        tracing::info!(tool = name, "the agent calls a tool");
        let mut data = json!({ "state": "called", "name": name, "tool_call_id": call_id });
        if let Some(arguments) = self.shown(arguments) {
            data["arguments"] = arguments.into();
        }
        self.tell(|_| {}, "tool", data);
    }

    /// The agent is about to call a tool.
    pub(super) fn tool_arguments(&self, call_id: &str, so_far: String) {
        if let Some(so_far) = self.shown(so_far) {
            self.tell(
                |_| {},
                "tool_arguments",
                json!({ "tool_call_id": call_id, "so_far": so_far }),
            );
        }
    }

    /// A tool call is over.
    pub(super) fn tool_finished(&mut self, finished: Finished) {
        let (result, duration_ms) = (finished.ended.word(), millis(finished.took));
        tracing::info!(tool = finished.name, result, duration_ms, "a tool call is over");
        self.metrics.tool_call(&finished.configured, result);
        let data = json!({
            "state": "ended", "name": finished.name, "tool_call_id": finished.call_id,
            "result": result, "duration_ms": duration_ms,
        });
        self.tell(|_| {}, "tool", data);
        if self.record.tools.len() < TOOL_CALLS_MAX {
            let arguments = self.shown(finished.arguments);
            self.record.tools.push(ToolCallRecord {
                tool: finished.name,
                result: result.to_owned(),
                duration_ms,
                arguments,
            });
        }
    }

    /// A tool call waits for a person, or not any more.
    pub fn approval(&self, id: &str, tool: &str, state: &'static str) {
        tracing::info!(approval = id, tool, state, "a person is asked");
        let tool = Some(tool)
            .filter(|tool| !tool.is_empty())
            .map_or(Value::Null, Value::from);
        self.tell(|_| {}, "approval", json!({ "id": id, "state": state, "tool": tool }));
    }

    /// Arguments, where the agent's settings have them shown.
    fn shown(&self, mut arguments: String) -> Option<String> {
        arguments.truncate(arguments.floor_char_boundary(ARGUMENTS_BYTES_MAX));
        (self.tool_record == ToolRecord::Arguments).then_some(arguments)
    }
}
