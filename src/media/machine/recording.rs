//! The machine's side of a recording: when it begins and ends; what is in it is the [`Tap`](crate::media::tap)'s.

use std::time::Instant;

use super::Machine;
use crate::{
    audio::SampleRate,
    media::tap::{Chunk, Length},
};

impl Machine {
    /// Records both sides from here on, until [`Self::end_recording`].
    pub fn record(&mut self, now: Instant, rate: SampleRate) {
        self.tap.begin(now, rate);
    }

    /// Records silence instead of what is said, or what is said again.
    pub fn pause_recording(&mut self, now: Instant, paused: bool) {
        match paused {
            true => self.tap.pause(now),
            false => self.tap.resume(now),
        }
    }

    /// Ends the recording; take what is left of it with [`Self::poll_recording`].
    pub fn end_recording(&mut self, now: Instant) -> Option<Length> {
        self.tap.end(now)
    }

    /// The next piece of the recording.
    pub fn poll_recording(&mut self) -> Option<Chunk> {
        self.tap.poll()
    }

    /// A buffer of a piece that has been written, to be used again.
    pub fn give_back(&mut self, buffer: Vec<i16>) {
        self.tap.give_back(buffer);
    }
}
