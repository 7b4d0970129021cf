//! The headers of a message: an ordered list with canonical names, and typed views of the ones we act on.
//!
//! Values are text as the wire had it, unfolded (see [`super::grammar`] for bytes that are not UTF-8). Typed
//! accessors parse on demand and understand comma lists as well as repeated headers, which mean the same.

use super::{
    address::NameAddr,
    defect::{HeaderError, Malformed},
    grammar::{list, trim},
    method::CSeq,
    names::HeaderName,
    via::Via,
};

/// Most hops of the way back, one more than a request may take. A request with more is malformed and lost: the responses,
/// which repeat them and add headers of their own, would have more headers than anybody reads.
pub const VIAS_MAX: usize = 71;
/// Most proxies a dialog goes through. A message with more is malformed and lost: a request of ours, which has one Route
/// header for each, would become longer than anybody reads.
pub const ROUTES_MAX: usize = 32;

/// One header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The canonical name.
    pub name: HeaderName,
    /// The value without the white space around it, unfolded.
    pub value: String,
}

/// The headers of one message, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<Header>);

impl Headers {
    /// No headers yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a header; any spelling of the name will do.
    pub fn push(&mut self, name: &str, value: impl Into<String>) {
        self.0.push(Header {
            name: HeaderName::new(name),
            value: value.into(),
        });
    }

    /// Puts a header before all others.
    pub fn push_front(&mut self, name: &str, value: impl Into<String>) {
        self.0.insert(
            0,
            Header {
                name: HeaderName::new(name),
                value: value.into(),
            },
        );
    }

    /// Makes this the only header of its name, in the place of the first, else at the end.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        let header = Header {
            name: HeaderName::new(name),
            value: value.into(),
        };
        let first = self.0.iter().position(|old| old.name == header.name);
        self.0.retain(|old| old.name != header.name);
        self.0.insert(first.unwrap_or(self.0.len()), header);
    }

    /// Removes every header of this name.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|header| !header.name.is(name));
    }

    /// The first value of this name.
    pub fn first(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|header| header.name.is(name))
            .map(|header| header.value.as_str())
    }

    /// Every value of this name, in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |header| header.name.is(name))
            .map(|header| header.value.as_str())
    }

    /// Whether there is a header of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.first(name).is_some()
    }

    /// All headers in order.
    pub fn iter(&self) -> impl Iterator<Item = &Header> {
        self.0.iter()
    }

    /// How many headers there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Typed views.
impl Headers {
    /// The topmost Via.
    pub fn via(&self) -> Result<Via, HeaderError> {
        let value = self.first("Via").ok_or(HeaderError::Missing("Via"))?;
        let top = list(value)
            .map_err(malformed("Via"))?
            .into_iter()
            .next()
            .unwrap_or_default();
        Via::read(top).map_err(malformed("Via"))
    }

    /// The whole way back, topmost first; at most [`VIAS_MAX`].
    pub fn vias(&self) -> Result<Vec<Via>, HeaderError> {
        let vias = self.lists("Via", Via::read_list)?;
        match vias.len() > VIAS_MAX {
            true => Err(malformed("Via")(Malformed("there are too many hops"))),
            false => Ok(vias),
        }
    }

    /// Replaces the topmost Via and leaves the others untouched.
    pub fn set_top_via(&mut self, via: &Via) {
        let Some(header) = self.0.iter_mut().find(|header| header.name.is("Via")) else {
            return self.push_front("Via", via.to_string());
        };
        let others = list(&header.value).unwrap_or_default().into_iter().skip(1);
        header.value = others.fold(via.to_string(), |value, other| value + ", " + other);
    }

    /// Who sent the first request of the dialog.
    pub fn from(&self) -> Result<NameAddr, HeaderError> {
        NameAddr::read(self.single("From")?).map_err(malformed("From"))
    }

    /// Whom the first request of the dialog was for.
    pub fn to(&self) -> Result<NameAddr, HeaderError> {
        NameAddr::read(self.single("To")?).map_err(malformed("To"))
    }

    /// The Call-ID, compared byte by byte.
    pub fn call_id(&self) -> Result<&str, HeaderError> {
        let value = self.single("Call-ID")?;
        match value.is_empty() || value.contains([' ', '\t']) {
            true => Err(malformed("Call-ID")(Malformed("it must be one word"))),
            false => Ok(value),
        }
    }

