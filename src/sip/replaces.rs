//! The Replaces header (RFC 3891): which dialog a new call takes the place of.

use std::fmt;

use super::defect::Malformed;
use super::dialog::DialogId;
use super::grammar::trim;
use super::params::Params;

/// A dialog, named as the one sees it who is to be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaces {
    /// Its Call-ID.
    pub call_id: String,
    /// The tag of the side that is called.
    pub to_tag: String,
    /// The tag of the other side.
    pub from_tag: String,
    /// Only if it has not been answered.
    pub early_only: bool,
}

impl Replaces {
    /// Reads a value.
    pub fn read(value: &str) -> Result<Self, Malformed> {
        let (call_id, params) = value.split_at(value.find(';').unwrap_or(value.len()));
        let call_id = trim(call_id);
        if call_id.is_empty() || call_id.contains([' ', '\t', ',']) {
            return Err(Malformed("Replaces must name one Call-ID"));
        }
        let params = Params::read(params)?;
        let tag = |name| params.get(name).map(str::to_owned);
        Ok(Self {
            call_id: call_id.to_owned(),
            to_tag: tag("to-tag").ok_or(Malformed("Replaces has no to-tag"))?,
            from_tag: tag("from-tag").ok_or(Malformed("Replaces has no from-tag"))?,
            early_only: params.contains("early-only"),
        })
    }

    /// The dialog it names, when it was sent to us. A tag of `0` stands for none (section 6.1).
    pub fn dialog(&self) -> DialogId {
        let remote = if self.from_tag == "0" { "" } else { &self.from_tag };
        DialogId::new(&self.call_id, &self.to_tag, remote)
    }
}

impl fmt::Display for Replaces {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            call_id,
            to_tag,
            from_tag,
            early_only,
        } = self;
        let from_tag = if from_tag.is_empty() { "0" } else { from_tag };
        let early_only = if *early_only { ";early-only" } else { "" };
        write!(out, "{call_id};to-tag={to_tag};from-tag={from_tag}{early_only}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_read_and_written() {
        let text = "98732@sip.example.com;to-tag=ff87ff;from-tag=r33th4x0r;early-only";
        let read = Replaces::read(" 98732@sip.example.com ;from-tag=r33th4x0r ; to-tag=ff87ff;early-only").unwrap();
        assert_eq!(read.to_string(), text);
        assert_eq!(
            read.dialog(),
            DialogId::new("98732@sip.example.com", "ff87ff", "r33th4x0r")
        );
    }

    #[test]
    fn a_side_without_a_tag_is_written_as_0() {
        let read = Replaces::read("c;to-tag=a;from-tag=0").unwrap();
        assert_eq!(read.dialog(), DialogId::new("c", "a", ""));
        let untagged = Replaces {
            from_tag: String::new(),
            ..read
        };
        assert_eq!(untagged.to_string(), "c;to-tag=a;from-tag=0");
    }

    #[test]
    fn what_names_no_dialog_is_refused() {
        for text in [
            "",
            ";to-tag=1;from-tag=2",
            "c",
            "c;to-tag=1",
            "c;from-tag=1",
            "c,d;to-tag=1;from-tag=2",
            "c d;to-tag=1;from-tag=2",
        ] {
            assert!(Replaces::read(text).is_err(), "{text}");
        }
    }
}
