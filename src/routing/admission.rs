//! Whether there is room for one more call: the one place that decides it, for calls that come in and calls we place.
//!
//! A call that is let in holds a [`Place`], which gives back what it took when it is dropped. Only admitted calls use up
//! a rate: being refused costs a trunk nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::config::{Config, TrunkLimits};
use crate::sip::rate::{Allowance, Rate};

/// Which way a call goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Somebody calls us.
    Inbound,
    /// We call somebody.
    Outbound,
}

/// How full the gateway is, and how full it may be.
#[derive(Debug)]
pub struct Room {
    whole: Quota,
    trunks: BTreeMap<String, Quota>,
    lag: Duration,
    lag_max: Option<Duration>,
    draining: bool,
}

/// What one admitted call takes up, until this is dropped.
#[derive(Debug)]
#[must_use = "the place is free again as soon as this is dropped"]
pub struct Place {
    counts: Vec<Arc<AtomicUsize>>,
}

/// Why there is no room.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    /// The gateway is about to stop.
    #[error("the gateway takes no new calls, because it is about to stop")]
    Draining,
    /// The machine is behind with its work.
    #[error("timers fire {} ms late, and limits.lag_ms_max is {}", lag.as_millis(), lag_max.as_millis())]
    OverloadedCpu {
        /// How late timers fire.
        lag: Duration,
        /// How late they may fire.
        lag_max: Duration,
    },
    /// As many calls as there may be.
    #[error("there are {}, and limits.calls_max is {}", fill.said(), fill.calls_max)]
    CallsMax {
        /// How full the gateway is.
        fill: Fill,
    },
    /// As many calls as the trunk may have.
    #[error("the trunk {trunk:?} has {}, and its calls_max is {}", fill.said(), fill.calls_max)]
    TrunkCallsMax {
        /// The trunk.
        trunk: String,
        /// How full it is.
        fill: Fill,
    },
    /// More calls a second than there may be.
    #[error("more than {calls_per_s} new calls a second, the limit of {}", whose(trunk.as_deref()))]
    CallsRate {
        /// The trunk; without one it is the gateway's limit.
        trunk: Option<String>,
        /// The limit.
        calls_per_s: u32,
    },
}

/// How many calls there are, and may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fill {
    /// Calls there are.
    pub calls_active: usize,
    /// Calls there may be; 0: no limit.
    pub calls_max: usize,
    /// Of these, the ones kept free for calls that come in.
    pub kept_free: usize,
}

/// The calls of the gateway or of one trunk.
#[derive(Debug, Default)]
struct Quota {
    calls_max: usize,
    inbound_reserve: usize,
    rate: Option<Rate>,
    allowance: Allowance,
    inbound: Arc<AtomicUsize>,
    outbound: Arc<AtomicUsize>,
}

impl Room {
    /// An empty gateway with these limits.
    pub fn new(config: &Config) -> Self {
        let limits = &config.limits;
        let trunks = config.trunks.iter();
        Self {
            whole: Quota::new(limits.calls_max, limits.calls_per_s, 0),
            trunks: trunks
                .map(|trunk| (trunk.name.clone(), Quota::of(&trunk.limits)))
                .collect(),
            lag: Duration::ZERO,
            lag_max: limits.lag_max,
            draining: false,
        }
    }

    /// Whether no new calls are taken any more.
    pub fn set_draining(&mut self, draining: bool) {
        self.draining = draining;
    }

    /// How late the machine is with its work.
    pub fn set_lag(&mut self, lag: Duration) {
        self.lag = lag;
    }

    /// Lets one more call in, or says why not.
    pub fn admit(&mut self, direction: Direction, trunk: &str, now: Instant) -> Result<Place, NoRoom> {
        self.check(direction, trunk, now)?;
        let quotas = std::iter::once(&mut self.whole).chain(self.trunks.get_mut(trunk));
        let counts = quotas.map(|quota| quota.take(direction, now)).collect();
        Ok(Place { counts })
    }

