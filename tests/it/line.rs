//! Calls of which one side does not hear the other, and how they say so.

use std::time::{Duration, Instant};

use patchcord::telemetry::Level;
use serde_json::Value;

use crate::{
    control::ask,
    gateway::TestGateway,
    phone::{Offer, PATIENCE, Phone},
};

#[tokio::test]
async fn a_caller_that_sends_nothing_is_diagnosed_and_cured() {
    let gateway = TestGateway::start().await;
    let mut phone = Phone::new(gateway.sip()).await;
    phone.shut_mouth(true);
    phone.dial("operator", Offer::Pcmu).await;
    diagnosed(&gateway, "no_packets").await;
    phone.shut_mouth(false);
    phone.say(440.0, Duration::from_secs(1));
    // Told as over only by its record: nothing else is wrong with this call.
    phone.hear_voice(Instant::now()).await;
    phone.hang_up().await;
    let record = &gateway.records(1).await[0];
    let told = diagnosis(record, "no_packets");
    assert_eq!(told["times"], 1);
    assert!((1..30_000).contains(&told["total_ms"].as_u64().unwrap()), "{told}");
    gateway.settled().await;
}

#[tokio::test]
async fn packets_from_elsewhere_are_diagnosed_until_they_are_taken() {
    let gateway = TestGateway::start().await;
    let mut phone = Phone::new(gateway.sip()).await;
    phone.dial("operator", Offer::Pcmu).await;
    phone.hear_voice(Instant::now()).await;
    phone.move_mouth().await;
    diagnosed(&gateway, "wrong_source").await;
    phone.hang_up().await;
    let record = &gateway.records(1).await[0];
    assert_eq!(diagnosis(record, "wrong_source")["times"], 1);
    assert!(record["rtp"]["foreign"].as_u64().unwrap() > 50, "{record}");
    gateway.settled().await;
}

#[tokio::test]
async fn a_phone_whose_port_is_closed_is_diagnosed_and_the_call_ends_in_time() {
    let gateway = TestGateway::start_with("[media]\nunheard_timeout_s = 2\n").await;
    let mut phone = Phone::new(gateway.sip()).await;
    phone.dial("operator", Offer::Pcmu).await;
    phone.hear_voice(Instant::now()).await;
    phone.close_rtp().await;
    diagnosed(&gateway, "refused").await;
    assert_eq!(gateway.level(Level::CallsActive), 1);
    let bye = phone.bye().await;
    assert!(bye.contains("unheard"), "{bye}");
    let record = &gateway.records(1).await[0];
    assert_eq!(record["outcome"]["cause"], "unheard");
    assert_eq!(diagnosis(record, "refused")["times"], 1);
    gateway.settled().await;
}

#[tokio::test]
async fn a_key_is_counted_and_masked_in_the_record_and_the_call_says_how_it_sounded() {
    let gateway = TestGateway::start().await;
    let mut phone = Phone::new(gateway.sip()).await;
    phone.dial("operator", Offer::Pcmu).await;
    phone.hear_voice(Instant::now()).await;
    phone.press('5');
    gateway
        .until("the key is counted", || {
            gateway.sample("patchcord_dtmf_digits_total") >= 1.0
        })
        .await;
    // The first window of five seconds.
    let scored = async {
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        while ask(&gateway, "GET", "/v1/calls", "").await.1["calls"][0]["quality"].is_null() {
            tick.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, scored)
        .await
        .expect("the call is scored");
    phone.hang_up().await;
    let record = &gateway.records(1).await[0];
    assert_eq!(record["digits"], 1);
    assert_eq!(record["dtmf"], "*");
    let received = &record["quality"]["received"];
    assert_eq!(received["codec"], "PCMU");
    assert_eq!(received["scale"], "narrowband");
    assert!(received["mos_avg"].as_f64().unwrap() > 4.2, "{record}");
    assert!(gateway.sample("patchcord_mos_count{direction=\"received\",scale=\"narrowband\"}") >= 1.0);
    gateway.settled().await;
}

async fn diagnosed(gateway: &TestGateway, cause: &str) {
    let series = format!("patchcord_media_diagnoses_total{{cause=\"{cause}\"}}");
    gateway.until(cause, || gateway.sample(&series) >= 1.0).await;
}

fn diagnosis<'r>(record: &'r Value, cause: &str) -> &'r Value {
    let all = record["diagnoses"].as_array().unwrap();
    let found = all.iter().find(|diagnosis| diagnosis["cause"] == cause);
    found.unwrap_or_else(|| panic!("no {cause}: {record}"))
}
