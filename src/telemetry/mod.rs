//! What the gateway says about itself: logs and the one list of metric names.
//!
//! Everything here is told, never asks: the parts of the gateway call typed methods of [`Metrics`], and `/metrics`
//! renders them. Traces leave the process only as log lines; nothing is pushed anywhere.

mod backends;
mod handles;
pub mod log;
mod metric;
pub mod metrics;
mod process;
mod trunks;

pub use backends::{BackendState, Backends};
pub use metric::{Kind, Metric};
pub use metrics::{Held, Level, Metrics, Queue};
pub use trunks::{TrunkState, Trunks};