    /// The sequence number and method.
    pub fn cseq(&self) -> Result<CSeq, HeaderError> {
        CSeq::read(self.single("CSeq")?).map_err(malformed("CSeq"))
    }

    /// The first contact address.
    pub fn contact(&self) -> Result<NameAddr, HeaderError> {
        self.contacts()?
            .into_iter()
            .next()
            .ok_or(HeaderError::Missing("Contact"))
    }

    /// Every contact address; none for `Contact: *`.
    pub fn contacts(&self) -> Result<Vec<NameAddr>, HeaderError> {
        self.lists("Contact", |value| {
            if value == "*" {
                Ok(Vec::new())
            } else {
                NameAddr::read_list(value)
            }
        })
    }

    /// The proxies that want to stay in the way, in the order they stand in the message; at most [`ROUTES_MAX`].
    pub fn record_routes(&self) -> Result<Vec<NameAddr>, HeaderError> {
        let routes = self.lists("Record-Route", NameAddr::read_list)?;
        match routes.len() > ROUTES_MAX {
            true => Err(malformed("Record-Route")(Malformed("there are too many proxies"))),
            false => Ok(routes),
        }
    }

    /// The proxies still to be visited.
    pub fn routes(&self) -> Result<Vec<NameAddr>, HeaderError> {
        self.lists("Route", NameAddr::read_list)
    }

    /// How many more hops the request may take.
    pub fn max_forwards(&self) -> Result<Option<u8>, HeaderError> {
        self.number("Max-Forwards", u8::MAX.into())
            .map(|number| number.and_then(|number| number.try_into().ok()))
    }

    /// The length of the body. Several equal values are one value; differing ones are an error, because whoever
    /// believes another one than the next hop sees other messages in the same bytes.
    pub fn content_length(&self) -> Result<Option<u64>, HeaderError> {
        let mut length = None;
        for value in self.all("Content-Length") {
            let number = read_number(value).map_err(malformed("Content-Length"))?;
            if length.is_some_and(|known| known != number) {
                return Err(HeaderError::Repeated("Content-Length"));
            }
            length = Some(number);
        }
        Ok(length)
    }

    /// The media type of the body in lower case and without parameters, such as `application/sdp`.
    pub fn content_type(&self) -> Option<String> {
        let value = self.first("Content-Type")?;
        Some(trim(value.split(';').next().unwrap_or_default()).to_ascii_lowercase())
    }

    /// The comma-separated words of a header such as Require, Supported or Allow.
    pub fn tokens<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.all(name)
            .flat_map(|value| value.split(','))
            .map(trim)
            .filter(|token| !token.is_empty())
    }

    /// The credentials offered to us.
    pub fn authorization(&self) -> impl Iterator<Item = &str> {
        self.all("Authorization")
    }

    pub(super) fn single(&self, name: &'static str) -> Result<&str, HeaderError> {
        let mut values = self.all(name);
        let first = values.next().ok_or(HeaderError::Missing(name))?;
        match values.next() {
            Some(_) => Err(HeaderError::Repeated(name)),
            None => Ok(first),
        }
    }

    fn number(&self, name: &'static str, max: u64) -> Result<Option<u64>, HeaderError> {
        match self.single(name) {
            Err(HeaderError::Missing(_)) => Ok(None),
            Err(error) => Err(error),
            Ok(value) => match read_number(value).map_err(malformed(name))? {
                number if number > max => Err(malformed(name)(Malformed("the number is too large"))),
                number => Ok(Some(number)),
            },
        }
    }

    fn lists<T>(
        &self,
        name: &'static str,
        read: impl Fn(&str) -> Result<Vec<T>, Malformed>,
    ) -> Result<Vec<T>, HeaderError> {
        let mut items = Vec::new();
        for value in self.all(name) {
            items.extend(read(value).map_err(malformed(name))?);
        }
        Ok(items)
    }
}

fn malformed(name: &'static str) -> impl Fn(Malformed) -> HeaderError {
    move |problem| HeaderError::Malformed { name, problem }
}

