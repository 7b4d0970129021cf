//! The registered handles behind [`super::Metrics`], one per row of the metric table.
//!
//! Every row is registered at the start, so a scrape shows a plain metric at zero before anything has been counted.

use std::sync::Mutex;

use prometheus::{
    Counter, CounterVec, Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, core::Collector,
};

use super::{
    backends::Backends,
    metric::{Kind, Metric},
    process::Process,
    trunks::Trunks,
};

/// One handle per metric, already registered.
pub(super) struct Handles {
    pub(super) registry: Registry,
    pub(super) calls_active: IntGauge,
    pub(super) calls: IntCounterVec,
    pub(super) calls_refused: IntCounterVec,
    pub(super) call_setup: Histogram,
    pub(super) response: Histogram,
    pub(super) barge_in: Histogram,
    pub(super) rtp_packets_received: IntCounter,
    pub(super) rtp_packets_sent: IntCounter,
    pub(super) rtp_packets_lost: IntCounter,
    pub(super) rtp_packets_foreign: IntCounter,
    pub(super) rtp_jitter: Histogram,
    pub(super) mos: HistogramVec,
    pub(super) rtp_round_trip: Histogram,
    pub(super) media_diagnoses: IntCounterVec,
    pub(super) session_connects: IntCounterVec,
    pub(super) session_reconnects: IntCounterVec,
    pub(super) session_unknown: IntCounterVec,
    pub(super) sessions_active: IntGauge,
    pub(super) queue_drops: IntCounterVec,
    pub(super) worker_lag: Histogram,
    pub(super) lag: Gauge,
    pub(super) worker_tasks: IntGauge,
    pub(super) sip_legs: IntGauge,
    pub(super) sip_dialogs: IntGauge,
    pub(super) sip_transactions: IntGauge,
    pub(super) sip_connections: IntGauge,
    pub(super) sip_messages_received: IntCounterVec,
    pub(super) sip_refused: IntCounterVec,
    pub(super) trunk_registered: IntGaugeVec,
    pub(super) trunk_registration_expires: IntGaugeVec,
    pub(super) trunk_reachable: IntGaugeVec,
    pub(super) backend_up: IntGaugeVec,
    pub(super) backend_warm: IntGaugeVec,
    pub(super) warm_sessions: IntCounterVec,
    pub(super) backends: Backends,
    pub(super) recovery: Histogram,
    pub(super) filler: Histogram,
    pub(super) renewals: IntCounterVec,
    pub(super) registrar_contacts: IntGauge,
    pub(super) trunks: Trunks,
    pub(super) sip_dropped: IntCounterVec,
    pub(super) rtp_ports_in_use: IntGauge,
    pub(super) tokens: IntCounterVec,
    pub(super) records_written: IntCounter,
    pub(super) records_failed: IntCounter,
    pub(super) recordings_active: IntGauge,
    pub(super) recording_bytes: IntCounter,
    pub(super) recording_lost: Counter,
    pub(super) recordings_failed: IntCounterVec,
    pub(super) recording_uploads_pending: IntGauge,
    pub(super) recording_uploads: IntCounterVec,
    pub(super) transcription_seconds: CounterVec,
    pub(super) cost: IntCounterVec,
    pub(super) budget_actions: IntCounterVec,
    pub(super) webhook_attempts: IntCounterVec,
    pub(super) webhooks_lost: IntCounterVec,
    pub(super) webhooks_pending: IntGaugeVec,
    pub(super) listeners_dropped: IntCounterVec,
    pub(super) dtmf_digits: IntCounter,
    pub(super) tool_calls: IntCounterVec,
    pub(super) transfers: IntCounterVec,
    pub(super) build_info: IntGaugeVec,
    pub(super) process: Mutex<ProcessMetrics>,
}

