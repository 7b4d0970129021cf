//! The one list of metric names, with their help texts, kinds, labels and buckets.
//!
//! Label values come from the configuration (`trunk`, `backend`) or from fixed words (everything else), so the number
//! of series is bounded by the configuration file. Names follow the Prometheus conventions: base units, `_total` for
//! counters, nothing else.

use row::{
    BARGE_IN_SECONDS, CALL_SETUP_SECONDS, JITTER_SECONDS, LAG_SECONDS, MOS, RECOVERY_SECONDS, RESPONSE_SECONDS,
    ROUND_TRIP_SECONDS, Row, counter, gauge, histogram,
};

mod accounts;
mod row;

/// One metric the gateway exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Metric {
    /// Calls up now.
    CallsActive,
    /// Calls ended.
    Calls,
    /// Calls refused.
    CallsRefused,
    /// INVITE to 200.
    CallSetup,
    /// Last caller voice to first agent voice.
    Response,
    /// Caller starts speaking to agent silent.
    BargeIn,
    /// RTP in.
    RtpPacketsReceived,
    /// RTP out.
    RtpPacketsSent,
    /// RTP that never came.
    RtpPacketsLost,
    /// RTP from elsewhere.
    RtpPacketsForeign,
    /// Interarrival jitter at the end of a call.
    RtpJitter,
    /// How a call sounded.
    Mos,
    /// Round trips by RTCP.
    RtpRoundTrip,
    /// What was wrong with lines.
    MediaDiagnoses,
    /// Sessions connected or refused.
    SessionConnects,
    /// Sessions dialled again in the middle of a call.
    SessionReconnects,
    /// What sessions say that nobody here knows.
    SessionUnknown,
    /// Sessions open now.
    SessionsActive,
    /// Items dropped at full queues.
    QueueDrops,
    /// How late a media worker's timers fire.
    WorkerLag,
    /// How late the latest thread is.
    Lag,
    /// Tasks on the media workers.
    WorkerTasks,
    /// SIP legs.
    SipLegs,
    /// SIP dialogs.
    SipDialogs,
    /// SIP transactions.
    SipTransactions,
    /// SIP connections.
    SipConnections,
    /// SIP messages in.
    SipMessagesReceived,
    /// SIP requests refused before there was a call, and connections that came to nothing.
    SipRefused,
    /// Whether we are registered at a trunk.
    TrunkRegistered,
    /// How long a registration of ours still lasts.
    TrunkRegistrationExpires,
    /// Whether a trunk answers our OPTIONS.
    TrunkReachable,
    /// Whether calls dial a backend.
    BackendUp,
    /// Sessions that wait for calls.
    BackendWarm,
    /// What became of sessions that waited for calls.
    WarmSessions,
    /// Session lost to the next one heard.
    Recovery,
    /// Session lost to words of ours heard.
    Filler,
    /// Sessions replaced behind the caller's back.
    Renewals,
    /// Contacts of phones that registered here.
    RegistrarContacts,
    /// SIP messages dropped unread.
    SipDropped,
    /// RTP ports in use.
    RtpPortsInUse,
    /// Tokens the backends counted.
    Tokens,
    /// Call records written.
    RecordsWritten,
    /// Failed attempts to write a call record.
    RecordsFailed,
    /// Recordings being made now.
    RecordingsActive,
    /// Bytes of sound recorded.
    RecordingBytes,
    /// Sound that is silence in a recording for want of room.
    RecordingLost,
    /// Recordings that are not whole.
    RecordingsFailed,
    /// Recordings that wait to be uploaded.
    RecordingUploadsPending,
    /// Attempts to upload a recording.
    RecordingUploads,
    /// Audio written down by backends that count its length.
    TranscriptionSeconds,
    /// What calls cost.
    Cost,
    /// What budgets came to.
    BudgetActions,
    /// Attempts to hand over a webhook.
    WebhookAttempts,
    /// Webhooks nobody will get.
    WebhooksLost,
    /// Webhooks that wait.
    WebhooksPending,
    /// Listeners to events that were let go.
    ListenersDropped,
    /// DTMF digits received.
    DtmfDigits,
    /// Tool calls ended.
    ToolCalls,
    /// Transfers ended.
    Transfers,
    /// The version running.
    BuildInfo,
    /// CPU time of the process.
    ProcessCpu,
    /// Resident memory of the process.
    ProcessResidentMemory,
    /// Virtual memory of the process.
    ProcessVirtualMemory,
    /// File descriptors open.
    ProcessOpenFds,
    /// File descriptors allowed.
    ProcessMaxFds,
    /// Threads of the process.
    ProcessThreads,
    /// When the process started.
    ProcessStartTime,
}

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Only rises.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Counts observations below each of these bounds.
    Histogram(&'static [f64]),
}

