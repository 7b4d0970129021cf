//! `[http]`: where metrics and health are shown.

use std::net::{Ipv4Addr, SocketAddr};

use super::{effective::Writer, secret::Secret, section::Section};

/// Settings of `[http]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// The socket; port 0 takes a free one. This machine alone by default, because what is shown is not protected.
    pub listen: SocketAddr,
    /// What clients of the control API show; without it that API is closed.
    pub token: Option<Secret>,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            token: None,
        }
    }
}

impl Http {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let default = Self::default();
        let http = Self {
            listen: section.parsed("listen", default.listen, read_listen),
            token: section.secret("token"),
        };
        section.finish();
        http
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.table("[http]");
        out.text("listen", self.listen);
        out.secret("token", self.token.as_ref());
    }
}

fn read_listen(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "is not an IP address with a port: write it like \"127.0.0.1:8080\"".to_owned())
}

#[cfg(test)]
mod tests {
    use crate::config::tests::{problems, read};

    #[test]
    fn the_socket_is_an_address_with_a_port() {
        assert_eq!(read("[http]\nlisten = \"[::1]:9\"").http.listen.to_string(), "[::1]:9");
        assert_eq!(
            problems("[http]\nlisten = \"localhost:8080\""),
            [
                "f.toml:2:10: http.listen = \"localhost:8080\" is not an IP address with a port: write it like \
              \"127.0.0.1:8080\""
            ]
        );
        assert_eq!(
            problems("[http]\nlisten = 8080"),
            ["f.toml:2:10: http.listen = 8080 is not a text: put it in quotes"]
        );
    }
}
