//! The control API's way to the calls: what a client asks becomes a message to whoever has them, answered in time.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::http::StatusCode;
use futures_util::future::BoxFuture;
use ractor::{ActorRef, RpcReplyPort, rpc::CallResult};
use serde_json::Value;
use tokio::sync::watch;

use super::{
    approvals::{Approvals, Pending},
    board::{Board, Line},
    call, calls,
    inquiries::Inquiries,
};
use crate::{
    call::{conductor::NotNow, recording::Ask},
    http::{ApprovalView, CallView, Control, PlaceCall, RecordingAction, Refused, SessionChange, Told, Transfer},
    tools::{self, desk::Decision},
};

/// How long an answer may take; past it the client is told to ask again.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// How long a client that came at a bad moment should stay away.
pub const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The way to whoever places calls. It changes when the call plane starts anew.
#[derive(Debug, Default)]
pub struct Manager {
    actor: Mutex<Option<ActorRef<calls::Msg>>>,
}

/// The control API's end.
#[derive(Debug)]
pub struct Switchboard {
    board: Arc<Board>,
    manager: Arc<Manager>,
    approvals: Arc<Approvals>,
    inquiries: Inquiries,
}

impl Manager {
    /// From now on it is this one.
    pub fn set(&self, actor: ActorRef<calls::Msg>) {
        *self.actor.lock().unwrap_or_else(PoisonError::into_inner) = Some(actor);
    }

    /// The present one.
    pub fn get(&self) -> Option<ActorRef<calls::Msg>> {
        self.actor.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Switchboard {
    /// Reads the board, asks the manager for calls, and has questions about calls answered.
    pub fn new(board: Arc<Board>, manager: Arc<Manager>, approvals: Arc<Approvals>, inquiries: Inquiries) -> Self {
        Self {
            board,
            manager,
            approvals,
            inquiries,
        }
    }

    /// How to reach a call, or why not.
    fn line(&self, id: &str) -> Result<Line, Refused> {
        match (self.board.line(id), self.board.view(id)) {
            (Some(line), _) => Ok(line),
            (None, Some(_)) => Err(over()),
            (None, None) => Err(no_such_call()),
        }
    }

    async fn ask<F>(&self, id: &str, message: F) -> Result<(), Refused>
    where
        F: FnOnce(RpcReplyPort<Result<(), NotNow>>) -> call::Msg + Send,
    {
        let line = self.line(id)?;
        match line.actor.call(message, Some(ANSWER_MAX)).await {
            Ok(CallResult::Success(Ok(()))) => Ok(()),
            Ok(CallResult::Success(Err(NotNow::NotTalking))) => {
                Err(Refused::conflict("not_talking", NotNow::NotTalking.to_string()))
            }
            Ok(CallResult::Success(Err(NotNow::Transferring))) => {
                Err(Refused::conflict("transferring", NotNow::Transferring.to_string()))
            }
            Ok(CallResult::Success(Err(NotNow::Collecting))) => {
                Err(Refused::conflict("collecting", NotNow::Collecting.to_string()))
            }
            Ok(CallResult::Success(Err(NotNow::NoKeys))) => {
                Err(Refused::conflict("no_keys", NotNow::NoKeys.to_string()))
            }
            Ok(CallResult::Success(Err(NotNow::NoSuchBackend))) => {
                Err(Refused::invalid("backend", NotNow::NoSuchBackend.to_string()))
            }
            Ok(CallResult::Success(Err(NotNow::Recording(misfit)))) => {
                Err(Refused::conflict(misfit.word(), misfit.to_string()))
            }
            Ok(CallResult::Timeout) => Err(overloaded()),
            Ok(CallResult::SenderError) | Err(_) => Err(over()),
        }
    }
}

impl Control for Switchboard {
    fn place(&self, call: PlaceCall) -> BoxFuture<'_, Result<String, Refused>> {
        Box::pin(async {
            let manager = self.manager.get().ok_or_else(overloaded)?;
            let message = |reply| calls::Msg::Place(Box::new(call), reply);
            match manager.call(message, Some(ANSWER_MAX)).await {
                Ok(CallResult::Success(placed)) => placed,
                _ => Err(overloaded()),
            }
        })
    }

    fn calls(&self, max: usize) -> Vec<CallView> {
        self.board.list(max)
    }

    fn call(&self, id: &str) -> Option<CallView> {
        self.board.view(id)
    }

    fn hang_up(&self, id: &str) -> Result<(), Refused> {
        let line = self.line(id)?;
        line.actor.cast(call::Msg::HangUp).map_err(|_| over())
    }

    fn transfer(&self, id: &str, transfer: Transfer) -> BoxFuture<'_, Result<(), Refused>> {
        let id = id.to_owned();
        Box::pin(async move {
            let replaced = transfer.replaces.map(|other| self.replaced(&id, &other)).transpose()?;
            let message = |reply| call::Msg::Transfer(transfer.to, replaced, reply);
            self.ask(&id, message).await
        })
    }

