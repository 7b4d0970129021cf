//! What is answered where, and what needs no token.

use std::{fmt, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};

use super::{
    calls::{self, Api},
    control::Control,
    readiness::Readiness,
};
use crate::telemetry::Metrics;

/// The text format version 0.0.4 is what every Prometheus reads.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Every path there is, for whoever asks for another one.
const PATHS: [&str; 10] = [
    "/metrics",
    "/healthz",
    "/readyz",
    "/v1/calls",
    "/v1/approvals",
    "/v1/events",
    "/v1/explain",
    "/v1/trunks",
    "/v1/backends",
    "/v1/openapi.json",
];

/// What the answers are made of.
#[derive(Clone)]
pub struct HttpState {
    /// What `/metrics` shows.
    pub metrics: Metrics,
    /// What `/readyz` says.
    pub readiness: Readiness,
    /// Called before each scrape, to set the levels that others count. Must not block.
    pub before_scrape: Arc<dyn Fn() + Send + Sync>,
    /// The control API; none leaves it closed.
    pub(super) api: Option<Api>,
}

impl HttpState {
    /// What the answers are made of.
    pub fn new(metrics: Metrics, readiness: Readiness, before_scrape: Arc<dyn Fn() + Send + Sync>) -> Self {
        Self {
            metrics,
            readiness,
            before_scrape,
            api: None,
        }
    }

    /// The same with a control API in front of these calls. Without a token it stays closed.
    pub fn controlled(self, control: Arc<dyn Control>, token: Option<String>) -> Self {
        Self {
            api: Some(Api::new(control, token.as_deref())),
            ..self
        }
    }
}

impl fmt::Debug for HttpState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("HttpState")
            .field("readiness", &self.readiness)
            .finish_non_exhaustive()
    }
}

pub(super) fn router(state: HttpState) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .merge(calls::routes())
        .fallback(async || problem(StatusCode::NOT_FOUND, "not_found"))
        .method_not_allowed_fallback(async || problem(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"))
        .with_state(state)
}

async fn metrics(State(state): State<HttpState>) -> Response {
    (state.before_scrape)();
    ([(header::CONTENT_TYPE, METRICS_TYPE)], state.metrics.render()).into_response()
}

async fn readyz(State(state): State<HttpState>) -> Response {
    match state.readiness.reason() {
        None => "ready\n".into_response(),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

fn problem(status: StatusCode, error: &str) -> Response {
    let body = serde_json::json!({ "error": error, "paths": PATHS });
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}
