//! What all calls are served with: configuration, ports, workers, records, and the ways from one to the other.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context;

use super::refusals;
use crate::{
    call::{
        Cause, Facts, Terms,
        bridge::away,
        budget::{Action, Watch},
        conductor, filler, keys, machine,
        order::Disclosure,
        recording, transfer, turns,
    },
    config::{self, Agent, BudgetScope, Config},
    drivers::{
        dial::{self, Dialler},
        realtime::Dial,
        tools::Tools,
        worker::Workers,
    },
    http::{HttpState, Readiness},
    media,
    net::{
        ports::{PortPair, PortPool, Use},
        tls::Tls,
    },
    realtime::{self, ReconnectSettings},
    routing::{self, Explainer, NoRoom, Question, Room, Routes, called_name},
    rtp::dtls::Identity,
    sdp,
    sip::Invite,
    store::{
        Claim, PurseBook, RecordWriter,
        recording::{Recorder, read_wav},
        webhook::Webhooks,
    },
    telemetry::{Level, Metrics},
    tools::Toolbox,
};

use super::{
    approvals::Approvals,
    backends::Backends,
    board::Board,
    control::{Manager, Switchboard},
    inquiries::Inquiries,
    local,
    session::Changes,
    sip_settings::peers,
    warm::Stock,
};

/// Record slots per allowed call: calls there are, and as many refused or ended ones still being written.
pub const CALL_SLOTS_PER_CALL: usize = 2;

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
    /// Whoever writes recordings.
    pub recorder: Recorder,
    /// What days have cost.
    pub purses: PurseBook,
    /// Who is told of calls.
    pub webhooks: Webhooks,
    /// What the HTTP server shows.
    pub http: HttpState,
    /// Every call as the control API shows it.
    pub board: Arc<Board>,
    /// The way to whoever places calls.
    pub manager: Arc<Manager>,
    /// Tools that are done elsewhere.
    pub tools: Arc<Tools>,
    /// Tool calls that wait for a person.
    pub approvals: Arc<Approvals>,
    room: Arc<Mutex<Room>>,
    routes: Routes,
    /// Says what becomes of a call, and why.
    pub explainer: Arc<Explainer>,
    dialler: Dialler,
    /// Our certificate on media paths.
    identity: Option<Arc<Identity>>,
    /// What callers hear of files, by the files' names.
    sounds: BTreeMap<PathBuf, Arc<recording::Sound>>,
    /// How the backends do.
    pub backends: Backends,
    /// Sessions that wait for calls.
    pub warm: Stock,
    /// That nobody else writes what has to survive.
    claim: Option<Claim>,
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

    /// The room for calls, of which there is one. Never held while waiting.
    pub fn room(&self) -> MutexGuard<'_, Room> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever answers questions about calls.
    pub fn inquiries(&self) -> Inquiries {
        Inquiries::new(self.explainer.clone(), self.room.clone())
    }

    /// Lets another gateway use what has to survive, once all of it is written.
    pub fn give_up(&self) {
        if let Some(claim) = &self.claim {
            claim.give_up();
        }
    }

    /// Opens what is shared.
    pub fn open(config: Config) -> anyhow::Result<Self> {
        let config = Arc::new(config);
        let metrics = Metrics::new();
        let ports = PortPool::new(config.media.ports.clone(), config.media.inbound_reserve);
        let slots = refusals::call_slots(&config).saturating_add(refusals::REFUSAL_SLOTS);
        let records = RecordWriter::open(config.records.path.clone(), slots, metrics.clone())?;
        let sounds = sounds(&config)?;
        let claim = claim(&config)?;
        let purses = PurseBook::open(&config.records.state, config.budgets.values())?;
        let recorder = Recorder::start(&config.recording, metrics.clone())?;
        let webhooks = Webhooks::start(&config.webhooks, &config.records.state, metrics.clone())?;
        let (board, manager) = (
            Arc::new(Board::new().telling(webhooks.clone())),
            Arc::new(Manager::default()),
        );
        let room = Arc::new(Mutex::new(Room::new(&config)));
        let explainer = Arc::new(Explainer::new(config.clone(), peers(&config)));
        let inquiries = Inquiries::new(explainer.clone(), room.clone());
        let approvals = Arc::new(Approvals::default());
        let switchboard = Switchboard::new(board.clone(), manager.clone(), approvals.clone(), inquiries);
        let token = config.http.token.as_ref().map(|token| token.reveal().to_owned());
        let http = HttpState::new(metrics.clone(), Readiness::new(), refresh(&metrics, &ports))
            .controlled(Arc::new(switchboard), token);
        let routes = Routes::from(config.as_ref());
        let tls = Tls::new(None)?;
        let tools = Arc::new(Tools::open(&config, &tls)?);
        let dialler = Dialler::new(tls, config.session.connect_timeout);
        let backends = Backends::new(&config, metrics.clone());
        Ok(Self {
            metrics,
            ports,
            records,
            recorder,
            purses,
            webhooks,
            http,
            board,
            manager,
            tools,
            approvals,
            room,
            routes,
            explainer,
            dialler,
            identity: identity(),
            sounds,
            config,
            backends,
            warm: Stock::default(),
            claim,
        })
    }
}