impl Metric {
    /// Every metric.
    pub const ALL: [Self; 67] = [
        Self::CallsActive,
        Self::Calls,
        Self::CallsRefused,
        Self::CallSetup,
        Self::Response,
        Self::BargeIn,
        Self::RtpPacketsReceived,
        Self::RtpPacketsSent,
        Self::RtpPacketsLost,
        Self::RtpPacketsForeign,
        Self::RtpJitter,
        Self::Mos,
        Self::RtpRoundTrip,
        Self::MediaDiagnoses,
        Self::SessionConnects,
        Self::SessionReconnects,
        Self::SessionUnknown,
        Self::SessionsActive,
        Self::QueueDrops,
        Self::WorkerLag,
        Self::Lag,
        Self::WorkerTasks,
        Self::SipLegs,
        Self::SipDialogs,
        Self::SipTransactions,
        Self::SipConnections,
        Self::SipMessagesReceived,
        Self::SipRefused,
        Self::TrunkRegistered,
        Self::TrunkRegistrationExpires,
        Self::TrunkReachable,
        Self::BackendUp,
        Self::BackendWarm,
        Self::WarmSessions,
        Self::Recovery,
        Self::Filler,
        Self::Renewals,
        Self::RegistrarContacts,
        Self::SipDropped,
        Self::RtpPortsInUse,
        Self::Tokens,
        Self::RecordsWritten,
        Self::RecordsFailed,
        Self::RecordingsActive,
        Self::RecordingBytes,
        Self::RecordingLost,
        Self::RecordingsFailed,
        Self::RecordingUploadsPending,
        Self::RecordingUploads,
        Self::TranscriptionSeconds,
        Self::Cost,
        Self::BudgetActions,
        Self::WebhookAttempts,
        Self::WebhooksLost,
        Self::WebhooksPending,
        Self::ListenersDropped,
        Self::DtmfDigits,
        Self::ToolCalls,
        Self::Transfers,
        Self::BuildInfo,
        Self::ProcessCpu,
        Self::ProcessResidentMemory,
        Self::ProcessVirtualMemory,
        Self::ProcessOpenFds,
        Self::ProcessMaxFds,
        Self::ProcessThreads,
        Self::ProcessStartTime,
    ];

    /// The name as exported.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The help text as exported.
    pub fn help(self) -> &'static str {
        self.row().help
    }

    /// Counter, gauge or histogram.
    pub fn kind(self) -> Kind {
        self.row().kind
    }

    /// The label names, in the order their values are given.
    pub fn labels(self) -> &'static [&'static str] {
        self.row().labels
    }

    fn row(self) -> &'static Row {
        let row = ROWS.iter().chain(accounts::ROWS).find(|(metric, _)| *metric == self);
        // A test looks every metric up.
        &row.expect("every metric has a row").1
    }
}

