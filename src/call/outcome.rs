//! How a call ended: one cause word, whose fault it was, and the SIP code the caller saw.
//!
//! The word is the same in the SIP response or BYE, the log, the metric and the record. It is decided where it
//! happened; nothing here guesses afterwards.

/// Whose side a call's end is charged to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The caller did it, or sent something we cannot serve.
    Caller,
    /// We did it, or had no room.
    Gateway,
    /// The AI backend failed.
    Backend,
    /// The network or trunk between the other side and us failed.
    Carrier,
    /// Whoever we called did it.
    Callee,
}

impl Fault {
    /// The word used in metrics and records.
    pub fn word(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Gateway => "gateway",
            Self::Backend => "backend",
            Self::Carrier => "carrier",
            Self::Callee => "callee",
        }
    }
}

/// Why a call was refused or why it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// No route matched.
    NoRoute,
    /// As many calls as configured are already up.
    CallsMax,
    /// As many calls as configured are already up on this trunk.
    TrunkCallsMax,
    /// More new calls a second than configured.
    CallsRate,
    /// The machine is behind with its work.
    OverloadedCpu,
    /// Every RTP port pair is in use.
    NoPorts,
    /// The gateway is shutting down and takes no new calls.
    Draining,
    /// The offer has no codec we speak.
    NoCommonCodec,
    /// The offer cannot be read.
    BadSdp,
    /// The offer has no usable audio.
    NoAudio,
    /// The offer's audio is not encrypted, and the trunk's must be.
    SrtpRequired,
    /// The offer insists on a way to encrypt that the trunk refuses.
    SrtpRefused,
    /// The offer has keys for no crypto suite we speak.
    NoCommonSuite,
    /// No backend gave a session before the ring limit.
    SessionUnavailable,
    /// The gateway is out of some other resource.
    Overloaded,
    /// The caller sent BYE.
    CallerHungUp,
    /// The agent asked for the end with its `hang_up` tool.
    AgentHungUp,
    /// The caller said nothing any more, although asked.
    CallerIdle,
    /// The caller gave up before the answer.
    Cancelled,
    /// The session broke and the reconnect budget ran out.
    SessionLost,
    /// No RTP came from the caller for too long.
    MediaTimeout,
    /// The other side heard nothing of us for too long: its host refused our packets, or its reports said so.
    Unheard,
    /// The handshake that makes the media's keys did not come to an end (RFC 5764).
    DtlsTimeout,
    /// The far end showed another certificate in it than its description names.
    DtlsFingerprint,
    /// The far end broke it off.
    DtlsRefused,
    /// It failed otherwise: nothing in common, or nonsense.
    DtlsFailed,
    /// The call reached its configured length.
    DurationMax,
    /// The gateway was stopped and the drain limit passed.
    Drained,
    /// Our 200 was never acknowledged.
    AckTimeout,
    /// The session timer ran out (RFC 4028): the other side showed no sign of life any more.
    SessionExpired,
    /// The connection the call was signalled on broke.
    FlowLost,
    /// A part of the gateway serving this call failed.
    Crashed,
    /// The callee is in another call.
    Busy,
    /// The callee's phone rang, or seemed to, and nobody answered.
    NoAnswer,
    /// The callee does not want the call.
    Declined,
    /// The callee's side knows nobody of that number or name.
    NotFound,
    /// The callee's side does not answer, or cannot serve anybody now.
    Unreachable,
    /// The callee's side turned the call down for another reason; the status tells.
    Rejected,
    /// Whoever we called hung up.
    CalleeHungUp,
    /// The control API ended the call.
    ApiHungUp,
    /// The other side was handed on to somebody else.
    Transferred,
    /// The call cannot be placed as it was asked for: the trunk has no address, or the number is none.
    NotPlaced,
    /// A budget is spent.
    BudgetSpent,
}