/// Claims the folder of what has to survive, where there is anything to keep.
fn claim(config: &Config) -> anyhow::Result<Option<Claim>> {
    let days = config.budgets.values().any(|budget| budget.scope != BudgetScope::Call);
    let keeps = days || !config.webhooks.is_empty();
    keeps.then(|| Claim::take(&config.records.state)).transpose()
}

/// The wall clock; before 1970 it is taken for 1970.
fn unix_time() -> Duration {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default()
}

/// The certificate of this process. Without one, calls that would be protected by a handshake are refused as if their
/// trunks had `dtls = false`.
fn identity() -> Option<Arc<Identity>> {
    let made = Identity::generate();
    made.inspect_err(|error| tracing::error!(%error, "no certificate could be made; DTLS is off"))
        .ok()
        .map(Arc::new)
}

/// Reads the sounds that callers hear before they are recorded or hear anything else, and while or after their session is
/// gone.
fn sounds(config: &Config) -> anyhow::Result<BTreeMap<PathBuf, Arc<recording::Sound>>> {
    let files = config.agents.values().flat_map(|agent| {
        let keys = [
            ("recording_prompt_file", &agent.recording.prompt_file),
            ("disclosure_file", &agent.turns.disclosure_file),
            ("filler_file", &agent.survival.filler_file),
            ("failover_prompt_file", &agent.survival.failover_prompt_file),
        ];
        keys.into_iter()
            .filter_map(move |(key, path)| Some((agent, key, path.as_ref()?)))
    });
    let read = |path: &Path| read_wav(&std::fs::read(path)?).map_err(anyhow::Error::msg);
    files
        .map(|(agent, key, path)| {
            let place = || format!("agents.{}.{key} {}", agent.name, path.display());
            let (rate, pcm) = read(path).with_context(place)?;
            Ok((path.clone(), Arc::new(recording::Sound { rate, pcm })))
        })
        .collect()
}

