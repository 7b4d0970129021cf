//! Tool calls that wait for a person: who may see them, and how a person decides.

use axum::{
    extract::{Path, Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::{
    body::Fields,
    calls::{admit, answer},
    control::Refused,
    routes::HttpState,
};

/// The longest reason, in bytes; the model is told it.
const REASON_BYTES_MAX: usize = 1024;

pub(super) async fn list(State(state): State<HttpState>, request: Request) -> Result<Response, Refused> {
    let approvals = admit(&state, &request)?.control.approvals();
    Ok(answer(StatusCode::OK, &json!({ "approvals": approvals })))
}

pub(super) async fn decide(
    State(state): State<HttpState>,
    Path((id, decision)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Refused> {
    let api = admit(&state, &request)?;
    let approved = match decision.as_str() {
        "approve" => true,
        "reject" => false,
        _ => {
            let detail = "what is to become of it: approve or reject";
            return Err(Refused::not_found("no_such_decision", None, detail));
        }
    };
    let mut fields = Fields::read_if_any(request.into_body()).await?;
    let reason = fields.optional_text("reason")?.unwrap_or_default();
    fields.finish()?;
    if reason.len() > REASON_BYTES_MAX {
        return Err(Refused::invalid("reason", format!("at most {REASON_BYTES_MAX} bytes")));
    }
    api.control.decide(&id, approved, reason).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
