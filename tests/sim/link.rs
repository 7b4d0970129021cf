//! The network between the phones and the gateway: datagrams are lost, doubled, delayed, and overtake each other.

use std::time::{Duration, Instant};

use crate::dice::Dice;

/// What a network does to datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weather {
    /// Lost, of a hundred.
    pub lost_percent: u64,
    /// Doubled, of a hundred.
    pub doubled_percent: u64,
    /// The time every datagram takes.
    pub delay_ms: u64,
    /// What some take longer; more than the time between two lets them overtake each other.
    pub jitter_ms: u64,
}

impl Weather {
    /// Nothing goes wrong, and everything takes the same time.
    pub const FAIR: Self = Self {
        lost_percent: 0,
        doubled_percent: 0,
        delay_ms: 15,
        jitter_ms: 0,
    };
    /// The public Internet on a good day.
    pub const MILD: Self = Self {
        lost_percent: 2,
        doubled_percent: 1,
        delay_ms: 20,
        jitter_ms: 25,
    };
    /// A bad radio link.
    pub const ROUGH: Self = Self {
        lost_percent: 20,
        doubled_percent: 5,
        delay_ms: 10,
        jitter_ms: 60,
    };
}

/// One direction of one phone's network.
#[derive(Debug)]
pub struct Link {
    weather: Weather,
    dice: Dice,
}

impl Link {
    /// A network in this weather.
    pub fn new(weather: Weather, dice: Dice) -> Self {
        Self { weather, dice }
    }

    /// Nothing arrives any more.
    pub fn break_for_good(&mut self) {
        self.weather.lost_percent = 100;
    }

    /// When the copies of a datagram sent now arrive: none, one or two.
    pub fn carry(&mut self, now: Instant) -> impl Iterator<Item = Instant> + use<> {
        let lost = self.dice.percent(self.weather.lost_percent);
        let doubled = self.dice.percent(self.weather.doubled_percent);
        let [first, second] = [self.arrival(now), self.arrival(now)];
        let copies = [(!lost).then_some(first), (!lost && doubled).then_some(second)];
        copies.into_iter().flatten()
    }

    fn arrival(&mut self, now: Instant) -> Instant {
        now + Duration::from_millis(self.weather.delay_ms) + self.dice.ms(0, self.weather.jitter_ms)
    }
}
