//! Settings: one file, overridden by the environment, read once into a validated [`Config`].
//!
//! Two layers are merged by the crate `config`: the TOML file, then the variables `PATCHCORD__SECTION__KEY`. Each section
//! reads its own keys out of the merged tree and says what is wrong with them; nothing stops at the first mistake.
//! Every problem names its place, a position in the file or a variable, and the nearest valid name.
//!
//! Everything here is pure: the text, the variables and the way to read a secret's file come in as arguments. Nothing is
//! opened, bound or looked up; whether an address is this machine's, or a backend answers, shows when it is used.

mod agent;
mod agent_recording;
mod agent_survival;
mod agent_tools;
mod agent_transfer;
mod agent_turns;
mod backend;
mod bounds;
mod budget;
mod defence;
mod effective;
mod environment;
mod extras;
mod file;
mod http;
mod identity;
mod journal;
mod layers;
mod limits;
mod listen;
mod log;
mod media;
mod money;
mod names;
mod nearest;
mod parts;
mod place;
mod prices;
mod problem;
mod recording;
mod recording_upload;
mod records;
mod references;
mod registrar;
mod route;
#[cfg(test)]
mod sample;
mod secret;
mod section;
mod session;
mod sip;
mod sip_tls;
#[cfg(test)]
pub(crate) mod tests;
mod tool_http;
mod tool_manners;
mod tool_mcp;
mod trunk;
mod trunk_limits;
mod trunk_media;
mod turn_detection;
mod uplink;
mod value;
mod vendor;
mod webhooks;

use std::{collections::BTreeMap, io, sync::Arc};

pub use self::{
    agent::{Agent, Answer, DtmfRecord, ToolRecord},
    agent_recording::{AgentRecording, RecordingPolicy},
    agent_survival::AgentSurvival,
    agent_tools::Tool,
    agent_transfer::{AgentTransfer, TransferWays},
    agent_turns::{AgentTurns, Ear},
    backend::{Backend, BackendAudio, BackendKind, Dialect, Realtime},
    bounds::{
        AGENTS_MAX, BACKENDS_MAX, BUDGETS_MAX, FILE_BYTES_MAX, MCP_MAX, PRICES_MAX, ROUTES_MAX, TOOLS_MAX, TRUNKS_MAX,
        WEBHOOKS_MAX,
    },
    budget::{Budget, BudgetScope},
    defence::Defence,
    extras::{Extra, Extras},
    http::Http,
    identity::{Identity, IdentityFault, authorities},
    journal::Journal,
    limits::Limits,
    listen::{Listen, SipTransport},
    log::{Log, LogFormat},
    media::{Media, Silence},
    money::Money,
    place::Place,
    prices::Prices,
    problem::{Problem, Problems},
    recording::{Recording, RecordingFormat, read_key as read_recording_key},
    recording_upload::RecordingUpload,
    records::Records,
    registrar::{REGISTRAR, REGISTRAR_USERS_MAX, Registrar, RegistrarUser},
    route::Route,
    secret::{Secret, SecretSource},
    session::Session,
    sip::Sip,
    sip_tls::SipTls,
    tool_http::{HttpMethod, HttpTool},
    tool_manners::ToolManners,
    tool_mcp::{McpServer, McpWay},
    trunk::{Credentials, Digest, Trunk},
    trunk_limits::{AllowedTransport, TrunkLimits},
    trunk_media::{KeyWay, Srtp, TrunkMedia},
    uplink::{Login, Uplink},
    vendor::Vendor,
    webhooks::{WEBHOOK_EVENTS, Webhook},
};
use self::{effective::Writer, layers::Layers};

/// Settings that have been found good.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Config {
    /// Where SIP is spoken.
    pub sip: Sip,
    /// RTP ports, worker threads and playout.
    pub media: Media,
    /// Where metrics and health are shown.
    pub http: Http,
    /// How much, and how long.
    pub limits: Limits,
    /// What strangers may do.
    pub defence: Defence,
    /// How sessions are dialled and dialled again.
    pub session: Session,
    /// Where call records go.
    pub records: Records,
    /// Where recordings of calls go.
    pub recording: Recording,
    /// Where it is kept which tool calls were begun.
    pub journal: Journal,
    /// What is logged, and how.
    pub log: Log,
    /// Who may call, in the order of the file.
    pub trunks: Vec<Trunk>,
    /// Which phones may register here.
    pub registrar: Registrar,
    /// Which agent answers, in the order of the file; the first match wins.
    pub routes: Vec<Route>,
    /// What answers, by name.
    pub agents: BTreeMap<String, Arc<Agent>>,
    /// Session servers, by name.
    pub backends: BTreeMap<String, Backend>,
    /// Tools over HTTP, by name.
    pub tools: BTreeMap<String, HttpTool>,
    /// Servers of tools, by name.
    pub mcp: BTreeMap<String, McpServer>,
    /// What models cost, by name.
    pub prices: BTreeMap<String, Prices>,
    /// How much calls may cost, by name.
    pub budgets: BTreeMap<String, Budget>,
    /// Who is told of calls, in the order of the file.
    pub webhooks: Vec<Webhook>,
}

