//! Recordings of real calls, read back by something that knows nothing of who wrote them.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use patchcord::audio::level;
use serde_json::Value;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    control::ask,
    gateway::{RECORDING_KEY, TestGateway},
    phone::{FRAME, Offer, PATIENCE, Phone},
    tone,
};

/// A folder of a test's own, gone with it.
struct Folder(PathBuf);

/// A WAV file that was read.
struct Stereo {
    rate: u32,
    left: Vec<i16>,
    right: Vec<i16>,
}

/// What was put where.
type Received = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// Storage that takes what is put there, after it was too busy once.
struct Storage {
    address: SocketAddr,
    received: Received,
    task: tokio::task::AbortHandle,
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
    let over = phone.hear_silence(repeated, Duration::from_millis(400)).await;
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
    // As long as it was heard, which is longer than it was said when the machine is busy.
    near(echo[1].1 - echo[1].0, (over - repeated).as_secs_f64() + 0.02, 0.06);
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
    assert!(paused > 1.2 && tone[0].0 > paused - 0.02, "{paused} {tone:?}");
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

#[tokio::test]
async fn with_consent_recording_begins_when_the_agent_has_said_the_prompt() {
    let folder = Folder::new("consent");
    let agent = "recording = \"consent\"\nrecording_prompt = \"This call is recorded.\"";
    let gateway = TestGateway::start_with(&folder.settings(agent, "")).await;
    let mut phone = Phone::new(gateway.sip()).await;
    phone.dial("operator", Offer::Pcmu).await;
    let prompted = phone.hear_voice(Instant::now()).await;
    phone.hear_silence(prompted, Duration::from_millis(800)).await;
    phone.hang_up().await;
    let record = &gateway.records(1).await[0];
    let recording = &record["recordings"][0];
    assert_eq!(
        (&recording["told"], &recording["state"]),
        (&true.into(), &"finished".into()),
        "{recording}"
    );
    let stereo = Stereo::read(Path::new(recording["path"].as_str().unwrap()));
    let loud = |pcm: &[i16]| pcm.chunks(FRAME).filter(|pcm| level::dbfs(pcm) > -40.0).count();
    let heard: usize = phone.heard().iter().filter(|packet| packet.loud()).count();
    // The prompt and the greeting are as long as each other.
    let recorded = loud(&stereo.right);
    assert!(
        recorded > 10 && recorded.abs_diff(heard / 2) <= heard / 8,
        "{recorded} of {heard}"
    );
    gateway.settled().await;
}

#[tokio::test]
async fn a_prompt_from_a_file_is_played_to_its_end_before_anything_is_recorded() {
    let folder = Folder::new("prompt");
    std::fs::create_dir_all(&folder.0).unwrap();
    let prompt = folder.0.join("prompt.wav");
    tone::write(&prompt, 1);
    let agent = format!(
        "recording = \"consent\"\nrecording_prompt_file = \"{}\"",
        prompt.display()
    );
    let gateway = TestGateway::start_with(&folder.settings(&agent, "")).await;
    let mut phone = Phone::new(gateway.sip()).await;
    phone.dial("operator", Offer::Pcmu).await;
    let greeted = phone.hear_voice(Instant::now() + Duration::from_millis(1_200)).await;
    phone.hear_silence(greeted, Duration::from_millis(500)).await;
    phone.hang_up().await;
    let prompted = phone.heard().iter().filter(|packet| tone::is(&packet.pcm)).count();
    assert!((48..=51).contains(&prompted), "{prompted}");
    let recording = gateway.records(1).await[0]["recordings"][0].clone();
    assert_eq!(
        (&recording["told"], &recording["by"]),
        (&true.into(), &"agent".into()),
        "{recording}"
    );
    let stereo = Stereo::read(Path::new(recording["path"].as_str().unwrap()));
    assert!(
        !stereo.right.chunks(FRAME).any(tone::is),
        "the prompt is in the recording"
    );
    assert_eq!(stereo.spans(&stereo.right).len(), 1, "the greeting is in the recording");
    gateway.settled().await;
}

#[tokio::test]
async fn a_caller_who_never_hears_the_prompt_to_its_end_is_not_recorded() {
    let folder = Folder::new("no-consent");
    let agent = "recording = \"consent\"\nrecording_prompt = \"This call is recorded.\"";
    let gateway = TestGateway::start_with(&folder.settings(agent, "")).await;
    let mut phone = Phone::new(gateway.sip()).await;
    phone.dial("operator", Offer::Pcmu).await;
    phone.hear_voice(Instant::now()).await;
    for digit in ['1', '2', '3'] {
        phone.press(digit);
        phone
            .hear(Instant::now(), |packets| (packets.len() >= 15).then_some(()))
            .await;
    }
    phone.hang_up().await;
    let recordings = gateway.records(1).await[0]["recordings"].clone();
    assert_eq!(recordings.as_array().unwrap().len(), 1, "{recordings}");
    assert_eq!(
        (
            &recordings[0]["state"],
            &recordings[0]["reason"],
            &recordings[0]["path"]
        ),
        (&"failed".into(), &"prompt_not_heard".into(), &Value::Null)
    );
    assert!(!folder.0.exists());
    gateway.settled().await;
}

#[tokio::test]
async fn a_sealed_recording_in_opus_opens_with_the_key_alone() {
    let folder = Folder::new("sealed");
    let settings = folder.settings("recording = \"on\"", "format = \"ogg\"\nkey = \"env:RECORDING_KEY\"");
    let gateway = TestGateway::start_with(&settings).await;
    let mut phone = Phone::new(gateway.sip()).await;
    phone.dial("operator", Offer::Pcmu).await;
    let greeted = phone.hear_voice(Instant::now()).await;
    phone.hear_silence(greeted, Duration::from_millis(500)).await;
    phone.hang_up().await;
    let recording = gateway.records(1).await[0]["recordings"][0].clone();
    assert_eq!(
        (&recording["format"], &recording["sealed"]),
        (&"ogg".into(), &true.into()),
        "{recording}"
    );
    let path = PathBuf::from(recording["path"].as_str().unwrap());
    for (key, good) in [(RECORDING_KEY, true), (&"f0".repeat(32), false)] {
        let opened = Command::new(env!("CARGO_BIN_EXE_patchcord"))
            .args(["recording", "decrypt"])
            .arg(&path)
            .env("PATCHCORD_RECORDING_KEY", key)
            .output()
            .unwrap();
        assert_eq!(opened.status.success(), good, "{opened:?}");
        let plain = path.with_extension("");
        assert_eq!(plain.exists(), good);
        if good {
            let ogg = std::fs::read(&plain).unwrap();
            assert!(
                ogg.starts_with(b"OggS") && ogg[28..].starts_with(b"OpusHead"),
                "{}",
                ogg.len()
            );
            std::fs::remove_file(&plain).unwrap();
        }
    }
    gateway.settled().await;
}

#[tokio::test]
async fn a_gateway_killed_in_the_middle_of_a_call_leaves_a_recording_that_the_next_one_makes_whole() {
    let folder = Folder::new("killed");
    std::fs::create_dir_all(&folder.0).unwrap();
    let config = folder.0.join("patchcord.toml");
    let ports = 45_000 + std::process::id() % 500 * 20;
    let settings = format!(
        "[sip]\nlisten = [\"udp:127.0.0.1:0\"]\n[http]\nlisten = \"127.0.0.1:0\"\n[records]\npath = \"\"\n\
         [media]\nports = \"{ports}-{}\"\nworkers = 1\n[limits]\nlag_ms_max = 0\n[[trunk]]\nname = \"lan\"\nfrom = [\"127.0.0.0/8\"]\n\
         [[route]]\nto = \"*\"\nagent = \"operator\"\n[backends.operator]\nkind = \"operator\"\n{}",
        ports + 19,
        folder.settings("recording = \"on\"", "")
    );
    std::fs::write(&config, settings).unwrap();
    let (mut first, sip) = serve(&config);
    let mut phone = Phone::new(sip).await;
    phone.dial("operator", Offer::Pcmu).await;
    let greeted = phone.hear_voice(Instant::now()).await;
    phone.say(440.0, Duration::from_secs(2));
    let since = phone.hear_silence(greeted, Duration::from_millis(1_500)).await;
    phone.hear_voice(since + Duration::from_millis(200)).await;
    first.kill().unwrap();
    first.wait().unwrap();
    let ends = |end: &str| {
        let files = std::fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap().path());
        files
            .filter(|path| path.to_str().unwrap().ends_with(end))
            .collect::<Vec<_>>()
    };
    assert_eq!((ends(".wav.part").len(), ends(".wav").len()), (1, 0));
    let (mut second, _) = serve(&config);
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    let waiting = async {
        while ends(".wav").is_empty() {
            tick.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .expect("the recording is made whole");
    second.kill().unwrap();
    second.wait().unwrap();
    assert!(ends(".part").is_empty());
    let stereo = Stereo::read(&ends(".wav")[0]);
    let (tone, agent) = (stereo.spans(&stereo.left), stereo.spans(&stereo.right));
    near(tone[0].1 - tone[0].0, 2.0, 0.05);
    assert!(!agent.is_empty() && pitch(&stereo.left, tone[0], 8_000));
}

#[tokio::test]
async fn a_finished_recording_is_uploaded_signed_and_then_gone_from_here() {
    let folder = Folder::new("upload");
    let storage = Storage::open().await;
    let upload = format!(
        "[recording.upload]\nendpoint = \"http://{}\"\nbucket = \"calls\"\nprefix = \"in/\"\n\
         access_key_id = \"env:S3\"\nsecret_access_key = \"env:S3\"",
        storage.address
    );
    let gateway = TestGateway::start_with(&folder.settings("recording = \"on\"", &upload)).await;
    let mut phone = Phone::new(gateway.sip()).await;
    phone.dial("operator", Offer::Pcmu).await;
    phone.hear_voice(Instant::now()).await;
    phone.hang_up().await;
    let recording = gateway.records(1).await[0]["recordings"][0].clone();
    let url = recording["url"].as_str().unwrap();
    let name = url.strip_prefix("s3://calls/in/").unwrap_or_else(|| panic!("{url}"));
    assert_eq!(recording["path"], Value::Null);
    gateway.until("it is uploaded", || !storage.received().is_empty()).await;
    let (head, body) = storage.received().remove(0);
    assert!(head.starts_with(&format!("PUT /calls/in/{name} HTTP/1.1")), "{head}");
    let lower = head.to_lowercase();
    assert!(
        lower.contains("authorization: aws4-hmac-sha256 credential=open bucket/"),
        "{head}"
    );
    assert!(
        lower.contains("/us-east-1/s3/aws4_request") && lower.contains("x-amz-content-sha256: "),
        "{head}"
    );
    assert_eq!(recording["sha256"], digest(&body));
    let spool = folder.0.join("spool");
    gateway
        .until("it is gone from here", || {
            std::fs::read_dir(&spool).unwrap().count() == 0
        })
        .await;
    assert_eq!(gateway.sample("patchcord_recording_uploads_total{result=\"ok\"}"), 1.0);
    gateway.settled().await;
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

    /// Where there is sound, from and to in seconds; pauses below half a second are part of it.
    fn spans(&self, side: &[i16]) -> Vec<(f64, f64)> {
        let frame = self.rate as usize / 200;
        let mut spans: Vec<(f64, f64)> = Vec::new();
        for (index, samples) in side.chunks(frame).enumerate() {
            let (from, to) = (index as f64 / 200.0, (index + 1) as f64 / 200.0);
            match spans.last_mut() {
                _ if level::dbfs(samples) < -40.0 => {}
                Some(last) if from - last.1 < 0.5 => last.1 = to,
                _ => spans.push((from, to)),
            }
        }
        spans
    }
}

impl Storage {
    async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn(take(listener, received.clone())).abort_handle();
        Self {
            address,
            received,
            task,
        }
    }

    fn received(&self) -> Vec<(String, Vec<u8>)> {
        self.received.lock().unwrap().clone()
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One request a connection.
async fn take(listener: TcpListener, received: Received) {
    let mut busy = true;
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let request = read_request(&mut stream).await;
        let status = if std::mem::take(&mut busy) {
            "503 Slow Down"
        } else {
            "200 OK"
        };
        if status.starts_with("200") {
            received.lock().unwrap().push(request);
        }
        let response = format!("HTTP/1.1 {status}\r\nETag: \"1\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        stream.write_all(response.as_bytes()).await.unwrap();
    }
}

async fn read_request(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let mut bytes = Vec::new();
    loop {
        stream.read_buf(&mut bytes).await.unwrap();
        let Some(end) = bytes.windows(4).position(|end| end == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let length = head
            .lines()
            .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if bytes.len() >= end + 4 + length.unwrap_or(0) {
            return (head, bytes.split_off(end + 4));
        }
    }
}

/// Runs a gateway of its own process; where it speaks SIP.
fn serve(config: &Path) -> (Child, SocketAddr) {
    let mut gateway = Command::new(env!("CARGO_BIN_EXE_patchcord"))
        .args(["serve", "--config"])
        .arg(config)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(gateway.stdout.take().unwrap()).lines();
    let line = said.next().unwrap().unwrap();
    let address = line
        .strip_prefix("SIP over UDP on ")
        .and_then(|rest| rest.split_once(": "));
    (gateway, address.unwrap_or_else(|| panic!("{line}")).0.parse().unwrap())
}

fn digest(bytes: &[u8]) -> String {
    let path = std::env::temp_dir().join(format!("patchcord-it-{}-digest", std::process::id()));
    std::fs::write(&path, bytes).unwrap();
    let sum = sha256(&path);
    std::fs::remove_file(&path).unwrap();
    sum
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
    let output = Command::new("sha256sum").arg(path).output().expect("sha256sum");
    let text = String::from_utf8(output.stdout).unwrap();
    text.split(' ').next().unwrap().to_owned()
}