/// The handles of the figures read from the kernel.
pub(super) struct ProcessMetrics {
    cpu: Counter,
    resident_memory: IntGauge,
    virtual_memory: IntGauge,
    open_fds: IntGauge,
    max_fds: IntGauge,
    threads: IntGauge,
    start_time: Gauge,
}

impl Handles {
    pub(super) fn new() -> Self {
        let registry = Registry::new();
        let make = Maker(&registry);
        Self {
            calls_active: make.gauge(Metric::CallsActive),
            calls: make.counter_vec(Metric::Calls),
            calls_refused: make.counter_vec(Metric::CallsRefused),
            call_setup: make.histogram(Metric::CallSetup),
            response: make.histogram(Metric::Response),
            barge_in: make.histogram(Metric::BargeIn),
            rtp_packets_received: make.counter(Metric::RtpPacketsReceived),
            rtp_packets_sent: make.counter(Metric::RtpPacketsSent),
            rtp_packets_lost: make.counter(Metric::RtpPacketsLost),
            rtp_packets_foreign: make.counter(Metric::RtpPacketsForeign),
            rtp_jitter: make.histogram(Metric::RtpJitter),
            mos: make.histogram_vec(Metric::Mos),
            rtp_round_trip: make.histogram(Metric::RtpRoundTrip),
            media_diagnoses: make.counter_vec(Metric::MediaDiagnoses),
            session_connects: make.counter_vec(Metric::SessionConnects),
            session_reconnects: make.counter_vec(Metric::SessionReconnects),
            session_unknown: make.counter_vec(Metric::SessionUnknown),
            sessions_active: make.gauge(Metric::SessionsActive),
            queue_drops: make.counter_vec(Metric::QueueDrops),
            worker_lag: make.histogram(Metric::WorkerLag),
            lag: make.real_gauge(Metric::Lag),
            worker_tasks: make.gauge(Metric::WorkerTasks),
            sip_legs: make.gauge(Metric::SipLegs),
            sip_dialogs: make.gauge(Metric::SipDialogs),
            sip_transactions: make.gauge(Metric::SipTransactions),
            sip_connections: make.gauge(Metric::SipConnections),
            sip_messages_received: make.counter_vec(Metric::SipMessagesReceived),
            sip_refused: make.counter_vec(Metric::SipRefused),
            trunk_registered: make.gauge_vec(Metric::TrunkRegistered),
            trunk_registration_expires: make.gauge_vec(Metric::TrunkRegistrationExpires),
            trunk_reachable: make.gauge_vec(Metric::TrunkReachable),
            backend_up: make.gauge_vec(Metric::BackendUp),
            backend_warm: make.gauge_vec(Metric::BackendWarm),
            warm_sessions: make.counter_vec(Metric::WarmSessions),
            backends: Backends::default(),
            recovery: make.histogram(Metric::Recovery),
            filler: make.histogram(Metric::Filler),
            renewals: make.counter_vec(Metric::Renewals),
            registrar_contacts: make.gauge(Metric::RegistrarContacts),
            trunks: Trunks::default(),
            sip_dropped: make.counter_vec(Metric::SipDropped),
            rtp_ports_in_use: make.gauge(Metric::RtpPortsInUse),
            tokens: make.counter_vec(Metric::Tokens),
            records_written: make.counter(Metric::RecordsWritten),
            records_failed: make.counter(Metric::RecordsFailed),
            recordings_active: make.gauge(Metric::RecordingsActive),
            recording_bytes: make.counter(Metric::RecordingBytes),
            recording_lost: make.real_counter(Metric::RecordingLost),
            recordings_failed: make.counter_vec(Metric::RecordingsFailed),
            recording_uploads_pending: make.gauge(Metric::RecordingUploadsPending),
            recording_uploads: make.counter_vec(Metric::RecordingUploads),
            transcription_seconds: make.real_counter_vec(Metric::TranscriptionSeconds),
            cost: make.counter_vec(Metric::Cost),
            budget_actions: make.counter_vec(Metric::BudgetActions),
            webhook_attempts: make.counter_vec(Metric::WebhookAttempts),
            webhooks_lost: make.counter_vec(Metric::WebhooksLost),
            webhooks_pending: make.gauge_vec(Metric::WebhooksPending),
            listeners_dropped: make.counter_vec(Metric::ListenersDropped),
            dtmf_digits: make.counter(Metric::DtmfDigits),
            tool_calls: make.counter_vec(Metric::ToolCalls),
            transfers: make.counter_vec(Metric::Transfers),
            build_info: make.gauge_vec(Metric::BuildInfo),
            process: Mutex::new(make.process()),
            registry,
        }
    }
}

