//! The handles the gateway counts with, and their rendering for a scrape.
//!
//! A clone is one reference count. What is counted per packet is a plain atomic; what is counted per call looks its
//! labels up under a lock. Everything is counted at the place where it happened; nothing is derived later.

use std::{
    fmt,
    sync::{Arc, PoisonError},
    time::Duration,
};

use prometheus::{IntGauge, TextEncoder};

use super::{
    handles::{Handles, whole},
    process::Process,
};

/// Longest label value that is exported; a longer or ill-formed fixed word counts as `other`.
const WORD_CHARS_MAX: usize = 40;

/// The methods counted by name; every other one counts as `other`, so that a peer cannot make up series.
const METHODS: [&str; 15] = [
    "INVITE",
    "ACK",
    "BYE",
    "CANCEL",
    "OPTIONS",
    "REGISTER",
    "PRACK",
    "UPDATE",
    "INFO",
    "REFER",
    "NOTIFY",
    "SUBSCRIBE",
    "MESSAGE",
    "PUBLISH",
    "response",
];

/// All metrics of one gateway.
#[derive(Clone)]
pub struct Metrics {
    handles: Arc<Handles>,
}

/// A quantity that rises and falls, and is at zero when nothing is left over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Calls up, ringing ones included.
    CallsActive,
    /// Sessions open.
    SessionsActive,
    /// Tasks on the media workers.
    WorkerTasks,
    /// Legs the SIP endpoint holds.
    SipLegs,
    /// SIP dialogs.
    SipDialogs,
    /// SIP transactions.
    SipTransactions,
    /// Stream connections of SIP peers.
    SipConnections,
    /// RTP/RTCP port pairs taken.
    RtpPortsInUse,
}

/// The bounded queues whose overflow is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Queue {
    /// Datagrams read from the SIP sockets.
    SipDatagrams,
    /// Messages and ends of SIP connections.
    SipInbound,
    /// Bytes to be written to one SIP connection.
    SipConnection,
    /// Orders to the SIP driver.
    SipOrders,
    /// What the SIP driver reports to one call.
    LegEvents,
    /// RTP to be sent.
    Rtp,
    /// Caller audio on its way to a backend.
    SessionAudio,
    /// Agent audio waiting to be played.
    Playout,
    /// What the media driver reports to one call.
    CallReports,
    /// What the media driver reports to one session.
    SessionReports,
}

/// One unit of a [`Level`], given back on drop: a panic or a cancelled task cannot leave the gauge wrong.
#[derive(Debug)]
#[must_use = "the level falls again as soon as this is dropped"]
pub struct Held(IntGauge);

impl Metrics {
    /// Metrics at zero, in a registry of their own.
    pub fn new() -> Self {
        let handles = Arc::new(Handles::new());
        handles
            .build_info
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        Self { handles }
    }

    /// Everything in the Prometheus text format; reads the process figures first.
    pub fn render(&self) -> String {
        self.refresh_process();
        let mut text = String::new();
        // Encoding into a string fails only for a family without a name or samples, which the registry does not give.
        if let Err(error) = TextEncoder::new().encode_utf8(&self.handles.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics could not be rendered");
        }
        text
    }

    /// Raises a level by one until the result is dropped.
    pub fn hold(&self, level: Level) -> Held {
        let gauge = self.gauge(level);
        gauge.inc();
        Held(gauge.clone())
    }

    /// Sets a level that somebody else counts.
    pub fn set_level(&self, level: Level, value: usize) {
        self.gauge(level).set(whole(value));
    }

    /// Where a level stands.
    pub fn level(&self, level: Level) -> i64 {
        self.gauge(level).get()
    }

    /// A call ended. `outcome` and `fault` are fixed words; `trunk` is a configured name.
    pub fn call_ended(&self, outcome: &str, fault: &str, trunk: &str) {
        self.handles
            .calls
            .with_label_values(&[word(outcome), word(fault), trunk])
            .inc();
    }

    /// A call was refused for this reason word.
    pub fn call_refused(&self, reason: &str) {
        self.handles.calls_refused.with_label_values(&[word(reason)]).inc();
    }

    /// A call was answered this long after its INVITE.
    pub fn call_setup(&self, took: Duration) {
        self.handles.call_setup.observe(took.as_secs_f64());
    }

    /// The agent's first voice left this long after the caller's last.
    pub fn responded(&self, took: Duration) {
        self.handles.response.observe(took.as_secs_f64());
    }

    /// The agent's last packet left this long after the caller was heard to start speaking.
    pub fn barged_in(&self, took: Duration) {
        self.handles.barge_in.observe(took.as_secs_f64());
    }

    /// Packets accepted from a caller.
    pub fn rtp_received(&self, packets: u64) {
        self.handles.rtp_packets_received.inc_by(packets);
    }

    /// Packets sent to a caller.
    pub fn rtp_sent(&self, packets: u64) {
        self.handles.rtp_packets_sent.inc_by(packets);
    }

    /// Packets of a caller that never came.
    pub fn rtp_lost(&self, packets: u64) {
        self.handles.rtp_packets_lost.inc_by(packets);
    }

