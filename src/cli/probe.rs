//! `patchcord probe`: a short session with a backend, to see what it speaks, takes and refuses before a caller does.
//!
//! First the session that a call would have: greeting, a text that interrupts it, a key. Then one session after another
//! that only asks for a format. Nothing secret is printed: of the key not even that there is one.

mod link;

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use self::link::{Link, Moment};
use super::{EXIT_RUNTIME, EXIT_USAGE, check, say};
use crate::{
    audio::{Law, SampleRate},
    config::{Backend, Config},
    drivers::dial::{self, Dialler},
    net::tls::Tls,
    realtime::{AudioFormat, AudioWish, Settings, ToolSpec},
};

/// How long a session may take to be ready, and an answer to begin.
const ANSWER_MAX: Duration = Duration::from_secs(15);

/// How long the agent is listened to before it is interrupted.
const LISTEN: Duration = Duration::from_millis(600);

/// How much of an interrupted utterance counts as heard.
const HEARD_MS: u32 = 200;

/// How long late refusals are waited for.
const LINGER: Duration = Duration::from_millis(500);

/// The formats that are asked for one by one, with the law of the leg beside which they are.
const FORMATS: &[(AudioWish, Law)] = &[
    (AudioWish::Pcm16(SampleRate::Hz24000), Law::Mu),
    (AudioWish::Pcm16(SampleRate::Hz16000), Law::Mu),
    (AudioWish::G711, Law::Mu),
    (AudioWish::G711, Law::A),
];

/// What is asked for.
#[derive(Debug, clap::Args)]
pub struct Probe {
    /// The backend, by its name in the configuration.
    backend: String,
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print one line of JSON instead.
    #[arg(long)]
    json: bool,
    /// Write every event of the first session to this file, one line of JSON each, with who sent it.
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
}

/// What was found out.
#[derive(Debug, Default)]
struct Findings {
    dialled: Option<Duration>,
    ready: Option<Duration>,
    /// From the greeting's request to its first audio.
    first_audio: Option<Duration>,
    /// The same of the answer to a text that interrupted.
    answer: Option<Duration>,
    /// The format that was agreed on.
    format: Option<AudioFormat>,
    tool_called: Option<String>,
    unknown_events: u64,
    unknown_fields: u64,
    /// What the backend, or the protocol, complained about.
    refused: Vec<String>,
    /// Each format with what became of it.
    formats: Vec<(AudioFormat, Result<(), String>)>,
    /// Why there is nothing more.
    failure: Option<String>,
}

