//! A JSON body, read field by field, so that what is wrong with it is said by the name of the field.

use std::{collections::BTreeMap, time::Duration};

use axum::body::{Body, Bytes};
use serde_json::{Map, Value};

use super::control::Refused;

/// The largest body, in bytes; a larger one is answered 413.
pub const BODY_BYTES_MAX: usize = 64 << 10;

/// How long a client may take to send it.
const BODY_MAX: Duration = Duration::from_secs(10);

/// The fields of an object that have not been asked for yet.
#[derive(Debug)]
pub struct Fields {
    fields: Map<String, Value>,
    known: Vec<&'static str>,
}

impl Fields {
    /// Reads a whole body.
    pub async fn read(body: Body) -> Result<Self, Refused> {
        Self::parse(&read(body).await?)
    }

    /// The same where a body may be left out.
    pub async fn read_if_any(body: Body) -> Result<Self, Refused> {
        let bytes = read(body).await?;
        Self::parse(if bytes.is_empty() { b"{}" } else { &bytes })
    }

    fn parse(bytes: &[u8]) -> Result<Self, Refused> {
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(fields)) => Ok(Self {
                fields,
                known: Vec::new(),
            }),
            Ok(_) => Err(refused(400, "bad_json", "the body is not a JSON object")),
            Err(error) => Err(refused(400, "bad_json", &format!("the body is not JSON: {error}"))),
        }
    }

    /// A text that has to be there.
    pub fn text(&mut self, name: &'static str) -> Result<String, Refused> {
        let text = self.optional_text(name)?;
        text.ok_or_else(|| Refused::invalid(name, "this field is required"))
    }

    /// A text that may be there.
    pub fn optional_text(&mut self, name: &'static str) -> Result<Option<String>, Refused> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.chars().all(|letter| !letter.is_control()) => Ok(Some(text)),
            Some(_) => Err(Refused::invalid(name, "a text of one line")),
        }
    }

    /// A text of several lines that may be there.
    pub fn optional_prose(&mut self, name: &'static str) -> Result<Option<String>, Refused> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Refused::invalid(name, "a text")),
        }
    }

    /// A whole number that may be there.
    pub fn optional_whole(&mut self, name: &'static str) -> Result<Option<u64>, Refused> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let number = value.as_u64();
        number
            .map(Some)
            .ok_or_else(|| Refused::invalid(name, "a whole number, not below zero"))
    }

    /// Texts by name, which may be missing.
    pub fn texts(&mut self, name: &'static str) -> Result<BTreeMap<String, String>, Refused> {
        let texts = match self.take(name) {
            None => return Ok(BTreeMap::new()),
            Some(Value::Object(texts)) => texts,
            Some(_) => return Err(Refused::invalid(name, "an object of texts")),
        };
        let text = |(key, value): (String, Value)| match value {
            Value::String(text) => Ok((key, text)),
            _ => Err(Refused::invalid(&format!("{name}.{key}"), "a text")),
        };
        texts.into_iter().map(text).collect()
    }

    /// Says which field nobody knows.
    pub fn finish(self) -> Result<(), Refused> {
        let unknown = self.fields.keys().next();
        unknown.map_or(Ok(()), |name| {
            let known = self.known.join(", ");
            Err(Refused::invalid(
                name,
                format!("unknown field; those there are: {known}"),
            ))
        })
    }

    /// `null` is the same as nothing.
    fn take(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.fields.remove(name).filter(|value| !value.is_null())
    }
}

/// A whole body, as it is.
pub async fn read(body: Body) -> Result<Bytes, Refused> {
    let read = tokio::time::timeout(BODY_MAX, axum::body::to_bytes(body, BODY_BYTES_MAX));
    match read.await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => Err(refused(413, "too_large", "a body of at most 65536 bytes")),
        Err(_) => Err(refused(408, "too_slow", "the body did not come in time")),
    }
}

fn refused(status: u16, reason: &'static str, detail: &str) -> Refused {
    Refused {
        status,
        reason,
        field: None,
        detail: detail.to_owned(),
        retry_after: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_by_the_name_of_its_field() {
        let field = |text: &str| read(text).unwrap_err().field;
        assert_eq!(field(r#"{}"#).as_deref(), Some("to"));
        assert_eq!(field(r#"{"to":1}"#).as_deref(), Some("to"));
        assert_eq!(field(r#"{"to":"a\r\nX: y"}"#).as_deref(), Some("to"));
        assert_eq!(field(r#"{"to":"a","n":-1}"#).as_deref(), Some("n"));
        assert_eq!(field(r#"{"to":"a","all":{"k":1}}"#).as_deref(), Some("all.k"));
        assert_eq!(field(r#"{"to":"a","tooo":"b"}"#).as_deref(), Some("tooo"));
        assert_eq!(
            read(r#"{"to":"a","n":null,"all":{"k":"v"}}"#),
            Ok(("a".to_owned(), None))
        );
    }

    #[test]
    fn what_is_no_object_is_no_body() {
        for text in ["", "[]", "{", "\"to\""] {
            assert_eq!(read(text).unwrap_err().reason, "bad_json", "{text}");
        }
    }

    #[tokio::test]
    async fn a_body_is_bounded() {
        let long = vec![b' '; BODY_BYTES_MAX + 1];
        assert_eq!(Fields::read(Body::from(long)).await.unwrap_err().status, 413);
    }

    fn read(text: &str) -> Result<(String, Option<u64>), Refused> {
        let mut fields = Fields::parse(text.as_bytes())?;
        let (to, number) = (fields.text("to")?, fields.optional_whole("n")?);
        fields.texts("all")?;
        fields.finish()?;
        Ok((to, number))
    }
}
