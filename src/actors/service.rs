//! What all calls are served with: configuration, ports, workers, records, and the ways from one to the other.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    call::{Cause, Terms, machine},
    config::{self, Agent, Config},
    drivers::{dial::Dialler, realtime::Dial, worker::Workers},
    http::{HttpState, Readiness},
    media,
    net::{
        ports::{PortPair, PortPool},
        tls::Tls,
    },
    realtime::{self, ReconnectSettings},
    routing::{self, Routes},
    sdp,
    sip::{self, Invite},
    store::RecordWriter,
    telemetry::{Level, Metrics},
    tools,
};

/// Record slots per allowed call: calls there are, and as many refused or ended ones still being written.
const RECORD_SLOTS_PER_CALL: usize = 2;

/// What outlives a restart of the call plane.
pub struct Shared {
    /// The configuration.
    pub config: Arc<Config>,
    /// The one list of metrics.
    pub metrics: Metrics,
    /// The RTP ports.
    pub ports: PortPool,
    /// The record file.
    pub records: RecordWriter,
    /// What the HTTP server shows.
    pub http: HttpState,
    routes: Routes,
    dialler: Dialler,
}

/// What calls are served with.
pub struct Service {
    shared: Arc<Shared>,
    /// The media worker threads.
    pub workers: Workers,
}

/// Ports for a call, and what its offer settled.
pub struct Prepared {
    /// The bound RTP and RTCP sockets.
    pub ports: PortPair,
    /// Where offer and answer stand.
    pub terms: Terms,
}

impl Shared {
    /// Whether new calls are refused because the gateway is about to stop.
    pub fn draining(&self) -> bool {
        self.http.readiness.reason() == Some(Readiness::DRAINING)
    }

    /// Opens what is shared.
    pub fn open(config: Config) -> anyhow::Result<Self> {
        let config = Arc::new(config);
        let metrics = Metrics::new();
        let ports = PortPool::new(config.media.ports.clone());
        let slots = config.limits.calls_max.saturating_mul(RECORD_SLOTS_PER_CALL);
        let records = RecordWriter::open(config.records.path.clone(), slots, metrics.clone())?;
        let http = HttpState::new(metrics.clone(), Readiness::new(), refresh(&metrics, &ports));
        let routes = Routes::from(config.as_ref());
        let dialler = Dialler::new(Tls::new(None)?, config.session.connect_timeout);
        Ok(Self {
            config,
            metrics,
            ports,
            records,
            http,
            routes,
            dialler,
        })
    }
}

/// Levels that are read when somebody looks, because nobody tells when they change.
fn refresh(metrics: &Metrics, ports: &PortPool) -> Arc<dyn Fn() + Send + Sync> {
    let (metrics, ports) = (metrics.clone(), ports.clone());
    Arc::new(move || metrics.set_level(Level::RtpPortsInUse, ports.in_use()))
}

impl std::ops::Deref for Service {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

impl Service {
    /// Serves calls with these workers.
    pub fn new(shared: Arc<Shared>, workers: Workers) -> Self {
        Self { shared, workers }
    }

    /// Which agent answers, and by which rule.
    pub fn route(&self, invite: &Invite) -> Result<(usize, Arc<Agent>), Cause> {
        let (to, from) = (address(&invite.request_uri), address(&invite.from.uri));
        let decision = self.routes.decide(&routing::Call {
            trunk: &invite.trunk,
            to: &to,
            from: &from,
        });
        tracing::debug!(%decision, "routed");
        let route = decision.route.ok_or(Cause::NoRoute)?;
        let agent = self.config.agents.get(&route.agent).ok_or(Cause::NoRoute)?;
        Ok((route.index, agent.clone()))
    }

    /// A new id for a call.
    pub fn call_id(&self) -> String {
        format!("call_{:016x}{:08x}", random(), random() as u32)
    }

    /// Takes ports and settles the media.
    pub fn prepare(&self, invite: &Invite) -> Result<Prepared, Cause> {
        let ports = self.ports.take(invite.flow.local.ip()).map_err(|error| {
            tracing::warn!(%error, "no RTP ports for a call");
            Cause::NoPorts
        })?;
        let local = sdp::Local {
            address: invite.advertised_ip,
            rtp_port: ports.lease.rtp_port(),
            session_id: random() >> 2,
            version: 1,
            codecs: sdp::Codec::ALL.to_vec(),
        };
        let terms = Terms::new(local, invite.offer.as_deref()).map_err(|refusal| {
            tracing::info!(%refusal, "the offer was refused");
            Cause::from(refusal)
        })?;
        Ok(Prepared { ports, terms })
    }