/// Probes and prints.
pub fn run(probe: &Probe) -> ExitCode {
    let Some(config) = check::load_or_explain(probe.config.as_deref()) else {
        return ExitCode::from(EXIT_USAGE);
    };
    let backend = match check::ready_backend(&config, &probe.backend) {
        Ok(backend) => backend,
        Err(fault) => {
            eprintln!("patchcord: backends.{} {fault}", probe.backend.escape_debug());
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let local = tokio::task::LocalSet::new();
    let findings = runtime
        .map_err(anyhow::Error::from)
        .and_then(|runtime| local.block_on(&runtime, find_out(probe, &config, &backend)));
    match findings {
        Ok(findings) => {
            tell(probe, &backend, &findings);
            ExitCode::from(if findings.failure.is_some() { EXIT_RUNTIME } else { 0 })
        }
        Err(error) => {
            eprintln!("patchcord: {error:#}");
            ExitCode::from(EXIT_RUNTIME)
        }
    }
}

async fn find_out(probe: &Probe, config: &Config, backend: &Backend) -> anyhow::Result<Findings> {
    let dialler = Dialler::new(Tls::new(None)?, config.session.connect_timeout);
    let log = probe.events.as_ref().map(std::fs::File::create).transpose()?;
    let mut findings = Findings::default();
    let mut link = Link::new(settings(backend), log);
    findings.failure = talk(&mut link, &dialler, backend, &mut findings).await.err();
    link.close().await;
    findings.format = findings.ready.map(|_| link.format());
    findings.unknown_events = link.unknown_events;
    findings.unknown_fields = link.unknown_fields;
    findings.refused = std::mem::take(&mut link.refused);
    if findings.ready.is_some() {
        for (wish, law) in FORMATS {
            let taken = try_format(&dialler, backend, *wish, *law).await;
            findings.formats.push((wish.formats(Some(*law)).0, taken));
        }
    }
    Ok(findings)
}

/// What an agent would ask for, beside a leg of G.711.
fn settings(backend: &Backend) -> Settings {
    let reason = json!({ "type": "object", "properties": { "reason": { "type": "string" } } });
    Settings {
        instructions: "You are being tested. Answer in a few words.".to_owned(),
        greeting: Some("Hello.".to_owned()),
        leg_law: Some(Law::Mu),
        tools: vec![ToolSpec {
            name: "hang_up".to_owned(),
            description: "Ends the call; to be called when the star key is pressed.".to_owned(),
            parameters: reason,
        }],
        ..dial::settings(backend)
    }
}

/// The session that a call would have.
async fn talk(link: &mut Link, dialler: &Dialler, backend: &Backend, found: &mut Findings) -> Result<(), String> {
    let began = Instant::now();
    link.open(dialler.dial(backend), ANSWER_MAX).await?;
    found.dialled = Some(began.elapsed());
    let opened = Instant::now();
    link.until(ANSWER_MAX, |moment| matches!(moment, Moment::Ready)).await?;
    found.ready = Some(opened.elapsed());
    link.send_silence();
    let asked = Instant::now();
    link.with(|machine, now| machine.greet(now));
    let spoke = |moment: &Moment| matches!(moment, Moment::Audio);
    link.until(ANSWER_MAX, spoke)
        .await
        .map_err(|fault| format!("no greeting: {fault}"))?;
    found.first_audio = Some(asked.elapsed());
    link.rest(LISTEN).await?;
    let asked = Instant::now();
    link.with(|machine, now| machine.text(now, "Are you there?"));
    link.until(ANSWER_MAX, spoke)
        .await
        .map_err(|fault| format!("no answer to a text: {fault}"))?;
    found.answer = Some(asked.elapsed());
    link.rest(LISTEN).await?;
    link.with(|machine, now| machine.digit(now, '*'));
    let called = |moment: &Moment| matches!(moment, Moment::Audio | Moment::Tool(_));
    if let Moment::Tool(name) = link.until(ANSWER_MAX, called).await? {
        found.tool_called = Some(name);
        link.until(ANSWER_MAX, spoke)
            .await
            .map_err(|fault| format!("no words after a tool: {fault}"))?;
    }
    link.rest(LINGER).await
}

/// Whether a session with this format is to be had.
async fn try_format(dialler: &Dialler, backend: &Backend, wish: AudioWish, law: Law) -> Result<(), String> {
    let settings = Settings {
        audio: wish,
        leg_law: Some(law),
        ..settings(backend)
    };
    let mut link = Link::new(settings, None);
    link.open(dialler.dial(backend), ANSWER_MAX).await?;
    let ready = link.until(ANSWER_MAX, |moment| matches!(moment, Moment::Ready)).await;
    link.close().await;
    ready.map(drop)
}

fn tell(probe: &Probe, backend: &Backend, findings: &Findings) {
    let report = report(backend, findings);
    if probe.json {
        return say(&report.to_string());
    }
    for name in ORDER {
        match &report[name] {
            Value::Array(lines) if lines.is_empty() => say(&format!("{name:<17} none")),
            Value::Array(lines) => lines
                .iter()
                .for_each(|line| say(&format!("{name:<17} {}", plain(line)))),
            value => say(&format!("{name:<17} {}", plain(value))),
        }
    }
}

/// The order in which a person reads them.
const ORDER: &[&str] = &[
    "backend",
    "vendor",
    "dialect",
    "speaks",
    "failure",
    "dial_ms",
    "ready_ms",
    "first_audio_ms",
    "answer_ms",
    "tool_called",
    "format",
    "formats",
    "refused",
    "unknown_events",
    "unknown_fields",
];

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

fn report(backend: &Backend, findings: &Findings) -> Value {
    let ms = |time: Option<Duration>| time.map(|time| (time.as_secs_f64() * 10_000.0).round() / 10.0);
    let formats = findings.formats.iter().map(|(format, taken)| match taken {
        Ok(()) => format!("{format}: taken"),
        Err(fault) => format!("{format}: refused, {fault}"),
    });
    json!({
        "backend": backend.name,
        "vendor": backend.realtime().map_or("operator", |realtime| realtime.vendor.word()),
        "dialect": dial::settings(backend).dialect.word(),
        "speaks": findings.failure.is_none(),
        "failure": findings.failure,
        "format": findings.format.map(|format| format.to_string()),
        "dial_ms": ms(findings.dialled),
        "ready_ms": ms(findings.ready),
        "first_audio_ms": ms(findings.first_audio),
        "answer_ms": ms(findings.answer),
        "tool_called": findings.tool_called,
        "unknown_events": findings.unknown_events,
        "unknown_fields": findings.unknown_fields,
        "refused": findings.refused,
        "formats": formats.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests;
