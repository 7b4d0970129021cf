//! Faults on demand: ways for the operator to misbehave, for testing whatever talks to it.
//!
//! A list of faults is text, comma separated, each `kind[:argument][@ms][*n]`; see the module above for the kinds. `@ms`
//! counts from the opening of the connection, `*n` limits the fault to the first n connections.

use std::fmt;
use std::str::FromStr;

/// A parsed list; the empty list is a server that behaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults(Vec<Rule>);

/// One way to misbehave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection is aborted without a close frame.
    Drop,
    /// The connection is closed with this code.
    Close(u16),
    /// The connection stays open and nothing more is sent.
    Stall,
    /// An `error` event with this code is sent.
    Error(String),
    /// Something that is not JSON is sent, then an event cut in the middle.
    Garbage,
    /// The first audio of each response comes this much later.
    Slow {
        /// The delay.
        ms: u32,
    },
    /// The upgrade is refused with this HTTP status.
    Refuse(u16),
}

/// A fault and when it strikes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strike {
    /// What happens.
    pub fault: Fault,
    /// Since the connection opened, or since the control message.
    pub after_ms: u32,
}

/// Why a list was not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// No such kind.
    #[error("unknown fault `{0}`; use drop, close, stall, error, garbage, slow or refuse")]
    Kind(String),
    /// The part after the colon.
    #[error("fault `{fault}` needs {expected} after a colon")]
    Argument {
        /// The fault as written.
        fault: String,
        /// What it should be.
        expected: &'static str,
    },
    /// The part after `@` or `*`.
    #[error("`{number}` in fault `{fault}` is not a whole number")]
    Number {
        /// The fault as written.
        fault: String,
        /// The part that was not a number.
        number: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    strike: Strike,
    connections_max: Option<u64>,
}

impl Faults {
    /// What strikes a connection, counted from 0.
    pub fn on_connection(&self, connection: u64) -> impl Iterator<Item = Strike> + '_ {
        let concerned = move |rule: &&Rule| rule.connections_max.is_none_or(|max| connection < max);
        self.0.iter().filter(concerned).map(|rule| rule.strike.clone())
    }

    /// The HTTP status a connection, counted from 0, is refused with.
    pub fn refusal(&self, connection: u64) -> Option<u16> {
        self.on_connection(connection).find_map(|strike| match strike.fault {
            Fault::Refuse(status) => Some(status),
            _ => None,
        })
    }
}

impl FromStr for Faults {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        text.split(',')
            .map(str::trim)
            .filter(|word| !word.is_empty())
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, rule) in self.0.iter().enumerate() {
            write!(f, "{}{rule}", if at > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

impl FromStr for Rule {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        let (rest, connections_max) = split_number(text, text, '*')?;
        let (rest, after_ms) = split_number(text, rest, '@')?;
        let (kind, argument) = rest
            .split_once(':')
            .map_or((rest, None), |(kind, argument)| (kind, Some(argument)));
        let fault = read_fault(text, kind, argument)?;
        Ok(Self {
            strike: Strike {
                fault,
                after_ms: after_ms.unwrap_or(0),
            },
            connections_max: connections_max.map(u64::from),
        })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.strike.fault {
            Fault::Drop => write!(f, "drop")?,
            Fault::Close(code) => write!(f, "close:{code}")?,
            Fault::Stall => write!(f, "stall")?,
            Fault::Error(code) => write!(f, "error:{code}")?,
            Fault::Garbage => write!(f, "garbage")?,
            Fault::Slow { ms } => write!(f, "slow:{ms}")?,
            Fault::Refuse(status) => write!(f, "refuse:{status}")?,
        }
        if self.strike.after_ms > 0 {
            write!(f, "@{}", self.strike.after_ms)?;
        }
        self.connections_max.map_or(Ok(()), |max| write!(f, "*{max}"))
    }
}

fn split_number<'a>(fault: &str, text: &'a str, mark: char) -> Result<(&'a str, Option<u32>), FaultError> {
    let Some((rest, number)) = text.split_once(mark) else {
        return Ok((text, None));
    };
    let bad = || FaultError::Number {
        fault: fault.to_owned(),
        number: number.to_owned(),
    };
    number.parse().map(|number| (rest, Some(number))).map_err(|_| bad())
}

fn read_fault(text: &str, kind: &str, argument: Option<&str>) -> Result<Fault, FaultError> {
    match (kind, argument) {
        ("drop", None) => Ok(Fault::Drop),
        ("stall", None) => Ok(Fault::Stall),
        ("garbage", None) => Ok(Fault::Garbage),
        ("refuse", None) => Ok(Fault::Refuse(503)),
        ("refuse", Some(status)) => {
            in_range(text, status, 400..=599, "an HTTP status from 400 to 599").map(Fault::Refuse)
        }
        ("close", code) => in_range(text, code.unwrap_or("1011"), 1_000..=4_999, "a close code").map(Fault::Close),
        ("error", Some(code)) if !code.is_empty() => Ok(Fault::Error(code.to_owned())),
        ("slow", Some(ms)) => in_range(text, ms, 0..=600_000, "milliseconds").map(|ms| Fault::Slow { ms }),
        ("error", _) => Err(argument_error(text, "an error code")),
        ("slow", _) => Err(argument_error(text, "milliseconds")),
        ("drop" | "stall" | "garbage", Some(_)) => Err(argument_error(text, "nothing")),
        _ => Err(FaultError::Kind(text.to_owned())),
    }
}

fn in_range<T: FromStr + PartialOrd>(
    fault: &str,
    text: &str,
    range: std::ops::RangeInclusive<T>,
    expected: &'static str,
) -> Result<T, FaultError> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| argument_error(fault, expected))
}

fn argument_error(fault: &str, expected: &'static str) -> FaultError {
    FaultError::Argument {
        fault: fault.to_owned(),
        expected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_and_written_back() {
        let text = "drop@2000,close:1011@2000,stall@1500,error:insufficient_quota,garbage@1000,slow:800,refuse:401*3";
        let faults: Faults = text.parse().unwrap();
        assert_eq!(faults.to_string(), text);
        let first = faults.on_connection(0).next().unwrap();
        assert_eq!(
            first,
            Strike {
                fault: Fault::Drop,
                after_ms: 2_000
            }
        );
        assert_eq!(
            "refuse, close*1".parse::<Faults>().unwrap().to_string(),
            "refuse:503,close:1011*1"
        );
        assert_eq!("".parse(), Ok(Faults::default()));
    }

    #[test]
    fn a_count_limits_a_fault_to_the_first_connections() {
        let faults: Faults = "refuse*3,drop@5*1".parse().unwrap();
        assert_eq!(
            [0, 2, 3].map(|connection| faults.refusal(connection)),
            [Some(503), Some(503), None]
        );
        assert_eq!(faults.on_connection(0).count(), 2);
        assert_eq!(faults.on_connection(1).count(), 1);
    }

    #[test]
    fn a_mistake_is_named() {
        for (text, message) in [
            ("explode", "unknown fault `explode`"),
            ("drop@soon", "`soon` in fault `drop@soon` is not a whole number"),
            ("drop:1", "fault `drop:1` needs nothing after a colon"),
            ("error", "fault `error` needs an error code"),
            ("close:9", "fault `close:9` needs a close code"),
            ("refuse:200", "needs an HTTP status"),
        ] {
            let error = text.parse::<Faults>().unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
