//! What survives when something breaks.

use std::time::{Duration, Instant};

use patchcord::{
    actors::{call, plane::Part},
    telemetry::Level,
};
use serde_json::json;
use tokio::net::TcpListener;

use crate::{
    gateway::{TestBackend, TestGateway, on_backend},
    phone::{Offer, Phone},
    script::{ScriptedBackend, ScriptedSession},
};

#[tokio::test]
async fn a_backend_killed_in_mid_call_is_dialled_again_and_the_call_goes_on() {
    let backend = TestBackend::start("").await;
    let gateway = TestGateway::start_on(&backend).await;
    let address = backend.address;
    let mut phone = Phone::new(gateway.sip()).await;
    phone.dial("operator", Offer::Pcmu).await;
    phone.hear_voice(Instant::now()).await;
    drop(backend);
    gateway
        .until("the session is gone", || gateway.level(Level::SessionsActive) == 0)
        .await;
    let _again = TestBackend::on(bind(address).await, "");
    gateway
        .until("the session is back", || gateway.level(Level::SessionsActive) == 1)
        .await;
    assert_eq!(gateway.level(Level::CallsActive), 1);
    phone.say(440.0, Duration::from_secs(1));
    phone.hear_voice(Instant::now() + Duration::from_millis(200)).await;
    phone.hang_up().await;
    let record = &gateway.records(1).await[0];
    assert_eq!(record["outcome"]["cause"], "caller_hung_up");
    assert!(record["reconnects"].as_u64() >= Some(1), "{record}");
    gateway.settled().await;
}

#[tokio::test]
async fn a_backend_that_stays_away_is_apologised_for() {
    let backend = TestBackend::start("").await;
    let gateway = TestGateway::start_on(&backend).await;
    let mut phone = Phone::new(gateway.sip()).await;
    phone.dial("operator", Offer::Pcmu).await;
    phone.hear_voice(Instant::now()).await;
    drop(backend);
    let gone = Instant::now();
    let bye = phone.bye().await;
    assert!(bye.contains("text=\"session_lost\""), "{bye}");
    let apology = phone
        .heard()
        .iter()
        .filter(|packet| packet.at > gone && packet.loud())
        .count();
    assert!(apology > 50, "the apology is {apology} packets long");
    assert_eq!(gateway.records(1).await[0]["outcome"]["cause"], "session_lost");
    gateway.settled().await;
}

#[tokio::test]
async fn a_call_actor_that_breaks_says_bye_and_leaves_a_record() {
    let gateway = TestGateway::start().await;
    let mut phone = Phone::new(gateway.sip()).await;
    phone.dial("operator", Offer::Pcmu).await;
    gateway.gateway.calls().await[0].cast(call::Msg::Break).unwrap();
    assert!(phone.bye().await.contains("text=\"crashed\""));
    assert_eq!(gateway.records(1).await[0]["outcome"]["cause"], "crashed");
    gateway.settled().await;
    serves_another(&gateway).await;
}

#[tokio::test]
async fn a_session_actor_that_breaks_is_started_again_within_the_call() {
    let gateway = TestGateway::start().await;
    let mut phone = Phone::new(gateway.sip()).await;
    phone.dial("operator", Offer::Pcmu).await;
    let greeted = phone.hear_voice(Instant::now()).await;
    phone.hear_silence(greeted, Duration::from_millis(500)).await;
    gateway.gateway.calls().await[0].cast(call::Msg::BreakSession).unwrap();
    gateway
        .until("a second session is ready", || {
            gateway.sample("patchcord_session_connects_total{backend=\"operator\",result=\"ok\"}") >= 2.0
        })
        .await;
    phone.hang_up().await;
    let record = &gateway.records(1).await[0];
    assert_eq!(record["outcome"]["cause"], "caller_hung_up");
    assert_eq!(record["reconnects"], 1);
    assert!(record["tokens"]["output_audio"].as_u64() > Some(0), "{record}");
    gateway.settled().await;
}

