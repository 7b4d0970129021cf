//! The control API against calls that are none.

use std::{sync::Mutex, time::Duration};

use axum::body::Body;
use futures_util::future::BoxFuture;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;
use tokio::sync::watch;

use super::*;
use crate::http::ApprovalView;
use crate::{
    http::{CallEvent, CallView, Readiness, Told, routes::router},
    telemetry::Metrics,
};

#[tokio::test]
async fn a_call_is_placed_with_everything_that_was_said() {
    let desk = Desk::new();
    let body = r#"{"to":"+15550100","trunk":"lan","agent":"a","from":"100","headers":{"X-A":"1"},"ring_timeout_s":9,"variables":{"n":"v"}}"#;
    let (status, answer) = desk.ask("POST", "/v1/calls", body).await;
    assert_eq!((status, answer["id"].as_str()), (201, Some("call_1")));
    let placed = desk.fake.placed.lock().unwrap().clone().unwrap();
    assert_eq!(
        (
            placed.to.as_str(),
            placed.ring_timeout_s,
            placed.headers["X-A"].as_str()
        ),
        ("+15550100", Some(9), "1")
    );
}

#[tokio::test]
async fn a_wrong_field_is_named() {
    let desk = Desk::new();
    for (body, status, field) in [
        (r#"{"to":"1","trunk":"lan"}"#, 422, "agent"),
        (r#"{"to":"1","trunk":"lan","agent":"a","tok":1}"#, 422, "tok"),
        (r#"{"to":"1","trunk":"none","agent":"a"}"#, 404, "trunk"),
    ] {
        let (answered, answer) = desk.ask("POST", "/v1/calls", body).await;
        assert_eq!((answered, answer["field"].as_str()), (status, Some(field)), "{answer}");
    }
    assert_eq!(desk.ask("POST", "/v1/calls", "{").await.0, 400);
    let long = format!(r#"{{"to":"{}"}}"#, "1".repeat(70_000));
    assert_eq!(desk.ask("POST", "/v1/calls", &long).await.0, 413);
}

#[tokio::test]
async fn a_question_is_passed_on_as_it_is_and_its_answer_too() {
    let desk = Desk::new();
    let (status, answer) = desk.ask("POST", "/v1/explain", "?").await;
    assert_eq!((status, &answer["status"]), (200, &Value::from(404)));
    assert_eq!(desk.ask("POST", "/v1/explain", "!").await.0, 400);
    let long = "?".repeat(70_000);
    assert_eq!(desk.ask("POST", "/v1/explain", &long).await.0, 413);
}

#[tokio::test]
async fn a_full_trunk_says_when_to_come_again() {
    let desk = Desk::new();
    let body = r#"{"to":"1","trunk":"full","agent":"a"}"#;
    let response = desk.send("POST", "/v1/calls", body, Some("secret")).await;
    assert_eq!(response.status().as_u16(), 429);
    assert_eq!(response.headers()["retry-after"], "5");
}

#[tokio::test]
async fn without_the_token_nothing_is_shown_or_done() {
    let desk = Desk::new();
    for operation in OPERATIONS
        .iter()
        .filter(|operation| operation.path != "/v1/openapi.json")
    {
        let path = operation.path.replace("{id}", "call_1").replace("{action}", "start");
        for token in [None, Some("wrong")] {
            let response = desk.send(operation.method.as_str(), &path, "{}", token).await;
            assert_eq!(response.status().as_u16(), 401, "{} {path}", operation.method);
        }
    }
    let closed = Desk::with_token(None);
    let (status, answer) = closed.ask("GET", "/v1/calls", "").await;
    assert_eq!((status, answer["error"].as_str()), (403, Some("no_token_configured")));
    let open = closed.send("GET", "/healthz", "", None).await;
    assert_eq!(open.status().as_u16(), 200);
}

#[tokio::test]
async fn a_recording_is_begun_and_its_actions_are_known() {
    let desk = Desk::new();
    for (path, status, word) in [
        ("call_1/recording/start", 202, None),
        ("call_1/recording/pause", 409, Some("not_recording")),
        ("call_1/recording/erase", 404, Some("no_such_action")),
        ("nobody/recording/start", 404, Some("no_such_call")),
    ] {
        let (answered, answer) = desk.ask("POST", &format!("/v1/calls/{path}"), "").await;
        assert_eq!((answered, answer["error"].as_str()), (status, word), "{path}");
    }
}

#[tokio::test]
async fn what_waits_for_a_person_is_shown_and_decided_with_a_reason_or_without() {
    let desk = Desk::new();
    let (status, list) = desk.ask("GET", "/v1/approvals", "").await;
    assert_eq!(
        (status, &list["approvals"][0]["arguments"]),
        (200, &json!({ "cents": 5 }))
    );
    let long = json!({ "reason": "x".repeat(2000) }).to_string();
    for (path, body, status, word) in [
        ("approval_1/reject", "{\"reason\":\"too much\"}", 204, None),
        ("approval_2/approve", "", 204, None),
        ("approval_2/perhaps", "", 404, Some("no_such_decision")),
        ("approval_3/approve", "{}", 404, Some("no_such_approval")),
        ("approval_1/reject", &long, 422, Some("invalid")),
        ("approval_1/reject", "{\"why\":\"\"}", 422, Some("invalid")),
    ] {
        let (answered, answer) = desk.ask("POST", &format!("/v1/approvals/{path}"), body).await;
        assert_eq!((answered, answer["error"].as_str()), (status, word), "{path} {body}");
    }
}

#[tokio::test]
async fn calls_are_shown_ended_handed_on_and_dialled_at() {
    let desk = Desk::new();
    let (_, list) = desk.ask("GET", "/v1/calls", "").await;
    assert_eq!(list["calls"][0]["id"], "call_1");
    let (status, call) = desk.ask("GET", "/v1/calls/call_1", "").await;
    assert_eq!((status, &call["state"]), (200, &Value::from("talking")));
    assert_eq!(desk.ask("GET", "/v1/calls/other", "").await.0, 404);
    assert_eq!(desk.ask("DELETE", "/v1/calls/call_1", "").await.0, 204);
    assert_eq!(desk.ask("DELETE", "/v1/calls/ended", "").await.0, 204);
    assert_eq!(desk.ask("DELETE", "/v1/calls/other", "").await.0, 404);
    let transfer = r#"{"to":"200","replaces":"call_2"}"#;
    assert_eq!(desk.ask("POST", "/v1/calls/call_1/transfer", transfer).await.0, 202);
    assert_eq!(
        desk.ask("POST", "/v1/calls/call_1/transfer", r#"{"to":" "}"#).await.0,
        422
    );
    assert_eq!(
        desk.ask("POST", "/v1/calls/call_1/dtmf", r#"{"digits":"1#"}"#).await.0,
        202
    );
    assert_eq!(
        desk.ask("POST", "/v1/calls/ended/dtmf", r#"{"digits":"1"}"#).await.0,
        409
    );
}

#[tokio::test]
async fn a_call_is_moved_to_another_session_and_only_to_a_backend_of_its_agent() {
    let desk = Desk::new();
    for (body, status) in [
        ("{}", 202),
        (r#"{"backend":"second"}"#, 202),
        (r#"{"backend":"x"}"#, 422),
        (
            r#"{"model":"mini","voice":"cedar","instructions":"Be brief.\nBe kind."}"#,
            202,
        ),
        (r#"{"voice":"two\nlines"}"#, 422),
        (r#"{"instructions":1}"#, 422),
    ] {
        assert_eq!(
            desk.ask("POST", "/v1/calls/call_1/session", body).await.0,
            status,
            "{body}"
        );
    }
    assert_eq!(desk.ask("POST", "/v1/calls/other/session", "{}").await.0, 404);
}

#[tokio::test(start_paused = true)]
async fn events_come_as_they_happen_and_the_stream_ends_with_the_call() {
    let desk = Desk::new();
    let response = desk.send("GET", "/v1/calls/call_1/events", "", Some("secret")).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let reading = tokio::spawn(text(response));
    tokio::time::advance(Duration::from_secs(20)).await;
    desk.fake.happens("ended");
    let told = reading.await.unwrap();
    let dialing = told.find("event: dialing").unwrap();
    assert!(
        told[dialing..].contains("event: ended") && told.contains("id: 2"),
        "{told}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_listener_goes_on_where_it_was_however_long_nothing_happens() {
    let desk = Desk::new();
    desk.fake.happens("ringing");
    for (path, last) in [("", Some("1")), ("?after=1", None)] {
        let mut request =
            Request::get(format!("/v1/calls/call_1/events{path}")).header("authorization", "Bearer secret");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = desk.serve(request.body(Body::empty()).unwrap()).await;
        let reading = tokio::spawn(text(response));
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        desk.fake.happens("ended");
        let told = reading.await.unwrap();
        assert!(
            told.contains("event: ringing") && !told.contains("event: dialing") && told.contains("event: ended"),
            "{told}"
        );
        desk.fake.events.lock().unwrap().pop();
    }
    let bad = desk
        .send("GET", "/v1/calls/call_1/events?after=x", "", Some("secret"))
        .await;
    assert_eq!(bad.status().as_u16(), 422);
}

#[tokio::test(start_paused = true)]
async fn whoever_listens_to_all_calls_hears_of_which_and_from_now_on() {
    let desk = Desk::new();
    let response = desk.send("GET", "/v1/events", "", Some("secret")).await;
    let mut frames = response.into_body().into_data_stream();
    desk.fake.happens("ringing");
    let frame = futures_util::StreamExt::next(&mut frames).await.unwrap().unwrap();
    let told = String::from_utf8(frame.to_vec()).unwrap();
    assert!(
        told.contains("event: ringing") && told.contains("\"call_id\":\"call_1\""),
        "{told}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_takes_nothing_is_let_go_and_counted() {
    let desk = Desk::new();
    let response = desk.send("GET", "/v1/events?after=0", "", Some("secret")).await;
    (0..1_000).for_each(|_| desk.fake.happens("turn"));
    tokio::time::sleep(Duration::from_secs(11)).await;
    let told = text(response).await;
    assert!(told.matches("event: turn").count() < 1_000, "the stream ended early");
    let dropped = "patchcord_listeners_dropped_total{reason=\"too_slow\"} 1";
    assert!(desk.metrics.render().contains(dropped));
}

#[tokio::test]
async fn listeners_are_bounded() {
    let desk = Desk::new();
    let mut open = Vec::new();
    for _ in 0..LISTENERS_MAX {
        open.push(desk.send("GET", "/v1/calls/call_1/events", "", Some("secret")).await);
    }
    let (status, answer) = desk.ask("GET", "/v1/calls/call_1/events", "").await;
    assert_eq!((status, answer["error"].as_str()), (503, Some("too_many_listeners")));
    open.pop();
    // Its task sees that it is gone, and gives its room back.
    (0..9).for_each(|_| desk.fake.happens("turn"));
    tokio::task::yield_now().await;
    let again = desk.send("GET", "/v1/calls/call_1/events", "", Some("secret")).await;
    assert_eq!(again.status().as_u16(), 200);
}

struct Desk {
    metrics: Metrics,
    fake: Arc<Fake>,
    router: Router,
}

struct Fake {
    placed: Mutex<Option<PlaceCall>>,
    events: Mutex<Vec<CallEvent>>,
    changes: watch::Sender<u64>,
}

impl Desk {
    fn new() -> Self {
        Self::with_token(Some("secret"))
    }

    fn with_token(token: Option<&str>) -> Self {
        let fake = Arc::new(Fake {
            placed: Mutex::default(),
            events: Mutex::default(),
            changes: watch::Sender::new(0),
        });
        fake.happens("dialing");
        let metrics = Metrics::new();
        let state = HttpState::new(metrics.clone(), Readiness::new(), Arc::new(|| {}));
        let state = state.controlled(fake.clone(), token.map(str::to_owned));
        Self {
            metrics,
            fake,
            router: router(state),
        }
    }

    async fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let response = self.send(method, path, body, Some("secret")).await;
        let status = response.status().as_u16();
        let text = text(response).await;
        (status, serde_json::from_str(&text).unwrap_or_default())
    }

    async fn send(&self, method: &str, path: &str, body: &str, token: Option<&str>) -> Response {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        self.serve(request.body(Body::from(body.to_owned())).unwrap()).await
    }

    async fn serve(&self, request: Request) -> Response {
        let service = TowerToHyperService::new(self.router.clone());
        hyper::service::Service::call(&service, request).await.unwrap()
    }
}

async fn text(response: Response) -> String {
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

impl Fake {
    fn happens(&self, event: &'static str) {
        let mut events = self.events.lock().unwrap();
        let number = events.len() as u64 + 1;
        events.push(CallEvent {
            number,
            call_id: "call_1".to_owned(),
            event,
            at: String::new(),
            data: Value::Null,
        });
        self.changes.send_modify(|count| *count += 1);
    }

    fn check(id: &str) -> Result<(), Refused> {
        match id {
            "call_1" => Ok(()),
            "ended" => Err(Refused::conflict("ended", "over")),
            _ => Err(no_such_call()),
        }
    }
}

impl Control for Fake {
    fn place(&self, call: PlaceCall) -> BoxFuture<'_, Result<String, Refused>> {
        Box::pin(async move {
            match call.trunk.as_str() {
                "lan" => {
                    *self.placed.lock().unwrap() = Some(call);
                    Ok("call_1".to_owned())
                }
                "full" => Err(Refused::busy(429, "trunk_calls_max", "full", Duration::from_secs(5))),
                _ => Err(Refused::not_found("unknown_trunk", Some("trunk"), "none")),
            }
        })
    }

    fn calls(&self, max: usize) -> Vec<CallView> {
        self.call("call_1").into_iter().take(max).collect()
    }

    fn call(&self, id: &str) -> Option<CallView> {
        (id == "call_1").then(|| CallView {
            id: id.to_owned(),
            direction: "outbound".to_owned(),
            state: "talking",
            trunk: "lan".to_owned(),
            agent: None,
            from: String::new(),
            to: String::new(),
            started_at: String::new(),
            answered_at: None,
            ended_at: None,
            answered_by: None,
            diagnosis: None,
            quality: None,
            cost: None,
            outcome: None,
        })
    }

    fn hang_up(&self, id: &str) -> Result<(), Refused> {
        Self::check(id)
    }

    fn transfer(&self, id: &str, transfer: Transfer) -> BoxFuture<'_, Result<(), Refused>> {
        let checked = Self::check(id);
        assert_eq!(transfer.replaces.as_deref(), Some("call_2"));
        Box::pin(async { checked })
    }

    fn send_digits(&self, id: &str, _digits: String) -> BoxFuture<'_, Result<(), Refused>> {
        let checked = Self::check(id);
        Box::pin(async { checked })
    }

    fn record(&self, id: &str, action: RecordingAction) -> BoxFuture<'_, Result<(), Refused>> {
        let done = Self::check(id).and_then(|()| match action {
            RecordingAction::Start => Ok(()),
            _ => Err(Refused::conflict("not_recording", "none")),
        });
        Box::pin(async { done })
    }

    fn approvals(&self) -> Vec<ApprovalView> {
        vec![ApprovalView {
            id: "approval_1".to_owned(),
            call_id: "call_1".to_owned(),
            agent: "a".to_owned(),
            tool: "pay".to_owned(),
            arguments: json!({ "cents": 5 }),
            asked_at: String::new(),
            expires_at: String::new(),
        }]
    }

    fn decide(&self, id: &str, approved: bool, reason: String) -> BoxFuture<'_, Result<(), Refused>> {
        let done = match id {
            "approval_1" => {
                assert_eq!((approved, reason.as_str()), (false, "too much"));
                Ok(())
            }
            "approval_2" => {
                assert_eq!((approved, reason.as_str()), (true, ""));
                Ok(())
            }
            _ => Err(Refused::not_found("no_such_approval", None, "none")),
        };
        Box::pin(async { done })
    }

    fn renew(&self, id: &str, change: SessionChange) -> BoxFuture<'_, Result<(), Refused>> {
        let done = Self::check(id).and_then(|()| match change.backend.as_deref() {
            None | Some("second") => Ok(()),
            Some(_) => Err(Refused::invalid("backend", "none")),
        });
        Box::pin(async { done })
    }

    fn events(&self, call: Option<&str>, after: u64, max: usize) -> Option<Vec<Told>> {
        let events = self.events.lock().unwrap();
        let told = |event: &CallEvent| Told {
            id: event.number,
            event: Arc::new(event.clone()),
        };
        let later = events.iter().filter(|event| event.number > after).take(max);
        (call.is_none_or(|id| id == "call_1")).then(|| later.map(told).collect())
    }

    fn newest(&self) -> u64 {
        self.events.lock().unwrap().len() as u64
    }

    fn changes(&self, call: Option<&str>) -> Option<watch::Receiver<u64>> {
        (call.is_none_or(|id| id == "call_1")).then(|| self.changes.subscribe())
    }

    fn explain(&self, body: &[u8]) -> (StatusCode, Value) {
        match body {
            b"?" => (StatusCode::OK, json!({ "status": 404 })),
            _ => (StatusCode::BAD_REQUEST, json!({ "error": "bad_request" })),
        }
    }
}
