//! Whose turn it is, where the gateway decides it: cutting in, echo, silence, and what has to be heard.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    gateway::TestGateway,
    phone::{Offer, Phone},
    script::ScriptedBackend,
    tone,
};

/// An agent with more keys.
fn agent(keys: &str) -> String {
    format!("[agents.operator]\nbackends = [\"operator\"]\ngreeting = \"Hello.\"\n{keys}\n")
}

#[tokio::test]
async fn a_voice_that_goes_on_cuts_in_and_a_cough_does_not() {
    let gateway = TestGateway::start_with(&agent("interruption = \"gateway\"")).await;
    let mut phone = Phone::new(gateway.sip()).await;
    phone.dial("operator", Offer::Pcmu).await;
    let greeted = phone.hear_voice(Instant::now()).await;
    phone.say(300.0, Duration::from_millis(140));
    // Half a second after the cough is over the agent still speaks.
    phone.hear_voice(greeted + Duration::from_millis(700)).await;
    let cut = Instant::now();
    phone.say(300.0, Duration::from_secs(1));
    let silent = phone.hear_silence(cut, Duration::from_millis(300)).await;
    assert!(silent - cut < Duration::from_millis(700), "{:?}", silent - cut);
    phone.hang_up().await;
    assert_eq!(gateway.records(1).await[0]["barge_ins"], 1);
    gateway.settled().await;
}

#[tokio::test]
async fn the_agents_own_sound_coming_back_does_not_cut_it_off() {
    let gateway = TestGateway::start_with(&agent("interruption = \"gateway\"")).await;
    let mut phone = Phone::new(gateway.sip()).await;
    phone.dial("operator", Offer::Pcmu).await;
    let greeted = phone.hear_voice(Instant::now()).await;
    let returned = std::cell::Cell::new(0usize);
    let done = phone
        .hear(greeted, |packets| {
            let heard = phone.heard();
            // A loudspeaker next to a microphone.
            let new = heard.iter().skip(returned.get().max(1));
            phone.send_sound(new.flat_map(|packet| packet.pcm.iter().map(|sample| sample / 4)));
            returned.set(heard.len());
            let loud = packets.iter().rev().find(|packet| packet.loud())?.at;
            (packets.last()?.at - loud >= Duration::from_millis(800)).then_some(loud)
        })
        .await;
    assert!(done - greeted > Duration::from_secs(2), "{:?}", done - greeted);
    phone.hang_up().await;
    assert_eq!(gateway.records(1).await[0]["barge_ins"], 0);
}

#[tokio::test]
async fn a_caller_who_says_nothing_is_asked_and_then_let_go() {
    let gateway = TestGateway::start_with(&agent("quiet_s = 1\nquiet_asks = 1")).await;
    let mut phone = Phone::new(gateway.sip()).await;
    phone.dial("operator", Offer::Pcmu).await;
    let greeted = phone.hear_voice(Instant::now()).await;
    let quiet = phone.hear_silence(greeted, Duration::from_millis(700)).await;
    phone.hear_voice(quiet + Duration::from_millis(700)).await;
    let bye = phone.bye().await;
    assert!(bye.contains("text=\"caller_idle\""), "{bye}");
    assert_eq!(gateway.records(1).await[0]["outcome"]["cause"], "caller_idle");
    gateway.settled().await;
}

#[tokio::test]
async fn an_agent_that_does_not_stop_is_cut_off_and_that_is_no_barge_in() {
    let long = format!("greeting = \"{}\"", "One and two and three and four. ".repeat(10));
    let agent = format!("[agents.operator]\nbackends = [\"operator\"]\n{long}\nagent_turn_s_max = 2\n");
    let gateway = TestGateway::start_with(&agent).await;
    let mut phone = Phone::new(gateway.sip()).await;
    phone.dial("operator", Offer::Pcmu).await;
    let begun = phone.hear_voice(Instant::now()).await;
    let silent = phone.hear_silence(begun, Duration::from_millis(600)).await;
    let spoke = silent - begun;
    assert!(
        spoke > Duration::from_millis(1_700) && spoke < Duration::from_millis(3_500),
        "{spoke:?}"
    );
    phone.hang_up().await;
    let record = &gateway.records(1).await[0];
    assert_eq!(
        (&record["agent_turns_cut"], &record["barge_ins"]),
        (&1.into(), &0.into())
    );
    gateway.settled().await;
}