impl Cause {
    /// Every cause, for tables and tests.
    pub const ALL: [Self; 43] = [
        Self::NoRoute,
        Self::CallsMax,
        Self::TrunkCallsMax,
        Self::CallsRate,
        Self::OverloadedCpu,
        Self::NoPorts,
        Self::Draining,
        Self::NoCommonCodec,
        Self::BadSdp,
        Self::NoAudio,
        Self::SrtpRequired,
        Self::SrtpRefused,
        Self::NoCommonSuite,
        Self::SessionUnavailable,
        Self::Overloaded,
        Self::CallerHungUp,
        Self::AgentHungUp,
        Self::Cancelled,
        Self::CallerIdle,
        Self::SessionLost,
        Self::MediaTimeout,
        Self::Unheard,
        Self::DtlsTimeout,
        Self::DtlsFingerprint,
        Self::DtlsRefused,
        Self::DtlsFailed,
        Self::DurationMax,
        Self::Drained,
        Self::AckTimeout,
        Self::SessionExpired,
        Self::FlowLost,
        Self::Crashed,
        Self::Busy,
        Self::NoAnswer,
        Self::Declined,
        Self::NotFound,
        Self::Unreachable,
        Self::Rejected,
        Self::CalleeHungUp,
        Self::ApiHungUp,
        Self::Transferred,
        Self::NotPlaced,
        Self::BudgetSpent,
    ];

    /// The one reason word.
    pub fn word(self) -> &'static str {
        self.row().0
    }

    /// Whose fault this is.
    pub fn fault(self) -> Fault {
        self.row().1
    }

    /// The SIP code of a call that ends this way before its answer; 200 for what only an answered call can end with.
    pub fn sip_code(self) -> u16 {
        self.row().2
    }

    /// What it means that the call we placed was turned down with this status; `rung` says whether it rang before.
    pub fn of_rejection(status: u16, rung: bool) -> Self {
        match status {
            486 | 600 => Self::Busy,
            408 if !rung => Self::Unreachable,
            408 | 480 | 487 => Self::NoAnswer,
            403 | 433 | 603 | 607 | 608 => Self::Declined,
            404 | 410 | 484 | 604 => Self::NotFound,
            500..=599 => Self::Unreachable,
            _ => Self::Rejected,
        }
    }

    /// The cause that goes by this word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.word() == word)
    }

    fn row(self) -> (&'static str, Fault, u16) {
        match self {
            Self::NoRoute => ("no_route", Fault::Caller, 404),
            Self::CallsMax => ("calls_max", Fault::Gateway, 503),
            Self::TrunkCallsMax => ("trunk_calls_max", Fault::Gateway, 503),
            Self::CallsRate => ("calls_rate", Fault::Gateway, 503),
            Self::OverloadedCpu => ("overloaded_cpu", Fault::Gateway, 503),
            Self::NoPorts => ("no_ports", Fault::Gateway, 503),
            Self::Draining => ("draining", Fault::Gateway, 503),
            Self::NoCommonCodec => ("no_common_codec", Fault::Caller, 488),
            Self::BadSdp => ("bad_sdp", Fault::Caller, 488),
            Self::NoAudio => ("no_audio", Fault::Caller, 488),
            Self::SrtpRequired => ("srtp_required", Fault::Caller, 488),
            Self::SrtpRefused => ("srtp_refused", Fault::Caller, 488),
            Self::NoCommonSuite => ("no_common_suite", Fault::Caller, 488),
            Self::SessionUnavailable => ("session_unavailable", Fault::Backend, 503),
            Self::Overloaded => ("overloaded", Fault::Gateway, 503),
            Self::CallerHungUp => ("caller_hung_up", Fault::Caller, 200),
            Self::AgentHungUp => ("agent_hung_up", Fault::Backend, 603),
            Self::Cancelled => ("cancelled", Fault::Caller, 487),
            Self::CallerIdle => ("caller_idle", Fault::Caller, 200),
            Self::SessionLost => ("session_lost", Fault::Backend, 200),
            Self::MediaTimeout => ("media_timeout", Fault::Carrier, 200),
            Self::Unheard => ("unheard", Fault::Carrier, 200),
            Self::DtlsTimeout => ("dtls_timeout", Fault::Carrier, 488),
            Self::DtlsFingerprint => ("dtls_fingerprint", Fault::Caller, 488),
            Self::DtlsRefused => ("dtls_refused", Fault::Caller, 488),
            Self::DtlsFailed => ("dtls_failed", Fault::Caller, 488),
            Self::DurationMax => ("duration_max", Fault::Gateway, 200),
            Self::Drained => ("drained", Fault::Gateway, 200),
            Self::AckTimeout => ("ack_timeout", Fault::Carrier, 200),
            Self::SessionExpired => ("session_expired", Fault::Carrier, 200),
            Self::FlowLost => ("flow_lost", Fault::Carrier, 200),
            Self::Crashed => ("crashed", Fault::Gateway, 200),
            Self::Busy => ("busy", Fault::Callee, 486),
            Self::NoAnswer => ("no_answer", Fault::Callee, 480),
            Self::Declined => ("declined", Fault::Callee, 603),
            Self::NotFound => ("not_found", Fault::Callee, 404),
            Self::Unreachable => ("unreachable", Fault::Carrier, 503),
            Self::Rejected => ("rejected", Fault::Carrier, 488),
            Self::CalleeHungUp => ("callee_hung_up", Fault::Callee, 200),
            Self::ApiHungUp => ("api_hung_up", Fault::Gateway, 603),
            Self::Transferred => ("transferred", Fault::Backend, 200),
            Self::NotPlaced => ("not_placed", Fault::Gateway, 400),
            Self::BudgetSpent => ("budget_spent", Fault::Gateway, 503),
        }
    }
}

