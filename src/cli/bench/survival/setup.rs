//! The gateway of a scene: one agent for each lane, with two backends of the lane's own.

use std::{fmt::Write, net::SocketAddr, path::Path};

use super::{
    super::{
        gateway::{self, AUTHORITY, Gateway, RECORDS, STATE, WORDS},
        pitch,
    },
    hearing::{PEAK, WORDS_HZ},
    host::Host,
    lane::Lane,
    wire::Identity,
};

/// How long the comfort tone is heard alone.
pub const WORDS_AFTER_MS: u64 = 400;

/// Length of the words.
const WORDS_MS: usize = 600;

/// Their rate, and its bytes.
const RATE_HZ: u32 = 8_000;
const BYTES_PER_SAMPLE: u32 = 2;

/// What a scene wants of the gateway's configuration besides what all want.
#[derive(Debug, Clone, Copy, Default)]
pub struct Terms {
    /// Lines of the section on sessions.
    pub session: &'static str,
    /// Lines of every agent.
    pub agent: &'static str,
    /// Lines of the log that are kept besides errors.
    pub log: &'static str,
    /// Whether backends speak TLS.
    pub tls: bool,
}

/// A gateway and the lanes that call it.
pub struct Setup {
    /// The gateway.
    pub gateway: Gateway,
    /// The lanes.
    pub lanes: Vec<Lane>,
}

impl Setup {
    /// So many lanes and their gateway.
    pub fn open(lanes: usize, terms: Terms) -> anyhow::Result<Self> {
        let identity = terms.tls.then(Identity::new).transpose()?;
        let mut hosts = Vec::new();
        let mut ports = Vec::new();
        for _ in 0..lanes {
            let pair = [Host::open(identity.clone())?, Host::open(identity.clone())?];
            ports.push([pair[0].port()?, pair[1].port()?]);
            hosts.push(pair);
        }
        let words = words();
        let mut files: Vec<(&str, &[u8])> = vec![(WORDS, &words)];
        files.extend(
            identity
                .iter()
                .map(|identity| (AUTHORITY, identity.certificate.as_bytes())),
        );
        let gateway = gateway::start_with(|folder| config(folder, &ports, terms), &files)?;
        let lanes = hosts.into_iter().enumerate();
        let lanes: anyhow::Result<Vec<Lane>> = lanes
            .map(|(number, hosts)| Lane::open(number, hosts, gateway.sip))
            .collect();
        Ok(Self { gateway, lanes: lanes? })
    }
}

/// Whether the gateway knows what these terms ask for.
pub fn knows(terms: Terms) -> bool {
    let text = config(Path::new("bench"), &[[9, 9]], terms);
    crate::config::load("bench.toml", &text, &Default::default(), &|_| Ok(String::new())).is_ok()
}

/// No breaker: these backends die all the time, and are dialled again all the same.
fn config(folder: &Path, ports: &[[u16; 2]], terms: Terms) -> String {
    let Terms {
        session,
        agent,
        log,
        tls,
    } = terms;
    let scheme = if tls { "wss" } else { "ws" };
    let mut text = format!(
        "[sip]\nlisten = [\"udp:127.0.0.1:0\"]\n[media]\nports = \"16384-32767\"\n[http]\nlisten = \"127.0.0.1:0\"\n\
         [limits]\ncalls_max = 100000\nlag_ms_max = 0\n[session]\nbreaker_failures = 0\n{session}\n[records]\npath = \"{}\"\nstate = \"{}\"\n\
         [log]\nlevel = \"error{log}\"\n[[trunk]]\nname = \"bench\"\nfrom = [\"127.0.0.0/8\"]\ncodecs = [\"pcmu\"]\n",
        folder.join(RECORDS).display(),
        folder.join(STATE).display()
    );
    let words = folder.join(WORDS);
    for (lane, ports) in ports.iter().enumerate() {
        let _ = write!(
            text,
            "[[route]]\nfrom = \"caller*{lane:02}\"\nagent = \"lane{lane}\"\n[agents.lane{lane}]\n\
             backends = [\"first{lane}\", \"second{lane}\"]\ngreeting = \"Hello.\"\ntools = []\n\
             filler_after_ms = {WORDS_AFTER_MS}\nfiller_file = \"{}\"\n{agent}\n",
            words.display()
        );
        for (name, port) in ["first", "second"].iter().zip(ports) {
            let backend = SocketAddr::from(([127, 0, 0, 1], *port));
            let _ = write!(
                text,
                "[backends.{name}{lane}]\nkind = \"realtime\"\nurl = \"{scheme}://{backend}/v1/realtime\"\nmodel = \"bench\"\n\
                 audio = \"g711\"\n"
            );
        }
    }
    text
}

/// A WAV file of the words.
fn words() -> Vec<u8> {
    let pcm = pitch::pcm(WORDS_HZ, RATE_HZ, PEAK, WORDS_MS * RATE_HZ as usize / 1_000);
    let data: Vec<u8> = pcm.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    let length = data.len() as u32;
    let mut wav = Vec::new();
    wav.extend_from_slice(b"RIFF");
    wav.extend((length + 36).to_le_bytes());
    wav.extend_from_slice(b"WAVEfmt ");
    wav.extend(16_u32.to_le_bytes());
    // PCM, mono.
    wav.extend([1, 0, 1, 0]);
    wav.extend(RATE_HZ.to_le_bytes());
    wav.extend((RATE_HZ * BYTES_PER_SAMPLE).to_le_bytes());
    wav.extend([2, 0, 16, 0]);
    wav.extend_from_slice(b"data");
    wav.extend(length.to_le_bytes());
    wav.extend(data);
    wav
}
