//! The probe against the operator, embedded and over a socket, in every dialect.

use std::collections::BTreeMap;

use super::*;
use crate::{config, drivers::operator};

#[tokio::test]
async fn the_embedded_operator_takes_everything() {
    let report = probed("kind = \"operator\"").await;
    assert_eq!(
        (&report["speaks"], &report["dialect"]),
        (&json!(true), &json!("ga")),
        "{report}"
    );
    assert_eq!(report["tool_called"], "hang_up");
    assert_eq!((&report["refused"], &report["unknown_events"]), (&json!([]), &json!(0)));
    assert!(report["first_audio_ms"].as_f64() > Some(0.0));
    let all: std::collections::BTreeSet<&str> = report.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(all, ORDER.iter().copied().collect(), "everything is told in either way");
    let taken = |formats: &Value| {
        formats
            .as_array()
            .unwrap()
            .iter()
            .all(|line| line.as_str().unwrap().ends_with("taken"))
    };
    assert!(taken(&report["formats"]), "{report}");
}

#[tokio::test]
async fn every_dialect_speaks_and_calls_over_a_socket() {
    let address = operator("").await;
    for (dialect, more, path) in [
        ("ga", "", "realtime"),
        ("beta", "dialect = \"beta\"", "realtime"),
        ("live", "dialect = \"live\"\ndelegation_model = \"t\"", "live/sessions"),
    ] {
        let report = probed(&format!(
            "kind = \"realtime\"\nurl = \"ws://{address}/v1/{path}\"\nmodel = \"m\"\n{more}"
        ))
        .await;
        assert_eq!(
            (&report["speaks"], &report["dialect"]),
            (&json!(true), &json!(dialect)),
            "{report}"
        );
        assert_eq!(
            (&report["tool_called"], &report["refused"]),
            (&json!("hang_up"), &json!([])),
            "{report}"
        );
    }
}

#[tokio::test]
async fn a_backend_that_does_not_speak_says_why() {
    let address = operator("refuse:401").await;
    let report = probed(&format!("kind = \"realtime\"\nurl = \"ws://{address}/v1/realtime\"")).await;
    assert_eq!(report["speaks"], false);
    assert!(
        report["failure"]
            .as_str()
            .unwrap()
            .starts_with("refused with HTTP status 401"),
        "{report}"
    );
}

async fn operator(faults: &str) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let settings = operator::Settings::with_faults(faults.parse().unwrap());
    tokio::spawn(operator::listen(listener, settings, std::future::pending()));
    address
}

async fn probed(backend: &str) -> Value {
    let text = format!("[backends.x]\n{backend}\n");
    let config = config::load("t.toml", &text, &BTreeMap::new(), &|_| {
        Err(std::io::ErrorKind::NotFound.into())
    })
    .unwrap();
    let backend = config
        .ready_backend("x", &BTreeMap::new(), &|_| Err(std::io::ErrorKind::NotFound.into()))
        .unwrap();
    let probe = Probe {
        backend: "x".to_owned(),
        config: None,
        json: true,
        events: None,
    };
    let local = tokio::task::LocalSet::new();
    let findings = local.run_until(find_out(&probe, &config, &backend)).await.unwrap();
    report(&backend, &findings)
}
