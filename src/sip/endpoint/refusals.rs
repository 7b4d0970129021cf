//! What is refused or dropped without asking the application, and who is told.
//!
//! Every refusal goes to the log, the metric and, when it would have been a call, the record. The log hears of one
//! source the first time at once and then once a minute ([`crate::sip::repeats`]).

use std::time::Instant;

use super::{Attempt, Dropped, Endpoint, Output, Refused};
use crate::sip::admission::{Source, Verdict};
use crate::sip::defect::{Defect, ReadError};
use crate::sip::defence::Opening;
use crate::sip::dialog::DialogId;
use crate::sip::flow::{Flow, OPENED_BY_US};
use crate::sip::message::{Request, Response};
use crate::sip::method::Method;
use crate::sip::reason::Reason;
use crate::sip::reply::stamp;

/// Why a request is refused.
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) reason: &'static str,
    pub(super) detail: String,
    headers: Vec<(&'static str, String)>,
}

impl Refusal {
    pub(super) fn new(status: u16, reason: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            reason,
            detail: detail.into(),
            headers: Vec::new(),
        }
    }

    pub(super) fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// 405 when the method is one of SIP's, else 501.
    pub(super) fn of_method(method: &Method, allow: &str) -> Self {
        let status = if matches!(method, Method::Other(_)) { 501 } else { 405 };
        Self::new(status, "bad_request", format!("{method} is not served")).with_header("Allow", allow)
    }

    pub(super) fn write_into(&self, mut response: Response) -> Response {
        response
            .headers
            .push("Reason", Reason::sip(self.status, self.reason).to_string());
        for (name, value) in &self.headers {
            response.headers.push(name, value);
        }
        response
    }
}

/// What strangers may do.
impl Endpoint {
    /// Whether what came is read. Those whom a trunk lists, and those whom we called, are always listened to.
    pub(super) fn lets_in(&mut self, now: Instant, flow: &Flow, opening: Opening) -> bool {
        self.clock = now;
        let is_ours = flow.transport.is_reliable() && flow.connection >= OPENED_BY_US;
        if is_ours || self.is_listed(flow) {
            return true;
        }
        match self.defence.screen(now, flow.source_ip(), opening) {
            Ok(()) => true,
            Err(reason) => {
                self.report_drop(flow, reason);
                false
            }
        }
    }

    /// Checks who sends this request, and remembers who fails. A retransmission must not get here.
    pub(super) fn authenticate(&mut self, now: Instant, flow: &Flow, source: Source, request: &Request) -> Verdict {
        let verdict = self.admission.check(now, source, request);
        match &verdict {
            Verdict::Admitted(_) => self.note_login(now, flow, true),
            Verdict::Failed(_) => self.note_login(now, flow, false),
            Verdict::Challenged(_) => {}
        }
        verdict
    }

    /// Somebody there logged in, or failed to.
    pub(super) fn note_login(&mut self, now: Instant, flow: &Flow, done: bool) {
        match done {
            _ if self.is_listed(flow) => {}
            true => self.defence.logged_in(now, flow.source_ip()),
            false => _ = self.defence.login_failed(now, flow.source_ip()),
        }
    }

    /// Whether a trunk lists this source. Where phones register from, anybody may be.
    fn is_listed(&self, flow: &Flow) -> bool {
        matches!(self.admission.source(flow.origin()), Source::Peer(peer) if peer != self.phones())
    }

    /// The refusal of somebody whose trunk does not allow this transport.
    pub(super) fn check_transport(&self, source: Source, flow: &Flow) -> Result<(), Refusal> {
        match self.admission.peers().allows(source, flow.transport) {
            true => Ok(()),
            false => Err(Refusal::new(
                403,
                "transport_not_allowed",
                format!("this trunk may not use {}", flow.transport),
            )),
        }
    }

    /// Strangers get no answer to what cannot be read: there may be no request behind it.
    pub(super) fn handle_unreadable(&mut self, flow: &Flow, error: &ReadError) {
        if *error.defect() == Defect::KeepAlive {
            return;
        }
        let known = self.admission.knows(flow.origin());
        let reply = error.reply().filter(|_| known);
        let status = reply.as_ref().map_or(0, |reply| reply.status);
        let reason = if known { "bad_request" } else { "unknown_source" };
        self.report(flow, status, reason, error.to_string());
        if let Some(mut reply) = reply {
            let to = stamp(&mut reply.headers, flow);
            let tag = self.mint.stateless_tag(&reply.headers);
            self.send(to, reply.with_to_tag(&tag).to_bytes());
        }
    }

    pub(super) fn refuse_stateless(&mut self, flow: &Flow, request: &Request, refusal: &Refusal) {
        self.report_refusal(flow, request, refusal);
        self.reply_stateless(flow, request, |response| refusal.write_into(response), refusal.status);
    }

    pub(super) fn refuse_stranger(&mut self, flow: &Flow, request: &Request) {
        let detail = format!("no trunk lists this source ({})", request.method);
        match self.defence.is_silent() {
            true => self.report_attempt(flow, 0, "unknown_source", detail, attempt(request)),
            false => self.refuse_stateless(flow, request, &Refusal::new(403, "unknown_source", detail)),
        }
    }
}

/// Telling.
impl Endpoint {
    pub(super) fn report_refusal(&mut self, flow: &Flow, request: &Request, refusal: &Refusal) {
        let Refusal {
            status, reason, detail, ..
        } = refusal;
        self.report_attempt(flow, *status, reason, detail.clone(), attempt(request));
    }

    /// What of all that has been kept back is due to be told.
    pub(super) fn report_repeats(&mut self, now: Instant) {
        while let Some(repeated) = self.repeats.pop_due(now) {
            self.outputs.push_back(Output::Repeated(repeated));
        }
    }

    pub(super) fn report(&mut self, flow: &Flow, status: u16, reason: &'static str, detail: String) {
        self.report_attempt(flow, status, reason, detail, None);
    }

    fn report_attempt(
        &mut self,
        flow: &Flow,
        status: u16,
        reason: &'static str,
        detail: String,
        call: Option<Attempt>,
    ) {
        let trunk = self.admission.name_at(flow.origin()).map(str::to_owned);
        let is_told = self.repeats.note(self.clock, flow.source_ip(), reason);
        self.outputs.push_back(Output::Refused(Refused {
            source: flow.remote,
            trunk,
            status,
            reason,
            detail,
            flow: *flow,
            is_told,
            call: call.map(Box::new),
        }));
    }

    fn report_drop(&mut self, flow: &Flow, reason: &'static str) {
        let is_told = self.repeats.note(self.clock, flow.source_ip(), reason);
        self.outputs.push_back(Output::Dropped(Dropped {
            source: flow.remote,
            transport: flow.transport,
            reason,
            is_told,
        }));
    }
}

/// The call a request would have begun.
fn attempt(request: &Request) -> Option<Attempt> {
    let begins = request.method == Method::Invite && DialogId::of_request(&request.headers).is_none();
    begins.then(|| Attempt {
        from: request
            .headers
            .from()
            .map(|from| from.uri.to_string())
            .unwrap_or_default(),
        to: request.uri.clone(),
        call_id: request.headers.call_id().unwrap_or_default().to_owned(),
    })
}
