//! The log lines about what the SIP side refused or dropped.
//!
//! Their beginning is an interface to programs that read logs to block addresses, such as fail2ban
//! (`deploy/fail2ban`): the text, `source` with the bare address, `reason` with one word. What a peer chose stands
//! behind these, quoted and escaped.

use crate::sip::{Dropped, Refused, repeats::Repeated};

/// A request was refused.
pub fn refused(refused: &Refused) {
    if !refused.is_told {
        return;
    }
    let Refused {
        source,
        trunk,
        status,
        reason,
        detail,
        flow,
        ..
    } = refused;
    let (ip, port) = (source.ip().to_canonical(), source.port());
    let trunk = trunk.as_deref().unwrap_or_default();
    let transport = flow.transport.as_str();
    tracing::info!(source = %ip, reason = %reason, status, port, transport, trunk, detail, "a SIP request was refused");
}

/// Something was dropped unread.
pub fn dropped(dropped: &Dropped) {
    if !dropped.is_told {
        return;
    }
    let (ip, port) = (dropped.source.ip().to_canonical(), dropped.source.port());
    let (reason, transport) = (dropped.reason, dropped.transport.as_str());
    tracing::info!(source = %ip, reason = %reason, port, transport, "SIP requests are dropped");
}

/// More of the same in the last minute.
pub fn repeated(repeated: &Repeated) {
    let Repeated { source, reason, more } = repeated;
    match source {
        Some(source) => tracing::info!(source = %source.to_canonical(), reason = %reason, more, "more of the same"),
        None => tracing::info!(reason = %reason, more, "more of the same from many sources"),
    }
}
