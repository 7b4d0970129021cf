//! A call's record in the making, and its share of the metrics.
//!
//! The ledger takes its slot in the record file before the call begins. Whatever happens to the call, exactly one record
//! is written: when the call says how it ended, or, when it breaks, by dropping the ledger, with the cause `crashed`.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde_json::json;
use tracing::Span;

use super::{
    board::{self, Board},
    service::Shared,
};
use crate::{
    call::{Cause, Facts, Fault, Outcome, Terms, bridge::Summary, conductor::Note},
    config::{Agent, DtmfRecord, ToolRecord},
    http::{CallView, OutcomeView},
    sdp::{Local, Negotiated},
    sip::Invite,
    store::{CallRecord, OutcomeRecord, RecordSlot, RecordingRecord, RtpRecord, recording::Report},
    telemetry::{Metrics, log},
};

mod line;
mod spend;
mod talk;
mod tools;
mod transfer;

/// Keys in a record; those pressed later are only counted.
const DTMF_MAX: usize = 64;

/// The call's record until it is written.
#[derive(Debug)]
pub struct Ledger {
    slot: Option<RecordSlot>,
    record: CallRecord,
    outcome: Outcome,
    started: Instant,
    /// Since when it rings.
    rang: Option<Instant>,
    answered: Option<Instant>,
    /// When it was over; the record may be written a little later.
    over: Option<(Instant, Timestamp)>,
    session_seen: bool,
    joined: transfer::Joined,
    dtmf_record: DtmfRecord,
    tool_record: ToolRecord,
    metrics: Metrics,
    board: Arc<Board>,
    span: Span,
}

impl Ledger {
    /// A record for an INVITE that just came in.
    pub fn open(shared: &Shared, slot: RecordSlot, call_id: String, invite: &Invite, facts: &Facts) -> Self {
        let record = CallRecord {
            sip_call_id: invite.call_id.clone(),
            from: invite.from.uri.to_string(),
            to: invite.request_uri.to_string(),
            ..blank(call_id, "inbound", &invite.trunk, facts)
        };
        let ledger = Self::new(shared, slot, record, "ringing");
        let record = &ledger.record;
        tracing::info!(parent: &ledger.span, from = record.from, to = record.to, sip_call_id = record.sip_call_id, "incoming");
        ledger
    }

    /// A record for a call that is to be placed.
    pub fn place(
        shared: &Shared,
        slot: RecordSlot,
        call_id: String,
        trunk: &str,
        agent: &Agent,
        facts: &Facts,
    ) -> Self {
        let record = CallRecord {
            agent: Some(agent.name.clone()),
            from: facts.caller.clone(),
            to: facts.called.clone(),
            ..blank(call_id, "outbound", trunk, facts)
        };
        let mut ledger = Self::new(shared, slot, record, "dialing");
        ledger.dtmf_record = agent.dtmf_record;
        ledger.tool_record = agent.tool_record;
        log::set_agent(&ledger.span, &agent.name);
        let record = &ledger.record;
        tracing::info!(parent: &ledger.span, from = record.from, to = record.to, "outgoing");
        ledger.tell(|_| {}, "dialing", json!({}));
        ledger
    }

    /// The SIP side has taken the call that is to be placed.
    pub fn dialing(&mut self, sip_call_id: String) {
        tracing::debug!(parent: &self.span, sip_call_id, "dialing");
        self.record.sip_call_id = sip_call_id;
    }

    fn new(shared: &Shared, slot: RecordSlot, record: CallRecord, state: &'static str) -> Self {
        shared.board.open(view(&record, state));
        let begun = json!({
            "direction": record.direction,
            "trunk": record.trunk,
            "from": record.from,
            "to": record.to,
        });
        shared.board.change(&record.call_id, |_| {}, Some(("started", begun)));
        Self {
            slot: Some(slot),
            span: log::call_span(&record.call_id, &record.trunk),
            record,
            outcome: Outcome::refused(Cause::Crashed),
            started: Instant::now(),
            rang: None,
            answered: None,
            over: None,
            session_seen: false,
            joined: transfer::Joined::default(),
            dtmf_record: DtmfRecord::default(),
            tool_record: ToolRecord::default(),
            metrics: shared.metrics.clone(),
            board: shared.board.clone(),
        }
    }

    /// The call's id.
    pub fn call_id(&self) -> &str {
        &self.record.call_id
    }

    /// The call's trunk.
    pub fn trunk(&self) -> &str {
        &self.record.trunk
    }

    /// The call's log span.
    pub fn span(&self) -> Span {
        self.span.clone()
    }

    /// A route matched, and this agent is to answer.
    pub fn routed(&mut self, route: usize, agent: &Agent) {
        self.record.route = Some(format!("route[{route}]"));
        self.record.agent = Some(agent.name.clone());
        self.dtmf_record = agent.dtmf_record;
        self.tool_record = agent.tool_record;
        log::set_agent(&self.span, &agent.name);
        let name = agent.name.clone();
        let told = json!({ "agent": name, "route": self.record.route });
        self.board.change(
            &self.record.call_id,
            |view| view.agent = Some(name),
            Some(("routed", told)),
        );
    }

