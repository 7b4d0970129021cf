//! Placing calls: what the control API asks for becomes a leg and a Call actor, or a refusal with its reason word.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ractor::ActorRef;
use tokio::sync::oneshot;

use super::{Msg, Starting, State};
use crate::{
    actors::{call::Way, control::RETRY_AFTER, ledger::Ledger},
    call::{
        Cause, Facts, Outcome,
        facts::{HEADERS_MAX, VALUE_BYTES_MAX, VARIABLES_MAX},
    },
    config::{Agent, REGISTRAR, Uplink},
    drivers::leg::{OutgoingLeg, SipOrder},
    http::{PlaceCall, Refused},
    routing::{Direction, NoRoom, Place},
    sip::{NotPlaced, Outgoing},
};

/// How long the SIP side may take to accept a call; it looks nothing up before it answers.
const ACCEPT_MAX: Duration = Duration::from_secs(2);

/// The longest a call may be asked to ring, as for calls that come in.
const RING_S_MAX: u64 = 180;

impl State {
    pub(super) async fn place(&mut self, myself: &ActorRef<Msg>, call: PlaceCall) -> Result<String, Refused> {
        let agent = self.check(&call)?;
        let ring_max = call
            .ring_timeout_s
            .map_or(self.service.config.limits.ring_max, Duration::from_secs);
        let Some(slot) = self.service.records.reserve() else {
            return Err(overloaded().1);
        };
        let facts = Arc::new(facts(&call, self.identity_at(&call.trunk)));
        let id = self.service.call_id();
        let mut ledger = Ledger::place(&self.service, slot, id.clone(), &call.trunk, &agent, &facts);
        let admitted = ledger.span().in_scope(|| self.admit_outbound(&call.trunk, &agent));
        let placed = match admitted {
            Ok(place) => self.order(outgoing(call, ring_max)).await.map(|leg| (leg, place)),
            Err(refused) => Err(refused),
        };
        match placed {
            Ok((OutgoingLeg { leg, events, call_id }, place)) => {
                ledger.dialing(call_id);
                let starting = Starting {
                    agent,
                    facts,
                    leg,
                    events,
                    way: Way::Out(ring_max),
                    ledger,
                    place,
                };
                self.start(myself, starting).await;
                Ok(id)
            }
            Err((cause, refused)) => {
                ledger.ended(Outcome::refused(cause));
                ledger.finish();
                Err(refused)
            }
        }
    }

    /// Room for one more call that may cost something.
    fn admit_outbound(&self, trunk: &str, agent: &Agent) -> Result<Place, (Cause, Refused)> {
        self.service.check_budgets(&agent.name).map_err(spent)?;
        self.admit_to_room(Direction::Outbound, trunk).map_err(|full| {
            tracing::info!(%full, "no room for a call to be placed");
            turned_away(&full)
        })
    }

    /// Who we are at a trunk, which calls of ours are from unless they say otherwise.
    fn identity_at(&self, trunk: &str) -> Option<String> {
        let trunk = self.service.config.trunks.iter().find(|own| own.name == trunk)?;
        trunk.uplink.as_ref().map(Uplink::identity)
    }

    /// What can be said without asking anyone.
    fn check(&self, call: &PlaceCall) -> Result<Arc<Agent>, Refused> {
        let config = &self.service.config;
        if call.to.trim().is_empty() || call.to.len() > VALUE_BYTES_MAX {
            return Err(Refused::invalid(
                "to",
                "whom to call: a SIP URI, or a number at the trunk",
            ));
        }
        if call
            .ring_timeout_s
            .is_some_and(|seconds| !(1..=RING_S_MAX).contains(&seconds))
        {
            return Err(Refused::invalid("ring_timeout_s", format!("1 to {RING_S_MAX}")));
        }
        check_texts("headers", &call.headers, HEADERS_MAX)?;
        check_texts("variables", &call.variables, VARIABLES_MAX)?;
        let registered = config.registrar.is_open() && call.trunk == REGISTRAR;
        if !registered && !config.trunks.iter().any(|trunk| trunk.name == call.trunk) {
            let detail = "no trunk of this name is configured";
            return Err(Refused::not_found("unknown_trunk", Some("trunk"), detail));
        }
        let agent = config.agents.get(&call.agent).cloned();
        agent.ok_or_else(|| {
            let detail = "no agent of this name is configured";
            Refused::not_found("unknown_agent", Some("agent"), detail)
        })
    }