/// Reads settings from the text of a file and the variables of an environment, or says everything that is wrong.
///
/// `file_name` is only for the problems. `read_file` reads the file of a secret.
pub fn load(
    file_name: &str,
    text: &str,
    env: &BTreeMap<String, String>,
    read_file: &dyn Fn(&str) -> io::Result<String>,
) -> Result<Config, Problems> {
    let mut layers = Layers::merge(file_name, text, env)?;
    let mut config = Config {
        sip: Sip::read(layers.section("sip")),
        media: Media::read(layers.section("media")),
        http: Http::read(layers.section("http")),
        limits: Limits::read(layers.section("limits")),
        defence: Defence::read(layers.section("defence")),
        session: Session::read(layers.section("session")),
        records: Records::read(layers.section("records")),
        recording: Recording::read(layers.section("recording")),
        journal: Journal::read(layers.section("journal")),
        log: Log::read(layers.section("log")),
        trunks: layers.list("trunk", TRUNKS_MAX, Trunk::read),
        registrar: Registrar::read(layers.section("registrar")),
        routes: layers.list("route", ROUTES_MAX, Route::read),
        agents: layers.named("agents", AGENTS_MAX, |section, name| {
            Arc::new(Agent::read(section, name))
        }),
        backends: layers.named("backends", BACKENDS_MAX, Backend::read),
        tools: layers.named("tools", TOOLS_MAX, HttpTool::read),
        mcp: layers.named("mcp", MCP_MAX, McpServer::read),
        prices: layers.named("prices", PRICES_MAX, Prices::read),
        budgets: layers.named("budgets", BUDGETS_MAX, Budget::read),
        webhooks: layers.list("webhook", WEBHOOKS_MAX, Webhook::read),
    };
    let mut report = layers.report;
    references::check(&config, &mut report);
    references::resolve_secrets(&mut config, &mut report, env, read_file);
    config.sip.tls.resolve(&mut report, env, read_file);
    report.into_result(config)
}

impl Config {
    /// The settings in effect as a file that reads back as these same settings. Of secrets it shows the source alone.
    pub fn effective_toml(&self) -> String {
        let mut out = Writer::default();
        self.sip.write(&mut out);
        self.media.write(&mut out);
        self.http.write(&mut out);
        self.limits.write(&mut out);
        self.defence.write(&mut out);
        self.session.write(&mut out);
        self.records.write(&mut out);
        self.recording.write(&mut out);
        self.journal.write(&mut out);
        self.log.write(&mut out);
        self.trunks.iter().for_each(|trunk| trunk.write(&mut out));
        self.registrar.write(&mut out);
        self.routes.iter().for_each(|route| route.write(&mut out));
        self.agents.values().for_each(|agent| agent.write(&mut out));
        self.backends.values().for_each(|backend| backend.write(&mut out));
        self.tools.values().for_each(|tool| tool.write(&mut out));
        self.mcp.values().for_each(|server| server.write(&mut out));
        self.prices.values().for_each(|prices| prices.write(&mut out));
        self.budgets.values().for_each(|budget| budget.write(&mut out));
        self.webhooks.iter().for_each(|webhook| webhook.write(&mut out));
        out.into_text()
    }

    /// One backend with its secrets fetched, whether or not an agent uses it; says what is wrong with it.
    pub fn ready_backend(
        &self,
        name: &str,
        env: &BTreeMap<String, String>,
        read_file: &dyn Fn(&str) -> io::Result<String>,
    ) -> Result<Backend, String> {
        let names = self.backends.keys().map(String::as_str);
        let found = self.backends.get(name).cloned();
        let mut backend = found.ok_or_else(|| format!("names no backend: {}", nearest::suggestion(name, names)))?;
        references::resolve_backend(&mut backend, env, read_file)?;
        Ok(backend)
    }

    /// What a backend costs, where it has prices.
    pub fn prices_of(&self, backend: &str) -> Option<&Prices> {
        let prices = self.backends.get(backend)?.prices.as_ref()?;
        self.prices.get(prices)
    }

    /// The budgets that calls of this agent count in.
    pub fn budgets_of(&self, agent: &str) -> impl Iterator<Item = &Budget> {
        self.budgets.values().filter(move |budget| budget.counts(agent))
    }

    /// How audio with a trunk is sent: a trunk of no name we know is the phones that register here.
    pub fn media_of(&self, trunk: &str) -> &TrunkMedia {
        let named = self.trunks.iter().find(|known| known.name == trunk);
        named.map_or(&self.registrar.media, |trunk| &trunk.media)
    }

    /// What is allowed, but likely not meant; each names its trunk and what to do.
    pub fn warnings(&self) -> Vec<String> {
        let exposed = self.trunks.iter().enumerate().filter(|(_, trunk)| trunk.exposes_keys());
        let warning = |(index, trunk): (usize, &Trunk)| {
            format!(
                "trunk[{index}] (\"{}\") requires SRTP, but its keys may be read on the way: signalling that is not \
                 encrypted is allowed; set transports = [\"tls\", \"wss\"], and transport = \"tls\" beside host, or \
                 srtp_suites = [] for DTLS alone",
                trunk.name
            )
        };
        exposed.map(warning).collect()
    }

    /// The backends that some agent may use.
    pub fn backends_in_use(&self) -> impl Iterator<Item = &Backend> {
        let used = |name: &str| {
            self.agents
                .values()
                .any(|agent| agent.backends.iter().any(|used| used == name))
        };
        self.backends.values().filter(move |backend| used(&backend.name))
    }
}