#[tokio::test]
async fn a_media_driver_that_breaks_ends_its_call_alone() {
    let gateway = TestGateway::start().await;
    let mut broken = Phone::new(gateway.sip()).await;
    broken.dial("operator", Offer::Pcmu).await;
    let mut whole = Phone::new(gateway.sip()).await;
    whole.dial("operator", Offer::Pcmu).await;
    gateway.gateway.calls().await[0].cast(call::Msg::BreakMedia).unwrap();
    assert!(broken.bye().await.contains("text=\"crashed\""));
    whole.hear_voice(Instant::now()).await;
    whole.hang_up().await;
    gateway.records(2).await;
    gateway.settled().await;
}

#[tokio::test]
async fn a_call_manager_that_breaks_says_bye_to_its_calls_and_is_started_again() {
    let gateway = TestGateway::start().await;
    let mut phone = Phone::new(gateway.sip()).await;
    phone.dial("operator", Offer::Pcmu).await;
    gateway.gateway.break_part(Part::CallManager);
    phone.bye().await;
    gateway.records(1).await;
    gateway.settled().await;
    serves_another(&gateway).await;
}

#[tokio::test]
async fn a_media_engine_that_breaks_says_bye_and_is_started_again_in_place() {
    let gateway = TestGateway::start_with("[sip]\nlisten = [\"udp:127.0.0.1:15991\"]\n").await;
    let mut phone = Phone::new(gateway.sip()).await;
    phone.dial("operator", Offer::Pcmu).await;
    gateway.gateway.break_part(Part::MediaEngine);
    assert!(phone.bye().await.contains("text=\"crashed\""));
    gateway.records(1).await;
    gateway.settled().await;
    serves_another(&gateway).await;
    gateway.gateway.stop().await;
}

#[tokio::test]
async fn a_sip_endpoint_that_breaks_is_started_again_on_the_same_port() {
    let gateway = TestGateway::start_with("[sip]\nlisten = [\"udp:127.0.0.1:15992\"]\n").await;
    let mut phone = Phone::new(gateway.sip()).await;
    phone.dial("operator", Offer::Pcmu).await;
    gateway.gateway.break_part(Part::SipEndpoint);
    gateway.records(1).await;
    gateway.settled().await;
    serves_another(&gateway).await;
    gateway.gateway.stop().await;
}

#[tokio::test]
async fn an_http_server_that_breaks_is_started_again_and_no_call_notices() {
    let gateway = TestGateway::start_with("[http]\nlisten = \"127.0.0.1:15993\"\n").await;
    let mut phone = Phone::new(gateway.sip()).await;
    phone.dial("operator", Offer::Pcmu).await;
    gateway.gateway.break_http();
    gateway
        .until("HTTP is back", || {
            std::net::TcpStream::connect("127.0.0.1:15993").is_ok()
        })
        .await;
    phone.hear_voice(Instant::now()).await;
    phone.hang_up().await;
    assert_eq!(gateway.records(1).await[0]["outcome"]["cause"], "caller_hung_up");
}

#[tokio::test]
async fn a_call_that_breaks_while_it_rings_is_refused_and_recorded_with_the_same_code() {
    let backend = TestBackend::start("stall@0").await;
    let gateway = TestGateway::start_with(&on_backend(backend.address)).await;
    let mut phone = Phone::new(gateway.sip()).await;
    phone.invite("operator", Offer::Pcmu).await;
    phone.response(180).await;
    gateway.gateway.calls().await[0].cast(call::Msg::Break).unwrap();
    let refusal = phone.final_response().await;
    assert!(
        refusal.starts_with("SIP/2.0 503") && refusal.contains("text=\"crashed\""),
        "{refusal}"
    );
    phone.acknowledge_refusal(&refusal).await;
    let record = &gateway.records(1).await[0];
    assert_eq!(
        (&record["outcome"]["cause"], &record["outcome"]["sip_code"]),
        (&"crashed".into(), &503.into())
    );
    gateway.settled().await;
}

