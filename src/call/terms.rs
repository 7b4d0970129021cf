//! Where offer and answer stand on one leg, whoever makes the offer (RFC 3264, RFC 3261 section 13.2).
//!
//! The caller offers in the INVITE and we answer in the 200; or the INVITE has no offer, ours goes out with the 200 and
//! the answer comes with the ACK. A re-INVITE does either again. What has been agreed on is in effect for the media as
//! soon as both sides know it.

use crate::sdp::{self, Local, Negotiated, Refusal};

/// The leg's session descriptions so far.
#[derive(Debug, Clone)]
pub struct Terms {
    local: Local,
    body: Vec<u8>,
    /// Nothing while our own offer waits for its answer.
    agreed: Option<Negotiated>,
}

impl Terms {
    /// Settles an INVITE's offer, or makes ours when it has none.
    pub fn new(local: Local, offer: Option<&[u8]>) -> Result<Self, Refusal> {
        let mut terms = Self {
            local,
            body: Vec::new(),
            agreed: None,
        };
        terms.settle(offer)?;
        Ok(terms)
    }

    /// A re-INVITE: what becomes of its offer. After a refusal everything stays as it was.
    pub fn reoffer(&mut self, offer: Option<&[u8]>) -> Result<(), Refusal> {
        let mut next = self.clone();
        next.local.version += 1;
        next.local.before = next.agreed.clone().map(Box::new).or(next.local.before);
        next.settle(offer)?;
        *self = next;
        Ok(())
    }

    /// The ACK came. True when it brought the answer to our offer, so that the terms are new.
    pub fn acknowledge(&mut self, answer: Option<&[u8]>) -> Result<bool, Refusal> {
        if self.agreed.is_some() {
            return Ok(false);
        }
        self.agreed = Some(sdp::read_answer(answer.unwrap_or_default(), &self.local)?);
        Ok(true)
    }

    /// The answer to our offer came with a response, before the call was answered or when it was; a later one counts in
    /// place of an earlier. Without one the earlier stands.
    pub fn answered(&mut self, answer: Option<&[u8]>) -> Result<(), Refusal> {
        if answer.is_some() || self.agreed.is_none() {
            self.agreed = Some(sdp::read_answer(answer.unwrap_or_default(), &self.local)?);
        }
        Ok(())
    }

    /// Our side.
    pub fn local(&self) -> &Local {
        &self.local
    }

    /// Our body for the 200: an answer, or our own offer.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// What both sides agreed on.
    pub fn agreed(&self) -> Option<&Negotiated> {
        self.agreed.as_ref()
    }

    fn settle(&mut self, offer: Option<&[u8]>) -> Result<(), Refusal> {
        match offer {
            Some(offer) => {
                let (agreed, answer) = sdp::answer(offer, &self.local)?;
                (self.agreed, self.body) = (Some(agreed), answer);
            }
            None => (self.agreed, self.body) = (None, sdp::offer(&self.local)),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::Codec;

    #[test]
    fn an_offer_is_settled_at_once() {
        let terms = Terms::new(local(), Some(&description(4000, "0 8"))).unwrap();
        assert_eq!(terms.agreed().unwrap().remote_rtp.port(), 4000);
        assert!(!terms.body().is_empty());
    }

    #[test]
    fn our_own_offer_is_settled_by_the_ack() {
        let mut terms = Terms::new(local(), None).unwrap();
        assert!(terms.agreed().is_none());
        assert!(terms.acknowledge(Some(&description(4000, "8"))).unwrap());
        assert_eq!(terms.agreed().unwrap().send.codec, Codec::Pcma);
    }

    #[test]
    fn an_ack_without_the_answer_it_owes_is_refused() {
        let mut terms = Terms::new(local(), None).unwrap();
        assert_eq!(terms.acknowledge(None).unwrap_err().reason(), "bad_sdp");
    }

    #[test]
    fn a_refused_reoffer_leaves_everything_as_it_was() {
        let mut terms = Terms::new(local(), Some(&description(4000, "0"))).unwrap();
        let before = terms.clone();
        assert!(terms.reoffer(Some(&description(4000, "96"))).is_err());
        assert_eq!((terms.agreed(), terms.body()), (before.agreed(), before.body()));
    }

    #[test]
    fn a_reoffer_without_an_offer_goes_on_from_what_was_agreed() {
        let mut terms = Terms::new(local(), Some(&renumbered())).unwrap();
        terms.reoffer(None).unwrap();
        let offer = String::from_utf8(terms.body().to_vec()).unwrap();
        assert!(offer.contains("a=rtpmap:97 PCMA/8000\r\n"), "{offer}");
        assert!(terms.acknowledge(Some(&renumbered())).unwrap());
        assert_eq!(terms.agreed().unwrap().send.payload_type, 97);
    }

    #[test]
    fn a_reoffer_changes_the_codec_and_the_packet_time() {
        let mut terms = Terms::new(local(), Some(&description(4000, "0"))).unwrap();
        let mut offer = description(4000, "9 8");
        offer.extend_from_slice(b"a=ptime:40\r\n");
        terms.reoffer(Some(&offer)).unwrap();
        let agreed = terms.agreed().unwrap();
        assert_eq!((agreed.send.codec, agreed.ptime_ms), (Codec::Pcma, 40));
        assert_eq!(agreed.receive.len(), 2);
    }

    fn renumbered() -> Vec<u8> {
        let mut description = description(4000, "97");
        description.extend_from_slice(b"a=rtpmap:97 PCMA/8000\r\n");
        description
    }

    #[test]
    fn a_reoffer_moves_the_media_and_counts_our_version_up() {
        let mut terms = Terms::new(local(), Some(&description(4000, "0"))).unwrap();
        terms.reoffer(Some(&description(6000, "0"))).unwrap();
        assert_eq!(terms.agreed().unwrap().remote_rtp.port(), 6000);
        assert_eq!(terms.local().version, 2);
    }

    fn local() -> Local {
        let address = "127.0.0.1".parse().unwrap();
        Local::new(address, 5000, 1)
    }

    fn description(port: u16, formats: &str) -> Vec<u8> {
        let head = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n";
        format!("{head}m=audio {port} RTP/AVP {formats}\r\n").into_bytes()
    }
}
