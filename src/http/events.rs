//! `GET /v1/calls/{id}/events` and `GET /v1/events`: what happens to a call, or to all calls, as server-sent events, or as
//! a WebSocket for who asks for that.
//!
//! Events are numbered and kept by the board, so there is no queue between it and a listener: a listener reads what came
//! after the last it has seen, then waits for a change. A client that comes again with `Last-Event-ID`, as browsers do by
//! themselves, or with `?after=`, misses nothing that is still kept, and is told of what is not by a `gap`. A stream ends
//! with its call, with the server, or when its client takes nothing for a while.

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{Path, Request, State},
    http::{HeaderMap, StatusCode, Uri, header},
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures_util::{SinkExt, StreamExt, stream};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, watch},
    time::{Instant, sleep_until, timeout},
};

use super::{
    calls::{Api, admit, no_such_call},
    control::{CallEvent, Control, Refused, Told},
    lease::{Lease, Streaming},
    routes::HttpState,
};
use crate::{
    net::http_websocket::{self, Frame},
    telemetry::Metrics,
};

/// How often a silent stream shows that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How long a client may take nothing while something waits for it; past it it is let go, and may come again.
const SLOW_MAX: Duration = Duration::from_secs(10);

/// How soon a client whose stream ended should come again.
const COME_AGAIN: Duration = Duration::from_millis(100);

/// Events read from the board at once.
const BATCH_MAX: usize = 64;

/// Events on their way to the connection of one client; past it the client is waited for.
const ON_THE_WAY_MAX: usize = 16;

/// The reason word of a client that took nothing.
const TOO_SLOW: &str = "too_slow";

/// Close codes of RFC 6455 section 7.4.1, and 1013, "try again later", of the registry.
const NORMAL: u16 = 1000;
const GOING_AWAY: u16 = 1001;
const TRY_AGAIN: u16 = 1013;

/// One client, and how far it has read.
struct Listener {
    control: Arc<dyn Control>,
    metrics: Metrics,
    call: Option<String>,
    after: u64,
    unread: VecDeque<Told>,
    changes: watch::Receiver<u64>,
    over: bool,
    streaming: Streaming,
    _room: OwnedSemaphorePermit,
}

/// What happens to one call.
pub(super) async fn listen(
    State(state): State<HttpState>,
    Path(call): Path<String>,
    request: Request,
) -> Result<Response, Refused> {
    let api = admit(&state, &request)?;
    let after = after(&request)?.unwrap_or_default();
    let listener = Listener::new(api, &state.metrics, Some(call), after, &request)?;
    serve(listener, request)
}

/// What happens to all calls.
pub(super) async fn listen_to_all(State(state): State<HttpState>, request: Request) -> Result<Response, Refused> {
    let api = admit(&state, &request)?;
    // Whoever comes for the first time hears what happens from now on.
    let after = after(&request)?.unwrap_or_else(|| api.control.newest());
    let listener = Listener::new(api, &state.metrics, None, after, &request)?;
    serve(listener, request)
}

fn serve(listener: Listener, mut request: Request) -> Result<Response, Refused> {
    let Some(key) = websocket_key(request.headers()) else {
        return Ok(server_sent(listener));
    };
    let accept = http_websocket::accept(key.as_bytes());
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        match upgrade.await {
            Ok(upgraded) => listener.over_websocket(TokioIo::new(upgraded)).await,
            Err(error) => tracing::debug!(%error, "a listener's WebSocket did not come about"),
        }
    });
    let headers = [
        (header::CONNECTION, "upgrade".to_owned()),
        (header::UPGRADE, "websocket".to_owned()),
        (header::SEC_WEBSOCKET_ACCEPT, accept),
    ];
    Ok((StatusCode::SWITCHING_PROTOCOLS, headers, Body::empty()).into_response())
}

fn server_sent(listener: Listener) -> Response {
    let (events, mut on_the_way) = mpsc::channel(ON_THE_WAY_MAX);
    tokio::spawn(listener.over_sse(events));
    let events = stream::poll_fn(move |context| on_the_way.poll_recv(context));
    let events = events.map(Ok::<_, Infallible>);
    Sse::new(events)
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
        .into_response()
}

impl Listener {
    fn new(api: &Api, metrics: &Metrics, call: Option<String>, after: u64, request: &Request) -> Result<Self, Refused> {
        let room = api.listeners.clone().try_acquire_owned().map_err(|_| {
            let detail = "too many clients listen; ask again, or ask for the call instead";
            Refused::busy(503, "too_many_listeners", detail, Duration::from_secs(1))
        })?;
        let changes = api.control.changes(call.as_deref()).ok_or_else(no_such_call)?;
        let lease = request.extensions().get::<Lease>().cloned();
        Ok(Self {
            changes,
            control: api.control.clone(),
            metrics: metrics.clone(),
            call,
            after,
            unread: VecDeque::new(),
            over: false,
            streaming: lease.unwrap_or_else(Lease::alone).stream(),
            _room: room,
        })
    }

