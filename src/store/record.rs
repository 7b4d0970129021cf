//! The record of one call, as it is written: one JSON object.
//!
//! Field names are an interface to other programs: they are added to, never changed. Times are RFC 3339 in UTC with
//! milliseconds; durations carry their unit in the name; what never happened is `null`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    quality::{DiagnosisRecord, QualityRecord},
    recording::Report,
    spend::{CostRecord, SpendRecord, TokensRecord},
};

/// Everything worth knowing about one call after it has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallRecord {
    /// Our id of the call.
    pub call_id: String,
    /// The Call-ID the caller's side chose; empty for a call we placed.
    pub sip_call_id: String,
    /// `inbound`: the far end called us; `outbound`: we called it.
    #[serde(default = "inbound")]
    pub direction: String,
    /// The trunk the call came in on, or was placed through.
    pub trunk: String,
    /// The route that matched, as the configuration counts them.
    pub route: Option<String>,
    /// The agent that answered.
    pub agent: Option<String>,
    /// The backend that served the call last.
    pub backend: Option<String>,
    /// Who called, as a SIP URI.
    pub from: String,
    /// Who was called, as a SIP URI.
    pub to: String,
    /// The codec of the leg.
    pub codec: Option<String>,
    /// Where the RTP went.
    pub media: MediaAddresses,
    /// When the INVITE came.
    #[serde(with = "rfc3339")]
    pub started_at: Timestamp,
    /// When we answered.
    #[serde(with = "rfc3339_or_null")]
    pub answered_at: Option<Timestamp>,
    /// When the caller had heard the agent's disclosure to its end.
    #[serde(with = "rfc3339_or_null", default)]
    pub disclosed_at: Option<Timestamp>,
    /// How much of it had left as RTP then, in milliseconds.
    #[serde(default)]
    pub disclosed_ms: Option<u64>,
    /// When the call was over.
    #[serde(with = "rfc3339")]
    pub ended_at: Timestamp,
    /// From the INVITE to the 200.
    pub setup_ms: Option<u64>,
    /// From the first sign of ringing to the 200, or to the end.
    #[serde(default)]
    pub ring_ms: Option<u64>,
    /// From the 200 to the end.
    pub duration_ms: u64,
    /// How long the caller spoke.
    pub caller_talk_ms: u64,
    /// How long the agent spoke, counted by what left as RTP.
    pub agent_talk_ms: u64,
    /// How often the caller talked over the agent.
    pub barge_ins: u32,
    /// How often the agent was cut off because it had spoken for longer than its `agent_turn_s_max`.
    #[serde(default)]
    pub agent_turns_cut: u32,
    /// How often the session was dialled again.
    pub reconnects: u32,
    /// How many digits the caller pressed.
    pub digits: u32,
    /// Which, or a `*` for each, as the agent's `dtmf_record` says; at most the first 64.
    #[serde(default)]
    pub dtmf: Option<String>,
    /// What the INVITE said besides who calls whom: identities, diversions, `X-…`; names in lower case.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Whether the caller asked not to be told of. Its name and number in this record are not for everybody.
    #[serde(default)]
    pub private: bool,
    /// What the application that placed the call wanted the agent to know.
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
    /// What seems to have answered: `machine_likely`, or nothing.
    #[serde(default)]
    pub answered_by: Option<String>,
    /// The last transfer that was tried.
    #[serde(default)]
    pub transfer: Option<TransferRecord>,
    /// What was recorded, one after the other.
    #[serde(default)]
    pub recordings: Vec<RecordingRecord>,
    /// The tools the agent called, in the order they were over; at most the first 256.
    #[serde(default)]
    pub tools: Vec<ToolCallRecord>,
    /// The leg's packets.
    pub rtp: RtpRecord,
    /// How it sounded.
    #[serde(default)]
    pub quality: QualityRecord,
    /// What was wrong with the line.
    #[serde(default)]
    pub diagnoses: Vec<DiagnosisRecord>,
    /// What the backend charges for.
    pub tokens: TokensRecord,
    /// The same by backend, with what it cost.
    #[serde(default)]
    pub spend: Vec<SpendRecord>,
    /// What the call cost by the configured prices, by currency; empty where nothing has a price.
    #[serde(default)]
    pub cost: Vec<CostRecord>,
    /// How the call ended.
    pub outcome: OutcomeRecord,
    /// Why a call was refused, rule by rule, as `patchcord explain` says it; empty for a call that was not refused.
    #[serde(default)]
    pub explanation: Vec<String>,
}

