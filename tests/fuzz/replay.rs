//! Replays the fuzz corpus and deterministic mutations of it, so that every test run walks where fuzzing has been.
//!
//! `FUZZ_MUTATIONS` says how many mutations per target; a failure prints the input as a Rust byte string.

use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::time::{Duration, Instant};

mod feed;

/// Mutations per target when the environment does not say.
const MUTATIONS: usize = 1_000;
/// One input, debug build, busy machine. What takes longer does not grow with its input as it should.
const INPUT_TIME_MAX: Duration = Duration::from_secs(2);
/// Longest mutated input; a datagram fits.
const INPUT_BYTES_MAX: usize = 20_000;

#[test]
fn sip_bytes_never_panic_and_never_run_away() {
    let seeds = [seeds("tests/fuzz/corpus/sip"), seeds("tests/data/rfc4475")].concat();
    replay("sip", feed::sip, &seeds);
}

#[test]
fn rtp_bytes_never_panic_and_never_run_away() {
    replay("rtp", feed::rtp, &seeds("tests/fuzz/corpus/rtp"));
}

fn replay(target: &str, feed: fn(&[u8]), seeds: &[Vec<u8>]) {
    assert!(!seeds.is_empty(), "the corpus of {target} is missing");
    seeds.iter().for_each(|seed| play(target, feed, seed));
    let mutations = std::env::var("FUZZ_MUTATIONS").map_or(MUTATIONS, |count| count.parse().expect("a number"));
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    (0..mutations).for_each(|_| play(target, feed, &mutated(&mut dice, seeds)));
    println!("{target}: {} seeds, {mutations} mutations", seeds.len());
}

fn play(target: &str, feed: fn(&[u8]), input: &[u8]) {
    let began = Instant::now();
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| feed(input)));
    let took = began.elapsed();
    assert!(outcome.is_ok(), "{target} failed on b\"{}\"", input.escape_ascii());
    assert!(
        took < INPUT_TIME_MAX,
        "{target} took {took:?} on b\"{}\"",
        input.escape_ascii()
    );
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