    fn send_digits(&self, id: &str, digits: String) -> BoxFuture<'_, Result<(), Refused>> {
        let id = id.to_owned();
        Box::pin(async move {
            if !tools::are_digits(&digits) {
                let bounds = format!("1 to {} of 0-9, *, # and A-D", tools::DIGITS_MAX);
                return Err(Refused::invalid("digits", bounds));
            }
            self.ask(&id, |reply| call::Msg::SendDigits(digits, reply)).await
        })
    }

    fn record(&self, id: &str, action: RecordingAction) -> BoxFuture<'_, Result<(), Refused>> {
        let id = id.to_owned();
        let ask = match action {
            RecordingAction::Start => Ask::Start,
            RecordingAction::Stop => Ask::Stop,
            RecordingAction::Pause => Ask::Pause,
            RecordingAction::Resume => Ask::Resume,
        };
        Box::pin(async move { self.ask(&id, |reply| call::Msg::Record(ask, reply)).await })
    }

    fn approvals(&self) -> Vec<ApprovalView> {
        self.approvals.list()
    }

    fn decide(&self, id: &str, approved: bool, reason: String) -> BoxFuture<'_, Result<(), Refused>> {
        let pending = self.approvals.get(id);
        Box::pin(async move {
            let Pending { actor, tool_call, .. } = pending.ok_or_else(no_such_approval)?;
            let decision = Decision { approved, reason };
            let message = |reply| call::Msg::Decide(tool_call, decision, reply);
            match actor.call(message, Some(ANSWER_MAX)).await {
                Ok(CallResult::Success(true)) => Ok(()),
                Ok(CallResult::Timeout) => Err(overloaded()),
                Ok(CallResult::Success(false) | CallResult::SenderError) | Err(_) => Err(no_such_approval()),
            }
        })
    }

    fn renew(&self, id: &str, change: SessionChange) -> BoxFuture<'_, Result<(), Refused>> {
        let id = id.to_owned();
        Box::pin(async move { self.ask(&id, |reply| call::Msg::Renew(change.into(), reply)).await })
    }

    fn events(&self, call: Option<&str>, after: u64, max: usize) -> Option<Vec<Told>> {
        match call {
            Some(id) => self.board.events(id, after, max),
            None => Some(self.board.feed(after, max)),
        }
    }

    fn newest(&self) -> u64 {
        self.board.newest()
    }

    fn changes(&self, call: Option<&str>) -> Option<watch::Receiver<u64>> {
        self.board.changes(call)
    }

    fn explain(&self, body: &[u8]) -> (StatusCode, Value) {
        self.inquiries.answer(body)
    }
}

impl Switchboard {
    /// The leg of the call whose place the new one takes.
    fn replaced(&self, id: &str, other: &str) -> Result<crate::sip::LegId, Refused> {
        let line = self.board.line(other).filter(|_| id != other);
        let line = line.ok_or_else(|| Refused::invalid("replaces", "names no other call that goes on"))?;
        Ok(line.leg)
    }
}

/// There is no such call.
fn no_such_call() -> Refused {
    let detail = "there is no call of this id; ended calls are kept for a while only";
    Refused::not_found("no_such_call", None, detail)
}

/// Nobody waits for this decision, or not any more.
fn no_such_approval() -> Refused {
    let detail = "nothing of this id waits for a person, or not any more";
    Refused::not_found("no_such_approval", None, detail)
}

fn over() -> Refused {
    Refused::conflict("ended", "the call is over")
}

fn overloaded() -> Refused {
    Refused::busy(
        503,
        "overloaded",
        "the calls cannot be reached now; ask again",
        RETRY_AFTER,
    )
}
