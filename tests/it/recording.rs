//! Recordings of real calls, read back by something that knows nothing of who wrote them.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use patchcord::audio::level;
use serde_json::Value;

use crate::{
    control::ask,
    gateway::TestGateway,
    phone::{Offer, Phone},
};

/// A folder of a test's own, gone with it.
struct Folder(PathBuf);

/// A WAV file that was read.
struct Stereo {
    rate: u32,
    left: Vec<i16>,
    right: Vec<i16>,
}

#[tokio::test]
async fn a_call_is_recorded_with_the_caller_left_and_the_agent_right() {
    let folder = Folder::new("stereo");
    let gateway = TestGateway::start_with(&folder.settings("recording = \"on\"", "")).await;
    let mut phone = Phone::new(gateway.sip()).await;
    phone.dial("operator", Offer::Pcmu).await;
    let greeted = phone.hear_voice(Instant::now()).await;
    let done = phone.hear_silence(greeted, Duration::from_millis(800)).await;
    let said = Instant::now();
    phone.say(440.0, Duration::from_secs(1));
    let repeated = phone.hear_voice(done + Duration::from_millis(900)).await;
    phone.hear_silence(repeated, Duration::from_millis(400)).await;
    phone.hang_up().await;
    let record = &gateway.records(1).await[0];
    let recording = &record["recordings"][0];
    assert_eq!(
        (&recording["state"], &recording["by"]),
        (&"finished".into(), &"agent".into()),
        "{recording}"
    );
    assert_eq!((&recording["lost_ms"], &recording["number"]), (&0.into(), &1.into()));
    let path = Path::new(recording["path"].as_str().unwrap());
    assert_eq!(recording["sha256"], sha256(path));
    let stereo = Stereo::read(path);
    assert_eq!(stereo.rate, 8_000);
    near(stereo.seconds(), record["duration_ms"].as_f64().unwrap() / 1e3, 0.04);
    near(recording["seconds"].as_f64().unwrap(), stereo.seconds(), 1e-6);
    let (tone, echo) = (stereo.spans(&stereo.left), stereo.spans(&stereo.right));
    assert_eq!((tone.len(), echo.len()), (1, 2), "{tone:?} {echo:?}");
    near(tone[0].1 - tone[0].0, 1.0, 0.03);
    near(echo[1].1 - echo[1].0, 1.0, 0.06);
    let heard = (repeated - said).as_secs_f64();
    near(echo[1].0 - tone[0].0, heard, 0.05);
    assert!(pitch(&stereo.left, tone[0], 8_000) && pitch(&stereo.right, echo[1], 8_000));
    gateway.settled().await;
}

#[tokio::test]
async fn nothing_is_recorded_unless_wanted() {
    let folder = Folder::new("off");
    let gateway = TestGateway::start_with(&folder.settings("", "")).await;
    let mut phone = Phone::new(gateway.sip()).await;
    phone.dial("operator", Offer::Pcmu).await;
    phone.hear_voice(Instant::now()).await;
    phone.hang_up().await;
    assert_eq!(gateway.records(1).await[0]["recordings"], Value::Array(Vec::new()));
    assert!(!folder.0.exists());
}

