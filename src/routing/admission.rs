//! Whether there is room for one more call.

/// How full the gateway is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Calls there are.
    pub calls_active: usize,
    /// Calls there may be.
    pub calls_max: usize,
    /// Whether no new calls are taken any more.
    pub draining: bool,
}

/// Why there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    /// The gateway is about to stop.
    #[error("the gateway takes no new calls, because it is about to stop")]
    Draining,
    /// As many calls as there may be.
    #[error("there are {calls_active} calls, and limits.calls_max is {calls_max}")]
    CallsMax {
        /// Calls there are.
        calls_active: usize,
        /// Calls there may be.
        calls_max: usize,
    },
}

impl Room {
    /// Lets one more call in, or says why not.
    pub fn admit(self) -> Result<(), NoRoom> {
        let Self {
            calls_active,
            calls_max,
            draining,
        } = self;
        match (draining, calls_active < calls_max) {
            (true, _) => Err(NoRoom::Draining),
            (false, false) => Err(NoRoom::CallsMax {
                calls_active,
                calls_max,
            }),
            (false, true) => Ok(()),
        }
    }
}

impl NoRoom {
    /// The reason word.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Draining => "draining",
            Self::CallsMax { .. } => "calls_max",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_let_in_up_to_the_limit() {
        assert_eq!(room(9, false).admit(), Ok(()));
        let full = room(10, false).admit().unwrap_err();
        assert_eq!(full.reason(), "calls_max");
        assert_eq!(full.to_string(), "there are 10 calls, and limits.calls_max is 10");
    }

    #[test]
    fn a_draining_gateway_says_so_even_when_it_is_full() {
        for calls_active in [0, 10, 11] {
            assert_eq!(
                room(calls_active, true).admit().map_err(|full| full.reason()),
                Err("draining")
            );
        }
    }

    fn room(calls_active: usize, draining: bool) -> Room {
        Room {
            calls_active,
            calls_max: 10,
            draining,
        }
    }
}
