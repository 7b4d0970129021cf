//! Tests of what is counted and how it is rendered.

use std::collections::{HashMap, HashSet};

use super::{
    super::{Kind, Metric},
    *,
};
use crate::telemetry::TrunkState;

#[test]
fn a_level_falls_back_when_its_holder_is_dropped_by_a_panic() {
    let metrics = Metrics::new();
    let holder = metrics.clone();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _held = holder.hold(Level::CallsActive);
        assert_eq!(holder.level(Level::CallsActive), 1);
        panic!("the call breaks");
    }));
    assert!(panicked.is_err());
    assert_eq!(metrics.level(Level::CallsActive), 0);
}

#[test]
fn every_metric_of_the_list_is_rendered_with_its_help_and_type_once() {
    let text = busy().render();
    for metric in Metric::ALL {
        let kind = match metric.kind() {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        let name = metric.name();
        assert_eq!(
            text.matches(&format!("# HELP {name} {}\n", metric.help())).count(),
            1,
            "{name}"
        );
        assert_eq!(text.matches(&format!("# TYPE {name} {kind}\n")).count(), 1, "{name}");
    }
}

#[test]
fn every_rendered_series_belongs_to_a_listed_metric_and_carries_exactly_its_labels() {
    let listed: HashMap<_, _> = Metric::ALL.into_iter().map(|metric| (metric.name(), metric)).collect();
    for line in busy().render().lines().filter(|line| !line.starts_with('#')) {
        let (name, labels) = series(line);
        let base = ["_bucket", "_sum", "_count"]
            .into_iter()
            .find_map(|suffix| name.strip_suffix(suffix));
        let metric = listed
            .get(name)
            .or_else(|| listed.get(base?))
            .unwrap_or_else(|| panic!("{line}"));
        let labels: Vec<_> = labels.into_iter().filter(|label| *label != "le").collect();
        let expected: HashSet<_> = metric.labels().iter().copied().collect();
        assert_eq!(labels.iter().copied().collect::<HashSet<_>>(), expected, "{line}");
    }
}

#[test]
fn what_a_peer_makes_up_adds_no_series() {
    let metrics = Metrics::new();
    for n in 0..50 {
        metrics.sip_received(&format!("METHOD{n}"));
        metrics.call_refused(&format!("Not a word {n}"));
    }
    let text = metrics.render();
    assert!(text.contains("patchcord_sip_messages_received_total{method=\"other\"} 50"));
    assert!(text.contains("patchcord_calls_refused_total{reason=\"other\"} 50"));
}

#[test]
fn cpu_time_never_falls_between_scrapes() {
    let metrics = Metrics::new();
    let cpu = |text: String| {
        let line = text
            .lines()
            .find(|line| line.starts_with("process_cpu_seconds_total"))
            .map(str::to_owned);
        line.unwrap().rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    let first = cpu(metrics.render());
    assert!(cpu(metrics.render()) >= first);
}

#[test]
fn a_trunk_name_with_quotes_is_escaped() {
    let metrics = Metrics::new();
    metrics.call_ended("cancelled", "caller", "the \"old\" pbx");
    assert!(metrics.render().contains("trunk=\"the \\\"old\\\" pbx\""));
}

fn busy() -> Metrics {
    let metrics = Metrics::new();
    metrics.recovered(Duration::from_secs(1));
    metrics.filled(Duration::from_secs(1));
    metrics.session_renewal("operator", "ok");
    metrics.warm_session("operator", "taken");
    metrics.backends().note(crate::telemetry::BackendState {
        backend: "operator".to_owned(),
        state: "closed",
        ..Default::default()
    });
    let took = Duration::from_millis(30);
    metrics.call_ended("caller_hung_up", "caller", "lan");
    metrics.call_refused("no_ports");
    metrics.trunks().note(TrunkState {
        trunk: "lan".to_owned(),
        registered: Some(true),
        registered_until: None,
        reachable: Some(true),
        error: String::new(),
    });
    metrics.call_setup(took);
    metrics.responded(took);
    metrics.barged_in(took);
    metrics.recorded(640);
    metrics.recording_lost(took);
    metrics.recording_failed("disk_full");
    metrics.recording_upload("ok");
    metrics.rtp_received(3);
    metrics.rtp_jitter(took);
    metrics.mos("received", "narrowband", 4.2);
    metrics.rtp_round_trip(took);
    metrics.media_diagnosis("no_packets");
    metrics.session_connect("operator", "ok");
    metrics.session_reconnect("operator");
    metrics.unknown_event("operator");
    metrics.unknown_fields("operator", 2);
    metrics.queue_drops(Queue::SessionAudio, 2);
    metrics.worker_lag(took);
    metrics.sip_received("INVITE");
    metrics.sip_refused("unknown_source");
    metrics.sip_dropped("request_rate");
    metrics.tokens("agent", "operator", "input_audio", 12);
    metrics.tool_call("look_up", "ok");
    metrics.transfer("bridge", "ok");
    metrics.transcribed("agent", "operator", took);
    metrics.cost("agent", "operator", "USD", 7);
    metrics.budget_action("day", "warn");
    metrics.webhook_attempt("crm", "ok");
    metrics.webhooks_lost("crm", "expired", 1);
    metrics.webhooks_pending("crm", 3);
    metrics.listener_dropped("too_slow");
    metrics
}

fn series(line: &str) -> (&str, Vec<&str>) {
    let (name, rest) = line.split_at(line.find(['{', ' ']).unwrap());
    let labels = rest
        .strip_prefix('{')
        .map_or("", |rest| rest.rsplit_once('}').unwrap().0);
    (
        name,
        labels
            .split("\",")
            .filter_map(|pair| Some(pair.split_once('=')?.0))
            .collect(),
    )
}

#[test]
fn trunks_are_shown_as_they_are_known() {
    let metrics = Metrics::new();
    let state = |trunk: &str, registered, reachable| TrunkState {
        trunk: trunk.to_owned(),
        registered,
        registered_until: registered.map(|_| Instant::now() + Duration::from_secs(3601)),
        reachable,
        error: String::new(),
    };
    metrics.trunks().note(state("carrier", Some(true), None));
    metrics.trunks().note(state("pbx", None, Some(false)));
    let text = metrics.render();
    assert!(text.contains("\npatchcord_trunk_registered{trunk=\"carrier\"} 1\n"));
    assert!(text.contains("\npatchcord_trunk_registration_expires_seconds{trunk=\"carrier\"} 3600\n"));
    assert!(text.contains("\npatchcord_trunk_reachable{trunk=\"pbx\"} 0\n"));
    assert!(!text.contains("patchcord_trunk_registered{trunk=\"pbx\"}"));
}