fn read_number(text: &str) -> Result<u64, Malformed> {
    match !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => text.parse().map_err(|_| Malformed("the number is too large")),
        false => Err(Malformed("it is not a number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_repeated_headers_mean_the_same() {
        let mut headers = Headers::new();
        headers.push("v", "SIP/2.0/UDP a;branch=1, SIP/2.0/TCP b;branch=2");
        headers.push("VIA", "SIP/2.0/UDP c;branch=3");
        headers.push("m", r#""A, B" <sip:a@h>;q=1, <sip:b@h>"#);
        headers.push("Contact", "sip:c@h;expires=5");
        let branches: Vec<_> = headers
            .vias()
            .unwrap()
            .iter()
            .map(|via| via.branch().unwrap().to_owned())
            .collect();
        assert_eq!(branches, ["1", "2", "3"]);
        assert_eq!(headers.via().unwrap().host.as_str(), "a");
        assert_eq!(headers.contacts().unwrap().len(), 3);
    }

    #[test]
    fn a_dialog_goes_through_so_many_proxies_and_no_more() {
        let mut headers = Headers::new();
        for _ in 0..ROUTES_MAX / 2 {
            headers.push("Record-Route", "<sip:a;lr>, <sip:b;lr>");
        }
        assert_eq!(headers.record_routes().unwrap().len(), ROUTES_MAX);
        headers.push("Record-Route", "<sip:c;lr>");
        let error = headers.record_routes().unwrap_err();
        assert_eq!(
            error.to_string(),
            "the Record-Route header cannot be read: there are too many proxies"
        );
    }

    #[test]
    fn replacing_the_top_via_keeps_the_others() {
        let mut headers = Headers::new();
        headers.push("Via", "SIP/2.0/UDP a;branch=1,SIP/2.0/TCP b;branch=2");
        headers.push("Via", "SIP/2.0/UDP c;branch=3");
        let mut top = headers.via().unwrap();
        top.params.set("received", Some("192.0.2.1"));
        headers.set_top_via(&top);
        assert_eq!(
            headers.all("Via").collect::<Vec<_>>(),
            [
                "SIP/2.0/UDP a;branch=1;received=192.0.2.1, SIP/2.0/TCP b;branch=2",
                "SIP/2.0/UDP c;branch=3"
            ]
        );
    }

    #[test]
    fn setting_keeps_the_place_and_removes_the_doubles() {
        let mut headers = Headers::new();
        for (name, value) in [("A", "1"), ("B", "2"), ("a", "3"), ("C", "4")] {
            headers.push(name, value);
        }
        headers.set("a", "9");
        headers.set("D", "5");
        let all: Vec<_> = headers.iter().map(|header| header.value.as_str()).collect();
        assert_eq!(all, ["9", "2", "4", "5"]);
    }

    #[test]
    fn a_value_that_may_stand_once_is_refused_twice() {
        let mut headers = Headers::new();
        headers.push("To", "<sip:a@h>");
        headers.push("t", "<sip:b@h>");
        assert_eq!(headers.to(), Err(HeaderError::Repeated("To")));
        assert_eq!(headers.from(), Err(HeaderError::Missing("From")));
    }

    #[test]
    fn content_length_is_one_number() {
        for (values, expected) in [
            (&[][..], Ok(None)),
            (&["5"], Ok(Some(5))),
            (&["5", "05"], Ok(Some(5))),
            (&["18446744073709551615"], Ok(Some(u64::MAX))),
            (&["5", "13"], Err(())),
            (&["18446744073709551616"], Err(())),
            (&["-1"], Err(())),
            (&["+5"], Err(())),
            (&["5, 5"], Err(())),
            (&[""], Err(())),
        ] {
            let mut headers = Headers::new();
            values.iter().for_each(|value| headers.push("l", *value));
            assert_eq!(headers.content_length().map_err(drop), expected, "{values:?}");
        }
    }

    #[test]
    fn small_values_are_read() {
        let mut headers = Headers::new();
        headers.push("Max-Forwards", "0068");
        headers.push("c", "Application/SDP ; charset=x");
        headers.push("k", "timer, 100rel");
        headers.push("Supported", "replaces,,");
        assert_eq!(headers.max_forwards().unwrap(), Some(68));
        assert_eq!(headers.content_type().unwrap(), "application/sdp");
        assert_eq!(
            headers.tokens("Supported").collect::<Vec<_>>(),
            ["timer", "100rel", "replaces"]
        );
        headers.set("Max-Forwards", "256");
        assert!(headers.max_forwards().is_err());
    }
}
