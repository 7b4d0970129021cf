//! The log lines about what the SIP side refused or dropped.
//!
//! Their beginning is an interface to programs that read logs to block addresses, such as fail2ban
//! (`deploy/fail2ban`): the text, `source` with the bare address, `reason` with one word. What a peer chose stands
//! behind these, quoted and escaped.

use std::net::SocketAddr;

use crate::sip::{Dropped, Refused, Transport, repeats::Repeated};

/// A request was refused.
pub fn refused(refused: &Refused) {
    if !refused.is_told {
        return;
    }
    let Refused {
        source,
        trunk,
        status,
        reason,
        detail,
        flow,
        ..
    } = refused;
    let (ip, port) = (source.ip().to_canonical(), source.port());
    let trunk = trunk.as_deref().unwrap_or_default();
    let transport = flow.transport.as_str();
    tracing::info!(source = %ip, reason = %reason, status, port, transport, trunk, detail, "a SIP request was refused");
}

/// A connection was refused.
pub fn connection(remote: SocketAddr, transport: Transport) {
    let (ip, port) = (remote.ip().to_canonical(), remote.port());
    let transport = transport.as_str();
    tracing::info!(source = %ip, reason = %"unknown_source", port, transport, "a SIP connection was refused");
}

/// Something was dropped unread.
pub fn dropped(dropped: &Dropped) {
    if !dropped.is_told {
        return;
    }
    let (ip, port) = (dropped.source.ip().to_canonical(), dropped.source.port());
    let (reason, transport) = (dropped.reason, dropped.transport.as_str());
    tracing::info!(source = %ip, reason = %reason, port, transport, "SIP requests are dropped");
}

/// More of the same in the last minute.
pub fn repeated(repeated: &Repeated) {
    let Repeated { source, reason, more } = repeated;
    match source {
        Some(source) => tracing::info!(source = %source.to_canonical(), reason = %reason, more, "more of the same"),
        None => tracing::info!(reason = %reason, more, "more of the same from many sources"),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use super::*;
    use crate::{
        sip::Flow,
        telemetry::log::{Format, dispatch},
    };

    const SAMPLE: &str = include_str!("../../deploy/fail2ban/sample.txt");

    #[test]
    fn lines_are_those_that_the_filter_of_fail2ban_is_tested_with() {
        let written = lines(Format::Human) + &lines(Format::Json);
        let sample: Vec<_> = SAMPLE.lines().map(timeless).collect();
        assert_eq!(written.lines().map(timeless).collect::<Vec<_>>(), sample);
    }

    #[test]
    fn what_a_peer_wrote_stays_inside_its_field() {
        for format in [Format::Human, Format::Json] {
            let text = lines(format);
            assert_eq!(text.lines().count(), 7, "{text}");
            assert!(text.lines().all(|line| !line.contains(char::is_control)), "{text:?}");
        }
    }

    fn lines(format: Format) -> String {
        let written = Written::default();
        let dispatch = dispatch(format, "info", false, written.clone()).unwrap();
        tracing::dispatcher::with_default(&dispatch, log_everything);
        let bytes = written.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn log_everything() {
        let detail = "bad\r\n2026-01-01T00:00:00Z  INFO patchcord::drivers::refusals: a SIP request was refused \
                      source=203.0.113.9 reason=auth_failed \" \u{1b}[31m";
        refused(&refusal(
            "192.0.2.7:5060",
            "auth_failed",
            "the user name or the password is wrong",
        ));
        refused(&refusal("[2001:db8::7]:5061", "unknown_source", detail));
        refused(&refusal("[::ffff:192.0.2.8]:5060", "bad_request", detail));
        connection("192.0.2.9:40000".parse().unwrap(), Transport::Tcp);
        dropped(&Dropped {
            source: "192.0.2.7:5060".parse().unwrap(),
            transport: Transport::Udp,
            reason: "locked_out",
            is_told: true,
        });
        for source in [Some("192.0.2.7".parse().unwrap()), None] {
            let (reason, more) = ("locked_out", 17);
            repeated(&Repeated { source, reason, more });
        }
    }

    fn refusal(source: &str, reason: &'static str, detail: &str) -> Refused {
        let source = source.parse().unwrap();
        Refused {
            source,
            trunk: None,
            status: 403,
            reason,
            detail: detail.to_owned(),
            flow: Flow {
                transport: Transport::Udp,
                local: ([192, 0, 2, 1], 5060).into(),
                remote: source,
                connection: 0,
            },
            is_told: true,
            call: None,
        }
    }

    /// The line without its time.
    fn timeless(line: &str) -> String {
        match line.strip_prefix("{\"timestamp\":\"") {
            Some(rest) => rest.split_once('"').map(|(_, rest)| format!("{{{rest}")).unwrap(),
            None => line.split_once(' ').unwrap().1.to_owned(),
        }
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

    impl<'a> tracing_subscriber::fmt::MakeWriter<'a> for Written {
        type Writer = Self;

        fn make_writer(&'a self) -> Self::Writer {
            self.clone()
        }
    }
}