    /// Packets that came from elsewhere and were dropped.
    pub fn rtp_foreign(&self, packets: u64) {
        self.handles.rtp_packets_foreign.inc_by(packets);
    }

    /// A call ended with this interarrival jitter.
    pub fn rtp_jitter(&self, jitter: Duration) {
        self.handles.rtp_jitter.observe(jitter.as_secs_f64());
    }

    /// A session was dialled; `result` is `ok` or a fixed word for what went wrong.
    pub fn session_connect(&self, backend: &str, result: &str) {
        self.handles
            .session_connects
            .with_label_values(&[backend, word(result)])
            .inc();
    }

    /// A session was dialled again in the middle of a call.
    pub fn session_reconnect(&self, backend: &str) {
        self.handles.session_reconnects.with_label_values(&[backend]).inc();
    }

    /// An item was dropped because this queue was full.
    pub fn queue_drop(&self, queue: Queue) {
        self.queue_drops(queue, 1);
    }

    /// Items were dropped because this queue was full. Does nothing for none.
    pub fn queue_drops(&self, queue: Queue, items: u64) {
        if items > 0 {
            self.handles
                .queue_drops
                .with_label_values(&[queue.word()])
                .inc_by(items);
        }
    }

    /// What the SIP endpoint holds now.
    pub fn sip_counts(&self, legs: usize, dialogs: usize, transactions: usize) {
        self.set_level(Level::SipLegs, legs);
        self.set_level(Level::SipDialogs, dialogs);
        self.set_level(Level::SipTransactions, transactions);
    }

    /// How many stream connections SIP peers have open.
    pub fn sip_connections(&self, open: usize) {
        self.set_level(Level::SipConnections, open);
    }

    /// A media worker's timer fired this late.
    pub fn worker_lag(&self, late: Duration) {
        self.handles.worker_lag.observe(late.as_secs_f64());
    }

    /// A SIP message came in: the method of a request, or `response`.
    pub fn sip_received(&self, method: &str) {
        let known = METHODS.into_iter().find(|known| *known == method).unwrap_or("other");
        self.handles.sip_messages_received.with_label_values(&[known]).inc();
    }

    /// A SIP request was refused before it became a call.
    pub fn sip_refused(&self, reason: &str) {
        self.handles.sip_refused.with_label_values(&[word(reason)]).inc();
    }

    /// A backend counted tokens of this kind, a fixed word such as `input_audio`.
    pub fn tokens(&self, backend: &str, kind: &'static str, tokens: u64) {
        self.handles.tokens.with_label_values(&[backend, kind]).inc_by(tokens);
    }

    /// Call records were written.
    pub fn records_written(&self, records: u64) {
        self.handles.records_written.inc_by(records);
    }

    /// An attempt to write call records failed.
    pub fn record_failed(&self) {
        self.handles.records_failed.inc();
    }

    /// A caller pressed a key.
    pub fn dtmf_digit(&self) {
        self.handles.dtmf_digits.inc();
    }

    fn gauge(&self, level: Level) -> &IntGauge {
        match level {
            Level::CallsActive => &self.handles.calls_active,
            Level::SessionsActive => &self.handles.sessions_active,
            Level::WorkerTasks => &self.handles.worker_tasks,
            Level::SipLegs => &self.handles.sip_legs,
            Level::SipDialogs => &self.handles.sip_dialogs,
            Level::SipTransactions => &self.handles.sip_transactions,
            Level::SipConnections => &self.handles.sip_connections,
            Level::RtpPortsInUse => &self.handles.rtp_ports_in_use,
        }
    }

    fn refresh_process(&self) {
        // One scrape at a time: the CPU counter is moved by the difference to what it shows.
        let metrics = self.handles.process.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(process) = Process::read() {
            metrics.show(&process);
        }
    }
}

impl Queue {
    fn word(self) -> &'static str {
        match self {
            Self::SipDatagrams => "sip_datagrams",
            Self::SipInbound => "sip_inbound",
            Self::SipConnection => "sip_connection",
            Self::SipOrders => "sip_orders",
            Self::LegEvents => "leg_events",
            Self::Rtp => "rtp",
            Self::SessionAudio => "session_audio",
            Self::Playout => "playout",
            Self::CallReports => "call_reports",
            Self::SessionReports => "session_reports",
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A fixed word as a label value; what is no such word counts as `other`.
fn word(text: &str) -> &str {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if (1..=WORD_CHARS_MAX).contains(&text.len()) && text.bytes().all(is_word) {
        text
    } else {
        "other"
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::{
        super::metric::{Kind, Metric},
        *,
    };

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
        let took = Duration::from_millis(30);
        metrics.call_ended("caller_hung_up", "caller", "lan");
        metrics.call_refused("no_ports");
        metrics.call_setup(took);
        metrics.responded(took);
        metrics.barged_in(took);
        metrics.rtp_received(3);
        metrics.rtp_jitter(took);
        metrics.session_connect("operator", "ok");
        metrics.session_reconnect("operator");
        metrics.queue_drops(Queue::SessionAudio, 2);
        metrics.worker_lag(took);
        metrics.sip_received("INVITE");
        metrics.sip_refused("unknown_source");
        metrics.tokens("operator", "input_audio", 12);
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
}
