//! What went wrong with a session, and whether dialling again can help.

/// Whether dialling again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultClass {
    /// It cannot: the same backend would refuse again.
    Fatal,
    /// It can: the session is lost, another may be had.
    Retryable,
    /// There is no need: the session goes on.
    Harmless,
}

/// Something the session, or its protocol, complains about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What to do about it.
    pub class: FaultClass,
    /// A short word: the server's code, its error type, or one of ours.
    pub code: String,
    /// What to tell a person.
    pub message: String,
}

/// The server refuses a response because another runs.
pub(super) const ALREADY_ACTIVE: &str = "conversation_already_has_active_response";

/// The server has nothing to cancel: the response ended before the cancellation came.
pub(super) const CANCEL_NOT_ACTIVE: &str = "response_cancel_not_active";

/// Codes that no second attempt gets past. Servers have moved these words between `code` and `type`, so both are
/// looked up here.
const FATAL: &[&str] = &[
    "account_deactivated",
    "authentication_error",
    "beta_api_shape_disabled",
    "billing_hard_limit_reached",
    "credit_balance_exhausted",
    "insufficient_quota",
    "invalid_api_key",
    "model_not_found",
    "permission_error",
];

/// Codes that say this session is over, or the backend unwell, but the next attempt may succeed.
const RETRYABLE: &[&str] = &[
    "internal_error",
    "overloaded_error",
    "rate_limit_error",
    "rate_limit_exceeded",
    "server_error",
    "server_overloaded",
    "session_expired",
];

/// Classifies a server error by its `code` and `type`. What is not known is harmless: an error normally leaves the
/// session open, and a server that means it closes the connection.
pub fn classify(code: &str, kind: &str) -> FaultClass {
    let either = |list: &[&str]| list.contains(&code) || list.contains(&kind);
    if either(FATAL) {
        FaultClass::Fatal
    } else if either(RETRYABLE) {
        FaultClass::Retryable
    } else {
        FaultClass::Harmless
    }
}

/// Classifies a WebSocket close code (RFC 6455 section 7.4). Only a policy refusal (1008) and the code that comes with
/// a disabled protocol (4000) are for good; a normal close (1000) still leaves the caller without a session.
pub fn classify_close(code: u16) -> FaultClass {
    match code {
        1008 | 4000 => FaultClass::Fatal,
        _ => FaultClass::Retryable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use FaultClass::{Fatal, Harmless, Retryable};

    #[test]
    fn account_errors_are_fatal_whether_in_code_or_type() {
        assert_eq!(classify("insufficient_quota", "invalid_request_error"), Fatal);
        assert_eq!(classify("something_new", "insufficient_quota"), Fatal);
        assert_eq!(classify("invalid_api_key", ""), Fatal);
        assert_eq!(classify("beta_api_shape_disabled", "invalid_request_error"), Fatal);
    }

    #[test]
    fn an_expired_session_and_an_unwell_server_are_worth_another_try() {
        assert_eq!(classify("session_expired", "invalid_request_error"), Retryable);
        assert_eq!(classify("", "server_error"), Retryable);
        assert_eq!(classify("rate_limit_exceeded", ""), Retryable);
    }

    #[test]
    fn errors_that_only_concern_one_event_are_harmless() {
        for code in [
            ALREADY_ACTIVE,
            CANCEL_NOT_ACTIVE,
            "input_audio_buffer_commit_empty",
            "invalid_value",
            "item_truncate_invalid_item_id",
            "never_seen_before",
        ] {
            assert_eq!(classify(code, "invalid_request_error"), Harmless, "{code}");
        }
    }

    #[test]
    fn close_codes_are_retryable_unless_the_server_refuses_for_good() {
        for code in [1000, 1001, 1005, 1006, 1011, 1012, 1013, 1015] {
            assert_eq!(classify_close(code), Retryable, "{code}");
        }
        assert_eq!(classify_close(1008), Fatal);
        assert_eq!(classify_close(4000), Fatal);
    }
}
