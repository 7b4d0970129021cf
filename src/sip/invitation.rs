//! Invitation: an INVITE of ours that is on its way or has been answered, with the phones that answered it.
//!
//! One INVITE may ring many phones (forking, RFC 3261 section 13.2.2.4); each answers with a tag of its own and makes a
//! dialog of its own. The first to answer becomes the leg; the others are acknowledged and hung up on. The invitation
//! outlives the leg until no further answer can come, so that a repeated 2xx gets its ACK again.

use super::challenge::Keyring;
use super::defect::HeaderError;
use super::dialog::Dialog;
use super::errand::ErrandId;
use super::flow::Flow;
use super::message::{Request, Response};
use super::provisional::Received;
use super::reply::ACCEPT;

/// Most phones one INVITE of ours is followed at. The early media of a further one is not heard, and should more than
/// these answer, the rest are not acknowledged and give up by themselves.
pub const FORKS_MAX: usize = 16;

/// One phone that answers.
#[derive(Debug)]
pub struct Fork {
    /// Its dialog with us, early or confirmed.
    pub dialog: Dialog,
    /// The answer to our offer that came before the call was answered.
    pub early: Option<Vec<u8>>,
    /// Its reliable provisionals that have been acknowledged.
    pub provisionals: Received,
    /// It sent a 2xx.
    pub answered: bool,
    /// The ACK of its 2xx, once it is out.
    pub ack: Option<(Flow, Vec<u8>)>,
    /// Its ACK is on the way or out.
    pub acknowledging: bool,
    /// What becomes of it is decided: it is the leg, or is hung up on.
    pub settled: bool,
    tag: String,
}

/// One INVITE.
#[derive(Debug)]
pub struct Invitation {
    /// The peer it went to, by its index.
    pub peer: usize,
    /// The errand that carries it.
    pub errand: ErrandId,
    /// Who answered, in the order of their first answers.
    pub forks: Vec<Fork>,
    /// Whom we have proved who we are to.
    pub keyring: Keyring,
    /// Nobody wants it answered any more.
    pub cancelled: bool,
    /// Why not, in one word.
    pub reason: Option<String>,
    /// Ringing has been told.
    pub rang: bool,
    /// The early answer told last.
    pub told: Option<Vec<u8>>,
}

impl Invitation {
    /// An INVITE that is about to leave.
    pub fn new(peer: usize) -> Self {
        Self {
            peer,
            errand: ErrandId(0),
            forks: Vec::new(),
            keyring: Keyring::default(),
            cancelled: false,
            reason: None,
            rang: false,
            told: None,
        }
    }

    /// The phone this response comes from, by its To tag; `None` when there are too many. A phone that only rings makes
    /// room for one that answers.
    pub fn fork(&mut self, invite: &Request, response: &Response) -> Result<Option<usize>, HeaderError> {
        let tag = response.headers.to()?.tag().unwrap_or_default().to_owned();
        let answers = response.status >= 200;
        let known = self.forks.iter().position(|fork| fork.tag == tag);
        if let Some(index) = known {
            if answers && !self.forks.get(index).is_some_and(|fork| fork.answered) {
                self.confirm(index, invite, response)?;
            }
            return Ok(known);
        }
        let fork = Fork {
            dialog: Dialog::begin_as_caller(invite, response)?,
            early: None,
            provisionals: Received::default(),
            answered: answers,
            ack: None,
            acknowledging: false,
            settled: false,
            tag,
        };
        if self.forks.len() < FORKS_MAX {
            self.forks.push(fork);
            return Ok(Some(self.forks.len() - 1));
        }
        let replaced = self.forks.iter().position(|fork| answers && !fork.answered);
        if let Some(slot) = replaced.and_then(|index| self.forks.get_mut(index)) {
            *slot = fork;
        }
        Ok(replaced)
    }

    /// The 2xx decides the route set and the target (section 13.2.2.4); the numbers go on from the early dialog.
    fn confirm(&mut self, index: usize, invite: &Request, response: &Response) -> Result<(), HeaderError> {
        let mut dialog = Dialog::begin_as_caller(invite, response)?;
        if let Some(fork) = self.forks.get_mut(index) {
            dialog.continue_from(&fork.dialog);
            fork.dialog = dialog;
            fork.answered = true;
        }
        Ok(())
    }
}

/// The session description a response carries.
pub fn description(response: &Response) -> Option<Vec<u8>> {
    let plain = response.headers.content_type().as_deref() == Some(ACCEPT);
    (plain && !response.body.is_empty()).then(|| response.body.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::method::Method;
    use crate::sip::uri::Uri;

    #[test]
    fn each_tag_is_a_phone_and_the_2xx_decides_where_it_is() {
        let mut invitation = Invitation::new(0);
        let ringing = response(180, "a", "sip:early@192.0.2.7");
        assert_eq!(invitation.fork(&invite(), &ringing), Ok(Some(0)));
        assert_eq!(
            invitation.fork(&invite(), &response(180, "b", "sip:b@192.0.2.8")),
            Ok(Some(1))
        );
        let ok = response(200, "a", "sip:late@192.0.2.9");
        assert_eq!(invitation.fork(&invite(), &ok), Ok(Some(0)));
        assert!(invitation.forks[0].answered && !invitation.forks[1].answered);
        assert_eq!(invitation.forks[0].dialog.next_hop().as_str(), "sip:late@192.0.2.9");
    }

    #[test]
    fn there_is_an_end_to_forks_and_who_answers_takes_the_place_of_who_only_rings() {
        let mut invitation = Invitation::new(0);
        for number in 0..FORKS_MAX {
            let ringing = response(180, &number.to_string(), "sip:a@h");
            assert_eq!(invitation.fork(&invite(), &ringing), Ok(Some(number)));
        }
        assert_eq!(invitation.fork(&invite(), &response(180, "more", "sip:a@h")), Ok(None));
        for number in 0..FORKS_MAX {
            let ok = response(200, &format!("late{number}"), "sip:a@h");
            assert_eq!(invitation.fork(&invite(), &ok), Ok(Some(number)));
        }
        assert_eq!(invitation.fork(&invite(), &response(200, "more", "sip:a@h")), Ok(None));
    }

    #[test]
    fn only_a_plain_session_description_is_one() {
        let body = |kind: &str| description(&response(183, "a", "sip:a@h").with_body(kind, b"v=0".to_vec()));
        assert!(body("Application/SDP").is_some() && body("multipart/mixed;boundary=x").is_none());
        assert_eq!(description(&response(183, "a", "sip:a@h")), None);
    }

    fn invite() -> Request {
        Request::new(Method::Invite, Uri::read("sip:bob@h").unwrap())
            .with_header("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx")
            .with_header("From", "<sip:us@h>;tag=ours")
            .with_header("To", "<sip:bob@h>")
            .with_header("Call-ID", "c1")
            .with_header("CSeq", "1 INVITE")
    }

    fn response(status: u16, tag: &str, contact: &str) -> Response {
        Response::standard(&invite(), status)
            .with_to_tag(tag)
            .with_header("Contact", format!("<{contact}>"))
    }
}
