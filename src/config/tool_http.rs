//! `[tools.NAME]`: a tool that is a request to an HTTP server.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    bounds::PROSE_BYTES_MAX, effective::Writer, secret::Secret, section::Section, tool_manners::ToolManners,
    value::line,
};

/// Most headers of one request.
const HEADERS_MAX: usize = 32;

const METHODS: &[(&str, HttpMethod)] = &[
    ("GET", HttpMethod::Get),
    ("POST", HttpMethod::Post),
    ("PUT", HttpMethod::Put),
    ("PATCH", HttpMethod::Patch),
    ("DELETE", HttpMethod::Delete),
];

const JSON: &str = "application/json";

/// Headers the gateway writes itself.
const OWN_HEADERS: &[&str] = &[
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "host",
    "idempotency-key",
    "transfer-encoding",
    "webhook-id",
    "webhook-signature",
    "webhook-timestamp",
];

/// A tool that is an HTTP request.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpTool {
    /// The name the model calls it by.
    pub name: String,
    /// When to call it, in words for the model.
    pub description: String,
    /// JSON Schema of its arguments.
    pub parameters: Value,
    /// The method.
    pub method: HttpMethod,
    /// Where it goes, a template.
    pub url: String,
    /// More headers, their values templates.
    pub headers: BTreeMap<String, String>,
    /// What it says, a template; empty: the arguments, where the method has a body.
    pub body: String,
    /// What that is.
    pub content_type: String,
    /// Sent as `Authorization: Bearer`.
    pub bearer: Option<Secret>,
    /// Signs the request.
    pub signing_secret: Option<Secret>,
    /// How often it is tried again.
    pub retries: u8,
    /// Whether a person has to agree.
    pub approval: bool,
    /// How long it may take, and what the caller hears meanwhile.
    pub manners: ToolManners,
}

/// The method of an HTTP request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpMethod {
    /// GET.
    Get,
    /// POST.
    Post,
    /// PUT.
    Put,
    /// PATCH.
    Patch,
    /// DELETE.
    Delete,
}

impl HttpMethod {
    /// Its word in a request.
    pub fn word(self) -> &'static str {
        let known = METHODS.iter().find(|(_, method)| *method == self);
        known.map_or("", |(word, _)| word)
    }

    /// Whether a request of it says something without being told what.
    pub fn has_body(self) -> bool {
        matches!(self, Self::Post | Self::Put | Self::Patch)
    }
}

impl HttpTool {
    pub(super) fn read(mut section: Section<'_>, name: &str) -> Self {
        for key in ["description", "url"] {
            section.require(key);
        }
        let tool = Self {
            name: name.to_owned(),
            description: section.prose("description", PROSE_BYTES_MAX),
            parameters: section.json("parameters", no_parameters(), object_schema),
            method: section.choice("method", METHODS, HttpMethod::Post),
            url: section.parsed("url", String::new(), read_url),
            headers: section.texts("headers", HEADERS_MAX),
            body: section.prose("body", PROSE_BYTES_MAX),
            content_type: section.parsed("content_type", JSON.to_owned(), |text| line(text).map(str::to_owned)),
            bearer: section.secret("bearer"),
            signing_secret: section.secret("signing_secret"),
            retries: section
                .optional_whole("retries", 0..=5, "retries")
                .map_or(0, |retries| retries as u8),
            approval: section.optional_truth("approval").unwrap_or_default(),
            manners: ToolManners::read(&mut section),
        };
        if let Some(header) = tool.headers.keys().find(|header| !is_header_name(header)) {
            let shown = header.escape_debug();
            section.wrong("headers", &format!("names \"{shown}\", which is no name of a header"));
        }
        let own = |header: &&String| OWN_HEADERS.contains(&header.to_ascii_lowercase().as_str());
        if let Some(header) = tool.headers.keys().find(own) {
            section.wrong(
                "headers",
                &format!("names \"{header}\", which the gateway writes: use \"bearer\", \"content_type\" or \"signing_secret\""),
            );
        }
        section.finish();
        tool
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.table(format_args!("[tools.{}]", self.name));
        out.text("description", &self.description);
        out.text("parameters", &self.parameters);
        out.text("method", self.method.word());
        out.text("url", &self.url);
        out.texts("headers", &self.headers);
        out.text("body", &self.body);
        out.text("content_type", &self.content_type);
        out.secret("bearer", self.bearer.as_ref());
        out.secret("signing_secret", self.signing_secret.as_ref());
        out.whole("retries", self.retries);
        out.whole("approval", self.approval);
        self.manners.write(out);
    }

    /// Its secrets with their keys.
    pub(super) fn secrets(&mut self) -> impl Iterator<Item = (&'static str, &mut Secret)> {
        let bearer = self.bearer.as_mut().map(|secret| ("bearer", secret));
        let signing = self.signing_secret.as_mut().map(|secret| ("signing_secret", secret));
        bearer.into_iter().chain(signing)
    }
}