    /// Ports are there, and perhaps a codec.
    pub fn prepared(&mut self, terms: &Terms) {
        self.located(terms.local());
        if let Some(agreed) = terms.agreed() {
            self.agreed(agreed);
        }
    }

    /// Ports are there.
    pub fn located(&mut self, local: &Local) {
        self.record.media.local = Some(SocketAddr::new(local.address, local.rtp_port).to_string());
    }

    /// What happens while the call goes on.
    pub fn note(&mut self, note: Note) {
        match note {
            Note::Ringing => self.rang("ringing"),
            Note::Early => self.rang("early"),
            Note::Answered => self.answered(),
            Note::Agreed(agreed) => self.agreed(&agreed),
            Note::Unusable(why) => tracing::warn!(why, "a session description was refused"),
            Note::ToolCalled {
                call_id,
                name,
                arguments,
            } => self.tool_called(&call_id, &name, arguments),
            Note::Digit(digit) => self.pressed(digit),
            Note::Transfer { to, way, status } => self.transferring(to, way, status),
            Note::MachineLikely => self.machine_likely(),
            Note::Diagnosis(diagnosis) => self.diagnosed(diagnosis),
            Note::Quality(quality) => self.sounded(quality),
            Note::NoConsent => self.no_consent(),
            Note::Disclosed { sent_ms } => self.disclosed(sent_ms),
            Note::NotDisclosed => self.not_disclosed(),
            Note::AgentStopped => self.agent_stopped(),
            Note::TransferRefused(to) => tracing::info!(to, "the other side asked for a transfer and was refused"),
            Note::Renewed(gap) => tracing::info!(gap_ms = gap.as_millis(), "the call has gone over to another session"),
            Note::ToolArguments { call_id, so_far } => self.tool_arguments(&call_id, so_far),
            Note::ToolFinished(finished) => self.tool_finished(*finished),
            Note::Said(said) => self.said("turn", said),
            Note::Saying(saying) => self.said("transcript_delta", saying),
        }
    }

    /// A recording begins.
    pub fn recording_begun(&mut self, recording: RecordingRecord) {
        let number = recording.number;
        tracing::info!(number, by = recording.by, told = recording.told, "recording");
        self.record.recordings.push(recording);
        self.tell(|_| {}, "recording", json!({ "state": "recording", "number": number }));
    }

    /// A recording is paused, or not any more.
    pub fn recording_paused(&mut self, paused: bool) {
        let state = if paused { "paused" } else { "recording" };
        tracing::info!(state, "recording");
        self.tell(|_| {}, "recording", json!({ "state": state }));
    }

    /// The caller has heard what it has to hear, to its end.
    fn disclosed(&mut self, sent_ms: u32) {
        tracing::info!(sent_ms, "the disclosure has been heard");
        self.record.disclosed_at = Some(Timestamp::now());
        self.record.disclosed_ms = Some(sent_ms.into());
        self.tell(|_| {}, "disclosed", json!({ "sent_ms": sent_ms }));
    }

    /// The caller has not, however often it was said.
    fn not_disclosed(&mut self) {
        tracing::error!("the disclosure has not been heard to its end, and the call goes on without it");
        self.tell(|_| {}, "not_disclosed", json!({}));
    }

    /// The agent went on for too long.
    fn agent_stopped(&mut self) {
        tracing::info!("the agent was cut off: it had spoken for too long");
        self.tell(|_| {}, "agent_stopped", json!({}));
    }

    /// The caller has not heard the prompt.
    fn no_consent(&mut self) {
        const WORD: &str = "prompt_not_heard";
        tracing::info!(reason = WORD, "the call is not recorded");
        self.record.recordings.push(RecordingRecord {
            state: "failed".to_owned(),
            reason: Some(WORD.to_owned()),
            ..RecordingRecord::begun(0, 0, "agent", "")
        });
        self.tell(|_| {}, "recording", json!({ "state": "failed", "reason": WORD }));
    }

    /// What became of a recording.
    pub fn recorded(&mut self, report: &Report) {
        let (state, reason) = (report.state.word(), report.state.reason());
        if let Some(record) = self
            .record
            .recordings
            .iter_mut()
            .find(|record| record.number == report.number)
        {
            record.fill_in(report);
        }
        self.tell(
            |_| {},
            "recording",
            json!({ "state": state, "number": report.number, "reason": reason }),
        );
    }

    /// The other side pressed a key.
    fn pressed(&mut self, digit: char) {
        self.metrics.dtmf_digit();
        let shown = match self.dtmf_record {
            DtmfRecord::Full => digit,
            DtmfRecord::Masked => '*',
            DtmfRecord::Off => return,
        };
        let keys = self.record.dtmf.get_or_insert_default();
        if keys.len() < DTMF_MAX {
            keys.push(shown);
        }
    }

