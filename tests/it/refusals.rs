//! Calls that are refused say why, with the same word everywhere.

use crate::{
    gateway::{TestBackend, TestGateway, on_backend},
    phone::{Offer, Phone},
};

#[tokio::test]
async fn a_number_nobody_serves_is_not_found() {
    let gateway = TestGateway::start_with("[[route]]\nto = \"100\"\nagent = \"operator\"\n").await;
    refused(&gateway, "200", Offer::Pcmu, 404, "no_route").await;
}

#[tokio::test]
async fn an_offer_with_no_codec_of_ours_is_not_acceptable() {
    let gateway = TestGateway::start().await;
    refused(&gateway, "operator", Offer::Unknown, 488, "no_common_codec").await;
}

#[tokio::test]
async fn one_call_more_than_allowed_is_refused() {
    let gateway = TestGateway::start_with("[limits]\ncalls_max = 1\nlag_ms_max = 0\n").await;
    let mut first = Phone::new(gateway.sip()).await;
    first.dial("operator", Offer::Pcmu).await;
    let mut second = Phone::new(gateway.sip()).await;
    let refusal = refuse(&mut second, "operator", Offer::Pcmu).await;
    assert!(
        refusal.starts_with("SIP/2.0 503") && refusal.contains("Retry-After:"),
        "{refusal}"
    );
    first.hang_up().await;
}

#[tokio::test]
async fn a_backend_that_refuses_for_good_refuses_the_call() {
    let backend = TestBackend::start("refuse:401").await;
    let gateway = TestGateway::start_on(&backend).await;
    refused(&gateway, "operator", Offer::Pcmu, 503, "session_unavailable").await;
}

#[tokio::test]
async fn an_unknown_source_is_refused_and_leaves_nothing_behind() {
    let gateway = TestGateway::start_with("[[trunk]]\nname = \"far\"\nfrom = [\"192.0.2.0/24\"]\n").await;
    let mut phone = Phone::new(gateway.sip()).await;
    let refusal = refuse(&mut phone, "operator", Offer::Pcmu).await;
    assert!(
        refusal.starts_with("SIP/2.0 403") && refusal.contains("text=\"unknown_source\""),
        "{refusal}"
    );
    assert_eq!(gateway.sample("patchcord_sip_transactions"), 0.0);
    assert_eq!(
        gateway.sample("patchcord_sip_refused_total{reason=\"unknown_source\"}"),
        1.0
    );
}

#[tokio::test]
async fn a_caller_who_gives_up_while_it_rings_is_told_487() {
    let backend = TestBackend::start("stall@0").await;
    let gateway = TestGateway::start_with(&on_backend(backend.address)).await;
    let mut phone = Phone::new(gateway.sip()).await;
    phone.invite("operator", Offer::Pcmu).await;
    phone.response(180).await;
    phone.cancel().await;
    let refusal = phone.response(487).await;
    phone.acknowledge_refusal(&refusal).await;
    let record = &gateway.records(1).await[0];
    assert_eq!(record["outcome"]["cause"], "cancelled");
    assert_eq!(record["outcome"]["sip_code"], 487);
    gateway.settled().await;
}

#[tokio::test]
async fn a_cancel_right_behind_the_invite_is_a_cancelled_call() {
    let gateway = TestGateway::start().await;
    for _ in 0..10 {
        let mut phone = Phone::new(gateway.sip()).await;
        phone.invite("operator", Offer::Pcmu).await;
        phone.cancel().await;
        let refusal = phone.response(487).await;
        phone.acknowledge_refusal(&refusal).await;
    }
    for record in gateway.records(10).await {
        assert_eq!(record["outcome"]["cause"], "cancelled", "{record}");
        assert_eq!(record["outcome"]["sip_code"], 487);
    }
    gateway.settled().await;
}

async fn refused(gateway: &TestGateway, user: &str, offer: Offer, status: u16, word: &str) {
    let mut phone = Phone::new(gateway.sip()).await;
    let refusal = refuse(&mut phone, user, offer).await;
    assert!(refusal.starts_with(&format!("SIP/2.0 {status}")), "{refusal}");
    assert!(refusal.contains(&format!("text=\"{word}\"")), "{refusal}");
    let record = &gateway.records(1).await[0];
    assert_eq!(record["outcome"]["cause"], word);
    assert_eq!(record["outcome"]["sip_code"], status);
    assert_eq!(
        gateway.sample(&format!("patchcord_calls_refused_total{{reason=\"{word}\"}}")),
        1.0
    );
    gateway.settled().await;
}

async fn refuse(phone: &mut Phone, user: &str, offer: Offer) -> String {
    phone.invite(user, offer).await;
    let refusal = phone.final_response().await;
    phone.acknowledge_refusal(&refusal).await;
    refusal
}
