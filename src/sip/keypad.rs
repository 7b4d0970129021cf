//! Keypad: digits in the body of INFO, in the two forms that are in use. Neither is a standard; `application/dtmf-relay`
//! is written `Signal=5` and `Duration=160`, `application/dtmf` is the digit alone.

use std::time::Duration;

/// The form we write, and read.
pub const DTMF_RELAY: &str = "application/dtmf-relay";
/// The form we only read.
pub const DTMF: &str = "application/dtmf";
/// Longest press we write or believe; a longer one counts as this.
pub const DURATION_MAX: Duration = Duration::from_secs(10);

/// A pressed key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Press {
    /// 0-9, *, #, A-D.
    pub digit: char,
    /// How long, when said.
    pub duration: Option<Duration>,
}

/// Reads a body of this type; `None` when it names no digit.
pub fn read(content_type: &str, body: &[u8]) -> Option<Press> {
    let text = std::str::from_utf8(body).ok()?;
    match content_type {
        DTMF_RELAY => read_relay(text),
        DTMF => Some(Press {
            digit: digit_of(text.trim())?,
            duration: None,
        }),
        _ => None,
    }
}

/// The digit of this character, when it is one.
pub fn digit(character: char) -> Option<char> {
    let upper = character.to_ascii_uppercase();
    matches!(upper, '0'..='9' | '*' | '#' | 'A'..='D').then_some(upper)
}

/// A body of type [`DTMF_RELAY`].
pub fn write(digit: char, duration: Duration) -> Vec<u8> {
    let ms = duration.min(DURATION_MAX).as_millis();
    format!("Signal={digit}\r\nDuration={ms}\r\n").into_bytes()
}

fn read_relay(text: &str) -> Option<Press> {
    let value = |wanted: &str| {
        let mut pairs = text.lines().filter_map(|line| line.split_once('='));
        pairs
            .find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted))
            .map(|(_, value)| value.trim())
    };
    let duration = value("Duration")
        .and_then(|ms| ms.parse().ok())
        .map(Duration::from_millis);
    Some(Press {
        digit: digit_of(value("Signal")?)?,
        duration: duration.map(|duration| duration.min(DURATION_MAX)),
    })
}

/// One character, or one of the numbers some senders write for the keys that are not numbers.
fn digit_of(text: &str) -> Option<char> {
    let mut characters = text.chars();
    match (characters.next(), characters.next(), text) {
        (Some(one), None, _) => digit(one),
        (_, _, "10") => Some('*'),
        (_, _, "11") => Some('#'),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        let press = |kind, body: &str| read(kind, body.as_bytes()).map(|press| (press.digit, press.duration));
        let ms = Duration::from_millis;
        assert_eq!(
            press(DTMF_RELAY, "Signal=5\r\nDuration=160\r\n"),
            Some(('5', Some(ms(160))))
        );
        assert_eq!(press(DTMF_RELAY, " signal = d \n"), Some(('D', None)));
        assert_eq!(
            press(DTMF_RELAY, "Signal=#\r\nDuration=999999"),
            Some(('#', Some(DURATION_MAX)))
        );
        assert_eq!(press(DTMF_RELAY, "Signal=10\r\n"), Some(('*', None)));
        assert_eq!(press(DTMF, "*\r\n"), Some(('*', None)));
    }

    #[test]
    fn what_is_no_digit_is_not_read() {
        for (kind, body) in [
            (DTMF_RELAY, "Duration=1"),
            (DTMF_RELAY, "Signal=E"),
            (DTMF_RELAY, "Signal=12"),
            (DTMF, ""),
            (DTMF, "55"),
            ("text/plain", "5"),
        ] {
            assert_eq!(read(kind, body.as_bytes()), None, "{body}");
        }
        assert_eq!(read(DTMF, b"\xff"), None);
    }

    #[test]
    fn what_we_write_we_read() {
        for digit in "0123456789*#ABCD".chars() {
            let duration = Duration::from_millis(200);
            let press = read(DTMF_RELAY, &write(digit, duration)).unwrap();
            assert_eq!((press.digit, press.duration), (digit, Some(duration)));
        }
    }
}