/// How an agent takes turns in a call that lasts no longer than this.
fn turns(agent: &Agent, duration_max: Duration) -> turns::Settings {
    let configured = &agent.turns;
    let own_ear = configured.interruption == config::Ear::Gateway;
    turns::Settings {
        cut_after: own_ear.then_some(configured.interrupt_after),
        quiet: configured.quiet.map(|after| turns::Quiet {
            after,
            asks_max: configured.quiet_asks,
            words: configured.quiet_prompt.clone(),
        }),
        caller_turn_max: configured.caller_turn_max,
        agent_turn_max: configured.agent_turn_max,
        warning: configured
            .warning
            .clone()
            .filter(|_| configured.warning_before < duration_max)
            .map(|words| turns::Warning {
                before: configured.warning_before,
                words,
            }),
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
        let (to, from) = (called_name(&invite.request_uri), called_name(&invite.from.uri));
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

    /// Whether a budget for the day is spent, so that no call of this agent may begin; then it is counted.
    pub fn check_budgets(&self, agent: &str) -> Result<(), Cause> {
        let mut watch = Watch::new(self.config.budgets_of(agent));
        let begun = watch.begin(&|budget| self.purses.spent(budget, agent));
        match begun.into_iter().find(|reached| reached.action == Action::End) {
            None => Ok(()),
            Some(reached) => {
                let (budget, spent) = (&reached.budget, reached.spent);
                tracing::info!(budget = budget.name, %spent, max = %budget.max, "a budget is spent");
                self.metrics.budget_action(&budget.name, "refuse");
                Err(Cause::BudgetSpent)
            }
        }
    }

    /// How a call came as far as it has, for its record.
    pub fn explain(&self, invite: &Invite, full: Option<&NoRoom>) -> Vec<String> {
        let question = Question {
            from: invite.from.uri.clone(),
            to: invite.request_uri.clone(),
            origin: invite.flow.origin(),
            transport: invite.flow.transport,
            user: None,
        };
        self.explainer
            .explain_call(&question, &invite.trunk, &self.room(), full)
    }

    /// A new id for a call.
    pub fn call_id(&self) -> String {
        call_id()
    }

    /// Takes ports and settles the media.
    pub fn prepare(&self, invite: &Invite) -> Result<Prepared, Cause> {
        let local_ip = invite.flow.local.ip();
        let (ports, local) = self.take_ports(&invite.trunk, local_ip, invite.advertised_ip, Use::Inbound)?;
        let terms = Terms::new(local, invite.offer.as_deref()).map_err(|refusal| {
            tracing::info!(%refusal, "the offer was refused");
            Cause::from(refusal)
        })?;
        if matches!(
            terms.agreed().map(|agreed| &agreed.security),
            Some(sdp::Security::Sdes { .. })
        ) && !invite.flow.transport.is_secure()
        {
            tracing::debug!("the keys of this call's audio came in signalling that is not encrypted");
        }
        Ok(Prepared { ports, terms })
    }

    /// Takes ports for a trunk at this address of ours, which peers know by another.
    pub fn take_ports(
        &self,
        trunk: &str,
        local_ip: IpAddr,
        advertised_ip: IpAddr,
        purpose: Use,
    ) -> Result<(PortPair, sdp::Local), Cause> {
        let ports = self.ports.take(local_ip, purpose).map_err(|error| {
            tracing::warn!(%error, "no RTP ports for a call");
            Cause::NoPorts
        })?;
        let media = self.config.media_of(trunk);
        let certificate = self.identity.as_deref().map(local::fingerprint);
        let local = local::local(media, advertised_ip, ports.lease.rtp_port(), certificate.as_ref());
        Ok((ports, local))
    }

    /// How one call is decided. `ring_max` is how long it may ring.
    pub fn call_settings(&self, agent: &Agent, trunk_name: &str, ring_max: Duration) -> conductor::Settings {
        let ways = self.config.media_of(trunk_name).dtmf.clone();
        let trunk = self.config.trunks.iter().find(|known| known.name == trunk_name);
        let answer = match agent.answer {
            config::Answer::AtOnce => machine::Answer::AtOnce,
            // Without a greeting there is nothing to say before the answer.
            config::Answer::WhenReady if agent.early_media && agent.greeting.is_some() => {
                machine::Answer::AfterGreeting
            }
            config::Answer::WhenReady => machine::Answer::WhenReady,
        };
        conductor::Settings {
            machine: machine::Settings {
                answer,
                ring_max,
                duration_max: self.config.limits.call_duration_max,
                failover: machine::Failover::default(),
            },
            away: away::Settings {
                filler: filler::Settings {
                    after: agent.survival.filler_after,
                    words: self.sound(agent.survival.filler_file.as_ref()),
                },
                replay_max: self.config.session.replay_max,
            },
            failover: conductor::Failover {
                prompt: self.sound(agent.survival.failover_prompt_file.as_ref()),
                transfer: agent.survival.failover_transfer.clone(),
            },
            transfers: self.transfers(agent, trunk_name),
            toolbox: self.toolbox(agent),
            voicemail_after: agent.voicemail_after,
            messages: trunk.is_none_or(|trunk| trunk.messages),
            keys: keys::Settings {
                ways,
                told: agent.hears_keys,
            },
            recording: self.recording_policy(agent),
            turns: turns(agent, self.config.limits.call_duration_max),
            disclosure: self.disclosure(agent),
        }
    }

    /// How this agent's calls of a trunk are handed on.
    fn transfers(&self, agent: &Agent, trunk: &str) -> transfer::Settings {
        let trunk = agent.transfer.trunk.as_deref().unwrap_or(trunk);
        let known = self.config.trunks.iter().find(|known| known.name == trunk);
        let reaches = known.is_none_or(|known| known.uplink.is_some());
        transfer::Settings {
            ways: match agent.transfer.ways {
                // What the far end says about REFER is then the last word, and the one that is told.
                config::TransferWays::ReferOrBridge if !reaches => config::TransferWays::Refer,
                ways => ways,
            },
            ring_max: self.config.limits.ring_max,
            keys: self.config.media_of(trunk).dtmf.clone(),
        }
    }

    /// What this agent may do.
    pub(super) fn toolbox(&self, agent: &Agent) -> Toolbox {
        Toolbox::from(agent).with(self.tools.of(agent))
    }

    fn sound(&self, file: Option<&PathBuf>) -> Option<Arc<recording::Sound>> {
        self.sounds.get(file?).cloned()
    }

    /// What every caller of this agent hears before anything else.
    fn disclosure(&self, agent: &Agent) -> Option<Disclosure> {
        let words = agent.turns.disclosure_text.as_ref().map(|_| Disclosure::Words);
        let sound = || self.sound(agent.turns.disclosure_file.as_ref()).map(Disclosure::Sound);
        words.or_else(sound)
    }

    /// When this agent's calls are recorded.
    fn recording_policy(&self, agent: &Agent) -> recording::Policy {
        let words = agent.recording.prompt.clone().map(recording::Prompt::Words);
        let file = agent.recording.prompt_file.as_ref();
        let prompt = words.or_else(|| self.sound(file).map(recording::Prompt::Sound));
        match (agent.recording.policy, prompt) {
            (config::RecordingPolicy::On, _) => recording::Policy::On,
            (config::RecordingPolicy::Consent, Some(prompt)) => recording::Policy::Consent(prompt),
            (config::RecordingPolicy::Off | config::RecordingPolicy::Consent, _) => recording::Policy::Off,
        }
    }

    /// How one leg's media starts. Its numbers begin at random (RFC 3550 section 5.1).
    pub fn media_settings(&self) -> media::Settings {
        let configured = &self.config.media;
        media::Settings {
            playout_ms_max: u32::try_from(configured.playout_max.as_millis()).unwrap_or(u32::MAX),
            silence_timeout: configured.silence_timeout.unwrap_or(Duration::MAX),
            unheard_timeout: configured.unheard_timeout.unwrap_or(Duration::MAX),
            began_ntp: media::Settings::ntp(unix_time()),
            identity: self.identity.clone(),
            silence: match configured.silence {
                config::Silence::Send => media::Silence::Send,
                config::Silence::Stop => media::Silence::Stop,
            },
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
    pub fn dial(
        &self,
        agent: &Agent,
        facts: &Facts,
        backend: &str,
        changes: &Changes,
    ) -> Option<(Box<dyn FnOnce() -> Dial + Send>, realtime::Settings)> {
        let backend = &*changes.backend(self.config.backends.get(backend)?);
        let settings = realtime::Settings {
            instructions: facts.fill(changes.instructions(agent)),
            voice: changes.voice(agent).to_owned(),
            turn_detection: agent.turn_detection.clone(),
            transcription: agent
                .transcription_model
                .as_ref()
                .map(|model| serde_json::json!({ "model": model })),
            tools: self.toolbox(agent).specs(),
            back_channel: agent.turns.back_channel.clone(),
            own_ear: agent.turns.interruption == config::Ear::Gateway,
            greeting: agent.greeting.as_ref().map(|greeting| facts.fill(greeting)),
            disclosure: agent.turns.disclosure_text.as_ref().map(|words| facts.fill(words)),
            stall_max: self.config.session.stall_max,
            ..dial::settings(backend)
        };
        Some((self.dialler.dial(backend), settings))
    }
}

/// A new id for a call.
pub fn call_id() -> String {
    format!("call_{:016x}{:08x}", random(), random() as u32)
}

/// A random number, for spreading retries and for numbers nobody should guess.
pub fn random() -> u64 {
    getrandom::u64().unwrap_or_else(|_| Instant::now().elapsed().as_nanos() as u64)
}
