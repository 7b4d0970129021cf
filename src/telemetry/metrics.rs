//! The handles the gateway counts with, and their rendering for a scrape.
//!
//! A clone is one reference count. What is counted per packet is a plain atomic; what is counted per call looks its
//! labels up under a lock. Everything is counted at the place where it happened; nothing is derived later.

use std::{
    fmt,
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use prometheus::{IntGauge, TextEncoder};

mod accounts;

use super::{
    backends::Backends,
    handles::{Handles, whole},
    process::Process,
    trunks::Trunks,
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
    /// Contacts of phones that are registered here.
    RegistrarContacts,
    /// RTP/RTCP port pairs taken.
    RtpPortsInUse,
    /// Recordings being made.
    RecordingsActive,
    /// Finished recordings that wait to be uploaded.
    RecordingUploadsPending,
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
    /// New calls on their way to admission.
    IncomingCalls,
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
    /// Records of calls the SIP side refused.
    RefusalRecords,
    /// Webhooks to be written to the disk.
    Webhooks,
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
        self.refresh_trunks(Instant::now());
        self.refresh_backends();
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

    /// A caller heard the next session this long after the last was lost.
    pub fn recovered(&self, took: Duration) {
        self.handles.recovery.observe(took.as_secs_f64());
    }

    /// A caller heard words of ours this long after the session was lost.
    pub fn filled(&self, took: Duration) {
        self.handles.filler.observe(took.as_secs_f64());
    }

    /// A session that was made before there was a call for it is there no more: it was `taken`, `retired` or `lost`.
    pub fn warm_session(&self, backend: &str, result: &str) {
        self.handles
            .warm_sessions
            .with_label_values(&[backend, word(result)])
            .inc();
    }

    /// A session was to be replaced in the middle of a call; `result` is `ok` or a fixed word for what went wrong.
    pub fn session_renewal(&self, backend: &str, result: &str) {
        self.handles.renewals.with_label_values(&[backend, word(result)]).inc();
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

    /// A call ended whose sound in this direction (`received` or `sent`) was so good on this scale; all fixed words.
    pub fn mos(&self, direction: &str, scale: &str, mos: f64) {
        self.handles.mos.with_label_values(&[direction, scale]).observe(mos);
    }

    /// A call ended with this round trip.
    pub fn rtp_round_trip(&self, round_trip: Duration) {
        self.handles.rtp_round_trip.observe(round_trip.as_secs_f64());
    }

    /// Something is wrong with the media of a call.
    pub fn media_diagnosis(&self, cause: &str) {
        self.handles.media_diagnoses.with_label_values(&[word(cause)]).inc();
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

    /// A session sent an event of a type that is not known here.
    pub fn unknown_event(&self, backend: &str) {
        self.handles
            .session_unknown
            .with_label_values(&[backend, "event"])
            .inc();
    }

    /// An event of a session had this many members that are not known here.
    pub fn unknown_fields(&self, backend: &str, count: u32) {
        let counter = self.handles.session_unknown.with_label_values(&[backend, "field"]);
        counter.inc_by(u64::from(count));
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

    /// How late the timers of the latest thread fire.
    pub fn lag(&self, late: Duration) {
        self.handles.lag.set(late.as_secs_f64());
    }

    /// A SIP message came in: the method of a request, or `response`.
    pub fn sip_received(&self, method: &str) {
        let known = METHODS.into_iter().find(|known| *known == method).unwrap_or("other");
        self.handles.sip_messages_received.with_label_values(&[known]).inc();
    }

    /// A SIP request was refused before it became a call, or a connection came to nothing.
    pub fn sip_refused(&self, reason: &str) {
        self.handles.sip_refused.with_label_values(&[word(reason)]).inc();
    }

    /// A SIP message was dropped without an answer.
    pub fn sip_dropped(&self, reason: &str) {
        self.handles.sip_dropped.with_label_values(&[word(reason)]).inc();
    }

    /// Call records were written.
    pub fn records_written(&self, records: u64) {
        self.handles.records_written.inc_by(records);
    }

    /// An attempt to write call records failed.
    pub fn record_failed(&self) {
        self.handles.records_failed.inc();
    }

    /// So many bytes of sound were recorded.
    pub fn recorded(&self, bytes: u64) {
        self.handles.recording_bytes.inc_by(bytes);
    }

    /// So much of a recording is silence because there was no room for the sound.
    pub fn recording_lost(&self, sound: Duration) {
        self.handles.recording_lost.inc_by(sound.as_secs_f64());
    }

    /// A recording could not be begun, or ended before its call, for this reason word.
    pub fn recording_failed(&self, reason: &str) {
        self.handles.recordings_failed.with_label_values(&[word(reason)]).inc();
    }

    /// An attempt to upload a recording; `result` is `ok` or `failed`.
    pub fn recording_upload(&self, result: &str) {
        self.handles.recording_uploads.with_label_values(&[word(result)]).inc();
    }

    /// A caller pressed a key.
    pub fn dtmf_digit(&self) {
        self.handles.dtmf_digits.inc();
    }

    /// A tool call ended; `tool` is a name of the configuration, `result` a fixed word.
    pub fn tool_call(&self, tool: &str, result: &'static str) {
        self.handles.tool_calls.with_label_values(&[tool, result]).inc();
    }

    /// A transfer ended this way, with this result; both are fixed words.
    pub fn transfer(&self, way: &'static str, result: &'static str) {
        self.handles.transfers.with_label_values(&[way, result]).inc();
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
            Level::RegistrarContacts => &self.handles.registrar_contacts,
            Level::RtpPortsInUse => &self.handles.rtp_ports_in_use,
            Level::RecordingsActive => &self.handles.recordings_active,
            Level::RecordingUploadsPending => &self.handles.recording_uploads_pending,
        }
    }

    /// What is known of the backends.
    pub fn backends(&self) -> &Backends {
        &self.handles.backends
    }

    fn refresh_backends(&self) {
        for state in self.handles.backends.snapshot() {
            let backend = [state.backend.as_str()];
            self.handles
                .backend_up
                .with_label_values(&backend)
                .set(state.is_up().into());
            let warm = i64::try_from(state.warm).unwrap_or(i64::MAX);
            self.handles.backend_warm.with_label_values(&backend).set(warm);
        }
    }

    /// What is known of the trunks.
    pub fn trunks(&self) -> &Trunks {
        &self.handles.trunks
    }

    /// What is not known of a trunk is not shown.
    fn refresh_trunks(&self, now: Instant) {
        for state in self.handles.trunks.snapshot() {
            let trunk = [state.trunk.as_str()];
            if let Some(registered) = state.registered {
                let expires = state.expires_in(now).unwrap_or_default();
                self.handles
                    .trunk_registered
                    .with_label_values(&trunk)
                    .set(registered.into());
                let gauge = self.handles.trunk_registration_expires.with_label_values(&trunk);
                gauge.set(whole(expires.as_secs()));
            }
            if let Some(reachable) = state.reachable {
                self.handles
                    .trunk_reachable
                    .with_label_values(&trunk)
                    .set(reachable.into());
            }
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
            Self::IncomingCalls => "incoming_calls",
            Self::LegEvents => "leg_events",
            Self::Rtp => "rtp",
            Self::SessionAudio => "session_audio",
            Self::Playout => "playout",
            Self::CallReports => "call_reports",
            Self::SessionReports => "session_reports",
            Self::RefusalRecords => "refusal_records",
            Self::Webhooks => "webhooks",
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
mod tests;
