//! Patterns with `*` for any text and `?` for any one character.

use std::fmt;

/// Characters of a name that is compared; a longer one matches `*` alone. With the bound on patterns this keeps the cost
/// of one comparison below a few ten thousand steps, whatever a caller sends.
const NAME_CHARS_MAX: usize = 256;

/// A pattern for names and addresses.
///
/// With an `@` it is compared with `user@host`, each side on its own, the host in any case (RFC 3261 section 19.1.4);
/// without one it is compared with the user alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    text: String,
    user: Vec<char>,
    host: Option<Vec<char>>,
}

impl Glob {
    /// A pattern from its text. Every text is a pattern.
    pub fn new(text: &str) -> Self {
        let (user, host) = split(text);
        let host = host.map(|host| host.to_ascii_lowercase().chars().collect());
        Self {
            text: text.to_owned(),
            user: user.chars().collect(),
            host,
        }
    }

    /// Whether this name, `user` or `user@host`, matches.
    pub fn matches(&self, name: &str) -> bool {
        let (user, host) = split(name);
        let host_matches = match (&self.host, host) {
            (None, _) => true,
            (Some(pattern), Some(host)) => matches(pattern, &host.to_ascii_lowercase()),
            (Some(_), None) => false,
        };
        host_matches && matches(&self.user, user)
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

fn split(address: &str) -> (&str, Option<&str>) {
    match address.rsplit_once('@') {
        Some((user, host)) => (user, Some(host)),
        None => (address, None),
    }
}

/// Goes back to the last star alone: what an earlier star took can stay as it is, since the last one makes up for it.
/// So this takes at most the product of both lengths.
fn matches(pattern: &[char], name: &str) -> bool {
    if pattern == ['*'] {
        return true;
    }
    let name: Vec<char> = name.chars().take(NAME_CHARS_MAX + 1).collect();
    if name.len() > NAME_CHARS_MAX {
        return false;
    }
    let (mut at, mut in_pattern) = (0, 0);
    let mut last_star: Option<(usize, usize)> = None;
    while let Some(letter) = name.get(at) {
        match (pattern.get(in_pattern), last_star) {
            (Some('*'), _) => {
                last_star = Some((in_pattern + 1, at));
                in_pattern += 1;
            }
            (Some(expected), _) if *expected == '?' || expected == letter => {
                at += 1;
                in_pattern += 1;
            }
            (_, Some((after_star, taken_to))) => {
                last_star = Some((after_star, taken_to + 1));
                (at, in_pattern) = (taken_to + 1, after_star);
            }
            (_, None) => return false,
        }
    }
    pattern.iter().skip(in_pattern).all(|rest| *rest == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks_match_as_everywhere() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("*", "anything", true),
            ("operator", "operator", true),
            ("operator", "operators", false),
            ("operator", "Operator", false),
            ("+49*", "+4930123", true),
            ("+49*", "49", false),
            ("1??", "123", true),
            ("1??", "12", false),
            ("1??", "1234", false),
            ("*0*0*", "1020", true),
            ("*0*0*", "102", false),
            ("a*b*c", "aXbYbZc", true),
            ("**", "", true),
            ("?", "é", true),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(Glob::new(pattern).matches(name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn hosts_are_compared_only_by_patterns_that_name_one() {
        for (pattern, name, expected) in [
            ("100", "100@example.com", true),
            ("100@example.com", "100@EXAMPLE.com", true),
            ("100@example.com", "100", false),
            ("*@*.example.com", "a@b.example.com", true),
            ("*@*.example.com", "a@example.com", false),
            ("*example*", "a@example.com", false),
        ] {
            assert_eq!(Glob::new(pattern).matches(name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn many_stars_cost_no_more_than_both_lengths_multiplied() {
        let pattern = format!("{}b", "a*".repeat(127));
        let began = std::hint::black_box(Glob::new(&pattern));
        for _ in 0..1_000 {
            assert!(!began.matches(&"a".repeat(NAME_CHARS_MAX)));
        }
    }

    #[test]
    fn overlong_names_match_only_everything() {
        let name = "1".repeat(NAME_CHARS_MAX + 1);
        assert!(Glob::new("*").matches(&name));
        assert!(!Glob::new("1*").matches(&name));
    }

    #[test]
    fn the_quick_way_agrees_with_the_plain_one() {
        let letters = ['a', 'b', '*', '?'];
        let words = |alphabet: &[char]| {
            let mut words = vec![String::new()];
            let mut all = words.clone();
            for _ in 0..4 {
                words = words
                    .iter()
                    .flat_map(|word| alphabet.iter().map(move |c| format!("{word}{c}")))
                    .collect();
                all.extend(words.iter().cloned());
            }
            all
        };
        for pattern in words(&letters) {
            for name in words(&letters[..2]) {
                assert_eq!(
                    Glob::new(&pattern).matches(&name),
                    plainly(pattern.as_bytes(), name.as_bytes())
                );
            }
        }
    }

    fn plainly(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern, name) {
            ([], []) => true,
            ([b'*', rest @ ..], _) => (0..=name.len()).any(|taken| plainly(rest, &name[taken..])),
            ([b'?', rest @ ..], [_, name @ ..]) => plainly(rest, name),
            ([letter, rest @ ..], [first, name @ ..]) => letter == first && plainly(rest, name),
            _ => false,
        }
    }
}
