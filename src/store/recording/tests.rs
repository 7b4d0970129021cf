//! Recordings from chunk to file, through the real threads.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::mpsc::{Receiver, channel},
    time::{Duration, SystemTime},
};

use tokio::sync::oneshot;

use super::*;
use crate::{
    config::Recording as Config,
    media::tap::{Chunk, Length},
    telemetry::Level,
};

const RATE: SampleRate = SampleRate::Hz8000;
const KEY: [u8; 32] = [7; 32];

#[tokio::test]
async fn chunks_become_a_file_of_its_owners_alone_and_gaps_in_them_silence() {
    let desk = Desk::new("gaps", |_| {});
    let (mut sink, report) = desk.open(1);
    sink.write(chunk(0, 800, 1));
    sink.write(chunk(2_400, 800, 2));
    sink.close(length(4_000));
    let report = desk.told(&report);
    assert_eq!(
        (report.state, report.seconds, report.lost_ms),
        (State::Finished, 0.5, 0)
    );
    let path = report.path.unwrap();
    let pcm = samples(&path);
    assert_eq!(pcm.len(), 2 * 4_000);
    let expected = |at: usize| match at / 2 {
        0..800 => 1,
        2_400..3_200 => 2,
        _ => 0,
    };
    assert!(pcm.iter().enumerate().all(|(at, &sample)| sample == expected(at)));
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(&desk.folder), 0o700);
    assert_eq!(desk.metrics.level(Level::RecordingsActive), 0);
}

#[tokio::test]
async fn buffers_come_back_and_what_finds_the_queue_full_is_counted() {
    let desk = Desk::new("full", |_| {});
    let (mut sink, report) = desk.open(1);
    sink.write(chunk(0, 800, 1));
    desk.recorder.close().await;
    assert!(sink.take_back().is_some());
    // The writer is held up, and more comes than its queue takes.
    let held = desk.hold_up();
    let refused = (0..10_000)
        .filter_map(|_| {
            sink.write(Chunk {
                at: 800,
                pcm: vec![0; 2],
            })
        })
        .count();
    assert!(refused > 1_000, "{refused}");
    drop(held);
    sink.close(length(1_600));
    let report = desk.told(&report);
    assert_eq!(report.lost_ms, refused as u64 / 8);
}

#[tokio::test]
async fn a_recording_whose_call_broke_is_kept_as_far_as_it_goes() {
    let desk = Desk::new("broke", |_| {});
    let (mut sink, report) = desk.open(1);
    sink.write(chunk(0, 800, 1));
    drop(sink);
    let report = desk.told(&report);
    assert_eq!(report.state, State::CutOff(reason::CRASHED));
    assert_eq!(samples(&report.path.unwrap()).len(), 1_600);
}

#[tokio::test]
async fn a_writer_that_breaks_goes_on_with_the_others() {
    let desk = Desk::new("writer", |_| {});
    let (mut before, report) = desk.open(1);
    before.write(chunk(0, 800, 1));
    desk.recorder.break_writers();
    before.write(chunk(800, 800, 1));
    before.close(length(1_600));
    assert_eq!(desk.told(&report).state, State::Finished);
    let (after, report) = desk.open(2);
    after.close(length(800));
    assert_eq!(desk.told(&report).state, State::Finished);
}

#[tokio::test]
async fn recordings_end_where_their_room_ends_and_say_so() {
    let desk = Desk::new("room", |config| config.size_max = Some(10_000));
    let (mut sink, report) = desk.open(1);
    for at in 0..8 {
        sink.write(chunk(at * 800, 800, 1));
    }
    sink.close(length(6_400));
    let report = desk.told(&report);
    assert_eq!(report.state, State::CutOff(reason::RECORDINGS_FULL));
    // The last whole chunk, and a head that says so.
    assert_eq!(samples(&report.path.unwrap()).len(), 3 * 1_600);
    let text = desk.metrics.render();
    assert!(
        text.contains("patchcord_recordings_failed_total{reason=\"recordings_full\"} 1"),
        "{text}"
    );
}

#[tokio::test]
async fn a_sealed_recording_opens_with_the_key_and_sounds_the_same() {
    let desk = Desk::sealed("sealed");
    let (mut sink, report) = desk.open(1);
    for at in 0..30 {
        sink.write(chunk(at * 800, 800, 3));
    }
    sink.close(length(24_000));
    let path = desk.told(&report).path.unwrap();
    assert!(path.to_str().unwrap().ends_with(".wav.sealed"));
    let sealed = fs::read(&path).unwrap();
    assert!(!sealed.windows(4).any(|bytes| bytes == b"RIFF"));
    let mut plain = Vec::new();
    unseal(sealed.as_slice(), &Key::new(KEY), &mut plain).unwrap();
    assert_eq!(plain.len(), 44 + 24_000 * 4);
    assert!(plain[44..].chunks(2).all(|sample| sample == [3, 0]));
}

