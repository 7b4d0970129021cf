//! Tool calls that wait for a person: listed by the control API, decided by it, gone when nobody waits any more.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ractor::ActorRef;

use super::call;
use crate::http::ApprovalView;

/// Every tool call that waits for a person. A call has a bounded number of them.
#[derive(Debug, Default)]
pub struct Approvals {
    pending: Mutex<BTreeMap<String, Pending>>,
}

/// One of them.
#[derive(Debug, Clone)]
pub struct Pending {
    /// What a person sees of it.
    pub view: ApprovalView,
    /// Whoever waits.
    pub actor: ActorRef<call::Msg>,
    /// The session's id of the tool call.
    pub tool_call: String,
}

/// A place on the list; dropping it takes it off.
#[derive(Debug)]
pub struct Ticket {
    id: String,
    approvals: Arc<Approvals>,
}

impl Approvals {
    /// Puts one on the list.
    pub fn ask(self: &Arc<Self>, pending: Pending) -> Ticket {
        let id = pending.view.id.clone();
        self.lock().insert(id.clone(), pending);
        Ticket {
            id,
            approvals: self.clone(),
        }
    }

    /// All of them, the oldest first.
    pub fn list(&self) -> Vec<ApprovalView> {
        let mut views: Vec<ApprovalView> = self.lock().values().map(|pending| pending.view.clone()).collect();
        views.sort_by(|one, other| one.asked_at.cmp(&other.asked_at));
        views
    }

    /// One of them.
    pub fn get(&self, id: &str) -> Option<Pending> {
        self.lock().get(id).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Pending>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.approvals.lock().remove(&self.id);
    }
}
