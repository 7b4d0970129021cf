//! Faults on demand, and the end of a session.

use serde_json::json;

use super::Client;
use super::client::{find, has, kinds, refusal};
use crate::operator::{Output, Settings};

#[test]
fn a_connection_drops_or_closes_at_its_time() {
    let mut client = Client::with_faults("drop@2000");
    client.wait(5_000);
    assert_eq!(client.end, Some((2_000, Output::Drop)));
    let mut client = Client::with_faults("close:1013@300");
    client.wait(299);
    assert_eq!(client.end, None);
    client.wait(1);
    assert!(matches!(client.end, Some((300, Output::Close { code: 1013, .. }))));
    assert!(
        client.send(json!({"type": "response.create"})).is_empty(),
        "a closed session says nothing more"
    );
}

#[test]
fn a_stalled_connection_stays_open_and_silent() {
    let mut client = Client::with_faults("stall@200,drop@3000");
    client.send(json!({"type": "response.create"}));
    assert!(has(&client.wait(199), "response.output_audio.delta"));
    assert!(client.wait(2_000).is_empty());
    assert!(client.send(json!({"type": "poem"})).is_empty());
    assert_eq!(client.end, None);
    client.wait(2_000);
    assert_eq!(client.end, Some((3_000, Output::Drop)));
}

#[test]
fn an_error_has_the_code_it_was_told_and_garbage_is_no_json() {
    let mut client = Client::with_faults("error:insufficient_quota@100,garbage@200");
    let events = client.wait(150);
    assert_eq!(refusal(&events).0, "insufficient_quota");
    assert_eq!(events[0]["error"]["type"], "insufficient_quota");
    assert!(client.wait(100).is_empty());
    assert_eq!(client.garbage.len(), 2);
}

#[test]
fn a_slow_session_thinks_longer_about_every_response() {
    let mut client = Client::with_faults("slow:800");
    for _ in 0..2 {
        client.send(json!({"type": "response.create"}));
        assert!(client.wait(859).is_empty());
        assert!(has(&client.wait(1), "response.output_audio.delta"));
        client.wait(10_000);
    }
}

#[test]
fn faults_can_be_ordered_when_that_is_allowed() {
    let mut client = Client::with(Settings {
        control: true,
        ..Settings::default()
    });
    client.wait(1_000);
    let order = |fault: &str| json!({"type": "operator.fault", "fault": fault});
    assert_eq!(refusal(&client.send(order("explode"))).0, "invalid_value");
    assert_eq!(refusal(&client.send(order("refuse"))).0, "invalid_value");
    assert_eq!(refusal(&client.send(order("error:server_error"))).0, "server_error");
    assert!(client.send(order("drop@500")).is_empty());
    client.wait(1_000);
    assert_eq!(client.end, Some((1_500, Output::Drop)));
}

#[test]
fn a_session_ends_after_an_hour_with_the_official_words() {
    let mut client = Client::with(Settings {
        unix_s: 1_000,
        ..Settings::default()
    });
    assert_eq!(client.events[0].1["session"]["expires_at"], 4_600);
    let events = client.wait(3_600_000);
    assert_eq!(kinds(&events), ["error"]);
    assert_eq!(find(&events, "error")["error"]["code"], "session_expired");
    let reason = "Your session hit the maximum duration of 60 minutes.".to_owned();
    assert_eq!(client.end, Some((3_600_000, Output::Close { code: 1001, reason })));
}
