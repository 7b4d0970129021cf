//! The dialects there are.

/// How a backend spells the protocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Dialect {
    /// The generally available Realtime API.
    #[default]
    Ga,
    /// The Realtime API before that, which many servers still speak.
    Beta,
    /// The Live API: audio without turns, and work that is delegated.
    Live,
}

impl Dialect {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Ga, Self::Beta, Self::Live];

    /// Its name.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ga => "ga",
            Self::Beta => "beta",
            Self::Live => "live",
        }
    }

    /// Whether the agent answers in responses that are asked for. Without them it speaks when it sees fit.
    pub const fn has_responses(self) -> bool {
        !matches!(self, Self::Live)
    }

    /// Whether a session can be told anew what it is to be.
    pub const fn has_updates(self) -> bool {
        !matches!(self, Self::Live)
    }

    /// Whether the server is told how much of an item was heard. Without it words say so.
    pub const fn has_truncate(self) -> bool {
        !matches!(self, Self::Live)
    }
}
