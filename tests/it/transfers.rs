//! Calls that are handed on although the far end takes no REFER: the gateway calls a second phone and joins the two.

use std::time::{Duration, Instant};

use patchcord::{actors::call, telemetry::Level};
use serde_json::{Value, json};

use crate::{
    control::{ask, events_until},
    gateway::TestGateway,
    phone::{Offer, Phone},
    script::{ScriptedBackend, ScriptedSession},
    tone,
};

const REFER_FIRST: &str = "";
const BRIDGE: &str = "transfer = \"bridge\"\n";

#[tokio::test]
async fn a_caller_whose_side_takes_no_refer_speaks_with_a_second_phone() {
    let mut scene = Scene::start(REFER_FIRST, Offer::Pcmu).await;
    scene.transfer().await;
    let refer = scene.caller.request("REFER").await;
    scene.caller.respond(&refer, "405 Method Not Allowed", "", "").await;
    let began = Instant::now();
    let invite = scene.desk.ring().await;
    assert!(invite.contains("tester"), "who calls is shown: {invite}");
    // The caller hears that the line lives.
    scene.caller.hear_voice(began).await;
    scene.desk.pick_up(&invite, Offer::Pcmu).await;
    let told = scene.session.tool_result().await;
    assert!(told["output"].as_str().unwrap().contains("was transferred"), "{told}");
    scene.hear_each_other().await;
    let sessions = || scene.gateway.level(Level::SessionsActive) == 0;
    scene.gateway.until("the session is closed", sessions).await;
    let events = events_until(&scene.gateway, "\"status\":200").await;
    assert!(
        events.contains("\"status\":405") && events.contains("\"way\":\"bridge\""),
        "{events}"
    );
    scene.caller.hang_up().await;
    assert!(scene.desk.bye().await.contains("caller_hung_up"));
    let record = &scene.gateway.records(1).await[0];
    let transfer = &record["transfer"];
    assert_eq!((&transfer["way"], &transfer["status"]), (&"bridge".into(), &200.into()));
    assert!(
        transfer["joined_at"].is_string() && transfer["talk_ms"].as_u64() > Some(500),
        "{record}"
    );
    assert_eq!(record["outcome"]["cause"], "caller_hung_up");
    assert_eq!(record["tools"][0]["result"], "ok");
    assert_eq!(scene.transfers("refer", "rejected"), 1.0);
    assert_eq!(scene.transfers("bridge", "ok"), 1.0);
    scene.gateway.settled().await;
}

#[tokio::test]
async fn two_codecs_are_joined_keys_pass_and_whoever_was_called_hangs_up() {
    let mut scene = Scene::start(BRIDGE, Offer::Pcma).await;
    scene.transfer().await;
    let invite = scene.desk.ring().await;
    scene.desk.pick_up(&invite, Offer::Pcmu).await;
    scene.hear_each_other().await;
    let began = Instant::now();
    scene.caller.press('5');
    let pressed = scene.desk.hear(began, |packets| {
        packets.iter().find(|packet| packet.payload_type == 101).cloned()
    });
    pressed.await;
    scene.desk.hang_up().await;
    assert!(scene.caller.bye().await.contains("callee_hung_up"));
    let record = &scene.gateway.records(1).await[0];
    assert_eq!(record["outcome"]["cause"], "callee_hung_up");
    assert_eq!(
        (&record["transfer"]["way"], &record["digits"]),
        (&"bridge".into(), &1.into())
    );
    scene.gateway.settled().await;
}

#[tokio::test]
async fn a_caller_whose_second_phone_is_busy_is_back_with_the_agent() {
    let mut scene = Scene::start(BRIDGE, Offer::Pcmu).await;
    scene.transfer().await;
    let invite = scene.desk.ring().await;
    scene.desk.respond(&invite, "486 Busy Here", "", "").await;
    let told = scene.session.tool_result().await;
    assert!(told["output"].as_str().unwrap().contains("busy"), "{told}");
    scene.caller.say(440.0, Duration::from_secs(1));
    // The agent hears the caller again, who was not heard while it rang.
    loop {
        let audio = scene.session.hear("input_audio_buffer.append").await;
        let pcm = base64_simd::STANDARD
            .decode_to_vec(audio["audio"].as_str().unwrap())
            .unwrap();
        if pcm.iter().any(|byte| *byte > 16 && *byte < 240) {
            break;
        }
    }
    assert_eq!(scene.gateway.level(Level::SessionsActive), 1);
    scene.caller.hang_up().await;
    let record = &scene.gateway.records(1).await[0];
    assert_eq!(
        (&record["transfer"]["status"], &record["transfer"]["talk_ms"]),
        (&486.into(), &Value::Null)
    );
    assert_eq!(scene.transfers("bridge", "busy"), 1.0);
    scene.gateway.settled().await;
}

#[tokio::test]
async fn a_caller_who_hangs_up_while_it_rings_has_the_second_call_cancelled() {
    let mut scene = Scene::start(BRIDGE, Offer::Pcmu).await;
    let path = format!("/v1/calls/{}/transfer", scene.call_id().await);
    let body = json!({ "to": scene.desk.uri() }).to_string();
    assert_eq!(ask(&scene.gateway, "POST", &path, &body).await.0, 202);
    assert_eq!(ask(&scene.gateway, "POST", &path, &body).await.0, 409);
    let invite = scene.desk.ring().await;
    scene.caller.hang_up().await;
    scene.desk.be_cancelled(&invite).await;
    let record = &scene.gateway.records(1).await[0];
    assert_eq!(record["outcome"]["cause"], "caller_hung_up");
    scene.gateway.settled().await;
}