/// What each metric is called and means.
const ROWS: &[(Metric, Row)] = &[
    (
        Metric::CallsActive,
        gauge("patchcord_calls_active", "Calls up now, ringing ones included."),
    ),
    (
        Metric::Calls,
        counter(
            "patchcord_calls_total",
            "Calls ended, by outcome, whose fault it was, and trunk.",
        )
        .by(&["outcome", "fault", "trunk"]),
    ),
    (
        Metric::CallsRefused,
        counter(
            "patchcord_calls_refused_total",
            "Calls refused before an answer, by reason word.",
        )
        .by(&["reason"]),
    ),
    (
        Metric::CallSetup,
        histogram(
            "patchcord_call_setup_seconds",
            "Time from the INVITE to its 200.",
            CALL_SETUP_SECONDS,
        ),
    ),
    (
        Metric::Response,
        histogram(
            "patchcord_response_seconds",
            "Time from the caller's last voice to the agent's first voice leaving as RTP.",
            RESPONSE_SECONDS,
        ),
    ),
    (
        Metric::BargeIn,
        histogram(
            "patchcord_barge_in_seconds",
            "Time from speech_started arriving to the agent's last packet leaving.",
            BARGE_IN_SECONDS,
        ),
    ),
    (
        Metric::RtpPacketsReceived,
        counter(
            "patchcord_rtp_packets_received_total",
            "RTP packets accepted from callers.",
        ),
    ),
    (
        Metric::RtpPacketsSent,
        counter("patchcord_rtp_packets_sent_total", "RTP packets sent to callers."),
    ),
    (
        Metric::RtpPacketsLost,
        counter(
            "patchcord_rtp_packets_lost_total",
            "RTP packets from callers that never came.",
        ),
    ),
    (
        Metric::RtpPacketsForeign,
        counter(
            "patchcord_rtp_packets_foreign_total",
            "RTP packets dropped because they came from another address than the caller's.",
        ),
    ),
    (
        Metric::RtpJitter,
        histogram(
            "patchcord_rtp_jitter_seconds",
            "Interarrival jitter at the end of a call.",
            JITTER_SECONDS,
        ),
    ),
    (
        Metric::Mos,
        histogram(
            "patchcord_mos",
            "Mean estimated opinion score of a call (E-model, 1 to 5) at its end, by direction and by the scale of its codec.",
            MOS,
        )
        .by(&["direction", "scale"]),
    ),
    (
        Metric::RtpRoundTrip,
        histogram(
            "patchcord_rtp_round_trip_seconds",
            "Last round trip of a call, measured by RTCP.",
            ROUND_TRIP_SECONDS,
        ),
    ),
    (
        Metric::MediaDiagnoses,
        counter(
            "patchcord_media_diagnoses_total",
            "What was found wrong with the media of a call while it went on, by cause word.",
        )
        .by(&["cause"]),
    ),
    (
        Metric::SessionConnects,
        counter(
            "patchcord_session_connects_total",
            "Attempts to open a session, by backend and result.",
        )
        .by(&["backend", "result"]),
    ),
    (
        Metric::SessionReconnects,
        counter(
            "patchcord_session_reconnects_total",
            "Sessions dialled again in the middle of a call, by backend.",
        )
        .by(&["backend"]),
    ),
    (
        Metric::SessionUnknown,
        counter(
            "patchcord_session_unknown_total",
            "Events, and members of known events, that are not known here and were ignored, by backend and what it was.",
        )
        .by(&["backend", "what"]),
    ),
    (
        Metric::SessionsActive,
        gauge("patchcord_sessions_active", "Sessions open now."),
    ),
    (
        Metric::QueueDrops,
        counter(
            "patchcord_queue_drops_total",
            "Items dropped because a bounded queue was full, by queue.",
        )
        .by(&["queue"]),
    ),
    (
        Metric::WorkerLag,
        histogram(
            "patchcord_worker_lag_seconds",
            "How late the timers of a media worker fire.",
            LAG_SECONDS,
        ),
    ),
    (
        Metric::Lag,
        gauge(
            "patchcord_lag_seconds",
            "How late the timers of the latest thread fire, smoothed; above limits.lag_ms_max calls are refused.",
        ),
    ),
    (
        Metric::WorkerTasks,
        gauge("patchcord_worker_tasks", "Call tasks running on the media workers."),
    ),
    (
        Metric::SipLegs,
        gauge(
            "patchcord_sip_legs",
            "Legs the SIP endpoint holds, ended ones until their last timer included.",
        ),
    ),
    (Metric::SipDialogs, gauge("patchcord_sip_dialogs", "SIP dialogs held.")),
    (
        Metric::SipTransactions,
        gauge("patchcord_sip_transactions", "SIP transactions held."),
    ),
    (
        Metric::SipConnections,
        gauge(
            "patchcord_sip_connections",
            "SIP connections open or about to be, TCP, TLS and WebSocket, accepted and opened.",
        ),
    ),
    (
        Metric::SipMessagesReceived,
        counter(
            "patchcord_sip_messages_received_total",
            "SIP messages received, by method or response.",
        )
        .by(&["method"]),
    ),
    (
        Metric::SipRefused,
        counter(
            "patchcord_sip_refused_total",
            "SIP requests refused before they became a call, and connections that came to nothing, by reason word.",
        )
        .by(&["reason"]),
    ),
    (
        Metric::TrunkRegistered,
        gauge(
            "patchcord_trunk_registered",
            "Whether we are registered at the trunk, 1 or 0, by trunk.",
        )
        .by(&["trunk"]),
    ),
    (
        Metric::TrunkRegistrationExpires,
        gauge(
            "patchcord_trunk_registration_expires_seconds",
            "Time until our registration at the trunk ends unless it is refreshed, by trunk.",
        )
        .by(&["trunk"]),
    ),
    (
        Metric::TrunkReachable,
        gauge(
            "patchcord_trunk_reachable",
            "Whether the trunk answers our OPTIONS, 1 or 0, by trunk.",
        )
        .by(&["trunk"]),
    ),
    (
        Metric::BackendUp,
        gauge(
            "patchcord_backend_up",
            "Whether calls dial the backend, 1 or 0 while its circuit breaker is open, by backend.",
        )
        .by(&["backend"]),
    ),
    (
        Metric::BackendWarm,
        gauge(
            "patchcord_backend_warm_sessions",
            "Sessions that wait for calls, connected and configured, by backend.",
        )
        .by(&["backend"]),
    ),
    (
        Metric::WarmSessions,
        counter(
            "patchcord_warm_sessions_total",
            "Sessions that were made before there was a call for them, by backend and what became of them.",
        )
        .by(&["backend", "result"]),
    ),
    (
        Metric::Recovery,
        histogram(
            "patchcord_session_recovery_seconds",
            "Time from the loss of a session to the first voice of the next one leaving.",
            RECOVERY_SECONDS,
        ),
    ),
    (
        Metric::Filler,
        histogram(
            "patchcord_session_filler_seconds",
            "Time from the loss of a session to words of the gateway leaving, where it came to that.",
            RECOVERY_SECONDS,
        ),
    ),
    (
        Metric::Renewals,
        counter(
            "patchcord_session_renewals_total",
            "Sessions replaced in the middle of a call before they ended, by backend and result.",
        )
        .by(&["backend", "result"]),
    ),
    (
        Metric::RegistrarContacts,
        gauge(
            "patchcord_registrar_contacts",
            "Contacts of phones that are registered here.",
        ),
    ),
    (
        Metric::SipDropped,
        counter(
            "patchcord_sip_dropped_total",
            "SIP messages dropped without an answer, by reason word.",
        )
        .by(&["reason"]),
    ),
    (
        Metric::RtpPortsInUse,
        gauge("patchcord_rtp_ports_in_use", "RTP/RTCP port pairs taken from the pool."),
    ),
    (
        Metric::DtmfDigits,
        counter("patchcord_dtmf_digits_total", "DTMF digits received from callers."),
    ),
    (
        Metric::ToolCalls,
        counter(
            "patchcord_tool_calls_total",
            "Tool calls of agents, by the tool's or its server's name in the configuration, and how they ended.",
        )
        .by(&["tool", "result"]),
    ),
    (
        Metric::BuildInfo,
        gauge("patchcord_build_info", "Always 1; the label names the running version.").by(&["version"]),
    ),
    (
        Metric::ProcessCpu,
        counter("process_cpu_seconds_total", "User and system CPU time spent."),
    ),
    (
        Metric::ProcessResidentMemory,
        gauge("process_resident_memory_bytes", "Resident memory size."),
    ),
    (
        Metric::ProcessVirtualMemory,
        gauge("process_virtual_memory_bytes", "Virtual memory size."),
    ),
    (
        Metric::ProcessOpenFds,
        gauge("process_open_fds", "Open file descriptors."),
    ),
    (
        Metric::ProcessMaxFds,
        gauge("process_max_fds", "File descriptors the process may open."),
    ),
    (
        Metric::ProcessThreads,
        gauge("process_threads", "Threads of the process."),
    ),
    (
        Metric::ProcessStartTime,
        gauge("process_start_time_seconds", "When the process started, in Unix time."),
    ),
];

#[cfg(test)]
mod tests;
