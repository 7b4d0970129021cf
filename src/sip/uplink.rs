//! Uplink: how requests of ours reach a peer, and what we prove there.

use std::fmt;
use std::time::Duration;

use super::uri::Uri;

/// The way to a peer that we send requests to by ourselves: calls, registrations, probes.
#[derive(Debug, Clone)]
pub struct Uplink {
    /// Where it is, such as `sip:pbx.example.com;transport=tls`; a number is called as a user of this URI.
    pub address: Uri,
    /// A proxy on the way, which everything is sent to first (a preloaded Route).
    pub outbound_proxy: Option<Uri>,
    /// Who we are there: From of our requests, and the address of record we register.
    pub identity: Uri,
    /// What we answer challenges with.
    pub login: Option<Login>,
    /// How long a registration we ask for is to last; `None`: we do not register.
    pub register: Option<Duration>,
    /// How often it is asked by OPTIONS whether it is there; `None`: never.
    pub probe: Option<Duration>,
}

/// A user name and a password of ours at somebody else's.
#[derive(Clone)]
pub struct Login {
    /// The user name.
    pub username: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Login(hidden)")
    }
}
