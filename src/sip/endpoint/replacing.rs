//! Calls that take the place of another (RFC 3891): which leg an INVITE with Replaces means. Hanging that one up is the
//! application's part.

use super::{Endpoint, Refusal};
use crate::sip::leg::{LegId, Phase};
use crate::sip::message::Request;
use crate::sip::replaces::Replaces;

impl Endpoint {
    /// The leg of the same peer that the INVITE replaces. A leg of another peer is none, so that nobody learns of
    /// calls that are not theirs.
    pub(super) fn replaced_by(&self, invite: &Request, peer: usize) -> Result<Option<LegId>, Refusal> {
        let Some(replaces) = read_replaces(invite)? else {
            return Ok(None);
        };
        let leg = self.dialogs.get(&replaces.dialog());
        let leg = leg.and_then(|id| Some((*id, self.legs.get(id)?)));
        let (id, leg) = leg.filter(|(_, leg)| leg.peer == peer).ok_or_else(no_match)?;
        match &leg.phase {
            // Only the side that calls may have its unanswered call taken over (section 3).
            Phase::Asked(asked) if asked.first => Err(no_match()),
            Phase::Leaving => Err(Refusal::new(603, "bad_request", "the call to be replaced is over")),
            _ if replaces.early_only => Err(Refusal::new(
                486,
                "bad_request",
                "the call to be replaced has been answered",
            )),
            _ => Ok(Some(id)),
        }
    }
}

fn read_replaces(invite: &Request) -> Result<Option<Replaces>, Refusal> {
    if !invite.headers.contains("Replaces") {
        return Ok(None);
    }
    let bad = |detail: String| Refusal::new(400, "bad_request", detail);
    if invite.headers.contains("Join") {
        return Err(bad("Replaces and Join exclude each other".to_owned()));
    }
    let value = invite
        .headers
        .single("Replaces")
        .map_err(|error| bad(error.to_string()))?;
    Replaces::read(value).map(Some).map_err(|error| bad(error.to_string()))
}

fn no_match() -> Refusal {
    Refusal::new(481, "bad_request", "Replaces names no call of this peer")
}
