//! Parameters: the `;name=value` tail of a URI, an address or a Via.
//!
//! Values are kept as they were written, quotes included, so that printing gives back what was read.

use std::fmt;

use super::{
    defect::Malformed,
    grammar::{is_token, split, trim, unquote},
};

/// Most parameters one value may have; a value with more is malformed, and so is the message that carries it.
pub const PARAMS_MAX: usize = 64;

/// One parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Param {
    /// The name as written; compared without case.
    pub name: String,
    /// The value as written, or `None` for a parameter without `=`.
    pub value: Option<String>,
}

/// The parameters of one value, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Params(Vec<Param>);

impl Params {
    /// Reads header parameters: empty, or `;name=value...` with white space allowed around `;` and `=`.
    pub fn read(text: &str) -> Result<Self, Malformed> {
        match trim(text).strip_prefix(';') {
            Some(rest) => Self::collect(split(rest, b';')?.into_iter(), read_header_param),
            None if trim(text).is_empty() => Ok(Self::default()),
            None => Err(Malformed("text that is not a parameter follows the value")),
        }
    }

    /// Reads URI parameters: the pieces between `;`, where no white space is allowed.
    pub(super) fn read_uri(text: &str) -> Result<Self, Malformed> {
        Self::collect(text.split(';'), read_uri_param)
    }

    fn collect<'a>(
        pieces: impl Iterator<Item = &'a str>,
        read: fn(&str) -> Result<Param, Malformed>,
    ) -> Result<Self, Malformed> {
        let mut params = Self::default();
        for piece in pieces {
            let param = read(piece)?;
            let known = params
                .0
                .iter()
                .find(|known| known.name.eq_ignore_ascii_case(&param.name));
            match known {
                // Softphones add `;transport=udp` to a URI that has it already. The same said twice is clear enough.
                Some(known) if known.value == param.value => {}
                Some(_) => return Err(Malformed("a parameter is given twice, with different values")),
                None if params.0.len() == PARAMS_MAX => return Err(Malformed("there are too many parameters")),
                None => params.0.push(param),
            }
        }
        Ok(params)
    }

    /// Whether there is a parameter of this name, with or without a value.
    pub fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|param| param.name.eq_ignore_ascii_case(name))
    }

    /// The value of a parameter, as written; `None` also when the parameter has no value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|param| param.name.eq_ignore_ascii_case(name))?
            .value
            .as_deref()
    }

    /// The value of a parameter with quotes and escapes resolved.
    pub fn get_text(&self, name: &str) -> Option<String> {
        let value = self.get(name)?;
        Some(unquote(value).map_or_else(|_| value.to_owned(), |(text, _)| text))
    }

    /// Sets a parameter, in place when it exists, else at the end.
    pub fn set(&mut self, name: &str, value: Option<&str>) {
        let value = value.map(str::to_owned);
        match self.0.iter_mut().find(|param| param.name.eq_ignore_ascii_case(name)) {
            Some(param) => param.value = value,
            None => self.0.push(Param {
                name: name.to_owned(),
                value,
            }),
        }
    }

    /// Removes a parameter.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|param| !param.name.eq_ignore_ascii_case(name));
    }

    /// The parameters in order.
    pub fn iter(&self) -> impl Iterator<Item = &Param> {
        self.0.iter()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Params {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for param in &self.0 {
            write!(out, ";{}", param.name)?;
            if let Some(value) = &param.value {
                write!(out, "={value}")?;
            }
        }
        Ok(())
    }
}

fn read_header_param(piece: &str) -> Result<Param, Malformed> {
    let (name, value) = match piece.split_once('=') {
        Some((name, value)) => (trim(name), Some(trim(value))),
        None => (trim(piece), None),
    };
    if !is_token(name) {
        return Err(Malformed("a parameter name is not a token"));
    }
    value.map_or(Ok(()), check_header_value)?;
    Ok(Param {
        name: name.to_owned(),
        value: value.map(str::to_owned),
    })
}

fn check_header_value(value: &str) -> Result<(), Malformed> {
    if value.starts_with('"') {
        return match unquote(value)? {
            (_, "") => Ok(()),
            _ => Err(Malformed("text follows a quoted parameter value")),
        };
    }
    match value.chars().any(|c| c.is_ascii_control() || " \"<>,".contains(c)) {
        true => Err(Malformed("a parameter value has a character it must not have")),
        false => Ok(()),
    }
}

fn read_uri_param(piece: &str) -> Result<Param, Malformed> {
    let (name, value) = match piece.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (piece, None),
    };
    match name.is_empty() {
        true => Err(Malformed("a URI parameter has no name")),
        false => Ok(Param {
            name: name.to_owned(),
            value: value.map(str::to_owned),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_parameters_may_have_white_space_and_quotes() {
        let params = Params::read(" ; tag = 98;Q=\"a;b \\\" c\" ; lr").unwrap();
        assert_eq!(params.get("TAG"), Some("98"));
        assert_eq!(params.get("q"), Some("\"a;b \\\" c\""));
        assert_eq!(params.get_text("q").unwrap(), "a;b \" c");
        assert!(params.contains("LR") && params.get("lr").is_none());
        assert_eq!(params.to_string(), ";tag=98;Q=\"a;b \\\" c\";lr");
        assert_eq!(Params::read(&params.to_string()).unwrap(), params);
    }

    #[test]
    fn stray_separators_doubles_and_floods_are_malformed() {
        for text in [
            ";;",
            ";a;",
            "a",
            ";a=b c",
            ";a=\"b\"c",
            ";a=\"b",
            ";tag=1;TAG=2",
            ";a=<b>",
        ] {
            assert!(Params::read(text).is_err(), "{text}");
        }
        let flood: String = (0..=PARAMS_MAX).map(|n| format!(";p{n}")).collect();
        assert!(Params::read(&flood).is_err());
    }

    #[test]
    fn setting_replaces_in_place_and_removing_leaves_the_rest() {
        let mut params = Params::read(";rport;branch=x").unwrap();
        params.set("rport", Some("5060"));
        params.set("received", Some("192.0.2.1"));
        assert_eq!(params.to_string(), ";rport=5060;branch=x;received=192.0.2.1");
        params.remove("BRANCH");
        assert_eq!(params.to_string(), ";rport=5060;received=192.0.2.1");
    }
}
