//! Replays the fuzz corpus and deterministic mutations of it, so that every test run walks where fuzzing has been.
//!
//! `FUZZ_MUTATIONS` says how many mutations per target, `FUZZ_SEED` which ones, and `FUZZ_INPUT_MS_MAX` how long one input may
//! take; a failure prints the input as a Rust byte string. The summary names the input that took longest.

use std::fmt::Display;
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

mod feed;
mod heavy;

/// Mutations per target when the environment does not say.
const MUTATIONS: u64 = 1_000;
/// One input, debug build, busy machine. What takes longer does not grow with its input as it should.
const INPUT_MS_MAX: u64 = 2_000;
/// Longest mutated input; a datagram fits.
const INPUT_BYTES_MAX: usize = 20_000;
/// Of this many mutations one starts from a message that is as large and as laborious as a datagram can be.
const HEAVY_ONE_OF: usize = 64;

#[test]
fn sip_bytes_never_panic_and_never_run_away() {
    let seeds = [seeds("tests/fuzz/corpus/sip"), seeds("tests/data/rfc4475")].concat();
    let heavy: Vec<_> = heavy::datagrams().into_iter().map(|(_, bytes)| bytes).collect();
    replay("sip", feed::sip, &seeds, &heavy);
}

#[test]
fn rtp_bytes_never_panic_and_never_run_away() {
    let seeds = seeds("tests/fuzz/corpus/rtp");
    replay("rtp", feed::rtp, &seeds, &seeds);
}

#[test]
fn protected_bytes_never_panic_and_never_run_away() {
    let seeds = seeds("tests/fuzz/corpus/secure");
    replay("secure", feed::secure, &seeds, &seeds);
}

#[test]
fn codec_bytes_never_panic_and_never_run_away() {
    let seeds = seeds("tests/fuzz/corpus/codec");
    replay("codec", feed::codec, &seeds, &seeds);
}

/// As long as the reader takes, and filled with what costs most to read: nothing grows faster than its input.
#[test]
fn the_heaviest_messages_are_read_in_time() {
    for (name, bytes) in heavy::datagrams().into_iter().chain(heavy::streams()) {
        let mut watch = Watch::new("sip", feed::sip);
        watch.play(&bytes);
        let mut reading = Watch::new("sip reading", |bytes| drop(patchcord::sip::read_datagram(bytes)));
        reading.play(&bytes);
        let (length, read) = (bytes.len(), reading.longest);
        println!(
            "{name}: {length} bytes read in {read:?}, with everything after it in {:?}",
            watch.longest
        );
    }
}

fn replay(target: &'static str, feed: fn(&[u8]), seeds: &[Vec<u8>], heavy: &[Vec<u8>]) {
    assert!(!seeds.is_empty(), "the corpus of {target} is missing");
    let (mutations, seed) = (setting("FUZZ_MUTATIONS", MUTATIONS), setting("FUZZ_SEED", 0));
    let mut watch = Watch::new(target, feed);
    seeds.iter().chain(heavy).for_each(|input| watch.play(input));
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15 ^ seed.wrapping_mul(0xD134_2543_DE82_EF95));
    for _ in 0..mutations {
        let from = if dice.below(HEAVY_ONE_OF) == 0 { heavy } else { seeds };
        watch.play(&mutated(&mut dice, from));
    }
    println!(
        "{target}: {} seeds, {mutations} mutations of seed {seed}; {watch}",
        seeds.len()
    );
}

/// A number from the environment.
fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

/// Feeds inputs to a target and remembers which took longest.
struct Watch {
    target: &'static str,
    feed: fn(&[u8]),
    time_max: Duration,
    began: Instant,
    longest: Duration,
    slowest: Vec<u8>,
}

impl Watch {
    fn new(target: &'static str, feed: fn(&[u8])) -> Self {
        Self {
            target,
            feed,
            time_max: Duration::from_millis(setting("FUZZ_INPUT_MS_MAX", INPUT_MS_MAX)),
            began: Instant::now(),
            longest: Duration::ZERO,
            slowest: Vec::new(),
        }
    }

