//! The control API's operations on calls: what a request says is read here, what becomes of it is [`Control`]'s.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, Request, State},
    http::{Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{MethodFilter, MethodRouter, on},
};
use serde::Serialize;
use serde_json::json;
use tokio::sync::Semaphore;

use super::{
    approvals, backends,
    body::{self, Fields},
    control::{Control, PlaceCall, RecordingAction, Refused, SessionChange, Transfer},
    events, openapi,
    routes::HttpState,
    token::Token,
    trunks,
};

/// Calls in a list; those that go on come first.
const LIST_MAX: usize = 1000;

/// Listeners at a time; one more is answered 503 `too_many_listeners`. Each takes a connection of the server, which has
/// twice as many.
const LISTENERS_MAX: usize = 32;

/// The control API of one gateway.
#[derive(Clone)]
pub struct Api {
    /// Whoever has the calls.
    pub(super) control: Arc<dyn Control>,
    /// Room for listeners.
    pub(super) listeners: Arc<Semaphore>,
    token: Option<Token>,
}

impl Api {
    /// The API in front of these calls; without a token it is closed.
    pub fn new(control: Arc<dyn Control>, token: Option<&str>) -> Self {
        Self {
            control,
            listeners: Arc::new(Semaphore::new(LISTENERS_MAX)),
            token: token.map(Token::new),
        }
    }
}

/// One operation: its method, its path, and what serves it.
pub(super) struct Operation {
    /// The method.
    pub method: Method,
    /// With names in braces.
    pub path: &'static str,
    serve: fn(MethodFilter) -> MethodRouter<HttpState>,
}

/// Every operation there is. The OpenAPI document has the same.
pub(super) const OPERATIONS: &[Operation] = &[
    operation(Method::POST, "/v1/calls", |method| on(method, place)),
    operation(Method::GET, "/v1/calls", |method| on(method, list)),
    operation(Method::GET, "/v1/calls/{id}", |method| on(method, show)),
    operation(Method::DELETE, "/v1/calls/{id}", |method| on(method, hang_up)),
    operation(Method::POST, "/v1/calls/{id}/transfer", |method| on(method, transfer)),
    operation(Method::POST, "/v1/calls/{id}/dtmf", |method| on(method, send_digits)),
    operation(Method::POST, "/v1/calls/{id}/session", |method| on(method, renew)),
    operation(Method::POST, "/v1/calls/{id}/recording/{action}", |method| {
        on(method, record)
    }),
    operation(Method::GET, "/v1/calls/{id}/events", |method| {
        on(method, events::listen)
    }),
    operation(Method::GET, "/v1/approvals", |method| on(method, approvals::list)),
    operation(Method::POST, "/v1/approvals/{id}/{decision}", |method| {
        on(method, approvals::decide)
    }),
    operation(Method::GET, "/v1/events", |method| on(method, events::listen_to_all)),
    operation(Method::POST, "/v1/explain", |method| on(method, explain)),
    operation(Method::GET, "/v1/trunks", |method| on(method, trunks::list)),
    operation(Method::GET, "/v1/backends", |method| on(method, backends::list)),
    operation(Method::GET, "/v1/openapi.json", |method| on(method, openapi::show)),
];

const fn operation(
    method: Method,
    path: &'static str,
    serve: fn(MethodFilter) -> MethodRouter<HttpState>,
) -> Operation {
    Operation { method, path, serve }
}

/// The routes of every operation.
pub(super) fn routes() -> Router<HttpState> {
    OPERATIONS.iter().fold(Router::new(), |router, operation| {
        // Only methods of nobody's have no filter.
        match MethodFilter::try_from(operation.method.clone()) {
            Ok(method) => router.route(operation.path, (operation.serve)(method)),
            Err(_) => router,
        }
    })
}

/// Lets a request in that shows the token.
pub(super) fn admit<'s>(state: &'s HttpState, request: &Request) -> Result<&'s Api, Refused> {
    let refused = |status, reason, detail: &str| Refused {
        status,
        reason,
        field: None,
        detail: detail.to_owned(),
        retry_after: None,
    };
    let api = state.api.as_ref();
    let Some((api, token)) = api.and_then(|api| Some((api, api.token?))) else {
        let detail = "the control API is closed: set [http] token in the configuration";
        return Err(refused(403, "no_token_configured", detail));
    };
    match token.is_shown(request.headers()) {
        true => Ok(api),
        false => Err(refused(
            401,
            "unauthorized",
            "show the token: Authorization: Bearer TOKEN",
        )),
    }
}