impl From<crate::sdp::Refusal> for Cause {
    fn from(refusal: crate::sdp::Refusal) -> Self {
        Self::from_word(refusal.reason()).unwrap_or(Self::BadSdp)
    }
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Why.
    pub cause: Cause,
    /// The final SIP code of the INVITE.
    pub sip_code: u16,
}

impl Outcome {
    /// The outcome of a call that had been answered.
    pub fn answered(cause: Cause) -> Self {
        Self { cause, sip_code: 200 }
    }

    /// The outcome of a call that was refused or given up before its answer.
    pub fn refused(cause: Cause) -> Self {
        let sip_code = match cause.sip_code() {
            200 => 503,
            code => code,
        };
        Self { cause, sip_code }
    }

    /// The outcome of a call we placed that was turned down with this status.
    pub fn rejected(status: u16, rung: bool) -> Self {
        let cause = Cause::of_rejection(status, rung);
        Self {
            cause,
            sip_code: status,
        }
    }

    /// The outcome of a call we placed and gave up before its answer.
    pub fn given_up(cause: Cause) -> Self {
        Self { cause, sip_code: 487 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_has_a_word_of_its_own() {
        for cause in Cause::ALL {
            assert_eq!(Cause::from_word(cause.word()), Some(cause));
        }
    }

    #[test]
    fn what_ends_a_leg_by_itself_keeps_its_word() {
        for word in ["ack_timeout", "session_expired", "session_unavailable", "flow_lost"] {
            assert_eq!(Cause::from_word(word).map(Cause::word), Some(word));
        }
    }

    #[test]
    fn a_status_of_the_callee_means_one_cause() {
        let means = |status| Cause::of_rejection(status, true);
        assert_eq!([486, 600].map(means), [Cause::Busy; 2]);
        assert_eq!([408, 480, 487].map(means), [Cause::NoAnswer; 3]);
        assert_eq!([403, 603, 607].map(means), [Cause::Declined; 3]);
        assert_eq!([404, 410, 484, 604].map(means), [Cause::NotFound; 4]);
        assert_eq!([500, 503, 504].map(means), [Cause::Unreachable; 3]);
        assert_eq!([301, 401, 488, 606].map(means), [Cause::Rejected; 4]);
        assert_eq!(Cause::of_rejection(408, false), Cause::Unreachable);
    }

    #[test]
    fn a_refusal_never_carries_a_success_code() {
        for cause in Cause::ALL {
            assert!(Outcome::refused(cause).sip_code >= 400, "{cause:?}");
        }
    }
}