#[tokio::test]
async fn a_phone_that_nobody_picks_up_is_cancelled_in_time() {
    let limits = "[limits]\ncalls_max = 50\nlag_ms_max = 0\nring_s_max = 5\n";
    let mut scene = Scene::start(&format!("{BRIDGE}{limits}"), Offer::Pcmu).await;
    scene.transfer().await;
    let invite = scene.desk.ring().await;
    scene.desk.be_cancelled(&invite).await;
    let told = scene.session.tool_result().await;
    assert!(told["output"].as_str().unwrap().contains("nobody answered"), "{told}");
    scene.caller.hang_up().await;
    scene.gateway.settled().await;
}

#[tokio::test]
async fn a_part_that_breaks_while_two_are_joined_leaves_neither_on_the_line() {
    for broken in [call::Msg::Break, call::Msg::BreakMedia] {
        let mut scene = Scene::start(BRIDGE, Offer::Pcmu).await;
        scene.transfer().await;
        let invite = scene.desk.ring().await;
        scene.desk.pick_up(&invite, Offer::Pcmu).await;
        scene.session.tool_result().await;
        scene.gateway.gateway.calls().await[0].cast(broken).unwrap();
        for phone in [&mut scene.caller, &mut scene.desk] {
            assert!(phone.bye().await.contains("crashed"));
        }
        let record = &scene.gateway.records(1).await[0];
        assert_eq!(record["outcome"]["cause"], "crashed");
        assert!(record["transfer"]["talk_ms"].is_u64(), "{record}");
        scene.gateway.settled().await;
    }
}

#[tokio::test]
async fn a_gateway_that_stops_hangs_up_on_both_who_are_joined() {
    let mut scene = Scene::start(BRIDGE, Offer::Pcmu).await;
    scene.transfer().await;
    let invite = scene.desk.ring().await;
    scene.desk.pick_up(&invite, Offer::Pcmu).await;
    scene.session.tool_result().await;
    scene.gateway.gateway.drain();
    scene.hear_each_other().await;
    scene.gateway.gateway.finish_calls();
    for phone in [&mut scene.caller, &mut scene.desk] {
        assert!(phone.bye().await.contains("drained"));
    }
    let record = &scene.gateway.records(1).await[0];
    assert!(record["transfer"]["talk_ms"].as_u64() > Some(500), "{record}");
    scene.gateway.settled().await;
}

/// A call that is answered by a scripted session, and a second phone.
struct Scene {
    gateway: TestGateway,
    _backend: ScriptedBackend,
    session: ScriptedSession,
    caller: Phone,
    desk: Phone,
}

impl Scene {
    async fn start(agent: &str, offer: Offer) -> Self {
        let mut backend = ScriptedBackend::start().await;
        let gateway = TestGateway::start_with(&format!(
            "[[trunk]]\nname = \"lan\"\nfrom = [\"127.0.0.0/8\"]\nhost = \"127.0.0.1\"\n\
             [backends.test]\nkind = \"realtime\"\nurl = \"ws://{}/v1/realtime\"\naudio = \"pcm16\"\n\
             [agents.operator]\nbackends = [\"test\"]\ntools = [\"transfer\"]\ntransfer_any = true\n{agent}",
            backend.address
        ))
        .await;
        let (mut caller, desk) = (Phone::new(gateway.sip()).await, Phone::new(gateway.sip()).await);
        let (_, session) = tokio::join!(caller.dial("operator", offer), backend.session());
        Self {
            gateway,
            _backend: backend,
            session,
            caller,
            desk,
        }
    }

    /// Has the agent hand the call on to the second phone.
    async fn transfer(&mut self) {
        let target = json!({ "target": self.desk.uri() });
        self.session.call_tool("t1", "transfer", &target).await;
    }

    /// Each phone says a tone that the other hears for half a second without a hole.
    async fn hear_each_other(&self) {
        let began = Instant::now();
        for (mouth, ear, hz) in [(&self.caller, &self.desk, 700.0), (&self.desk, &self.caller, 1_000.0)] {
            mouth.say(hz, Duration::from_secs(3));
            let heard = ear.hear(began, |packets| {
                let mut tones = packets.chunk_by(|one, other| tone::is_at(&one.pcm, hz) == tone::is_at(&other.pcm, hz));
                tones
                    .find(|run| run.len() >= 25 && tone::is_at(&run[0].pcm, hz))
                    .map(|_| ())
            });
            heard.await;
        }
    }

    async fn call_id(&self) -> String {
        let (_, list) = ask(&self.gateway, "GET", "/v1/calls", "").await;
        list["calls"][0]["id"].as_str().expect("a call").to_owned()
    }

    fn transfers(&self, way: &str, result: &str) -> f64 {
        self.gateway.sample(&format!(
            "patchcord_transfers_total{{result=\"{result}\",way=\"{way}\"}}"
        ))
    }
}