    /// Has the SIP side begin the call.
    pub(super) async fn order(&self, outgoing: Outgoing) -> Result<OutgoingLeg, (Cause, Refused)> {
        let (reply, answer) = oneshot::channel();
        self.sip
            .try_send(SipOrder::Place(Box::new(outgoing), reply))
            .map_err(|_| overloaded())?;
        match tokio::time::timeout(ACCEPT_MAX, answer).await {
            Ok(Ok(Ok(leg))) => Ok(leg),
            Ok(Ok(Err(not_placed))) => Err(not_possible(not_placed)),
            // The driver is gone, or far behind; a leg that comes later is hung up by nobody taking it.
            Ok(Err(_)) | Err(_) => Err(overloaded()),
        }
    }
}

fn outgoing(call: PlaceCall, ring_max: Duration) -> Outgoing {
    Outgoing {
        trunk: call.trunk,
        to: call.to,
        from: call.from,
        display_name: None,
        headers: call.headers.into_iter().collect(),
        ring_max,
    }
}

fn facts(call: &PlaceCall, identity: Option<String>) -> Facts {
    Facts {
        caller: call.from.clone().or(identity).unwrap_or_default(),
        called: call.to.clone(),
        private: false,
        headers: call
            .headers
            .iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
            .collect(),
        variables: call.variables.clone(),
    }
}

fn check_texts(field: &str, texts: &BTreeMap<String, String>, items_max: usize) -> Result<(), Refused> {
    if texts.len() > items_max {
        return Err(Refused::invalid(field, format!("at most {items_max}")));
    }
    for (name, value) in texts {
        let field = format!("{field}.{name}");
        if name.is_empty() || name.len() > 64 || value.len() > VALUE_BYTES_MAX {
            let bounds = format!("a name of 1 to 64 bytes and a value of at most {VALUE_BYTES_MAX}");
            return Err(Refused::invalid(&field, bounds));
        }
        if value.contains(['\r', '\n', '\0']) {
            return Err(Refused::invalid(&field, "one line, without control characters"));
        }
    }
    Ok(())
}

/// A full trunk is the client's to spare; a full gateway is nobody's, and another one may have room.
fn turned_away(full: &NoRoom) -> (Cause, Refused) {
    let cause = Cause::from_word(full.reason()).unwrap_or(Cause::Overloaded);
    let status = if full.trunk().is_some() { 429 } else { 503 };
    (
        cause,
        Refused::busy(status, cause.word(), full.to_string(), RETRY_AFTER),
    )
}

/// It will be another day before there is money again.
fn spent(cause: Cause) -> (Cause, Refused) {
    let detail = "a budget of this agent is spent for today; the log says which";
    (cause, Refused::conflict(cause.word(), detail))
}

fn overloaded() -> (Cause, Refused) {
    let detail = "the gateway has no room for another call now";
    let cause = Cause::Overloaded;
    (cause, Refused::busy(503, cause.word(), detail, RETRY_AFTER))
}

fn not_possible(not_placed: NotPlaced) -> (Cause, Refused) {
    let NotPlaced { reason, detail } = not_placed;
    match Cause::from_word(reason) {
        Some(cause) if cause.sip_code() == 503 => {
            let refused = Refused::busy(503, cause.word(), detail, RETRY_AFTER);
            (cause, refused)
        }
        _ => {
            let refused = Refused {
                status: 422,
                reason,
                field: None,
                detail,
                retry_after: None,
            };
            (Cause::NotPlaced, refused)
        }
    }
}
