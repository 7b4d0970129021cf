//! `POST /v1/explain`: what would become of a call, rule by rule, with the counts of the running gateway.
//!
//! Who asks is checked with every other operation; the caller of [`answer`] has the counts.

use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::routing::{Explanation, Fill, Question, Room};

/// Largest body of a question.
pub const BODY_BYTES_MAX: usize = 16 << 10;

/// What is asked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    from: String,
    to: String,
    source: String,
    #[serde(default = "udp")]
    transport: String,
    user: Option<String>,
}

/// The answer to a question in JSON: `from`, `to` and `source`, and perhaps `transport` and `user`. `explain` is asked
/// with the room there is.
pub fn answer(body: &[u8], room: &Room, explain: impl FnOnce(&Question, &Room) -> Explanation) -> (StatusCode, Value) {
    match read(body) {
        Ok(question) => (StatusCode::OK, shown(&explain(&question, room), room)),
        Err(detail) => (
            StatusCode::BAD_REQUEST,
            json!({ "error": "bad_request", "detail": detail }),
        ),
    }
}

fn read(body: &[u8]) -> Result<Question, String> {
    if body.len() > BODY_BYTES_MAX {
        return Err(format!("the question is longer than {BODY_BYTES_MAX} bytes"));
    }
    let Asked {
        from,
        to,
        source,
        transport,
        user,
    } = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    Question::read(&from, &to, &source, &transport, user.as_deref())
}

fn shown(explanation: &Explanation, room: &Room) -> Value {
    let Explanation { lines, verdict } = explanation;
    let trunk = verdict.trunk.as_deref().and_then(|trunk| room.trunk_fill(trunk));
    json!({
        "explanation": lines,
        "status": verdict.status,
        "reason": verdict.reason,
        "trunk": verdict.trunk,
        "agent": verdict.agent,
        "limits": { "gateway": filled(room.fill()), "trunk": trunk.map(filled) },
    })
}

fn filled(fill: Fill) -> Value {
    let Fill {
        calls_active,
        calls_max,
        kept_free,
    } = fill;
    json!({ "calls_active": calls_active, "calls_max": calls_max, "kept_free": kept_free })
}

fn udp() -> String {
    "udp".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::Config,
        routing::{Explainer, Room},
    };

    #[test]
    fn a_question_is_answered_with_the_lines_and_the_verdict() {
        let (status, answer) = ask(r#"{"from":"sip:a@h","to":"sip:b@h","source":"192.0.2.7:5060"}"#);
        assert_eq!(status, StatusCode::OK);
        assert_eq!(
            (&answer["status"], &answer["reason"]),
            (&json!(403), &json!("unknown_source"))
        );
        assert_eq!(
            answer["limits"]["gateway"],
            json!({"calls_active": 0, "calls_max": 1000, "kept_free": 0})
        );
        let lines = answer["explanation"].as_array().unwrap();
        assert_eq!(lines.last().unwrap(), "verdict: refused with 403 unknown_source");
    }

    #[test]
    fn what_is_no_question_is_told_what_is_wrong() {
        for (body, expected) in [
            ("{", "EOF"),
            (r#"{"from":"sip:a@h","to":"sip:b@h"}"#, "missing field `source`"),
            (
                r#"{"from":"sip:a@h","to":"sip:b@h","source":"h"}"#,
                "source: \"h\" is not an address",
            ),
            (
                r#"{"from":"a b","to":"sip:b@h","source":"::1"}"#,
                "from: \"a b\" is not a URI",
            ),
            (
                r#"{"from":"sip:a@h","to":"sip:b@h","source":"::1","transport":"x"}"#,
                "transport: \"x\" is not known",
            ),
            (
                r#"{"from":"sip:a@h","to":"sip:b@h","source":"::1","colour":1}"#,
                "unknown field `colour`",
            ),
        ] {
            let (status, answer) = ask(body);
            assert_eq!(status, StatusCode::BAD_REQUEST);
            assert!(answer["detail"].as_str().unwrap().contains(expected), "{answer}");
        }
        let long = format!("\"{}\"", "x".repeat(BODY_BYTES_MAX));
        assert_eq!(ask(&long).0, StatusCode::BAD_REQUEST);
    }

    fn ask(body: &str) -> (StatusCode, Value) {
        let config = std::sync::Arc::new(Config::default());
        let room = Room::new(&config);
        let explainer = Explainer::new(config, Vec::new());
        let now = std::time::Instant::now();
        answer(body.as_bytes(), &room, |question, room| {
            explainer.explain(question, room, now)
        })
    }
}
