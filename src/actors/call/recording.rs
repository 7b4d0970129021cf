//! The Call actor's side of its recordings: begins them at the recorder, orders the media to fill them, and keeps the
//! record open until it is known what became of them.

use ractor::ActorRef;

use super::{Msg, Order, State};
use crate::{
    audio::SampleRate,
    call::recording::Step,
    store::{
        RecordingRecord,
        recording::{self, Opening, Report, Tell},
    },
};

impl State {
    pub(super) fn record(&mut self, myself: &ActorRef<Msg>, step: Step) {
        match step {
            Step::Begin { number, rate, by, told } => {
                let format = self.service.recorder.format();
                self.ledger.recording_begun(RecordingRecord {
                    told,
                    sealed: self.service.recorder.seals(),
                    ..RecordingRecord::begun(number, rate.hz(), by.word(), format)
                });
                self.begin_recording(myself, number, rate);
            }
            Step::Pause(paused) => self.pause_recording(paused),
            Step::End => self.order(Order::EndRecording),
        }
    }

    fn begin_recording(&mut self, myself: &ActorRef<Msg>, number: u32, rate: SampleRate) {
        self.recordings += 1;
        let call = myself.clone();
        // A call that is gone has written its record.
        let tell = Tell::new(number, move |report| drop(call.cast(Msg::Recorded(Box::new(report)))));
        let opening = Opening {
            call_id: self.ledger.call_id().to_owned(),
            number,
            rate,
            tell,
        };
        if let Some(sink) = self.service.recorder.open(opening) {
            self.order(Order::Record(Box::new(sink), rate));
        }
    }

    fn pause_recording(&mut self, paused: bool) {
        self.ledger.recording_paused(paused);
        self.order(Order::PauseRecording(paused));
    }

    /// Nothing more comes from the media. The record waits for what became of the recordings, if that is not known yet.
    pub(super) fn completed(&mut self) {
        self.complete = true;
        if self.recordings == 0 {
            self.ledger.finish();
        }
    }

    pub(super) fn recorded(&mut self, report: &Report) {
        self.recordings = self.recordings.saturating_sub(1);
        if report.state != recording::State::Finished && !self.complete {
            self.conductor.recording_failed(report.number);
        }
        self.ledger.recorded(report);
        if self.complete {
            self.completed();
        }
    }
}