#[tokio::test]
async fn a_draining_gateway_goes_on_draining_when_its_call_plane_is_started_again() {
    let gateway = TestGateway::start_with("[sip]\nlisten = [\"udp:127.0.0.1:15994\"]\n").await;
    gateway.gateway.drain();
    gateway.gateway.break_plane();
    let refused = async {
        loop {
            let mut phone = Phone::new(gateway.sip()).await;
            phone.invite("operator", Offer::Pcmu).await;
            // While nobody listens there is no answer either.
            let patience = Duration::from_millis(500);
            let Ok(refusal) = tokio::time::timeout(patience, phone.final_response()).await else {
                continue;
            };
            phone.acknowledge_refusal(&refusal).await;
            return refusal;
        }
    };
    let refusal = tokio::time::timeout(crate::phone::PATIENCE, refused).await.unwrap();
    assert!(refusal.starts_with("SIP/2.0 503"), "{refusal}");
    gateway.gateway.stop().await;
}

#[tokio::test]
async fn a_backend_that_sends_garbage_or_stalls_at_first_is_dialled_again() {
    for fault in ["refuse*2", "close:1011@0*1", "drop@0*1"] {
        let backend = TestBackend::start(fault).await;
        let gateway = TestGateway::start_with(&on_backend(backend.address)).await;
        let mut phone = Phone::new(gateway.sip()).await;
        phone.dial("operator", Offer::Pcmu).await;
        phone.hear_voice(Instant::now()).await;
        phone.hang_up().await;
        gateway.settled().await;
    }
}

#[tokio::test]
async fn a_backend_that_dies_is_followed_by_the_agents_next_one_which_is_heard_soon() {
    // All of them in the middle of the greeting.
    for fault in [
        "drop@800",
        "close:4000@800",
        "close:1001@800",
        "error:insufficient_quota@800",
        "stall@800",
    ] {
        let first = TestBackend::start(fault).await;
        let second = TestBackend::start("").await;
        let gateway = TestGateway::start_with(&on_two(
            "reconnect_budget_ms = 200\nstall_ms_max = 600\n",
            &first,
            &second,
        ))
        .await;
        let mut phone = Phone::new(gateway.sip()).await;
        phone.dial("operator", Offer::Pcmu).await;
        phone.hear_voice(Instant::now()).await;
        gateway
            .until("the call is on the second backend", || {
                gateway.sample("patchcord_session_connects_total{backend=\"second\",result=\"ok\"}") >= 1.0
            })
            .await;
        phone.hear_voice(Instant::now()).await;
        gateway
            .until("the caller has heard it", || {
                gateway.sample("patchcord_session_recovery_seconds_count") >= 1.0
            })
            .await;
        let after = gateway.sample("patchcord_session_recovery_seconds_sum");
        println!("{fault}: the next session is heard {after:.3} s after the loss");
        phone.hang_up().await;
        assert_eq!(
            gateway.records(1).await[0]["outcome"]["cause"],
            "caller_hung_up",
            "{fault}"
        );
        gateway.settled().await;
    }
}

#[tokio::test]
async fn a_caller_whose_session_stays_away_hears_words_and_what_they_say_meanwhile_is_answered_afterwards() {
    let backend = TestBackend::start("").await;
    let address = backend.address;
    let config = on_backend(address) + "filler_after_ms = 400\n";
    let gateway = TestGateway::start_with(&format!(
        "[session]\nreconnect_budget_ms = 20000\nbreaker_failures = 0\n{config}"
    ))
    .await;
    let mut phone = Phone::new(gateway.sip()).await;
    phone.dial("operator", Offer::Pcmu).await;
    let greeted = phone.hear_voice(Instant::now()).await;
    phone.hear_silence(greeted, Duration::from_millis(500)).await;
    drop(backend);
    gateway
        .until("the session is gone", || gateway.level(Level::SessionsActive) == 0)
        .await;
    let gone = Instant::now();
    phone.say(600.0, Duration::from_secs(1));
    let words = phone.hear_voice(gone).await;
    println!("words of our own {:?} after the loss was noticed", words - gone);
    assert!(words - gone < Duration::from_millis(700), "{:?}", words - gone);
    gateway
        .until("words were counted", || {
            gateway.sample("patchcord_session_filler_seconds_count") >= 1.0
        })
        .await;
    let filled = gateway.sample("patchcord_session_filler_seconds_sum");
    println!("words of our own {filled:.3} s after the loss");
    assert!((0.4..0.5).contains(&filled), "{filled}");
    let said_whole = gone + Duration::from_millis(1_300);
    phone.hear_silence(said_whole, Duration::from_millis(300)).await;
    let _again = TestBackend::on(bind(address).await, "");
    gateway
        .until("the session is back", || gateway.level(Level::SessionsActive) == 1)
        .await;
    // The operator repeats what the caller said while it was away.
    let back = Instant::now();
    phone.hear_voice(back + Duration::from_millis(100)).await;
    phone.hang_up().await;
    assert_eq!(gateway.records(1).await[0]["outcome"]["cause"], "caller_hung_up");
    gateway.settled().await;
}

