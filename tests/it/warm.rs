//! Sessions that wait for calls.

use patchcord::{actors::plane::Part, telemetry::Level};
use serde_json::json;

use crate::{
    gateway::{TestGateway, on_backend},
    phone::{Offer, Phone},
    script::{ScriptedBackend, ScriptedSession},
};

const WAITING: &str = "patchcord_backend_warm_sessions{backend=\"test\"}";
const TAKEN: &str = "patchcord_warm_sessions_total{backend=\"test\",result=\"taken\"}";

#[tokio::test]
async fn a_call_takes_a_session_that_waits_and_another_one_is_made() {
    let (mut backend, gateway) = keeping_one("").await;
    let (_phone, mut session) = first_call(&mut backend, &gateway).await;
    session.hear("response.create").await;
    let mut waiting = backend.session().await;
    assert_eq!(waiting.configuration, session.configuration);
    becomes(&gateway, 1.0).await;
    let mut second = Phone::new(gateway.sip()).await;
    second.dial("operator", Offer::Pcmu).await;
    // It is greeted at once: nothing is left to be told.
    let next = waiting
        .hear_where(|event| event["type"] != "input_audio_buffer.append")
        .await;
    assert_eq!(next["type"], "response.create");
    assert_eq!(gateway.sample(TAKEN), 1.0);
    let _replacement = backend.session().await;
    becomes(&gateway, 1.0).await;
    second.hang_up().await;
    assert_eq!(gateway.records(1).await[0]["outcome"]["cause"], "caller_hung_up");
}

#[tokio::test]
async fn what_only_the_call_knows_is_told_to_the_session_that_waited() {
    let (mut backend, gateway) = keeping_one("instructions = \"The caller is {{caller}}.\"\n").await;
    let (_phone, session) = first_call(&mut backend, &gateway).await;
    let told = |configuration: &serde_json::Value| {
        let format = configuration["audio"]["input"]["format"]["type"].clone();
        (configuration["instructions"].clone(), format)
    };
    let mut waiting = backend.session().await;
    assert_eq!(
        told(&waiting.configuration),
        (json!("The caller is ."), json!("audio/pcmu"))
    );
    becomes(&gateway, 1.0).await;
    let mut second = Phone::new(gateway.sip()).await;
    let confirm = async {
        let update = waiting.hear("session.update").await;
        let updated = json!({ "type": "session.updated", "session": update["session"] });
        waiting.say(updated).await;
        waiting.hear("response.create").await;
        update["session"].clone()
    };
    let (configuration, ()) = tokio::join!(confirm, second.dial("operator", Offer::Pcma));
    let (instructions, format) = told(&configuration);
    assert_eq!(
        (&instructions, format),
        (&session.configuration["instructions"], json!("audio/pcma"))
    );
    assert_eq!(gateway.sample(TAKEN), 1.0);
    second.hang_up().await;
}

#[tokio::test]
async fn a_call_with_a_model_of_its_own_takes_none_that_waits() {
    let (mut backend, gateway) = keeping_one("").await;
    let (mut phone, mut session) = first_call(&mut backend, &gateway).await;
    session.hear("response.create").await;
    for kind in ["response.created", "response.done"] {
        session.say(json!({ "type": kind, "response": { "id": "r" } })).await;
    }
    let _waiting = backend.session().await;
    becomes(&gateway, 1.0).await;
    let (_, list) = crate::control::ask(&gateway, "GET", "/v1/calls", "").await;
    let path = format!("/v1/calls/{}/session", list["calls"][0]["id"].as_str().unwrap());
    assert_eq!(
        crate::control::ask(&gateway, "POST", &path, r#"{"model":"mini"}"#)
            .await
            .0,
        202
    );
    let mut changed = backend.session().await;
    session.closed().await;
    changed.close().await;
    let after = backend.session().await;
    assert!(after.asked.ends_with("model=mini"), "{}", after.asked);
    assert_eq!((gateway.sample(WAITING), gateway.sample(TAKEN)), (1.0, 0.0));
    phone.hang_up().await;
}

#[tokio::test]
async fn one_that_is_lost_while_it_waits_is_replaced_and_no_call_hears_of_it() {
    let (mut backend, gateway) = keeping_one("").await;
    let (mut phone, _session) = first_call(&mut backend, &gateway).await;
    let mut waiting = backend.session().await;
    becomes(&gateway, 1.0).await;
    waiting.close().await;
    becomes(&gateway, 0.0).await;
    let _replacement = backend.session().await;
    becomes(&gateway, 1.0).await;
    assert_eq!(
        gateway.sample("patchcord_warm_sessions_total{backend=\"test\",result=\"lost\"}"),
        1.0
    );
    phone.hang_up().await;
    let record = &gateway.records(1).await[0];
    assert_eq!(
        (&record["reconnects"], &record["outcome"]["cause"]),
        (&json!(0), &json!("caller_hung_up"))
    );
}

#[tokio::test]
async fn a_keeper_that_breaks_lets_go_of_what_waits_and_calls_go_on() {
    let (mut backend, gateway) = keeping_one("").await;
    let (mut phone, _session) = first_call(&mut backend, &gateway).await;
    let mut waiting = backend.session().await;
    becomes(&gateway, 1.0).await;
    gateway.gateway.break_part(Part::WarmKeeper);
    waiting.closed().await;
    becomes(&gateway, 0.0).await;
    assert_eq!(gateway.level(Level::CallsActive), 1);
    let (mut second, _session) = first_call(&mut backend, &gateway).await;
    let _made_again = backend.session().await;
    becomes(&gateway, 1.0).await;
    phone.hang_up().await;
    second.hang_up().await;
    gateway.records(2).await;
    gateway.gateway.drain();
    becomes(&gateway, 0.0).await;
    gateway.settled().await;
}

/// A gateway whose agent keeps one session on a backend of the test's own.
async fn keeping_one(more: &str) -> (ScriptedBackend, TestGateway) {
    let backend = ScriptedBackend::start().await;
    let agent = on_backend(backend.address);
    let gateway = TestGateway::start_with(&format!("{agent}warm_sessions_max = 1\n{more}")).await;
    (backend, gateway)
}

/// A call that nothing waits for.
async fn first_call(backend: &mut ScriptedBackend, gateway: &TestGateway) -> (Phone, ScriptedSession) {
    let mut phone = Phone::new(gateway.sip()).await;
    let (session, ()) = tokio::join!(backend.session(), phone.dial("operator", Offer::Pcmu));
    (phone, session)
}

async fn becomes(gateway: &TestGateway, waiting: f64) {
    let what = format!("{waiting} sessions wait");
    gateway.until(&what, || gateway.sample(WAITING) == waiting).await;
}
