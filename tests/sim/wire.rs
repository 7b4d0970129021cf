//! SIP as text: the phone reads and writes its messages by hand, so that the gateway's are judged by something else than
//! the gateway's own reader and writer.

/// A message taken apart.
#[derive(Debug, Clone)]
pub struct Text {
    first_line: String,
    headers: Vec<(String, String)>,
    /// What follows the empty line.
    pub body: String,
}

impl Text {
    /// Takes a message apart; one that is no message at all fails the run.
    pub fn read(bytes: &[u8]) -> Self {
        let text = std::str::from_utf8(bytes).expect("the gateway writes text");
        let (head, body) = text.split_once("\r\n\r\n").expect("an empty line ends the headers");
        let mut lines = head.split("\r\n");
        let first_line = lines.next().unwrap_or_default().to_owned();
        let headers = lines.map(|line| line.split_once(": ").expect("a name, a colon, a value"));
        let headers = headers
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let message = Self {
            first_line,
            headers,
            body: body.to_owned(),
        };
        assert_eq!(
            message.get("Content-Length").parse(),
            Ok(message.body.len()),
            "{message:?}"
        );
        message
    }

    /// The status of a response; none for a request.
    pub fn status(&self) -> Option<u16> {
        let words = self.first_line.strip_prefix("SIP/2.0 ")?;
        words.get(..3)?.parse().ok()
    }

    /// The method of a request, or of the request a response is for.
    pub fn method(&self) -> &str {
        self.get("CSeq").split(' ').nth(1).unwrap_or_default()
    }

    /// The first header of this name, empty when there is none.
    pub fn get<'a>(&'a self, name: &'a str) -> &'a str {
        self.all(name).next().unwrap_or_default()
    }

    /// All headers of this name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |(each, _)| each == name)
            .map(|(_, value)| value.as_str())
    }

    /// The branch of the topmost Via.
    pub fn branch(&self) -> &str {
        parameter(self.get("Via"), "branch=")
    }

    /// The word in the Reason header.
    pub fn reason(&self) -> String {
        parameter(self.get("Reason"), "text=").trim_matches('"').to_owned()
    }

    /// What stands between the angle brackets of a header.
    pub fn uri(&self, name: &str) -> String {
        let value = self.get(name);
        let inside = value.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
        inside.map_or(value, |(uri, _)| uri).to_owned()
    }

    /// The response with this status to this request.
    pub fn reply(&self, status: &str) -> Vec<u8> {
        let mut text = format!("SIP/2.0 {status}\r\n");
        for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
            self.all(name)
                .for_each(|value| text.push_str(&format!("{name}: {value}\r\n")));
        }
        text.push_str("Content-Length: 0\r\n\r\n");
        text.into_bytes()
    }
}

fn parameter<'a>(value: &'a str, name: &str) -> &'a str {
    value
        .split(';')
        .find_map(|part| part.trim().strip_prefix(name))
        .unwrap_or_default()
}
