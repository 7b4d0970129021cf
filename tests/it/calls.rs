//! Calls as they should go.

use std::time::{Duration, Instant};

use patchcord::telemetry::Level;

use crate::{
    gateway::TestGateway,
    phone::{FRAME, Offer, Phone},
};

#[tokio::test]
async fn a_caller_is_greeted_repeated_and_recorded() {
    let gateway = TestGateway::start().await;
    let mut phone = Phone::new(gateway.sip()).await;
    phone.dial("operator", Offer::Pcmu).await;
    let greeted = phone.hear_voice(started()).await;
    let done = phone.hear_silence(greeted, Duration::from_millis(800)).await;
    phone.say(440.0, Duration::from_secs(1));
    let repeated = phone.hear_voice(done + Duration::from_millis(900)).await;
    let over = phone.hear_silence(repeated, Duration::from_millis(400)).await;
    let length = over - repeated;
    assert!(
        length > Duration::from_millis(940) && length < Duration::from_millis(1060),
        "{length:?}"
    );
    phone.hang_up().await;
    let record = &gateway.records(1).await[0];
    assert_eq!(record["outcome"]["cause"], "caller_hung_up");
    assert_eq!(record["agent"], "operator");
    gateway.settled().await;
}

#[tokio::test]
async fn both_laws_and_a_late_offer_are_served() {
    let gateway = TestGateway::start().await;
    for offer in [Offer::Pcmu, Offer::Pcma, Offer::None] {
        let mut phone = Phone::new(gateway.sip()).await;
        phone.dial("operator", offer).await;
        phone.hear_voice(started()).await;
        let payload_type = if offer == Offer::Pcma { 8 } else { 0 };
        assert!(phone.heard().iter().all(|packet| packet.payload_type == payload_type));
        phone.hang_up().await;
    }
    gateway.records(3).await;
    gateway.settled().await;
}

#[tokio::test]
async fn an_invite_sent_three_times_is_one_call() {
    let gateway = TestGateway::start().await;
    let mut phone = Phone::new(gateway.sip()).await;
    phone.invite("operator", Offer::Pcmu).await;
    phone.invite_again(Offer::Pcmu).await;
    phone.invite_again(Offer::Pcmu).await;
    let answer = phone.final_response().await;
    phone.accept(&answer, Offer::Pcmu).await;
    phone.hear_voice(started()).await;
    assert_eq!(gateway.level(Level::CallsActive), 1);
    phone.hang_up().await;
    gateway.records(1).await;
    gateway.settled().await;
}

#[tokio::test]
async fn packets_leave_in_order_with_no_hole_in_their_numbers() {
    let gateway = TestGateway::start().await;
    let mut phone = Phone::new(gateway.sip()).await;
    phone.dial("operator", Offer::Pcmu).await;
    let greeted = phone.hear_voice(started()).await;
    phone.hear_silence(greeted, Duration::from_millis(500)).await;
    let heard = phone.heard();
    for pair in heard.windows(2) {
        assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1));
        assert_eq!(pair[1].timestamp, pair[0].timestamp.wrapping_add(FRAME as u32));
    }
    phone.hang_up().await;
}

#[tokio::test]
async fn talking_over_the_agent_silences_it_and_is_counted() {
    let gateway = TestGateway::start().await;
    let mut phone = Phone::new(gateway.sip()).await;
    phone.dial("operator", Offer::Pcmu).await;
    let greeted = phone.hear_voice(started()).await;
    phone.say(300.0, Duration::from_secs(1));
    let silent = phone.hear_silence(greeted, Duration::from_millis(300)).await;
    assert!(silent - greeted < Duration::from_millis(1500), "{:?}", silent - greeted);
    phone.hear_voice(silent + Duration::from_millis(300)).await;
    phone.hang_up().await;
    assert_eq!(gateway.records(1).await[0]["barge_ins"], 1);
}

#[tokio::test]
async fn a_digit_is_confirmed_and_star_ends_the_call() {
    let gateway = TestGateway::start().await;
    let mut phone = Phone::new(gateway.sip()).await;
    phone.dial("operator", Offer::Pcmu).await;
    let greeted = phone.hear_voice(started()).await;
    let quiet = phone.hear_silence(greeted, Duration::from_millis(800)).await;
    phone.press('5');
    phone.hear_voice(quiet + Duration::from_millis(800)).await;
    phone.press('*');
    let bye = phone.bye().await;
    assert!(bye.contains("text=\"agent_hung_up\""), "{bye}");
    let record = &gateway.records(1).await[0];
    assert_eq!(record["outcome"]["cause"], "agent_hung_up");
    gateway.settled().await;
}

#[tokio::test]
async fn a_drained_gateway_lets_its_call_finish_and_refuses_new_ones() {
    let gateway = TestGateway::start().await;
    let mut phone = Phone::new(gateway.sip()).await;
    phone.dial("operator", Offer::Pcmu).await;
    phone.hear_voice(started()).await;
    gateway.gateway.drain();
    let mut late = Phone::new(gateway.sip()).await;
    late.invite("operator", Offer::Pcmu).await;
    let refusal = late.final_response().await;
    assert!(
        refusal.starts_with("SIP/2.0 503") && refusal.contains("text=\"draining\""),
        "{refusal}"
    );
    late.acknowledge_refusal(&refusal).await;
    assert_eq!(gateway.level(Level::CallsActive), 1);
    gateway.gateway.finish_calls();
    assert!(phone.bye().await.contains("text=\"drained\""));
    assert!(gateway.gateway.empty_within(Duration::from_secs(5)).await);
    gateway.gateway.stop().await;
}

fn started() -> Instant {
    Instant::now()
}
