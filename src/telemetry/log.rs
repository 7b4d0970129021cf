//! Logs: one line per event on standard error, for people or as JSON, inside one span per call.
//!
//! What is logged is decided where it is handled; this file only says how it looks and which lines pass. Packets are
//! logged at TRACE alone, because a full pipe behind standard error blocks whoever writes.

use std::io::{self, IsTerminal};

use tracing::{Dispatch, Span, field::Empty};
use tracing_subscriber::{EnvFilter, fmt, fmt::MakeWriter};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// For people: time, level, call, text; coloured on a terminal.
    #[default]
    Human,
    /// One JSON object per line.
    Json,
}

/// What is quieter than the filter says unless the filter names it: the library of MCP tells what tools are called with.
const TALKATIVE: &str = "rmcp=warn";

/// The filter cannot be read.
#[derive(Debug, thiserror::Error)]
#[error(
    "the log filter \"{filter}\" cannot be read ({cause}): write it like \"info\" or \"info,patchcord::sip=debug\""
)]
pub struct BadFilter {
    filter: String,
    cause: tracing_subscriber::filter::ParseError,
}

/// Starts logging. Only the first call of a process has an effect, so tests may all call it.
pub fn init(format: Format, filter: &str) -> Result<(), BadFilter> {
    let dispatch = dispatch(format, filter, io::stderr().is_terminal(), io::stderr)?;
    // An error means that logging has already been started, and that start stands.
    let _ = tracing::dispatcher::set_global_default(dispatch);
    Ok(())
}

/// What writes lines of this format.
pub fn dispatch<W>(format: Format, filter: &str, is_coloured: bool, writer: W) -> Result<Dispatch, BadFilter>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = read_filter(filter)?;
    let lines = fmt().with_env_filter(filter).with_writer(writer).with_ansi(is_coloured);
    Ok(match format {
        Format::Human => Dispatch::new(lines.finish()),
        Format::Json => Dispatch::new(
            lines
                .json()
                .flatten_event(true)
                .with_current_span(true)
                .with_span_list(false)
                .finish(),
        ),
    })
}

/// The span of one call. Its route is not known yet: [`set_agent`] names the agent later.
///
/// The span has level ERROR so that no filter takes the call's name off the lines that do pass.
pub fn call_span(call_id: &str, trunk: &str) -> Span {
    tracing::error_span!(parent: None, "call", id = call_id, trunk, agent = Empty)
}

/// Names the agent that answers in the call's span.
pub fn set_agent(span: &Span, agent: &str) {
    span.record("agent", agent);
}

fn read_filter(filter: &str) -> Result<EnvFilter, BadFilter> {
    let read = EnvFilter::builder().parse(filter).map_err(|cause| BadFilter {
        filter: filter.to_owned(),
        cause,
    })?;
    match TALKATIVE.parse() {
        Ok(directive) if !filter.contains("rmcp") => Ok(read.add_directive(directive)),
        _ => Ok(read),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn starting_twice_is_harmless() {
        init(Format::Human, "warn").unwrap();
        init(Format::Json, "info").unwrap();
    }

    #[test]
    fn a_bad_filter_is_refused_with_an_example_of_a_good_one() {
        let error = read_filter("info,patchcord=loudly").unwrap_err().to_string();
        assert!(
            error.contains("info,patchcord=loudly") && error.contains("=debug"),
            "{error}"
        );
        read_filter("info,patchcord::sip=debug").unwrap();
    }

    #[test]
    fn a_line_inside_a_call_names_the_call_even_when_only_warnings_pass() {
        let written = Written::default();
        let dispatch = dispatch(Format::Json, "warn", false, written.clone()).unwrap();
        tracing::dispatcher::with_default(&dispatch, || {
            let span = call_span("c1", "lan");
            set_agent(&span, "operator");
            span.in_scope(|| tracing::warn!(reason = "no_ports", "call refused"));
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["reason"], "no_ports");
        assert_eq!(
            line["span"],
            serde_json::json!({"name": "call", "id": "c1", "trunk": "lan", "agent": "operator"})
        );
    }

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Written {
        type Writer = Self;

        fn make_writer(&'a self) -> Self::Writer {
            self.clone()
        }
    }
}
