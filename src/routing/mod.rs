//! Which agent answers a call, whether there is room for it, and why.
//!
//! Rules come from the configuration and do not change while the gateway runs. A decision keeps what became of every rule
//! it looked at, so that it can be explained in words. Nothing here knows a call beyond the names it carries.

mod admission;
mod explain;
mod glob;
mod lag;
mod routes;

pub use self::{
    admission::{Direction, Fill, NoRoom, Place, Room},
    explain::{Explainer, Explanation, Question, Verdict as CallVerdict, called_name},
    glob::Glob,
    lag::{Lag, TICK},
    routes::{Call, Decision, NO_ROUTE, Route, Routes, Step, Verdict},
};