#[tokio::test]
async fn what_has_to_be_heard_is_heard_to_its_end_over_any_voice() {
    let file = Sound::new(2);
    let gateway = TestGateway::start_with(&agent(&format!("disclosure_file = \"{}\"", file.0.display()))).await;
    let mut phone = Phone::new(gateway.sip()).await;
    phone.dial("operator", Offer::Pcmu).await;
    let begun = phone.hear_voice(Instant::now()).await;
    phone.say(300.0, Duration::from_millis(800));
    // All of it, but for the packets that begin and end it; and then the agent.
    phone
        .hear(begun, |packets| {
            let told: Vec<bool> = packets.iter().map(|packet| tone::is(&packet.pcm)).collect();
            let last = told.iter().rposition(|told| *told)?;
            let whole = told.iter().filter(|told| **told).count() >= 97;
            let greeted = packets[last..].iter().filter(|packet| packet.loud()).count() > 10;
            (whole && greeted).then_some(())
        })
        .await;
    phone.hang_up().await;
    let record = &gateway.records(1).await[0];
    assert!(record["disclosed_at"].is_string(), "{record}");
}

#[tokio::test]
async fn what_the_agent_has_to_say_is_said_again_after_a_cut_and_after_a_loss_and_is_proven() {
    let mut backend = ScriptedBackend::start().await;
    let gateway = TestGateway::start_with(&format!(
        "[agents.operator]\nbackends = [\"test\"]\ngreeting = \"Hello.\"\ndisclosure_text = \"You talk to a machine.\"\n\
         [backends.test]\nkind = \"realtime\"\nurl = \"ws://{}/v1/realtime\"\naudio = \"pcm16\"\n",
        backend.address
    ))
    .await;
    let mut phone = Phone::new(gateway.sip()).await;
    let (_, mut session) = tokio::join!(phone.dial("operator", Offer::Pcmu), backend.session());
    let turns = |session: &serde_json::Value| session["audio"]["input"]["turn_detection"]["interrupt_response"].clone();
    let asks_for = |event: &serde_json::Value| event["response"]["instructions"].to_string();
    assert_eq!(turns(&session.configuration), false);
    assert!(asks_for(&session.hear("response.create").await).contains("You talk to a machine."));
    session.speak("one", 400).await;
    session
        .say(json!({ "type": "input_audio_buffer.speech_started", "item_id": "u", "audio_start_ms": 0 }))
        .await;
    session.end("one", "cancelled").await;
    assert!(asks_for(&session.hear("response.create").await).contains("You talk to a machine."));
    session.speak("two", 2_000).await;
    phone.hear_voice(Instant::now()).await;
    session.close().await;
    let mut session = backend.session().await;
    assert_eq!(turns(&session.configuration), false);
    assert!(asks_for(&session.hear("response.create").await).contains("You talk to a machine."));
    session.speak("three", 1_000).await;
    session.end("three", "completed").await;
    assert_eq!(turns(&session.hear("session.update").await["session"]), true);
    assert!(asks_for(&session.hear("response.create").await).contains("Hello."));
    phone.hang_up().await;
    let record = &gateway.records(1).await[0];
    assert!(record["disclosed_at"].is_string(), "{record}");
    assert_eq!(record["disclosed_ms"], 1_000);
    gateway.settled().await;
}

#[tokio::test]
async fn a_caller_who_leaves_early_has_not_heard_it() {
    let file = Sound::new(10);
    let gateway = TestGateway::start_with(&agent(&format!("disclosure_file = \"{}\"", file.0.display()))).await;
    let mut phone = Phone::new(gateway.sip()).await;
    phone.dial("operator", Offer::Pcmu).await;
    phone.hear_voice(Instant::now()).await;
    phone.hang_up().await;
    assert!(gateway.records(1).await[0]["disclosed_at"].is_null());
}

/// A WAV file of a test's own, gone with it.
struct Sound(PathBuf);

impl Sound {
    /// A tone of so many seconds.
    fn new(seconds: u32) -> Self {
        let path = std::env::temp_dir().join(format!("patchcord-it-{}-{seconds}.wav", std::process::id()));
        tone::write(&path, seconds);
        Self(path)
    }
}

impl Drop for Sound {
    fn drop(&mut self) {
        // Only litter.
        let _ = std::fs::remove_file(&self.0);
    }
}