    /// How one call is decided.
    pub fn call_settings(&self, agent: &Agent) -> machine::Settings {
        machine::Settings {
            answer: match agent.answer {
                config::Answer::WhenReady => machine::Answer::WhenReady,
                config::Answer::AtOnce => machine::Answer::AtOnce,
            },
            ring_max: self.config.limits.ring_max,
            duration_max: self.config.limits.call_duration_max,
        }
    }

    /// How one leg's media starts. Its numbers begin at random (RFC 3550 section 5.1).
    pub fn media_settings(&self) -> media::Settings {
        let configured = &self.config.media;
        media::Settings {
            playout_ms_max: u32::try_from(configured.playout_max.as_millis()).unwrap_or(u32::MAX),
            silence_timeout: configured.silence_timeout.unwrap_or(Duration::MAX),
            ..media::Settings::from_seed(random())
        }
    }

    /// How often and how long a lost session is dialled again.
    pub fn reconnect(&self) -> ReconnectSettings {
        let session = &self.config.session;
        ReconnectSettings {
            first: session.reconnect_first,
            delay_max: session.reconnect_max,
            budget: session.reconnect_budget,
        }
    }

    /// How to dial a backend for an agent, and what the session is to be.
    pub fn dial(&self, agent: &Agent, backend: &str) -> Option<(Box<dyn FnOnce() -> Dial + Send>, realtime::Settings)> {
        let backend = self.config.backends.get(backend)?;
        let settings = realtime::Settings {
            dialect: dialect(backend),
            instructions: agent.instructions.clone(),
            voice: agent.voice.clone(),
            turn_detection: agent.turn_detection.clone(),
            transcription: agent
                .transcription_model
                .as_ref()
                .map(|model| serde_json::json!({ "model": model })),
            tools: tool_specs(agent),
            greeting: agent.greeting.clone(),
            ..realtime::Settings::default()
        };
        Some((self.dialler.dial(backend), settings))
    }
}

/// What routes look at: `user@host`, or what there is of it. A `tel:` URI has only the number.
fn address(uri: &sip::Uri) -> String {
    match (uri.subscriber(), uri.host()) {
        (Some(user), Some(host)) => format!("{user}@{host}"),
        (Some(user), None) => user,
        (None, Some(host)) => host.to_string(),
        (None, None) => String::new(),
    }
}

fn dialect(backend: &config::Backend) -> realtime::Dialect {
    match &backend.kind {
        config::BackendKind::Operator => realtime::Dialect::Ga,
        config::BackendKind::Realtime(realtime) => match realtime.dialect {
            config::Dialect::Ga => realtime::Dialect::Ga,
        },
    }
}

/// What the session is told of the agent's tools.
fn tool_specs(agent: &Agent) -> Vec<realtime::ToolSpec> {
    let allowed = |spec: &realtime::ToolSpec| agent.tools.iter().any(|tool| tool.name() == spec.name);
    tools::specs().into_iter().filter(allowed).collect()
}

/// The SIP endpoint as configured.
pub fn sip_endpoint(config: &Config) -> sip::Endpoint {
    let mut secret = [0; 32];
    for chunk in secret.chunks_exact_mut(8) {
        chunk.copy_from_slice(&random().to_le_bytes());
    }
    let settings = sip::Settings {
        external_ip: config.sip.external_ip,
        peers: peers(config),
        user_agent: concat!("patchcord/", env!("CARGO_PKG_VERSION")).to_owned(),
        legs_max: legs_max(config),
        ..sip::Settings::new(secret, random())
    };
    sip::Endpoint::new(Instant::now(), settings)
}

/// Room for the calls allowed, and for as many being refused for want of room.
pub fn legs_max(config: &Config) -> usize {
    config.limits.calls_max.saturating_mul(2)
}

/// The trunks as SIP sees them.
pub fn peers(config: &Config) -> Vec<sip::Peer> {
    let algorithm = |digest: config::Digest| match digest {
        config::Digest::Sha256 => sip::Algorithm::Sha256,
        config::Digest::Md5 => sip::Algorithm::Md5,
    };
    let peer = |trunk: &config::Trunk| sip::Peer {
        name: trunk.name.clone(),
        networks: trunk.from.clone(),
        credentials: trunk.credentials.as_ref().map(|credentials| sip::Credentials {
            username: credentials.username.clone(),
            password: credentials.password.reveal().to_owned(),
            algorithms: credentials.digest.iter().copied().map(algorithm).collect(),
        }),
        uplink: None,
        session_expires: Some(sip::SESSION_EXPIRES),
    };
    config.trunks.iter().map(peer).collect()
}

/// A random number, for spreading retries and for numbers nobody should guess.
pub fn random() -> u64 {
    getrandom::u64().unwrap_or_else(|_| Instant::now().elapsed().as_nanos() as u64)
}
