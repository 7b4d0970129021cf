//! What a test phone does inside a call besides calling and hanging up: requests with a body, PRACK, and its answers to
//! requests that are no BYE.

use std::time::Instant;

use super::Phone;
use crate::sip::message::{Request, Response};
use crate::sip::method::Method;

impl Phone {
    /// Sends a request inside the call with these headers and this body.
    pub(crate) fn send(&mut self, now: Instant, method: Method, headers: &[(&str, &str)], body: Option<(&str, &[u8])>) {
        let Some(mut request) = self.inside_dialog(method) else {
            return;
        };
        headers
            .iter()
            .for_each(|(name, value)| request.headers.push(name, *value));
        if let Some((kind, body)) = body {
            request = request.with_body(kind, body.to_vec());
        }
        self.send_request(now, &request);
    }

    /// An UPDATE, with an offer or without.
    pub(crate) fn update(&mut self, now: Instant, headers: &[(&str, &str)], offer: Option<&[u8]>) {
        let contact = format!("<{}>", self.contact());
        let mut headers = headers.to_vec();
        headers.push(("Contact", &contact));
        self.send(
            now,
            Method::Update,
            &headers,
            offer.map(|offer| ("application/sdp", offer)),
        );
    }

    /// Acknowledges the last reliable provisional, with an offer or without.
    pub(crate) fn prack(&mut self, now: Instant, offer: Option<&[u8]>) {
        let reliable = self
            .responses
            .iter()
            .rev()
            .find(|response| response.headers.contains("RSeq"));
        let reliable = reliable.expect("a reliable provisional came");
        let rseq = reliable.headers.first("RSeq").unwrap().to_owned();
        let cseq = reliable.headers.cseq().unwrap();
        let rack = format!("{rseq} {cseq}");
        let body = offer.map(|offer| ("application/sdp", offer));
        self.send(now, Method::Prack, &[("RAck", &rack)], body);
    }

    /// Acknowledges a reliable provisional unless it has been.
    pub(super) fn prack_once(&mut self, now: Instant, response: &Response) {
        let cseq = response.headers.cseq().unwrap();
        let rack = format!("{} {cseq}", response.headers.first("RSeq").unwrap());
        if self.pracked.insert(rack) {
            self.prack(now, None);
        }
    }

    /// The requests of this method that came, retransmissions left out.
    pub(crate) fn heard(&self, method: &Method) -> Vec<&Request> {
        let mut branches = Vec::new();
        let of_method = self.requests.iter().filter(|request| request.method == *method);
        of_method
            .filter(|request| {
                let branch = request.headers.via().unwrap().branch().unwrap().to_owned();
                let fresh = !branches.contains(&branch);
                branches.push(branch);
                fresh
            })
            .collect()
    }

    /// The final responses to requests of this method, retransmissions included.
    pub(crate) fn answers_to(&self, method: &Method) -> Vec<&Response> {
        let of_method = |response: &&Response| response.headers.cseq().is_ok_and(|cseq| cseq.method == *method);
        self.responses.iter().filter(of_method).collect()
    }

    /// Answers a request that is no BYE as the habits say; a session timer is agreed to as it is asked for.
    pub(super) fn answer_inside(&mut self, request: &Request) {
        let answers = self
            .habits
            .answers
            .iter()
            .find(|(method, ..)| *method == request.method);
        let (status, headers) = answers.map_or((Some(200), &[][..]), |(_, status, headers)| (*status, *headers));
        let Some(status) = status else { return };
        let mut response = Response::standard(request, status);
        if status < 300 {
            self.agree(request, &mut response);
        }
        headers
            .iter()
            .for_each(|(name, value)| response.headers.push(name, *value));
        self.outputs.push_back(response.to_bytes());
    }

    /// What a 2xx to an INVITE says besides its dialog.
    pub(super) fn describe_answer(&self, request: &Request, response: &mut Response) {
        let listed = self
            .habits
            .answers
            .iter()
            .find(|(method, ..)| *method == Method::Invite);
        let headers = listed.map_or(&[][..], |(_, _, headers)| *headers);
        headers
            .iter()
            .for_each(|(name, value)| response.headers.push(name, *value));
        if !response.headers.contains("Session-Expires") {
            self.agree(request, response);
        }
    }

    fn agree(&self, request: &Request, response: &mut Response) {
        let expires = request.headers.first("Session-Expires").filter(|_| self.habits.agrees);
        if let Some(expires) = expires {
            response.headers.push("Session-Expires", expires);
        }
    }
}
