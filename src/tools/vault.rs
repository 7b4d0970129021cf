//! The vault: keys of the caller that the model is not told.
//!
//! While it is open what the caller types goes in here and nowhere else. The model learns how many keys there were and a
//! name for them; a tool whose argument is that name gets the keys (`{{digits.ARGUMENT}}`). What is in the vault is shown
//! by nothing here, and is gone with the call.

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, Instant},
};

use serde_json::Value;

/// Collections kept of one call; past it the oldest is forgotten, and its name means nothing any more.
const KEPT_MAX: usize = 16;

/// Most keys of one collection.
pub const LENGTH_MAX: usize = 32;

/// How long the caller may take to begin.
const FIRST_MAX: Duration = Duration::from_secs(30);

/// How long the caller may take from one key to the next; then what there is counts.
const NEXT_MAX: Duration = Duration::from_secs(6);

/// What is to be collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Keys wanted: so many end it.
    pub length_max: usize,
    /// The key that ends it before, which is not kept.
    pub end_key: Option<char>,
}

/// A key nobody is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Concealed(pub char);

/// Keys by the arguments that refer to them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Digits(BTreeMap<String, String>);

/// The vault of one call.
#[derive(Debug, Default)]
pub struct Vault {
    open: Option<Open>,
    kept: Vec<Kept>,
    count: u32,
}

/// A collection that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collected {
    /// The tool call that asked for it.
    pub call_id: String,
    /// The name of what was collected, and how many keys that are; none when there are none.
    pub reference: Option<(String, usize)>,
}

struct Open {
    call_id: String,
    plan: Plan,
    typed: String,
    until: Instant,
}

struct Kept {
    reference: String,
    typed: String,
}

impl Collected {
    /// What the model is told.
    pub fn explained(&self) -> String {
        match &self.reference {
            Some((reference, count)) => format!(
                "Collected {count} digits, reference \"{reference}\". You are not told them: give the reference to the \
                 tool that needs them."
            ),
            None => "The caller typed nothing.".to_owned(),
        }
    }
}

impl Vault {
    /// Whether keys go in here now.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Opens it for this tool call; false while it is open for another.
    pub fn open(&mut self, now: Instant, call_id: String, plan: Plan) -> bool {
        if self.open.is_some() {
            return false;
        }
        self.open = Some(Open {
            call_id,
            plan,
            typed: String::new(),
            until: now + FIRST_MAX,
        });
        true
    }

    /// The caller typed a key. What was collected, if that was the last.
    pub fn key(&mut self, now: Instant, Concealed(key): Concealed) -> Option<Collected> {
        let open = self.open.as_mut()?;
        if open.plan.end_key == Some(key) {
            return self.close();
        }
        open.typed.push(key);
        open.until = now + NEXT_MAX;
        match open.typed.len() >= open.plan.length_max {
            true => self.close(),
            false => None,
        }
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.open.as_ref().map(|open| open.until)
    }

    /// What was collected, if the caller took too long.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Collected> {
        match self.poll_timeout() {
            Some(until) if now >= until => self.close(),
            _ => None,
        }
    }

    /// Ends the collection with what there is.
    pub fn close(&mut self) -> Option<Collected> {
        let Open { call_id, typed, .. } = self.open.take()?;
        let reference = (!typed.is_empty()).then(|| self.keep(typed));
        Some(Collected { call_id, reference })
    }

    fn keep(&mut self, typed: String) -> (String, usize) {
        if self.kept.len() == KEPT_MAX {
            self.kept.remove(0);
        }
        self.count += 1;
        let (reference, length) = (format!("digits_{}", self.count), typed.len());
        self.kept.push(Kept {
            reference: reference.clone(),
            typed,
        });
        (reference, length)
    }

    /// What these arguments refer to, by the names of the arguments.
    pub fn referred_to(&self, arguments: &Value) -> Digits {
        let members = arguments.as_object().into_iter().flatten();
        let kept = |value: &Value| self.kept.iter().find(|kept| value.as_str() == Some(&kept.reference));
        Digits(
            members
                .filter_map(|(name, value)| Some((name.clone(), kept(value)?.typed.clone())))
                .collect(),
        )
    }

    /// Puts a star for each key of every collection that stands in this text: a tool may say back what it was told.
    pub fn conceal(&self, text: &str) -> String {
        let told = |text: String, kept: &Kept| text.replace(&kept.typed, &"*".repeat(kept.typed.len()));
        let worth_it = self.kept.iter().filter(|kept| kept.typed.len() >= CONCEALED_MIN);
        worth_it.fold(text.to_owned(), told)
    }
}

