//! `GET /v1/calls/{id}/events`: what happens to a call, as server-sent events.
//!
//! Events are numbered and kept by the board, so there is no queue between it and a listener: a listener reads what came
//! after the last it has seen, then waits for a change. A stream ends with the call, or after 50 seconds, because no
//! connection of this server is for ever; a client that comes again with `Last-Event-ID`, as browsers do by themselves,
//! misses nothing.

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::{Path, Request, State},
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures_util::stream;
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::Instant,
};

use super::{
    calls::{admit, no_such_call},
    control::{CallEvent, Control, Refused},
    routes::HttpState,
};

/// How long one stream lasts.
const STREAM_MAX: Duration = Duration::from_secs(50);

/// How often a silent stream shows that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How soon a client whose stream ended should come again.
const COME_AGAIN: Duration = Duration::from_millis(100);

/// One client, and how far it has read.
struct Listener {
    control: Arc<dyn Control>,
    call: String,
    after: u64,
    unread: VecDeque<CallEvent>,
    changes: watch::Receiver<u64>,
    until: Instant,
    over: bool,
    _room: OwnedSemaphorePermit,
}

pub(super) async fn listen(
    State(state): State<HttpState>,
    Path(call): Path<String>,
    request: Request,
) -> Result<Response, Refused> {
    let api = admit(&state, &request)?;
    let room = api.listeners.clone().try_acquire_owned().map_err(|_| {
        let detail = "too many clients listen; ask again, or ask for the call instead";
        Refused::busy(503, "too_many_listeners", detail, Duration::from_secs(1))
    })?;
    let last = request.headers().get("last-event-id");
    let after = last
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .unwrap_or_default();
    api.control.events(&call, after).ok_or_else(no_such_call)?;
    let listener = Listener {
        changes: api.control.changes(),
        control: api.control.clone(),
        call,
        after,
        unread: VecDeque::new(),
        until: Instant::now() + STREAM_MAX,
        over: false,
        _room: room,
    };
    let events = stream::unfold(listener, |mut listener| async {
        let event = listener.next().await?;
        Some((Ok::<_, Infallible>(written(&event)), listener))
    });
    Ok(Sse::new(events)
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
        .into_response())
}

impl Listener {
    /// The next event; none when the stream is to end.
    async fn next(&mut self) -> Option<CallEvent> {
        loop {
            // Seen before reading, so that what comes meanwhile is a change again.
            self.changes.mark_unchanged();
            if self.unread.is_empty() && !self.over {
                self.unread.extend(self.control.events(&self.call, self.after)?);
            }
            if let Some(event) = self.unread.pop_front() {
                self.after = event.number;
                self.over = event.event == "ended";
                return Some(event);
            }
            if self.over {
                return None;
            }
            let changed = tokio::time::timeout_at(self.until, self.changes.changed()).await;
            changed.ok()?.ok()?;
        }
    }
}

fn written(event: &CallEvent) -> Event {
    let mut data = serde_json::json!({ "at": event.at });
    if let (Some(data), Some(more)) = (data.as_object_mut(), event.data.as_object()) {
        data.extend(more.iter().map(|(name, value)| (name.clone(), value.clone())));
    }
    Event::default()
        .id(event.number.to_string())
        .event(event.event)
        .retry(COME_AGAIN)
        .data(data.to_string())
}
