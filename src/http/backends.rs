//! `GET /v1/backends`: how the backends stand, as [`Backends`](crate::telemetry::Backends) knows it.

use axum::{
    extract::{Request, State},
    http::header,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{calls::admit, control::Refused, routes::HttpState};
use crate::telemetry::BackendState;

/// Every backend of the configuration.
pub(super) async fn list(State(state): State<HttpState>, request: Request) -> Result<Response, Refused> {
    admit(&state, &request)?;
    let backends: Vec<Value> = state.metrics.backends().snapshot().iter().map(shown).collect();
    let body = json!({ "backends": backends });
    Ok(([(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response())
}

fn shown(state: &BackendState) -> Value {
    let error = Some(state.error).filter(|error| !error.is_empty());
    json!({
        "backend": state.backend,
        "state": state.state,
        "error": error,
        "connected": state.connected,
        "failed": state.failed,
        "passed_over": state.passed_over,
        "warm": state.warm,
    })
}
