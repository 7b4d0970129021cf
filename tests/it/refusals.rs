//! Calls that are refused say why, with the same word everywhere.

use crate::{
    control::ask,
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
async fn encrypted_audio_is_refused_where_the_trunk_is_never_encrypted() {
    let gateway = TestGateway::start_with(&lan("srtp = \"off\"")).await;
    refused(&gateway, "operator", Offer::Encrypted, 488, "srtp_refused").await;
}

#[tokio::test]
async fn plain_audio_is_refused_where_the_trunk_is_always_encrypted() {
    let gateway = TestGateway::start_with(&lan("srtp = \"required\"")).await;
    refused(&gateway, "operator", Offer::Pcmu, 488, "srtp_required").await;
}

#[tokio::test]
async fn encrypted_audio_in_no_suite_of_the_trunk_is_refused() {
    let gateway = TestGateway::start_with(&lan("srtp_suites = [\"AEAD_AES_128_GCM\"]")).await;
    refused(&gateway, "operator", Offer::Encrypted, 488, "no_common_suite").await;
}

#[tokio::test]
async fn a_codec_the_trunk_does_not_list_is_not_spoken() {
    let gateway = TestGateway::start_with(&lan("codecs = [\"pcma\", \"opus\"]")).await;
    refused(&gateway, "operator", Offer::Pcmu, 488, "no_common_codec").await;
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
async fn a_full_trunk_is_refused_until_its_call_has_gone() {
    let gateway = TestGateway::start_with(&lan("calls_max = 1")).await;
    let mut first = Phone::new(gateway.sip()).await;
    first.dial("operator", Offer::Pcmu).await;
    let mut second = Phone::new(gateway.sip()).await;
    let refusal = refuse(&mut second, "operator", Offer::Pcmu).await;
    assert!(
        refusal.starts_with("SIP/2.0 503") && refusal.contains("Retry-After:"),
        "{refusal}"
    );
    assert!(refusal.contains("text=\"trunk_calls_max\""), "{refusal}");
    let record = gateway.records(1).await.remove(0);
    assert_eq!(record["outcome"]["cause"], "trunk_calls_max");
    let explanation = record["explanation"].as_array().unwrap();
    assert_eq!(explanation.last().unwrap(), "verdict: refused with 503 trunk_calls_max");
    assert!(
        explanation.contains(&"the trunk \"lan\" has 1 calls, and its calls_max is 1".into()),
        "{explanation:?}"
    );
    first.hang_up().await;
    gateway.settled().await;
    let mut third = Phone::new(gateway.sip()).await;
    third.dial("operator", Offer::Pcmu).await;
    third.hang_up().await;
    let records = gateway.records(3).await;
    assert_eq!(records[2]["explanation"].as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn a_running_gateway_explains_with_the_counts_there_are() {
    let gateway = TestGateway::start_with(&lan("calls_max = 1")).await;
    let mut phone = Phone::new(gateway.sip()).await;
    phone.dial("operator", Offer::Pcmu).await;
    let question = r#"{"from":"sip:a@h","to":"sip:operator@h","source":"127.0.0.1"}"#;
    let (status, answer) = ask(&gateway, "POST", "/v1/explain", question).await;
    assert_eq!(
        (status, &answer["reason"]),
        (200, &"trunk_calls_max".into()),
        "{answer}"
    );
    assert_eq!(answer["limits"]["trunk"]["calls_active"], 1);
    phone.hang_up().await;
    gateway.settled().await;
    let (_, answer) = ask(&gateway, "POST", "/v1/explain", question).await;
    assert_eq!(
        (&answer["agent"], &answer["status"]),
        (&"operator".into(), &200.into()),
        "{answer}"
    );
}

#[tokio::test]
async fn calls_faster_than_the_rate_are_refused() {
    let gateway = TestGateway::start_with(&lan("calls_per_s = 1")).await;
    let mut phones = Vec::new();
    for _ in 0..5 {
        phones.push(Phone::new(gateway.sip()).await);
    }
    for phone in &mut phones {
        phone.invite("operator", Offer::Pcmu).await;
    }
    let mut refused = 0;
    for phone in &mut phones {
        let last = phone.final_response().await;
        if last.contains("text=\"calls_rate\"") {
            assert!(
                last.starts_with("SIP/2.0 503") && last.contains("Retry-After:"),
                "{last}"
            );
            phone.acknowledge_refusal(&last).await;
            refused += 1;
        } else {
            phone.accept(&last, Offer::Pcmu).await;
            phone.hang_up().await;
        }
    }
    assert!((1..5).contains(&refused), "{refused}");
    let reasons = gateway.sample("patchcord_calls_refused_total{reason=\"calls_rate\"}");
    assert_eq!(reasons, f64::from(refused));
    gateway.settled().await;
}

#[tokio::test]
async fn what_the_sip_side_refuses_leaves_a_record_when_a_trunk_lists_the_source() {
    let gateway = TestGateway::start_with(&lan("transports = [\"tls\"]")).await;
    let mut phone = Phone::new(gateway.sip()).await;
    let refusal = refuse(&mut phone, "operator", Offer::Pcmu).await;
    assert!(refusal.starts_with("SIP/2.0 403"), "{refusal}");
    let record = gateway.records(1).await.remove(0);
    assert_eq!(record["outcome"]["cause"], "transport_not_allowed");
    assert_eq!(
        (&record["outcome"]["sip_code"], &record["trunk"]),
        (&403.into(), &"lan".into())
    );
    let explanation = record["explanation"].as_array().unwrap();
    assert_eq!(
        explanation.last().unwrap(),
        "verdict: refused with 403 transport_not_allowed"
    );
}

#[tokio::test]
async fn strangers_leave_a_record_only_when_told_to() {
    let far = "[[trunk]]\nname = \"far\"\nfrom = [\"192.0.2.0/24\"]\n";
    for (extra, count) in [("", 0), ("[defence]\nrecord_strangers = true\n", 1)] {
        let gateway = TestGateway::start_with(&format!("{extra}{far}")).await;
        let mut phone = Phone::new(gateway.sip()).await;
        refuse(&mut phone, "operator", Offer::Pcmu).await;
        let records = gateway.records(count).await;
        let causes: Vec<_> = records
            .iter()
            .map(|record| record["outcome"]["cause"].clone())
            .collect();
        assert_eq!(causes, vec!["unknown_source"; count]);
    }
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

/// The trunk of these tests with more settings.
fn lan(settings: &str) -> String {
    format!("[[trunk]]\nname = \"lan\"\nfrom = [\"127.0.0.0/8\"]\n{settings}\n")
}