#[tokio::test]
async fn what_a_dead_process_left_is_whole_up_to_where_it_comes() {
    for sealed in [false, true] {
        let name = format!("left-{sealed}");
        let desk = if sealed {
            Desk::sealed(&name)
        } else {
            Desk::new(&name, |_| {})
        };
        let (mut sink, _report) = desk.open(1);
        for at in 0..25 {
            sink.write(chunk(at * 800, 800, 5));
        }
        desk.recorder.close().await;
        // As it stands there in the middle of a call, cut off at an odd place.
        let part = desk.files().pop().unwrap();
        assert_eq!(part.extension().unwrap(), "part");
        let bytes = fs::read(&part).unwrap();
        let other = desk.folder.join(format!(
            "20260101T000000Z_call_2_1.wav{}.part",
            if sealed { ".sealed" } else { "" }
        ));
        fs::write(&other, &bytes[..bytes.len() - 7]).unwrap();
        let empty = desk.folder.join("20260101T000000Z_call_3_1.wav.part");
        fs::write(&empty, "RIFF").unwrap();
        let _again = Recorder::start_with(&desk.config, desk.key.clone(), Metrics::new()).unwrap();
        desk.until(|| !other.exists() && !empty.exists());
        let whole = disk::whole_of(&other).unwrap();
        let plain = if sealed {
            let mut plain = Vec::new();
            unseal(fs::read(&whole).unwrap().as_slice(), &Key::new(KEY), &mut plain).unwrap();
            plain
        } else {
            samples(&whole);
            fs::read(&whole).unwrap()
        };
        let frames = (plain.len() - 44) / 4;
        assert!((8_000..25 * 800).contains(&frames), "{frames}");
        assert!(plain[44..].chunks(2).all(|sample| sample == [5, 0]));
        // The one that is being written is not touched.
        assert!(part.exists());
    }
}

#[tokio::test]
async fn what_was_kept_long_enough_is_deleted_and_nothing_of_others() {
    let folder = folder("retention");
    fs::create_dir_all(folder.join("spool")).unwrap();
    let file = |name: &str, days: u64| {
        let path = folder.join(name);
        let file = fs::File::create(&path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(days * 86_400 + 60))
            .unwrap();
        path
    };
    let old = [file("a_call_1_1.wav", 7), file("spool/a_call_1_2.ogg.sealed", 8)];
    let kept = [
        file("a_call_2_1.wav", 6),
        file("notes.wav", 9),
        file("a_call_2_1.txt", 9),
    ];
    let config = Config {
        path: folder.clone(),
        retention: Some(Duration::from_secs(7 * 86_400)),
        ..Config::default()
    };
    let desk = Desk::on(config, None);
    desk.until(|| old.iter().all(|path| !path.exists()));
    assert!(kept.iter().all(|path| path.exists()));
}

/// A recorder with a folder of its own.
struct Desk {
    folder: PathBuf,
    config: Config,
    key: Option<Key>,
    metrics: Metrics,
    recorder: Recorder,
}

impl Desk {
    fn new(name: &str, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config {
            path: folder(name),
            ..Config::default()
        };
        change(&mut config);
        Self::on(config, None)
    }

    fn sealed(name: &str) -> Self {
        let config = Config {
            path: folder(name),
            ..Config::default()
        };
        Self::on(config, Some(Key::new(KEY)))
    }

    fn on(config: Config, key: Option<Key>) -> Self {
        let metrics = Metrics::new();
        Self {
            folder: config.path.clone(),
            recorder: Recorder::start_with(&config, key.clone(), metrics.clone()).unwrap(),
            config,
            key,
            metrics,
        }
    }

    fn open(&self, number: u32) -> (Sink, Receiver<Report>) {
        let (told, report) = channel();
        let opening = Opening {
            call_id: "call_1".to_owned(),
            number,
            rate: RATE,
            // The test may have seen enough.
            tell: Tell::new(number, move |report| drop(told.send(report))),
        };
        (self.recorder.open(opening).unwrap(), report)
    }

    fn told(&self, report: &Receiver<Report>) -> Report {
        report
            .recv_timeout(Duration::from_secs(20))
            .expect("it is told what became of the recording")
    }

    /// Every writer waits until this is dropped.
    fn hold_up(&self) -> Vec<oneshot::Sender<()>> {
        let hold = |writer: &Writer| {
            let (release, held) = oneshot::channel();
            writer.hold(held);
            release
        };
        self.recorder.writers.iter().map(hold).collect()
    }

    fn files(&self) -> Vec<PathBuf> {
        fs::read_dir(&self.folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect()
    }

    fn until(&self, holds: impl Fn() -> bool) {
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while !holds() {
            assert!(std::time::Instant::now() < deadline, "{:?}", self.files());
            std::thread::yield_now();
        }
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        // Only litter.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn folder(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("patchcord-{}-recordings-{name}", std::process::id()))
}

fn chunk(at: u64, frames: usize, sample: i16) -> Chunk {
    Chunk {
        at,
        pcm: vec![sample; 2 * frames],
    }
}

fn length(frames: u64) -> Length {
    Length {
        frames,
        ..Length::default()
    }
}

/// The samples of a WAV file whose head has to be right.
fn samples(path: &Path) -> Vec<i16> {
    let bytes = fs::read(path).unwrap();
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    assert_eq!(
        (word(4), word(24), word(40)),
        (bytes.len() - 8, 8_000, bytes.len() - 44)
    );
    bytes[44..]
        .chunks_exact(2)
        .map(|sample| i16::from_le_bytes([sample[0], sample[1]]))
        .collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}