    fn play(&mut self, input: &[u8]) {
        let took = self.time(input, wall_time);
        if took <= self.longest {
            return;
        }
        let took = took
            .min(self.time(input, thread_time))
            .min(self.time(input, thread_time));
        let text = input.escape_ascii();
        assert!(took < self.time_max, "{} took {took:?} on b\"{text}\"", self.target);
        if took > self.longest {
            (self.longest, self.slowest) = (took, input.to_vec());
        }
    }

    fn time(&self, input: &[u8], clock: fn() -> Duration) -> Duration {
        let began = clock();
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| (self.feed)(input)));
        let took = clock().saturating_sub(began);
        assert!(
            outcome.is_ok(),
            "{} failed on b\"{}\"",
            self.target,
            input.escape_ascii()
        );
        took
    }
}

fn wall_time() -> Duration {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed()
}

/// What this thread has computed, however many others want the machine. Yielding brings the kernel's count up to date.
fn thread_time() -> Duration {
    std::thread::yield_now();
    let counts = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = counts.split(' ').next().and_then(|count| count.parse().ok());
    nanoseconds.map_or_else(wall_time, Duration::from_nanos)
}

impl Display for Watch {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (seconds, bytes) = (self.began.elapsed().as_secs(), self.slowest.len());
        let start = self.slowest.get(..bytes.min(400)).unwrap_or_default().escape_ascii();
        write!(
            out,
            "{seconds} s, longest {:?} on {bytes} bytes: b\"{start}\"",
            self.longest
        )
    }
}

/// One to eight changes to a seed, as a fuzzer makes them.
fn mutated(dice: &mut Dice, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = dice.pick(seeds).clone();
    for _ in 0..=dice.below(8) {
        let (from, to) = dice.range(bytes.len());
        match dice.below(8) {
            0 => bytes
                .iter_mut()
                .skip(from)
                .take(1)
                .for_each(|byte| *byte ^= 1 << dice.below(8)),
            1 => bytes
                .iter_mut()
                .skip(from)
                .take(1)
                .for_each(|byte| *byte = dice.next() as u8),
            2 => drop(bytes.drain(from..to)),
            3 => bytes.truncate(to),
            4 => drop(bytes.splice(from..from, dice.pick(TOKENS).iter().copied())),
            5 => bytes.extend_from_within(from..to),
            6 => drop(bytes.splice(from..to, bytes[from..to].repeat(1 + dice.below(20)))),
            _ => {
                let other = dice.pick(seeds);
                let (first, last) = dice.range(other.len());
                bytes.splice(from..from, other[first..last].iter().copied());
            }
        }
    }
    bytes.truncate(INPUT_BYTES_MAX);
    bytes
}

/// What parsers stumble over.
const TOKENS: &[&[u8]] = &[
    b"\r\n",
    b"\r\n\r\n",
    b"\r\n ",
    b"\0",
    b"\"",
    b"\\",
    b"<",
    b">",
    b";",
    b",",
    b"[",
    b"]",
    b"%",
    b"%00",
    b"@",
    b":",
    b"=",
    b"\xFF",
    b"\xC3\x28",
    b"-1",
    b"0",
    b"4294967295",
    b"4294967296",
    b"99999999999999999999",
    b";tag=",
    b";rport",
    b";branch=z9hG4bK",
    b"\r\nContent-Length: 9\r\n",
    b"\r\nl: 0",
    b"\r\nVia: ",
    b"\r\nRoute: <sip:a;lr>",
    b"SIP/2.0",
    b"INVITE ",
    b"ACK ",
    b"BYE ",
    b"CANCEL ",
    b"tel:+1",
    b"sips:",
    b"[::1]",
    b"\x80\x00",
    b"\x80\xC8",
    b"\x16\xFE\xFD",
    b"\x14\xFE\xFD\x00\x00",
    b"\xBE\xDE\xFF\xFF",
];

/// A small generator of numbers, the same in every run (xorshift64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// A place and a later one, not far from it.
    fn range(&mut self, length: usize) -> (usize, usize) {
        let from = self.below(length + 1);
        (from, from + self.below((length - from).min(64) + 1))
    }
}

/// The files of a folder, in the order of their names.
fn seeds(folder: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut paths: Vec<_> = fs::read_dir(&folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    paths
        .iter()
        .map(|path| fs::read(path).expect("a readable file"))
        .collect()
}
