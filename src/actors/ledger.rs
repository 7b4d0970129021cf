//! A call's record in the making, and its share of the metrics.
//!
//! The ledger takes its slot in the record file before the call begins. Whatever happens to the call, exactly one record
//! is written: when the call says how it ended, or, when it breaks, by dropping the ledger, with the cause `crashed`.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tracing::Span;

use super::service::Prepared;
use crate::{
    call::{Cause, Outcome, bridge::Summary},
    config::Agent,
    sdp::Negotiated,
    sip::Invite,
    store::{CallRecord, OutcomeRecord, RecordSlot, RtpRecord, TokensRecord},
    telemetry::{Metrics, log},
};

/// The call's record until it is written.
#[derive(Debug)]
pub struct Ledger {
    slot: Option<RecordSlot>,
    record: CallRecord,
    outcome: Outcome,
    started: Instant,
    answered: Option<Instant>,
    session_seen: bool,
    metrics: Metrics,
    span: Span,
}

impl Ledger {
    /// A record for an INVITE that just came in.
    pub fn open(metrics: Metrics, slot: RecordSlot, call_id: String, invite: &Invite) -> Self {
        let span = log::call_span(&call_id, &invite.trunk);
        let (from, to) = (invite.from.uri.to_string(), invite.request_uri.to_string());
        let record = CallRecord::begun(call_id, invite.call_id.clone(), invite.trunk.clone(), from, to);
        tracing::info!(parent: &span, from = record.from, to = record.to, sip_call_id = record.sip_call_id, "incoming");
        let outcome = Outcome::refused(Cause::Crashed);
        Self {
            slot: Some(slot),
            record,
            outcome,
            started: Instant::now(),
            answered: None,
            session_seen: false,
            metrics,
            span,
        }
    }

    /// The call's log span.
    pub fn span(&self) -> Span {
        self.span.clone()
    }

    /// A route matched, and this agent is to answer.
    pub fn routed(&mut self, route: usize, agent: &Agent) {
        self.record.route = Some(format!("route[{route}]"));
        self.record.agent = Some(agent.name.clone());
        log::set_agent(&self.span, &agent.name);
    }

    /// Ports are there, and perhaps a codec.
    pub fn prepared(&mut self, prepared: &Prepared) {
        let local = prepared.terms.local();
        self.record.media.local = Some(SocketAddr::new(local.address, local.rtp_port).to_string());
        if let Some(agreed) = prepared.terms.agreed() {
            self.agreed(agreed);
        }
    }

    /// Offer and answer settled the leg's media.
    pub fn agreed(&mut self, agreed: &Negotiated) {
        self.record.codec = Some(agreed.codec.name().to_owned());
        self.record.media.remote = Some(agreed.remote_rtp.to_string());
    }

    /// This backend is being dialled.
    pub fn dialled(&mut self, backend: String) {
        self.record.backend = Some(backend);
    }

    /// The session is there; when it had been there before, it was dialled again.
    pub fn session_ready(&mut self) {
        if std::mem::replace(&mut self.session_seen, true) {
            self.record.reconnects = self.record.reconnects.saturating_add(1);
        }
    }

    /// How the call came as far as it has; kept in case it is refused.
    pub fn explained(&mut self, lines: Vec<String>) {
        self.record.explanation = lines;
    }

    /// Our 200 goes out.
    pub fn answered(&mut self) {
        self.record.answered_at = Some(Timestamp::now());
        self.record.setup_ms = Some(millis(self.started.elapsed()));
        self.answered = Some(Instant::now());
        self.outcome = Outcome::answered(Cause::Crashed);
    }

    /// What the media amounted to.
    pub fn close_media(&mut self, summary: &Summary) {
        self.record.caller_talk_ms = millis(summary.caller_talk);
        self.record.agent_talk_ms = millis(summary.agent_talk);
        self.record.barge_ins = summary.barge_ins;
        self.record.digits = summary.digits;
        self.record.tokens = tokens(summary);
        self.record.rtp = rtp(summary);
        self.count_media(summary);
    }

    /// How the call ended. The record is written by [`Self::finish`], once the media has been closed. A CANCEL that
    /// crossed our answer means that there was none.
    pub fn ended(&mut self, outcome: Outcome) {
        self.outcome = outcome;
        if outcome.sip_code != 200 {
            (self.answered, self.record.answered_at, self.record.setup_ms) = (None, None, None);
        }
    }

    /// Writes the record.
    pub fn finish(&mut self) {
        let Some(slot) = self.slot.take() else { return };
        let Outcome { cause, sip_code } = self.outcome;
        let (word, fault) = (cause.word(), cause.fault().word());
        self.record.ended_at = Timestamp::now();
        self.record.duration_ms = self.answered.map_or(0, |answered| millis(answered.elapsed()));
        self.record.outcome = OutcomeRecord {
            cause: word.to_owned(),
            fault: fault.to_owned(),
            sip_code,
        };
        match self.record.setup_ms {
            None if cause != Cause::Cancelled => {
                let verdict = format!("verdict: refused with {sip_code} {word}");
                self.record.explanation.push(verdict);
            }
            _ => self.record.explanation.clear(),
        }
        match self.record.setup_ms {
            Some(setup_ms) => self.metrics.call_setup(Duration::from_millis(setup_ms)),
            None if cause == Cause::Cancelled => {}
            None => self.metrics.call_refused(word),
        }
        self.metrics.call_ended(word, fault, &self.record.trunk);
        tracing::info!(
            parent: &self.span,
            outcome = word,
            fault,
            sip_code,
            duration_ms = self.record.duration_ms,
            reconnects = self.record.reconnects,
            barge_ins = self.record.barge_ins,
            "ended"
        );
        slot.write(self.record.clone());
    }

    /// Whether the record is written and the call may go.
    pub fn written(&self) -> bool {
        self.slot.is_none()
    }

    fn count_media(&self, summary: &Summary) {
        self.metrics.rtp_jitter(Duration::from_secs_f64(
            f64::max(self.record.rtp.jitter_ms, 0.0) / 1000.0,
        ));
        let media = &summary.media;
        self.metrics.rtp_received(media.packets_received);
        self.metrics.rtp_sent(media.packets_sent);
        self.metrics.rtp_lost(media.lost);
        self.metrics.rtp_foreign(media.foreign);
        if let Some(backend) = &self.record.backend {
            let usage = &summary.usage;
            for (kind, tokens) in [
                ("input_text", usage.input_text_tokens),
                ("input_audio", usage.input_audio_tokens),
                ("cached", usage.cached_tokens),
                ("output_text", usage.output_text_tokens),
                ("output_audio", usage.output_audio_tokens),
            ] {
                self.metrics.tokens(backend, kind, tokens);
            }
        }
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.finish();
    }
}

fn tokens(summary: &Summary) -> TokensRecord {
    TokensRecord {
        input_text: summary.usage.input_text_tokens,
        input_audio: summary.usage.input_audio_tokens,
        cached: summary.usage.cached_tokens,
        output_text: summary.usage.output_text_tokens,
        output_audio: summary.usage.output_audio_tokens,
    }
}

fn rtp(summary: &Summary) -> RtpRecord {
    let media = &summary.media;
    RtpRecord {
        received: media.packets_received,
        sent: media.packets_sent,
        lost: media.lost,
        jitter_ms: f64::from(media.jitter_ms),
        foreign: media.foreign,
        late: media.late,
        duplicate: media.duplicate,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
