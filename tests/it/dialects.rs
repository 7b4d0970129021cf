//! The same call in every dialect, over a real socket.

use std::time::{Duration, Instant};

use crate::{
    gateway::{TestBackend, TestGateway},
    phone::{Offer, Phone},
};

#[tokio::test]
async fn a_call_in_the_beta_dialect_is_greeted_interrupted_and_ended_by_the_agent() {
    whole_call("realtime", "dialect = \"beta\"", 1).await;
}

#[tokio::test]
async fn a_call_in_the_live_dialect_is_greeted_interrupted_and_ended_by_the_agent() {
    whole_call("live/sessions", "dialect = \"live\"\ndelegation_model = \"t\"", 0).await;
}

#[tokio::test]
async fn a_call_in_the_ga_dialect_is_greeted_interrupted_and_ended_by_the_agent() {
    whole_call("realtime", "", 1).await;
}

/// `barge_ins` counts what is cut off here; in the live dialect the agent falls silent by itself.
async fn whole_call(path: &str, more: &str, barge_ins: u64) {
    let backend = TestBackend::start("").await;
    let gateway = gateway(&backend, path, more).await;
    let mut phone = Phone::new(gateway.sip()).await;
    phone.dial("operator", Offer::Pcmu).await;
    phone.hear_voice(Instant::now()).await;
    // The caller cuts in: the greeting of some seconds ends, and what the caller said is repeated.
    let spoken = Instant::now();
    phone.say(440.0, Duration::from_millis(800));
    let silent = phone.hear_silence(spoken, Duration::from_millis(400)).await;
    assert!(
        silent.duration_since(spoken) < Duration::from_millis(800),
        "it talks over the caller"
    );
    phone.hear_voice(spoken + Duration::from_millis(1_000)).await;
    phone.press('*');
    phone.bye().await;
    let record = &gateway.records(1).await[0];
    assert_eq!(record["outcome"]["cause"], "agent_hung_up", "{record}");
    assert!(record["barge_ins"].as_u64() >= Some(barge_ins), "{record}");
    assert_eq!(gateway.sample("patchcord_session_unknown_total{backend=\"test\""), 0.0);
    gateway.settled().await;
}

async fn gateway(backend: &TestBackend, path: &str, more: &str) -> TestGateway {
    let config = format!(
        "[backends.test]\nkind = \"realtime\"\nurl = \"ws://{}/v1/{path}\"\nmodel = \"test\"\n{more}\n\
         [agents.operator]\nbackends = [\"test\"]\ngreeting = \"Hello.\"\n",
        backend.address
    );
    TestGateway::start_with(&config).await
}