/// Shorter collections are not looked for in what tools say: one or two digits stand everywhere.
const CONCEALED_MIN: usize = 3;

impl Digits {
    /// What an argument refers to.
    pub fn reveal(&self, argument: &str) -> Option<&str> {
        self.0.get(argument).map(String::as_str)
    }
}

impl fmt::Debug for Concealed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Concealed(*)")
    }
}

impl fmt::Debug for Digits {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_set().entries(self.0.keys()).finish()
    }
}

impl fmt::Debug for Open {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Open")
            .field("typed", &self.typed.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Kept")
            .field("reference", &self.reference)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn enough_keys_or_the_last_one_end_it_and_only_the_tool_is_told() {
        let (mut vault, now) = opened(4, Some('#'));
        let collected = type_in(&mut vault, now, "4711").unwrap();
        assert_eq!(collected.reference, Some(("digits_1".to_owned(), 4)));
        assert!(!collected.explained().contains("4711") && collected.explained().contains("digits_1"));
        let digits = vault.referred_to(&json!({ "pin": "digits_1", "other": "digits_2", "n": 1 }));
        assert_eq!((digits.reveal("pin"), digits.reveal("other")), (Some("4711"), None));
        assert!(vault.open(
            now,
            "b".to_owned(),
            Plan {
                length_max: 9,
                end_key: Some('#')
            }
        ));
        assert_eq!(
            type_in(&mut vault, now, "12#").unwrap().reference,
            Some(("digits_2".to_owned(), 2))
        );
    }

    #[test]
    fn it_is_open_for_one_at_a_time_and_not_for_ever() {
        let (mut vault, now) = opened(4, None);
        assert!(!vault.open(
            now,
            "b".to_owned(),
            Plan {
                length_max: 1,
                end_key: None
            }
        ));
        assert_eq!(vault.handle_timeout(now + FIRST_MAX / 2), None);
        assert_eq!(vault.key(now, Concealed('1')), None);
        assert_eq!(vault.poll_timeout(), Some(now + NEXT_MAX));
        assert_eq!(
            vault.handle_timeout(now + NEXT_MAX).unwrap().reference,
            Some(("digits_1".to_owned(), 1))
        );
        assert!(!vault.is_open());
        assert_eq!(vault.key(now, Concealed('1')), None);
    }

    #[test]
    fn nothing_shows_what_is_in_it() {
        let (mut vault, now) = opened(6, None);
        vault.key(now, Concealed('9'));
        assert!(!format!("{vault:?} {:?}", Concealed('9')).contains('9'));
        type_in(&mut vault, now, "87654");
        let digits = vault.referred_to(&json!({ "pin": "digits_1" }));
        assert_eq!(format!("{digits:?}"), "{\"pin\"}");
        assert!(!format!("{vault:?}").contains("987654"));
        assert_eq!(vault.conceal("card 987654 is good"), "card ****** is good");
    }

    #[test]
    fn collections_kept_are_bounded() {
        let mut vault = Vault::default();
        let now = Instant::now();
        for _ in 0..=KEPT_MAX {
            vault.open(
                now,
                String::new(),
                Plan {
                    length_max: 1,
                    end_key: None,
                },
            );
            vault.key(now, Concealed('1'));
        }
        assert_eq!(vault.referred_to(&json!({ "a": "digits_1" })), Digits::default());
        assert_eq!(vault.kept.len(), KEPT_MAX);
    }

    fn opened(length_max: usize, end_key: Option<char>) -> (Vault, Instant) {
        let (mut vault, now) = (Vault::default(), Instant::now());
        assert!(vault.open(now, "a".to_owned(), Plan { length_max, end_key }));
        (vault, now)
    }

    fn type_in(vault: &mut Vault, now: Instant, keys: &str) -> Option<Collected> {
        keys.chars().filter_map(|key| vault.key(now, Concealed(key))).last()
    }
}
