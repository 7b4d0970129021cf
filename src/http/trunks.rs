//! `GET /v1/trunks`: how the trunks are doing, as [`Trunks`](crate::telemetry::Trunks) knows it.

use std::time::Instant;

use axum::{
    extract::{Request, State},
    http::header,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{calls::admit, control::Refused, routes::HttpState};
use crate::telemetry::TrunkState;

/// Every trunk that we register at or ask whether it is there.
pub(super) async fn list(State(state): State<HttpState>, request: Request) -> Result<Response, Refused> {
    admit(&state, &request)?;
    Ok(listed(&state))
}

fn listed(state: &HttpState) -> Response {
    let now = Instant::now();
    let trunks = state.metrics.trunks().snapshot();
    let trunks: Vec<Value> = trunks.iter().map(|trunk| shown(trunk, now)).collect();
    let body = json!({ "trunks": trunks });
    ([(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

/// What is not known, or not asked, is null.
fn shown(state: &TrunkState, now: Instant) -> Value {
    let error = Some(&state.error).filter(|error| !error.is_empty());
    json!({
        "trunk": state.trunk,
        "registered": state.registered,
        "expires_s": state.expires_in(now).map(|left| left.as_secs()),
        "reachable": state.reachable,
        "error": error,
    })
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::{http::Readiness, telemetry::Metrics};

    #[tokio::test]
    async fn trunks_are_shown_with_null_for_what_nobody_knows() {
        let metrics = Metrics::new();
        metrics.trunks().note(TrunkState {
            trunk: "carrier".to_owned(),
            registered: Some(true),
            registered_until: Some(Instant::now() + Duration::from_secs(61)),
            reachable: None,
            error: String::new(),
        });
        let state = HttpState::new(metrics, Readiness::new(), Arc::new(|| {}));
        let response = listed(&state);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
        let body = axum::body::to_bytes(response.into_body(), 1 << 16).await.unwrap();
        let shown: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            shown,
            json!({ "trunks": [
                { "trunk": "carrier", "registered": true, "expires_s": 60, "reachable": null, "error": null }
            ] })
        );
    }
}
