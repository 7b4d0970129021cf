//! What calls cost, and budgets that end them, move them on and refuse them.

use std::time::{Duration, Instant};

use crate::{
    control::ask,
    gateway::TestGateway,
    phone::{Offer, Phone},
};

/// A price at which the first sentence costs more than a cent, and a backend that costs nothing.
const PRICED: &str = "[prices.dear]\noutput_audio = 10000\n[backends.dear]\nkind = \"operator\"\nprices = \"dear\"\n\
                      [backends.free]\nkind = \"operator\"\n\
                      [agents.operator]\nbackends = [\"dear\", \"free\"]\ngreeting = \"Hello.\"\n";

#[tokio::test]
async fn a_spent_budget_ends_the_call_after_a_goodbye_and_refuses_the_next_also_after_a_restart() {
    let config = format!("{PRICED}[budgets.today]\nscope = \"day\"\nmax = 0.01\ngoodbye = \"Goodbye.\"\n");
    let gateway = TestGateway::start_with(&config).await;
    let mut phone = Phone::new(gateway.sip()).await;
    phone.dial("operator", Offer::Pcmu).await;
    phone.hear_voice(Instant::now()).await;
    let (_, list) = ask(&gateway, "GET", "/v1/calls", "").await;
    let id = list["calls"][0]["id"].as_str().unwrap().to_owned();
    let bye = phone.bye().await;
    assert!(bye.contains("text=\"budget_spent\""), "{bye}");
    let record = &gateway.records(1).await[0];
    assert_eq!(record["outcome"]["cause"], "budget_spent");
    assert_eq!(record["spend"][0]["backend"], "dear");
    assert_eq!(record["cost"][0]["currency"], "USD");
    let spoken = record["tokens"]["output_audio"].as_u64().unwrap();
    assert_eq!(record["cost"][0]["micros"].as_u64(), Some(spoken * 10_000));
    let (_, call) = ask(&gateway, "GET", &format!("/v1/calls/{id}"), "").await;
    assert_eq!(call["cost"], record["cost"]);
    for series in [
        "patchcord_budget_actions_total{action=\"end\",budget=\"today\"}",
        "patchcord_cost_total{agent=\"operator\",backend=\"dear\",currency=\"USD\"}",
        "patchcord_tokens_total{agent=\"operator\",backend=\"dear\",kind=\"output_audio\"}",
    ] {
        assert!(gateway.sample(series) > 0.0, "{series}");
    }
    refused(&gateway).await;
    gateway.settled().await;
    gateway.gateway.stop().await;
    let again = gateway.again(&config).await;
    refused(&again).await;
    again.gateway.stop().await;
}

#[tokio::test]
async fn a_call_moves_to_the_next_backend_before_its_budget_is_spent_and_goes_on() {
    let config = format!("{PRICED}[budgets.each]\nmax = 0.01\ndowngrade_percent = 50\nend_percent = 0\n");
    let gateway = TestGateway::start_with(&config).await;
    let mut phone = Phone::new(gateway.sip()).await;
    phone.dial("operator", Offer::Pcmu).await;
    let connected = "patchcord_session_renewals_total{backend=\"free\",result=\"ok\"}";
    gateway
        .until("the call is on the next backend", || gateway.sample(connected) > 0.0)
        .await;
    phone.say(440.0, Duration::from_secs(1));
    let answered = "patchcord_tokens_total{agent=\"operator\",backend=\"free\",kind=\"output_audio\"}";
    gateway
        .until("the next backend answers", || gateway.sample(answered) > 0.0)
        .await;
    phone.hang_up().await;
    let record = &gateway.records(1).await[0];
    assert_eq!(record["outcome"]["cause"], "caller_hung_up");
    assert_eq!(record["backend"], "free");
    let used: Vec<_> = record["spend"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["backend"])
        .collect();
    assert_eq!(used, ["dear", "free"]);
    assert_eq!(record["spend"][1]["cost"], serde_json::Value::Null);
    gateway.settled().await;
}

async fn refused(gateway: &TestGateway) {
    let mut phone = Phone::new(gateway.sip()).await;
    phone.invite("operator", Offer::Pcmu).await;
    let refusal = phone.final_response().await;
    assert!(
        refusal.starts_with("SIP/2.0 503") && refusal.contains("text=\"budget_spent\""),
        "{refusal}"
    );
    phone.acknowledge_refusal(&refusal).await;
}
