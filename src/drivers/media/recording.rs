//! The media driver's side of a recording: chunks go to the writer's queue, empty buffers come back.

use std::time::Instant;

use super::Driver;
use crate::{audio::SampleRate, store::recording::Sink};

impl Driver {
    pub(super) fn record(&mut self, sink: Box<Sink>, rate: SampleRate) {
        self.end_recording();
        self.bridge.media().record(Instant::now(), rate);
        self.recording = Some(sink);
    }

    pub(super) fn end_recording(&mut self) {
        let length = self.bridge.media().end_recording(Instant::now());
        self.keep_recorded();
        if let (Some(sink), Some(length)) = (self.recording.take(), length) {
            sink.close(length);
        }
    }

    pub(super) fn keep_recorded(&mut self) {
        let Some(sink) = &mut self.recording else { return };
        while let Some(chunk) = self.bridge.media().poll_recording() {
            if let Some(buffer) = sink.write(chunk) {
                self.bridge.media().give_back(buffer);
            }
            while let Some(buffer) = sink.take_back() {
                self.bridge.media().give_back(buffer);
            }
        }
    }
}