    /// Until the client leaves, the call is over or the server stops.
    async fn over_sse(mut self, events: mpsc::Sender<Event>) {
        loop {
            let told = tokio::select! {
                told = self.next() => told,
                () = events.closed() => return,
            };
            let Some(told) = told else { return };
            match timeout(SLOW_MAX, events.send(self.server_sent(&told))).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return,
                Err(_) => return self.too_slow(),
            }
        }
    }

    async fn over_websocket<S>(mut self, stream: S)
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        let mut socket = http_websocket::upgraded(stream).await;
        let mut ping_at = Instant::now() + KEEP_ALIVE;
        loop {
            let frame = tokio::select! {
                told = self.next() => match told {
                    Some(told) => Frame::text(self.whole(&told).to_string()),
                    None => break,
                },
                heard = socket.next() => match heard {
                    // What a listener says is of no interest; pings are answered on the way.
                    Some(Ok(message)) if !message.is_close() => continue,
                    _ => return,
                },
                () = sleep_until(ping_at) => {
                    ping_at = Instant::now() + KEEP_ALIVE;
                    Frame::Ping(Default::default())
                }
            };
            match timeout(SLOW_MAX, socket.send(frame)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return,
                Err(_) => {
                    self.too_slow();
                    // It is unlikely to get this either.
                    let _ = timeout(KEEP_ALIVE, socket.send(http_websocket::close(TRY_AGAIN, TOO_SLOW))).await;
                    return;
                }
            }
        }
        let (code, reason) = if self.over {
            (NORMAL, "ended")
        } else {
            (GOING_AWAY, "stopping")
        };
        // One that does not take its end has it all the same.
        let _ = timeout(SLOW_MAX, socket.send(http_websocket::close(code, reason))).await;
    }

    /// The next event; none when the stream is to end. What was not returned yet is kept, so this may be given up.
    async fn next(&mut self) -> Option<Told> {
        loop {
            // Seen before reading, so that what comes meanwhile is a change again.
            self.changes.mark_unchanged();
            if self.unread.is_empty() && !self.over {
                self.unread
                    .extend(self.control.events(self.call.as_deref(), self.after, BATCH_MAX)?);
            }
            if let Some(told) = self.unread.pop_front() {
                self.after = told.id;
                self.over = self.call.is_some() && told.event.event == "ended";
                return Some(told);
            }
            if self.over {
                return None;
            }
            tokio::select! {
                changed = self.changes.changed() => changed.ok()?,
                () = self.streaming.stopping() => return None,
            }
        }
    }

    fn too_slow(&self) {
        tracing::info!(reason = TOO_SLOW, call = self.call, "a listener was let go");
        self.metrics.listener_dropped(TOO_SLOW);
        self.streaming.cut();
    }

    /// The number and the kind stand beside the data; the call does where it is not known from the address.
    fn server_sent(&self, told: &Told) -> Event {
        let mut data = json!({ "at": told.event.at });
        if self.call.is_none() {
            data["call_id"] = told.event.call_id.clone().into();
        }
        add(&mut data, &told.event);
        Event::default()
            .id(told.id.to_string())
            .event(told.event.event)
            .retry(COME_AGAIN)
            .data(data.to_string())
    }

    fn whole(&self, told: &Told) -> Value {
        let CallEvent { call_id, event, at, .. } = &*told.event;
        let mut data = json!({ "id": told.id, "event": event, "call_id": call_id, "at": at });
        add(&mut data, &told.event);
        data
    }
}

fn add(data: &mut Value, event: &CallEvent) {
    if let (Some(data), Some(more)) = (data.as_object_mut(), event.data.as_object()) {
        data.extend(more.iter().map(|(name, value)| (name.clone(), value.clone())));
    }
}

/// The number to go on from.
fn after(request: &Request) -> Result<Option<u64>, Refused> {
    let last = request.headers().get("last-event-id");
    match (
        query(request.uri(), "after"),
        last.and_then(|value| value.to_str().ok()),
    ) {
        (Some(after), _) => {
            let number = after.parse().map(Some);
            number.map_err(|_| Refused::invalid("after", "the number of an event, as its id says it"))
        }
        // Browsers send what they were told; a word that is no number was told by somebody else.
        (None, last) => Ok(last.and_then(|last| last.parse().ok())),
    }
}

fn query<'u>(uri: &'u Uri, name: &str) -> Option<&'u str> {
    let pairs = uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// The key of a client that asks for a WebSocket (RFC 6455 section 4.2.1).
fn websocket_key(headers: &HeaderMap) -> Option<String> {
    let word = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let lists = |name, one: &str| {
        let listed = word(name).unwrap_or_default().split(',');
        listed.into_iter().any(|word| word.trim().eq_ignore_ascii_case(one))
    };
    let asks = lists(header::UPGRADE, "websocket") && lists(header::CONNECTION, "upgrade");
    let key = word(header::SEC_WEBSOCKET_KEY).filter(|_| asks && word(header::SEC_WEBSOCKET_VERSION) == Some("13"));
    key.map(str::to_owned)
}