    fn rang(&mut self, state: &'static str) {
        self.rang.get_or_insert_with(Instant::now);
        self.tell(|view| view.state = state, state, json!({}));
    }

    fn machine_likely(&mut self) {
        const WORD: &str = "machine_likely";
        tracing::info!("a machine is likely to have answered");
        self.record.answered_by = Some(WORD.to_owned());
        self.tell(|view| view.answered_by = Some(WORD.to_owned()), WORD, json!({}));
    }

    fn tell(&self, change: impl FnOnce(&mut CallView), event: &'static str, data: serde_json::Value) {
        self.board.change(&self.record.call_id, change, Some((event, data)));
    }

    /// Offer and answer settled the leg's media.
    fn agreed(&mut self, agreed: &Negotiated) {
        self.record.codec = Some(agreed.send.codec.name().to_owned());
        self.record.media.remote = Some(agreed.remote_rtp.to_string());
        self.record.media.srtp = agreed.security.word().map(str::to_owned);
    }

    /// How the call came as far as it has; kept in case it is refused.
    pub fn explained(&mut self, lines: Vec<String>) {
        self.record.explanation = lines;
    }

    /// The 200 goes out, or came.
    fn answered(&mut self) {
        self.record.answered_at = Some(Timestamp::now());
        self.record.setup_ms = Some(millis(self.started.elapsed()));
        self.answered = Some(Instant::now());
        self.outcome = Outcome::answered(Cause::Crashed);
        self.ring_ends();
        let at = self.record.answered_at.map(board::time);
        let change = |view: &mut CallView| (view.state, view.answered_at) = ("talking", at);
        self.tell(change, "answered", json!({}));
    }

    fn ring_ends(&mut self) {
        let rung = self.rang.take().map(|rang| millis(rang.elapsed()));
        self.record.ring_ms = rung.or(self.record.ring_ms);
    }

    /// What the media amounted to.
    pub fn close_media(&mut self, summary: &Summary) {
        self.record.caller_talk_ms = millis(summary.caller_talk);
        self.record.agent_talk_ms = millis(summary.agent_talk);
        self.record.barge_ins = summary.barge_ins;
        self.record.agent_turns_cut = summary.agent_turns_cut;
        self.record.digits = summary.digits;
        self.record.rtp = rtp(summary);
        self.close_line(&summary.media);
        self.count_media(summary);
    }

    /// How the call ended. The record is written by [`Self::finish`], once the media has been closed. A CANCEL that
    /// crossed our answer means that there was none.
    pub fn ended(&mut self, outcome: Outcome) {
        self.outcome = outcome;
        self.parted();
        self.over = Some((Instant::now(), Timestamp::now()));
        if outcome.sip_code != 200 {
            (self.answered, self.record.answered_at, self.record.setup_ms) = (None, None, None);
        }
    }

    /// Writes the record.
    pub fn finish(&mut self) {
        let Some(slot) = self.slot.take() else { return };
        self.parted();
        let Outcome { cause, sip_code } = self.outcome;
        let (word, fault) = (cause.word(), cause.fault().word());
        self.ring_ends();
        let (over, ended_at) = self.over.unwrap_or_else(|| (Instant::now(), Timestamp::now()));
        self.record.ended_at = ended_at;
        let talked = |answered| millis(over.saturating_duration_since(answered));
        self.record.duration_ms = self.answered.map_or(0, talked);
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
            None if cause == Cause::Cancelled || cause.fault() == Fault::Callee => {}
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
        let outcome = OutcomeView {
            cause: word,
            fault,
            sip_code,
        };
        let data = serde_json::to_value(&outcome).unwrap_or_default();
        let ended_at = Some(board::time(self.record.ended_at));
        let change =
            |view: &mut CallView| (view.state, view.ended_at, view.outcome) = ("ended", ended_at, Some(outcome));
        self.board.close(&self.record.call_id, change, data);
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
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.finish();
    }
}

/// A record in which nothing has happened yet.
fn blank(call_id: String, direction: &str, trunk: &str, facts: &Facts) -> CallRecord {
    CallRecord {
        direction: direction.to_owned(),
        headers: facts.headers.clone(),
        private: facts.private,
        variables: facts.variables.clone(),
        ..CallRecord::begun(call_id, String::new(), trunk.to_owned(), String::new(), String::new())
    }
}

fn view(record: &CallRecord, state: &'static str) -> CallView {
    CallView {
        id: record.call_id.clone(),
        direction: record.direction.clone(),
        state,
        trunk: record.trunk.clone(),
        agent: record.agent.clone(),
        from: record.from.clone(),
        to: record.to.clone(),
        started_at: board::time(record.started_at),
        answered_at: None,
        ended_at: None,
        answered_by: None,
        diagnosis: None,
        quality: None,
        cost: None,
        outcome: None,
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
        undecodable: media.undecodable,
        srtp_failures: media.srtp_auth_failures + media.srtp_replays,
        concealed_ms: media.concealed_ms,
        recovered_ms: media.recovered_ms,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