async fn place(State(state): State<HttpState>, request: Request) -> Result<Response, Refused> {
    let api = admit(&state, &request)?;
    let mut fields = Fields::read(request.into_body()).await?;
    let call = PlaceCall {
        to: fields.text("to")?,
        trunk: fields.text("trunk")?,
        from: fields.optional_text("from")?,
        agent: fields.text("agent")?,
        headers: fields.texts("headers")?,
        ring_timeout_s: fields.optional_whole("ring_timeout_s")?,
        variables: fields.texts("variables")?,
    };
    fields.finish()?;
    let id = api.control.place(call).await?;
    let location = [(header::LOCATION, format!("/v1/calls/{id}"))];
    Ok((location, answer(StatusCode::CREATED, &json!({ "id": id }))).into_response())
}

async fn list(State(state): State<HttpState>, request: Request) -> Result<Response, Refused> {
    let calls = admit(&state, &request)?.control.calls(LIST_MAX);
    Ok(answer(StatusCode::OK, &json!({ "calls": calls })))
}

async fn show(State(state): State<HttpState>, Path(id): Path<String>, request: Request) -> Result<Response, Refused> {
    let call = admit(&state, &request)?.control.call(&id).ok_or_else(no_such_call)?;
    Ok(answer(StatusCode::OK, &call))
}

async fn hang_up(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Refused> {
    match admit(&state, &request)?.control.hang_up(&id) {
        // Whoever wants a call to be over has what it wants.
        Err(refused) if refused.reason == "ended" => Ok(StatusCode::NO_CONTENT.into_response()),
        done => done.map(|()| StatusCode::NO_CONTENT.into_response()),
    }
}

async fn transfer(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Refused> {
    let api = admit(&state, &request)?;
    let mut fields = Fields::read(request.into_body()).await?;
    let transfer = Transfer {
        to: fields.text("to")?,
        replaces: fields.optional_text("replaces")?,
    };
    fields.finish()?;
    if transfer.to.trim().is_empty() {
        return Err(Refused::invalid("to", "whom the other side is to call"));
    }
    api.control.transfer(&id, transfer).await?;
    Ok(answer(StatusCode::ACCEPTED, &json!({})))
}

async fn send_digits(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Refused> {
    let api = admit(&state, &request)?;
    let mut fields = Fields::read(request.into_body()).await?;
    let digits = fields.text("digits")?;
    fields.finish()?;
    api.control.send_digits(&id, digits).await?;
    Ok(answer(StatusCode::ACCEPTED, &json!({})))
}

async fn renew(State(state): State<HttpState>, Path(id): Path<String>, request: Request) -> Result<Response, Refused> {
    let api = admit(&state, &request)?;
    let mut fields = Fields::read_if_any(request.into_body()).await?;
    let change = SessionChange {
        backend: fields.optional_text("backend")?,
        model: fields.optional_text("model")?,
        voice: fields.optional_text("voice")?,
        instructions: fields.optional_prose("instructions")?,
    };
    fields.finish()?;
    api.control.renew(&id, change).await?;
    Ok(answer(StatusCode::ACCEPTED, &json!({})))
}

async fn record(
    State(state): State<HttpState>,
    Path((id, action)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Refused> {
    let api = admit(&state, &request)?;
    let action = RecordingAction::read(&action).ok_or_else(|| {
        let detail = "what is to become of the recording: start, stop, pause or resume";
        Refused::not_found("no_such_action", None, detail)
    })?;
    api.control.record(&id, action).await?;
    Ok(answer(StatusCode::ACCEPTED, &json!({})))
}

async fn explain(State(state): State<HttpState>, request: Request) -> Result<Response, Refused> {
    let api = admit(&state, &request)?;
    let question = body::read(request.into_body()).await?;
    let (status, explanation) = api.control.explain(&question);
    Ok(answer(status, &explanation))
}

/// There is no such call.
pub(super) fn no_such_call() -> Refused {
    let detail = "there is no call of this id; ended calls are kept for a while only";
    Refused::not_found("no_such_call", None, detail)
}

/// An answer of JSON.
pub(super) fn answer(status: StatusCode, body: &impl Serialize) -> Response {
    let json = serde_json::to_string(body).unwrap_or_default();
    (status, [(header::CONTENT_TYPE, "application/json")], json).into_response()
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut body = json!({ "error": self.reason, "detail": self.detail });
        if let Some(field) = self.field {
            body["field"] = field.into();
        }
        let mut response = answer(status, &body);
        if let Some(after) = self.retry_after {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, after.as_secs().max(1).into());
        }
        response
    }
}

#[cfg(test)]
mod tests;