impl ProcessMetrics {
    /// Shows one reading.
    pub(super) fn show(&self, process: &Process) {
        self.cpu.inc_by((process.cpu_seconds - self.cpu.get()).max(0.0));
        self.resident_memory.set(whole(process.resident_memory_bytes));
        self.virtual_memory.set(whole(process.virtual_memory_bytes));
        self.open_fds.set(whole(process.open_fds));
        self.max_fds.set(whole(process.max_fds));
        self.threads.set(whole(process.threads));
        self.start_time.set(process.start_time_seconds);
    }
}

/// Makes and registers handles. The table is ours and its test covers every row, so nothing here can fail at run time.
struct Maker<'a>(&'a Registry);

impl Maker<'_> {
    fn counter(&self, metric: Metric) -> IntCounter {
        self.register(IntCounter::with_opts(options(metric)))
    }

    fn real_counter(&self, metric: Metric) -> Counter {
        self.register(Counter::with_opts(options(metric)))
    }

    fn real_counter_vec(&self, metric: Metric) -> CounterVec {
        self.register(CounterVec::new(options(metric), metric.labels()))
    }

    fn counter_vec(&self, metric: Metric) -> IntCounterVec {
        self.register(IntCounterVec::new(options(metric), metric.labels()))
    }

    fn gauge(&self, metric: Metric) -> IntGauge {
        self.register(IntGauge::with_opts(options(metric)))
    }

    fn real_gauge(&self, metric: Metric) -> Gauge {
        self.register(Gauge::with_opts(options(metric)))
    }

    fn gauge_vec(&self, metric: Metric) -> IntGaugeVec {
        self.register(IntGaugeVec::new(options(metric), metric.labels()))
    }

    fn histogram(&self, metric: Metric) -> Histogram {
        self.register(Histogram::with_opts(buckets(metric)))
    }

    fn histogram_vec(&self, metric: Metric) -> HistogramVec {
        self.register(HistogramVec::new(buckets(metric), metric.labels()))
    }

    fn process(&self) -> ProcessMetrics {
        ProcessMetrics {
            cpu: self.register(Counter::with_opts(options(Metric::ProcessCpu))),
            resident_memory: self.gauge(Metric::ProcessResidentMemory),
            virtual_memory: self.gauge(Metric::ProcessVirtualMemory),
            open_fds: self.gauge(Metric::ProcessOpenFds),
            max_fds: self.gauge(Metric::ProcessMaxFds),
            threads: self.gauge(Metric::ProcessThreads),
            start_time: self.real_gauge(Metric::ProcessStartTime),
        }
    }

    fn register<C: Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let collector = made.expect("the metric table holds valid names");
        self.0
            .register(Box::new(collector.clone()))
            .expect("the metric table holds each name once");
        collector
    }
}

fn options(metric: Metric) -> Opts {
    Opts::new(metric.name(), metric.help())
}

fn buckets(metric: Metric) -> HistogramOpts {
    let buckets = match metric.kind() {
        Kind::Histogram(buckets) => buckets.to_vec(),
        Kind::Counter | Kind::Gauge => Vec::new(),
    };
    HistogramOpts {
        common_opts: options(metric),
        buckets,
    }
}

/// A count as a gauge value.
pub(super) fn whole(value: impl TryInto<i64>) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}