#[tokio::test]
async fn the_control_api_begins_pauses_and_ends_recordings() {
    let folder = Folder::new("api");
    let gateway = TestGateway::start_with(&folder.settings("", "")).await;
    let mut phone = Phone::new(gateway.sip()).await;
    phone.dial("operator", Offer::Pcmu).await;
    let greeted = phone.hear_voice(Instant::now()).await;
    phone.hear_silence(greeted, Duration::from_millis(500)).await;
    let id = ask(&gateway, "GET", "/v1/calls", "").await.1["calls"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let order = |action: &'static str| {
        let path = format!("/v1/calls/{id}/recording/{action}");
        let gateway = &gateway;
        async move { ask(gateway, "POST", &path, "").await }
    };
    assert_eq!(order("stop").await.1["error"], "not_recording");
    assert_eq!(order("start").await.0, 202);
    assert_eq!(order("start").await.1["error"], "recording");
    assert_eq!(order("pause").await.0, 202);
    let since = Instant::now();
    phone.say(440.0, Duration::from_millis(600));
    let repeated = phone.hear_voice(since).await;
    phone.hear_silence(repeated, Duration::from_millis(300)).await;
    assert_eq!(order("resume").await.0, 202);
    let since = Instant::now();
    phone.say(440.0, Duration::from_millis(600));
    let repeated = phone.hear_voice(since + Duration::from_millis(300)).await;
    phone.hear_silence(repeated, Duration::from_millis(300)).await;
    assert_eq!(order("stop").await.0, 202);
    assert_eq!(order("start").await.0, 202);
    phone.hang_up().await;
    let record = &gateway.records(1).await[0];
    let recordings = record["recordings"].as_array().unwrap();
    assert_eq!(recordings.len(), 2, "{recordings:?}");
    let stereo = Stereo::read(Path::new(recordings[0]["path"].as_str().unwrap()));
    let (tone, echo) = (stereo.spans(&stereo.left), stereo.spans(&stereo.right));
    assert_eq!(
        (tone.len(), echo.len()),
        (1, 1),
        "what was said while it was paused is there: {tone:?} {echo:?}"
    );
    let paused = recordings[0]["paused_seconds"].as_f64().unwrap();
    assert!(paused > 1.2 && tone[0].0 > paused, "{paused} {tone:?}");
    assert!(
        recordings
            .iter()
            .all(|recording| recording["state"] == "finished" && recording["by"] == "api")
    );
    gateway.settled().await;
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_harms_no_call() {
    let folder = Folder::new("file");
    std::fs::write(&folder.0, "in the way").unwrap();
    let gateway = TestGateway::start_with(&folder.settings("recording = \"on\"", "")).await;
    let mut phone = Phone::new(gateway.sip()).await;
    phone.dial("operator", Offer::Pcmu).await;
    phone.hear_voice(Instant::now()).await;
    phone.hang_up().await;
    let record = &gateway.records(1).await[0];
    let recording = &record["recordings"][0];
    assert_eq!(
        (&recording["state"], &recording["reason"]),
        (&"failed".into(), &"unwritable".into())
    );
    assert_eq!(record["outcome"]["cause"], "caller_hung_up");
    assert_eq!(
        gateway.sample("patchcord_recordings_failed_total{reason=\"unwritable\"}"),
        1.0
    );
    gateway.settled().await;
    std::fs::remove_file(&folder.0).unwrap();
}

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("patchcord-it-{}-recordings-{name}", std::process::id()));
        // Left over from an earlier process of this number.
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }

    fn settings(&self, agent: &str, recording: &str) -> String {
        format!(
            "[recording]\npath = \"{}\"\n{recording}\n[agents.operator]\nbackends = [\"operator\"]\ngreeting = \"Hello.\"\n{agent}\n",
            self.0.display()
        )
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Only litter.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Stereo {
    fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!(
            (&bytes[..4], &bytes[8..16], &bytes[36..40]),
            (&b"RIFF"[..], &b"WAVEfmt "[..], &b"data"[..])
        );
        assert_eq!(
            (word(4) as usize, word(40) as usize),
            (bytes.len() - 8, bytes.len() - 44)
        );
        // PCM, two channels of 16 bits.
        assert_eq!((word(20), word(32)), (0x0002_0001, 0x0010_0004));
        let pairs = bytes[44..].chunks_exact(4).map(|pair| {
            let sample = |at: usize| i16::from_le_bytes([pair[at], pair[at + 1]]);
            (sample(0), sample(2))
        });
        let (left, right) = pairs.unzip();
        Self {
            rate: word(24),
            left,
            right,
        }
    }

    fn seconds(&self) -> f64 {
        self.left.len() as f64 / f64::from(self.rate)
    }

    /// Where there is sound, from and to in seconds; pauses below 200 ms are part of it.
    fn spans(&self, side: &[i16]) -> Vec<(f64, f64)> {
        let frame = self.rate as usize / 200;
        let mut spans: Vec<(f64, f64)> = Vec::new();
        for (index, samples) in side.chunks(frame).enumerate() {
            let (from, to) = (index as f64 / 200.0, (index + 1) as f64 / 200.0);
            match spans.last_mut() {
                _ if level::dbfs(samples) < -40.0 => {}
                Some(last) if from - last.1 < 0.2 => last.1 = to,
                _ => spans.push((from, to)),
            }
        }
        spans
    }
}

/// Whether it is the tone of 440 Hz: it crosses zero as often.
fn pitch(side: &[i16], span: (f64, f64), rate: u32) -> bool {
    let (from, to) = ((span.0 + 0.1) * f64::from(rate), (span.1 - 0.1) * f64::from(rate));
    let part = &side[from as usize..to as usize];
    let crossings = part.windows(2).filter(|pair| (pair[0] < 0) != (pair[1] < 0)).count();
    let hz = crossings as f64 / 2.0 / (part.len() as f64 / f64::from(rate));
    (hz - 440.0).abs() < 5.0
}

fn near(value: f64, expected: f64, within: f64) {
    assert!(
        (value - expected).abs() <= within,
        "{value} is not {expected} ± {within}"
    );
}

fn sha256(path: &Path) -> String {
    use std::process::Command;
    let output = Command::new("sha256sum").arg(path).output().expect("sha256sum");
    let text = String::from_utf8(output.stdout).unwrap();
    text.split(' ').next().unwrap().to_owned()
}