impl CallRecord {
    /// The record of a call that has just begun and that nothing has become of yet.
    pub fn begun(call_id: String, sip_call_id: String, trunk: String, from: String, to: String) -> Self {
        Self {
            call_id,
            sip_call_id,
            direction: inbound(),
            trunk,
            route: None,
            agent: None,
            backend: None,
            from,
            to,
            codec: None,
            media: MediaAddresses::default(),
            started_at: Timestamp::now(),
            answered_at: None,
            disclosed_at: None,
            disclosed_ms: None,
            ended_at: Timestamp::now(),
            setup_ms: None,
            ring_ms: None,
            duration_ms: 0,
            caller_talk_ms: 0,
            agent_talk_ms: 0,
            barge_ins: 0,
            agent_turns_cut: 0,
            reconnects: 0,
            digits: 0,
            dtmf: None,
            headers: Default::default(),
            private: false,
            variables: Default::default(),
            answered_by: None,
            transfer: None,
            recordings: Vec::new(),
            tools: Vec::new(),
            rtp: RtpRecord::default(),
            quality: QualityRecord::default(),
            diagnoses: Vec::new(),
            tokens: TokensRecord::default(),
            spend: Vec::new(),
            cost: Vec::new(),
            outcome: OutcomeRecord {
                cause: String::new(),
                fault: String::new(),
                sip_code: 0,
            },
            explanation: Vec::new(),
        }
    }
}

/// A recording of the call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordingRecord {
    /// The how manieth of the call, from 1; 0 for one that could not begin because the caller was not told.
    pub number: u32,
    /// `finished`: it is all there; `cut_off`: it ended early; `failed`: there is none; `open`: what became of it was
    /// not known when this was written.
    pub state: String,
    /// Why it is not whole.
    pub reason: Option<String>,
    /// On whose word it began: `agent` or `api`.
    pub by: String,
    /// Whether the caller had heard the prompt to its end.
    pub told: bool,
    /// When it began.
    #[serde(with = "rfc3339")]
    pub started_at: Timestamp,
    /// The file.
    pub path: Option<String>,
    /// Where it is uploaded to.
    pub url: Option<String>,
    /// What the file is: `wav` or `ogg`.
    pub format: String,
    /// Whether it is sealed.
    pub sealed: bool,
    /// Samples per second, in each of the two channels.
    pub rate_hz: u32,
    /// How long it is.
    pub seconds: f64,
    /// How much of that was paused.
    pub paused_seconds: f64,
    /// How much of it is silence because the disk did not keep up.
    pub lost_ms: u64,
    /// Of the file, in hexadecimal.
    pub sha256: Option<String>,
}

impl RecordingRecord {
    /// One that begins now.
    pub fn begun(number: u32, rate_hz: u32, by: &str, format: &str) -> Self {
        Self {
            number,
            state: "open".to_owned(),
            reason: None,
            by: by.to_owned(),
            told: false,
            format: format.to_owned(),
            sealed: false,
            started_at: Timestamp::now(),
            path: None,
            url: None,
            rate_hz,
            seconds: 0.0,
            paused_seconds: 0.0,
            lost_ms: 0,
            sha256: None,
        }
    }

    /// What became of it.
    pub fn fill_in(&mut self, report: &Report) {
        self.state = report.state.word().to_owned();
        self.reason = report.state.reason().map(str::to_owned);
        self.path = report.path.as_ref().map(|path| path.display().to_string());
        self.url.clone_from(&report.url);
        (self.seconds, self.paused_seconds) = (report.seconds, report.paused_seconds);
        self.lost_ms = report.lost_ms;
        self.sha256.clone_from(&report.sha256);
    }
}

/// A tool call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCallRecord {
    /// The tool, as the model called it.
    pub tool: String,
    /// `ok`, `failed`, `timeout`, `rejected` or `cancelled`.
    pub result: String,
    /// How long it took.
    pub duration_ms: u64,
    /// Its arguments, where the agent's `tool_record` says so.
    #[serde(default)]
    pub arguments: Option<String>,
}

/// A transfer: whom to, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferRecord {
    /// Whom to.
    pub to: String,
    /// The last SIP status heard of it; 0 when none was.
    pub status: u16,
    /// How it was tried last: `refer`, the far end was to call; `bridge`, the gateway called and joined the two.
    #[serde(default = "refer")]
    pub way: String,
    /// When the two were joined.
    #[serde(with = "rfc3339_or_null", default)]
    pub joined_at: Option<Timestamp>,
    /// How long they spoke, from then to the end.
    #[serde(default)]
    pub talk_ms: Option<u64>,
}

/// Records of before there was another way.
fn refer() -> String {
    "refer".to_owned()
}

/// Records of before there were others are of calls that came in.
fn inbound() -> String {
    "inbound".to_owned()
}

/// The two ends of the leg's media.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MediaAddresses {
    /// Our RTP address and port.
    pub local: Option<String>,
    /// The caller's, where its packets last came from.
    pub remote: Option<String>,
    /// What protects packets: a crypto suite, or `dtls`; none when nothing does.
    #[serde(default)]
    pub srtp: Option<String>,
}

