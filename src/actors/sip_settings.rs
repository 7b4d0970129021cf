//! What the configuration says, as the SIP endpoint takes it.

use std::time::Instant;

use super::service::random;
use crate::{
    config::{self, Config},
    sip,
};

/// The SIP endpoint as configured.
pub fn sip_endpoint(config: &Config, listeners: Vec<sip::Listener>) -> sip::Endpoint {
    let mut secret = [0; 32];
    for chunk in secret.chunks_exact_mut(8) {
        chunk.copy_from_slice(&random().to_le_bytes());
    }
    let settings = sip::Settings {
        listeners,
        external_ip: config.sip.external_ip,
        peers: peers(config),
        registrar: registrar(config),
        user_agent: concat!("patchcord/", env!("CARGO_PKG_VERSION")).to_owned(),
        legs_max: legs_max(config),
        defence: defence(&config.defence),
        ..sip::Settings::new(secret, random())
    };
    sip::Endpoint::new(Instant::now(), settings)
}

/// The defence as configured.
fn defence(configured: &config::Defence) -> sip::defence::Settings {
    sip::defence::Settings {
        requests_per_s: configured.requests_per_s,
        silent: configured.silent,
        lockout_failures: configured.lockout_failures,
        lockout_window: configured.lockout_window,
        lockout: configured.lockout,
    }
}

/// Room for the calls allowed, and for as many being refused for want of room.
pub fn legs_max(config: &Config) -> usize {
    config.limits.calls_max.saturating_mul(2)
}

/// The trunks as SIP sees them.
pub fn peers(config: &Config) -> Vec<sip::Peer> {
    let transport = |allowed: &config::AllowedTransport| match allowed {
        config::AllowedTransport::Udp => sip::Transport::Udp,
        config::AllowedTransport::Tcp => sip::Transport::Tcp,
        config::AllowedTransport::Tls => sip::Transport::Tls,
        config::AllowedTransport::Ws => sip::Transport::Ws,
        config::AllowedTransport::Wss => sip::Transport::Wss,
    };
    let peer = |trunk: &config::Trunk| sip::Peer {
        name: trunk.name.clone(),
        networks: trunk.from.clone(),
        credentials: trunk.credentials.as_ref().map(|credentials| sip::Credentials {
            username: credentials.username.clone(),
            password: credentials.password.reveal().to_owned(),
            algorithms: algorithms(&credentials.digest),
        }),
        uplink: trunk.uplink.as_ref().and_then(|uplink| uplink_of(&trunk.name, uplink)),
        session_expires: trunk.session_expires,
        transports: trunk.limits.transports.iter().map(transport).collect(),
    };
    config.trunks.iter().map(peer).collect()
}

/// The configuration takes no address that cannot be read as a URI, so the warning is for a mistake of ours.
fn uplink_of(trunk: &str, uplink: &config::Uplink) -> Option<sip::Uplink> {
    let read = |uri: &str| {
        let read = sip::Uri::read(uri);
        read.inspect_err(|error| tracing::error!(trunk, uri, %error, "calls cannot be placed there"))
            .ok()
    };
    Some(sip::Uplink {
        address: read(&uplink.address())?,
        outbound_proxy: uplink.outbound_proxy.as_deref().and_then(read),
        identity: read(&uplink.identity())?,
        login: uplink.login.as_ref().map(|login| sip::Login {
            username: login.username.clone(),
            password: login.password.reveal().to_owned(),
        }),
        register: Some(uplink.register_expires).filter(|_| uplink.register),
        probe: uplink.probe,
    })
}

/// The phones that may register here, when there are any.
fn registrar(config: &Config) -> Option<sip::RegistrarSettings> {
    let configured = Some(&config.registrar).filter(|registrar| registrar.is_open())?;
    let user = |(name, user): (&String, &config::RegistrarUser)| sip::Credentials {
        username: name.clone(),
        password: user.password.reveal().to_owned(),
        algorithms: algorithms(&user.digest),
    };
    Some(sip::RegistrarSettings {
        networks: configured.from.clone(),
        users: configured.users.iter().map(user).collect(),
        expires_min: configured.expires_min,
        expires_max: configured.expires_max,
        contacts_max: configured.contacts_max,
    })
}

fn algorithms(digests: &[config::Digest]) -> Vec<sip::Algorithm> {
    let algorithm = |digest: &config::Digest| match digest {
        config::Digest::Sha512_256 => sip::Algorithm::Sha512_256,
        config::Digest::Sha256 => sip::Algorithm::Sha256,
        config::Digest::Md5 => sip::Algorithm::Md5,
    };
    digests.iter().map(algorithm).collect()
}