#[tokio::test]
async fn a_session_is_renewed_behind_the_callers_back() {
    let backend = TestBackend::start("").await;
    let config = format!("[session]\nrenew_after_s = 1\n{}", on_backend(backend.address));
    let gateway = TestGateway::start_with(&config).await;
    let mut phone = Phone::new(gateway.sip()).await;
    phone.dial("operator", Offer::Pcmu).await;
    let greeted = phone.hear_voice(Instant::now()).await;
    phone.hear_silence(greeted, Duration::from_millis(500)).await;
    gateway
        .until("the session was renewed", || {
            gateway.sample("patchcord_session_renewals_total{backend=\"test\",result=\"ok\"}") >= 1.0
        })
        .await;
    phone.say(440.0, Duration::from_secs(1));
    phone.hear_voice(Instant::now() + Duration::from_millis(200)).await;
    assert_eq!(gateway.level(Level::SessionsActive), 1);
    phone.hang_up().await;
    let record = &gateway.records(1).await[0];
    assert_eq!(record["outcome"]["cause"], "caller_hung_up");
    assert_eq!(record["reconnects"], 0, "{record}");
    gateway.settled().await;
}

#[tokio::test]
async fn a_call_is_moved_to_another_backend_by_the_control_api() {
    let (first, second) = (TestBackend::start("").await, TestBackend::start("").await);
    let gateway = TestGateway::start_with(&on_two("renew_after_s = 0\n", &first, &second)).await;
    let mut phone = Phone::new(gateway.sip()).await;
    phone.dial("operator", Offer::Pcmu).await;
    let greeted = phone.hear_voice(Instant::now()).await;
    phone.hear_silence(greeted, Duration::from_millis(500)).await;
    let (_, list) = crate::control::ask(&gateway, "GET", "/v1/calls", "").await;
    let path = format!("/v1/calls/{}/session", list["calls"][0]["id"].as_str().unwrap());
    let (status, refused) = crate::control::ask(&gateway, "POST", &path, r#"{"backend":"third"}"#).await;
    assert_eq!((status, &refused["field"]), (422, &"backend".into()), "{refused}");
    let (status, _) = crate::control::ask(&gateway, "POST", &path, r#"{"backend":"second"}"#).await;
    assert_eq!(status, 202);
    gateway
        .until("the call is on the second backend", || {
            gateway.sample("patchcord_session_renewals_total{backend=\"second\",result=\"ok\"}") >= 1.0
        })
        .await;
    drop(first);
    phone.say(440.0, Duration::from_secs(1));
    phone.hear_voice(Instant::now() + Duration::from_millis(200)).await;
    phone.hang_up().await;
    assert_eq!(gateway.records(1).await[0]["reconnects"], 0);
    gateway.settled().await;
}

#[tokio::test]
async fn a_call_goes_over_to_a_session_with_what_the_control_api_changes_and_keeps_it() {
    let mut backend = ScriptedBackend::start().await;
    let gateway = TestGateway::start_with(&on_backend(backend.address)).await;
    let mut phone = Phone::new(gateway.sip()).await;
    let (mut session, ()) = tokio::join!(backend.session(), phone.dial("operator", Offer::Pcmu));
    assert!(session.asked.ends_with("model=test"), "{}", session.asked);
    session.hear("response.create").await;
    session
        .say(json!({ "type": "response.created", "response": { "id": "r" } }))
        .await;
    session
        .say(json!({ "type": "response.done", "response": { "id": "r" } }))
        .await;
    let (_, list) = crate::control::ask(&gateway, "GET", "/v1/calls", "").await;
    let path = format!("/v1/calls/{}/session", list["calls"][0]["id"].as_str().unwrap());
    let change = r#"{"model":"mini","voice":"cedar","instructions":"{{called}} is closed.\nSay so."}"#;
    assert_eq!(crate::control::ask(&gateway, "POST", &path, change).await.0, 202);
    let mut changed = backend.session().await;
    let told = |session: &ScriptedSession| {
        let configuration = &session.configuration;
        let voice = configuration["audio"]["output"]["voice"].clone();
        (configuration["instructions"].clone(), voice)
    };
    let expected = (json!("operator is closed.\nSay so."), json!("cedar"));
    assert_eq!(told(&changed), expected);
    assert!(changed.asked.ends_with("model=mini"), "{}", changed.asked);
    session.closed().await;
    // A session after a loss is as the last one was to be.
    changed.close().await;
    let after = backend.session().await;
    assert_eq!(told(&after), expected);
    assert!(after.asked.ends_with("model=mini"), "{}", after.asked);
    phone.hang_up().await;
    assert_eq!(gateway.records(1).await[0]["outcome"]["cause"], "caller_hung_up");
}

#[tokio::test]
async fn a_backend_that_is_not_there_is_passed_over_by_all_calls_and_shown() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let first = TestBackend::on(closed, "");
    let second = TestBackend::start("").await;
    let config = on_two(
        "breaker_failures = 2\nreconnect_budget_ms = 100\nbreaker_open_s = 600\n",
        &first,
        &second,
    );
    drop(first);
    let gateway = TestGateway::start_with(&config).await;
    for _ in 0..4 {
        let mut phone = Phone::new(gateway.sip()).await;
        phone.dial("operator", Offer::Pcmu).await;
        phone.hear_voice(Instant::now()).await;
        phone.hang_up().await;
    }
    let (status, shown) = crate::control::ask(&gateway, "GET", "/v1/backends", "").await;
    assert_eq!(status, 200, "{shown}");
    let backends = shown["backends"].as_array().unwrap();
    let named = |name: &str| backends.iter().find(|backend| backend["backend"] == name).unwrap();
    assert_eq!(named("first")["state"], "open", "{shown}");
    assert!(named("first")["passed_over"].as_u64() >= Some(1), "{shown}");
    assert_eq!(
        (&named("second")["state"], &named("second")["connected"]),
        (&"closed".into(), &4.into())
    );
    assert_eq!(gateway.sample("patchcord_backend_up{backend=\"first\"}"), 0.0);
    gateway.settled().await;
}

#[tokio::test]
async fn words_that_come_after_the_call_has_left_their_session_are_told_to_the_next_at_their_place() {
    let mut backend = ScriptedBackend::start().await;
    let gateway = TestGateway::start_with(&format!(
        "[session]\nrenew_after_s = 0\n[agents.operator]\nbackends = [\"test\"]\n\
         [backends.test]\nkind = \"realtime\"\nurl = \"ws://{}/v1/realtime\"\naudio = \"pcm16\"\n",
        backend.address
    ))
    .await;
    let mut phone = Phone::new(gateway.sip()).await;
    let (_, mut first) = tokio::join!(phone.dial("operator", Offer::Pcmu), backend.session());
    first
        .say(json!({ "type": "input_audio_buffer.committed", "item_id": "u" }))
        .await;
    first.speak("one", 200).await;
    first
        .say(json!({
            "type": "response.output_audio_transcript.done", "response_id": "one", "item_id": "item_one",
            "output_index": 0, "content_index": 0, "transcript": "Yes.",
        }))
        .await;
    first.end("one", "completed").await;
    let spoke = phone.hear_voice(Instant::now()).await;
    phone.hear_silence(spoke, Duration::from_millis(200)).await;
    let (_, list) = crate::control::ask(&gateway, "GET", "/v1/calls", "").await;
    let path = format!("/v1/calls/{}/session", list["calls"][0]["id"].as_str().unwrap());
    crate::control::ask(&gateway, "POST", &path, "{}").await;
    let mut second = backend.session().await;
    assert_eq!(words(&second.hear("conversation.item.create").await), "assistant: Yes.");
    first
        .say(json!({
            "type": "conversation.item.input_audio_transcription.completed", "item_id": "u", "content_index": 0,
            "transcript": "Are you there?",
        }))
        .await;
    // Its connection is closed once it has said them.
    first.closed().await;
    second.close().await;
    let mut third = backend.session().await;
    for told in ["user: Are you there?", "assistant: Yes."] {
        assert_eq!(words(&third.hear("conversation.item.create").await), told);
    }
    phone.hang_up().await;
    gateway.settled().await;
}

fn words(event: &serde_json::Value) -> String {
    let item = &event["item"];
    let text = item["content"][0]["text"].as_str().unwrap_or_default();
    format!("{}: {text}", item["role"].as_str().unwrap_or_default())
}

#[tokio::test]
async fn a_backend_that_takes_every_session_and_drops_it_is_passed_over_as_well() {
    let (mut first, second) = (ScriptedBackend::start().await, TestBackend::start("").await);
    let gateway = TestGateway::start_with(&format!(
        "[session]\nbreaker_failures = 2\nbreaker_open_s = 600\nreconnect_budget_ms = 20000\n\
         [backends.first]\nkind = \"realtime\"\nurl = \"ws://{}/v1/realtime\"\n\
         [backends.second]\nkind = \"realtime\"\nurl = \"ws://{}/v1/realtime\"\n\
         [agents.operator]\nbackends = [\"first\", \"second\"]\ngreeting = \"Hello.\"\n",
        first.address, second.address
    ))
    .await;
    let mut phone = Phone::new(gateway.sip()).await;
    let (_, mut session) = tokio::join!(phone.dial("operator", Offer::Pcmu), first.session());
    session.close().await;
    first.session().await.close().await;
    gateway
        .until("the call is on the second", || {
            gateway.sample("patchcord_session_connects_total{backend=\"second\",result=\"ok\"}") >= 1.0
        })
        .await;
    let (_, shown) = crate::control::ask(&gateway, "GET", "/v1/backends", "").await;
    assert_eq!(shown["backends"][0]["backend"], "first", "{shown}");
    assert_eq!(
        (&shown["backends"][0]["state"], &shown["backends"][0]["failed"]),
        (&"open".into(), &2.into()),
        "{shown}"
    );
    phone.hang_up().await;
    gateway.settled().await;
}

/// An agent with two backends, and more keys for `[session]`.
fn on_two(session: &str, first: &TestBackend, second: &TestBackend) -> String {
    let backend = |name: &str, backend: &TestBackend| {
        let address = backend.address;
        format!("[backends.{name}]\nkind = \"realtime\"\nurl = \"ws://{address}/v1/realtime\"\nmodel = \"test\"\n")
    };
    format!(
        "[session]\n{session}{}{}[agents.operator]\nbackends = [\"first\", \"second\"]\ngreeting = \"Hello.\"\n",
        backend("first", first),
        backend("second", second)
    )
}

async fn serves_another(gateway: &TestGateway) {
    let waiting = async {
        loop {
            let mut phone = Phone::new(gateway.sip()).await;
            phone.invite("operator", Offer::Pcmu).await;
            let answer = phone.final_response().await;
            if answer.starts_with("SIP/2.0 200") {
                phone.accept(&answer, Offer::Pcmu).await;
                return phone.hang_up().await;
            }
            phone.acknowledge_refusal(&answer).await;
        }
    };
    tokio::time::timeout(crate::phone::PATIENCE, waiting)
        .await
        .expect("the gateway serves again");
}

/// Listens where a backend listened before; its socket may take a moment to close.
async fn bind(address: std::net::SocketAddr) -> TcpListener {
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(_) => tokio::task::yield_now().await,
        }
    }
}