/// The leg's packets, counted.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RtpRecord {
    /// Taken from the caller.
    pub received: u64,
    /// Sent to the caller.
    pub sent: u64,
    /// Expected from the caller, and never seen.
    pub lost: u64,
    /// Interarrival jitter at the end (RFC 3550 section 6.4.1).
    pub jitter_ms: f64,
    /// Dropped because they came from elsewhere.
    pub foreign: u64,
    /// Dropped because they came too late.
    pub late: u64,
    /// Dropped because they had been seen.
    pub duplicate: u64,
    /// Dropped because they could not be decoded.
    #[serde(default)]
    pub undecodable: u64,
    /// Dropped because their protection did not verify, or was that of a packet before.
    #[serde(default)]
    pub srtp_failures: u64,
    /// Audio made up for lost ones.
    #[serde(default)]
    pub concealed_ms: u64,
    /// Audio of lost ones that came with those behind them.
    #[serde(default)]
    pub recovered_ms: u64,
}

/// How a call ended, in the words of the call module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutcomeRecord {
    /// The one reason word.
    pub cause: String,
    /// `caller`, `gateway`, `backend`, `carrier` or `callee`.
    pub fault: String,
    /// The final SIP code of the INVITE.
    pub sip_code: u16,
}

mod rfc3339 {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{time:.3}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

mod rfc3339_or_null {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    #[derive(Deserialize)]
    struct Time(#[serde(with = "super::rfc3339")] Timestamp);

    pub(super) fn serialize<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => super::rfc3339::serialize(time, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
        Ok(Option::<Time>::deserialize(deserializer)?.map(|Time(time)| time))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_line_with_utc_times_in_milliseconds() {
        let line = serde_json::to_string(&record("c1")).unwrap();
        assert!(!line.contains('\n'));
        let json: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(json["started_at"], "2026-01-02T03:04:05.000Z");
        assert_eq!(json["ended_at"], "2026-01-02T03:04:05.250Z");
        assert_eq!(json["answered_at"], serde_json::Value::Null);
        assert_eq!(json["outcome"]["cause"], "no_ports");
        assert_eq!(json["rtp"]["jitter_ms"], 1.5);
    }

    #[test]
    fn a_record_reads_back_as_it_was_written() {
        let mut written = record("c\u{1}\n\"2");
        written.answered_at = Some(written.started_at);
        let read: CallRecord = serde_json::from_str(&serde_json::to_string(&written).unwrap()).unwrap();
        assert_eq!(read, written);
    }

    #[test]
    fn a_record_of_before_there_were_calls_of_ours_still_reads() {
        let mut json = serde_json::to_value(record("c1")).unwrap();
        for name in [
            "direction",
            "ring_ms",
            "headers",
            "private",
            "variables",
            "answered_by",
            "transfer",
            "quality",
            "dtmf",
            "diagnoses",
            "recordings",
            "tools",
            "spend",
            "cost",
        ] {
            json.as_object_mut().unwrap().remove(name);
        }
        assert_eq!(serde_json::from_value::<CallRecord>(json).unwrap(), record("c1"));
    }

    pub(in crate::store) fn record(call_id: &str) -> CallRecord {
        CallRecord {
            call_id: call_id.to_owned(),
            sip_call_id: "a@b".to_owned(),
            direction: "inbound".to_owned(),
            trunk: "lan".to_owned(),
            route: None,
            agent: None,
            backend: None,
            from: "sip:a@example.com".to_owned(),
            to: "sip:b@example.com".to_owned(),
            codec: None,
            media: MediaAddresses::default(),
            started_at: "2026-01-02T03:04:05Z".parse().unwrap(),
            answered_at: None,
            disclosed_at: None,
            disclosed_ms: None,
            ended_at: "2026-01-02T04:04:05.25+01:00".parse().unwrap(),
            setup_ms: None,
            ring_ms: None,
            headers: BTreeMap::new(),
            private: false,
            variables: BTreeMap::new(),
            answered_by: None,
            transfer: None,
            recordings: Vec::new(),
            tools: Vec::new(),
            duration_ms: 0,
            caller_talk_ms: 0,
            agent_talk_ms: 0,
            barge_ins: 0,
            agent_turns_cut: 0,
            reconnects: 0,
            digits: 0,
            dtmf: None,
            rtp: RtpRecord {
                jitter_ms: 1.5,
                ..RtpRecord::default()
            },
            quality: QualityRecord::default(),
            diagnoses: Vec::new(),
            tokens: TokensRecord::default(),
            spend: Vec::new(),
            cost: Vec::new(),
            outcome: OutcomeRecord {
                cause: "no_ports".to_owned(),
                fault: "gateway".to_owned(),
                sip_code: 503,
            },
            explanation: vec!["verdict: refused with 503 no_ports".to_owned()],
        }
    }
}
