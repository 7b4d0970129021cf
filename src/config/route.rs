//! `[[route]]`: which agent answers which call.

use super::{effective::Writer, section::Section};

/// Bytes of a pattern; matching costs its length times the length of what is matched.
const PATTERN_BYTES_MAX: usize = 256;

/// What matches everything.
const ANY: &str = "*";

/// A rule. Patterns know `*` for any text and `?` for any one character; one with an `@` is compared with user and host,
/// one without with the user alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Pattern of who is called.
    pub to: String,
    /// Pattern of who calls.
    pub from: String,
    /// Pattern of the trunk's name.
    pub trunk: String,
    /// The agent that answers.
    pub agent: String,
}

impl Route {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let route = Self {
            to: section.parsed("to", ANY.to_owned(), read_pattern),
            from: section.parsed("from", ANY.to_owned(), read_pattern),
            trunk: section.parsed("trunk", ANY.to_owned(), read_trunk_pattern),
            agent: section.required("agent"),
        };
        section.finish();
        route
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.table("[[route]]");
        out.text("to", &self.to);
        out.text("from", &self.from);
        out.text("trunk", &self.trunk);
        out.text("agent", &self.agent);
    }

    /// The trunk's name, when the pattern can mean only one.
    pub(super) fn literal_trunk(&self) -> Option<&str> {
        (!self.trunk.contains(['*', '?'])).then_some(&self.trunk)
    }
}

fn read_pattern(text: &str) -> Result<String, String> {
    match text {
        "" => Err("is empty and would match nothing: write \"*\" to match everything".to_owned()),
        long if long.len() > PATTERN_BYTES_MAX => Err(format!("is longer than {PATTERN_BYTES_MAX} bytes")),
        address if address.matches('@').count() > 1 => Err("holds more than one \"@\"".to_owned()),
        uri if uri.starts_with("sip:") || uri.starts_with("sips:") || uri.starts_with("tel:") => {
            Err("begins with a scheme, which is not compared: write the user, or user@host".to_owned())
        }
        pattern => Ok(pattern.to_owned()),
    }
}

fn read_trunk_pattern(text: &str) -> Result<String, String> {
    match text.contains('@') {
        true => Err("holds an \"@\", which no trunk's name does".to_owned()),
        false => read_pattern(text),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::tests::{problems, read};

    #[test]
    fn patterns_match_everything_unless_they_are_given() {
        let config = read("[[route]]\nagent = \"operator\"");
        let route = &config.routes[0];
        assert_eq!((&*route.to, &*route.from, &*route.trunk), ("*", "*", "*"));
    }

    #[test]
    fn patterns_that_could_never_match_are_refused() {
        let found = problems("[[route]]\nto = \"\"\nfrom = \"a@b@c\"\ntrunk = \"lan@x\"\nagent = \"operator\"");
        assert_eq!(
            found,
            [
                "f.toml:2:6: route[0].to = \"\" is empty and would match nothing: write \"*\" to match everything",
                "f.toml:3:8: route[0].from = \"a@b@c\" holds more than one \"@\"",
                "f.toml:4:9: route[0].trunk = \"lan@x\" holds an \"@\", which no trunk's name does",
            ]
        );
        assert_eq!(
            problems("[[route]]\nto = \"sip:100\"\nagent = \"operator\""),
            [
                "f.toml:2:6: route[0].to = \"sip:100\" begins with a scheme, which is not compared: write the user, or \
              user@host"
            ]
        );
    }

    #[test]
    fn a_route_needs_an_agent() {
        assert_eq!(
            problems("[[route]]\nto = \"1*\""),
            ["f.toml:1:1: [[route]] needs the key \"agent\""]
        );
    }
}