    /// Whether [`Self::admit`] would let one more call in; nothing is taken.
    pub fn check(&self, direction: Direction, trunk: &str, now: Instant) -> Result<(), NoRoom> {
        if self.draining {
            return Err(NoRoom::Draining);
        }
        if let Some(lag_max) = self.lag_max.filter(|lag_max| self.lag > *lag_max) {
            return Err(NoRoom::OverloadedCpu { lag: self.lag, lag_max });
        }
        let fill = self.fill();
        if !fill.has_room(direction) {
            return Err(NoRoom::CallsMax { fill });
        }
        if let Some(fill) = self.trunk_fill(trunk).filter(|fill| !fill.has_room(direction)) {
            let trunk = trunk.to_owned();
            return Err(NoRoom::TrunkCallsMax { trunk, fill });
        }
        self.whole.check_rate(now, None)?;
        let quota = self.trunks.get(trunk);
        quota.map_or(Ok(()), |quota| quota.check_rate(now, Some(trunk)))
    }

    /// How full the gateway is. What the trunks keep free for calls that come in and they have not, is kept free.
    pub fn fill(&self) -> Fill {
        Fill {
            kept_free: self.trunks.values().map(Quota::kept_free).sum(),
            ..self.whole.fill()
        }
    }

    /// How full a trunk is; nothing for one that is not configured.
    pub fn trunk_fill(&self, trunk: &str) -> Option<Fill> {
        self.trunks.get(trunk).map(Quota::fill)
    }

    /// The calls a second that the gateway takes, and that the trunk may make.
    pub fn rates(&self, trunk: &str) -> (Option<u32>, Option<u32>) {
        let rate = |quota: &Quota| quota.rate.map(Rate::get);
        (rate(&self.whole), self.trunks.get(trunk).and_then(rate))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for count in &self.counts {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Quota {
    fn new(calls_max: usize, calls_per_s: u32, inbound_reserve: usize) -> Self {
        Self {
            calls_max,
            inbound_reserve,
            rate: Rate::per_second(calls_per_s),
            ..Self::default()
        }
    }

    fn of(limits: &TrunkLimits) -> Self {
        Self::new(limits.calls_max, limits.calls_per_s, limits.inbound_reserve)
    }

    fn fill(&self) -> Fill {
        Fill {
            calls_active: self.inbound.load(Ordering::Relaxed) + self.outbound.load(Ordering::Relaxed),
            calls_max: self.calls_max,
            kept_free: self.kept_free(),
        }
    }

    fn kept_free(&self) -> usize {
        self.inbound_reserve
            .saturating_sub(self.inbound.load(Ordering::Relaxed))
    }

    fn check_rate(&self, now: Instant, trunk: Option<&str>) -> Result<(), NoRoom> {
        match self.rate {
            Some(rate) if !self.allowance.is_left(rate, now) => Err(NoRoom::CallsRate {
                trunk: trunk.map(str::to_owned),
                calls_per_s: rate.get(),
            }),
            _ => Ok(()),
        }
    }

    fn take(&mut self, direction: Direction, now: Instant) -> Arc<AtomicUsize> {
        if let Some(rate) = self.rate {
            self.allowance.take(rate, now);
        }
        let count = match direction {
            Direction::Inbound => &self.inbound,
            Direction::Outbound => &self.outbound,
        };
        count.fetch_add(1, Ordering::Relaxed);
        count.clone()
    }
}

impl Fill {
    fn has_room(&self, direction: Direction) -> bool {
        let kept_free = match direction {
            Direction::Inbound => 0,
            Direction::Outbound => self.kept_free,
        };
        self.calls_max == 0 || self.calls_active.saturating_add(kept_free) < self.calls_max
    }

    fn said(&self) -> String {
        match self.kept_free {
            0 => format!("{} calls", self.calls_active),
            kept => format!(
                "{} calls and {kept} kept free for those that come in",
                self.calls_active
            ),
        }
    }
}

impl NoRoom {
    /// The reason word.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Draining => "draining",
            Self::OverloadedCpu { .. } => "overloaded_cpu",
            Self::CallsMax { .. } => "calls_max",
            Self::TrunkCallsMax { .. } => "trunk_calls_max",
            Self::CallsRate { .. } => "calls_rate",
        }
    }

    /// The trunk that is full, where others may still have room.
    pub fn trunk(&self) -> Option<&str> {
        match self {
            Self::TrunkCallsMax { trunk, .. } => Some(trunk),
            Self::CallsRate { trunk, .. } => trunk.as_deref(),
            Self::Draining | Self::OverloadedCpu { .. } | Self::CallsMax { .. } => None,
        }
    }
}

fn whose(trunk: Option<&str>) -> String {
    trunk.map_or_else(|| "limits".to_owned(), |trunk| format!("the trunk {trunk:?}"))
}

#[cfg(test)]
mod tests;