/// The schema of a tool that takes nothing.
pub(super) fn no_parameters() -> Value {
    json!({ "type": "object", "properties": {}, "additionalProperties": false })
}

/// The arguments of a function are an object; every backend refuses another schema in the middle of a call.
fn object_schema(schema: &Value) -> Result<(), String> {
    match schema.get("type").and_then(Value::as_str) {
        Some("object") => Ok(()),
        _ => Err("is no schema of an object: it begins with type = \"object\"".to_owned()),
    }
}

/// What a caller or a model says may choose what is asked of a server, but never which server.
pub(super) fn read_url(text: &str) -> Result<String, String> {
    let rest = ["https://", "http://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    let Some(rest) = rest else {
        return Err("is not an address: write it like \"https://crm.example.com/v1/orders\"".to_owned());
    };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match host {
        "" => Err("names no host".to_owned()),
        host if host.contains("{{") => Err("leaves the host open: only what follows it may be filled in".to_owned()),
        host if host.contains('@') => Err("holds credentials: use \"bearer\" or \"headers\"".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

fn is_header_name(name: &str) -> bool {
    let is_token = |letter: char| letter.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(letter);
    !name.is_empty() && name.chars().all(is_token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{problems, read};

    const TOOL: &str = "[tools.look_up]\ndescription = \"Looks up.\"\nurl = \"https://crm.example.com/v1\"\n";

    #[test]
    fn a_tool_needs_only_an_address_and_a_description() {
        let config = read(TOOL);
        let tool = &config.tools["look_up"];
        assert_eq!((tool.method, tool.retries, tool.approval), (HttpMethod::Post, 0, false));
        assert_eq!(tool.parameters["type"], "object");
        assert_eq!(tool.manners, ToolManners::default());
        assert_eq!(
            problems("[tools.a]\nurl = \"https://x\""),
            ["f.toml:1:1: [tools.a] needs the key \"description\""]
        );
    }

    #[test]
    fn parameters_are_a_table_or_a_text_and_keep_their_letters() {
        let table = format!(
            "{TOOL}[tools.look_up.parameters]\ntype = \"object\"\nrequired = [\"orderId\"]\n\
             [tools.look_up.parameters.properties.orderId]\ntype = \"object\"\n\
             properties = {{ A = {{ type = \"array\", items = {{ type = \"number\", minimum = 1.5 }} }} }}\n"
        );
        let schema = read(&table).tools["look_up"].parameters.clone();
        assert_eq!(schema["required"], json!(["orderId"]));
        let deep = &schema["properties"]["orderId"]["properties"]["A"]["items"]["minimum"];
        assert_eq!(deep, &json!(1.5));
        let text = format!("{TOOL}parameters = '{schema}'");
        assert_eq!(read(&text).tools["look_up"].parameters, schema);
    }

    #[test]
    fn a_schema_of_anything_but_an_object_is_refused() {
        for (parameters, fault) in [
            ("'[1'", "is not JSON"),
            ("'\"x\"'", "is no schema of an object"),
            ("{ type = \"string\" }", "is no schema of an object"),
            ("7", "is neither a table nor a text of JSON"),
        ] {
            let found = problems(&format!("{TOOL}parameters = {parameters}"));
            assert!(found.len() == 1 && found[0].contains(fault), "{found:?}");
        }
    }

    #[test]
    fn nobody_but_the_operator_chooses_the_host() {
        for (url, good) in [
            ("http://127.0.0.1:8080/a", true),
            ("https://a.example/{{argument.id}}?c={{caller}}", true),
            ("https://{{argument.host}}/", false),
            ("https://a.example{{argument.rest}}/", false),
            ("https://user:secret@a.example/", false),
            ("ftp://a.example/", false),
            ("https:///x", false),
        ] {
            assert_eq!(read_url(url).is_ok(), good, "{url}");
        }
    }

    #[test]
    fn headers_of_the_gateway_are_not_written_twice() {
        for header in ["Content-Type", "webhook-id", "a b"] {
            let found = problems(&format!("{TOOL}headers = {{ \"{header}\" = \"x\" }}"));
            assert!(found.len() == 1 && found[0].contains(header), "{found:?}");
        }
        read(&format!("{TOOL}headers = {{ X-Caller = \"{{{{caller}}}}\" }}"));
    }

    #[test]
    fn what_is_set_is_shown_and_reads_back_without_its_secrets() {
        let text = format!(
            "{TOOL}method = \"PATCH\"\nbearer = \"env:PASSWORD\"\nsigning_secret = \"env:PASSWORD\"\nretries = 2\n\
             approval = true\nfiller = \"One moment.\"\n"
        );
        let shown = read(&text).effective_toml();
        assert!(
            !shown.contains("hunter2") && shown.contains("signing_secret = \"env:PASSWORD\""),
            "{shown}"
        );
    }
}
