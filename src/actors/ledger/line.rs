//! What the ledger notes of the line: how it sounds, and what is wrong with it.

use std::time::Duration;

use serde_json::json;

use super::Ledger;
use crate::{
    media::{Ailment, AilmentSums, Diagnosis, Quality, Scale, Sound, Statistics},
    store::{DiagnosisRecord, QualityRecord, SoundRecord},
};

impl Ledger {
    /// Something is wrong with the line, or is no more.
    pub(super) fn diagnosed(&mut self, diagnosis: Diagnosis) {
        let word = diagnosis.ailment.word();
        match diagnosis.lasted {
            None => {
                self.metrics.media_diagnosis(word);
                warn(diagnosis.ailment);
                self.tell(
                    |view| view.diagnosis = Some(word),
                    "diagnosis",
                    json!({ "cause": word }),
                );
            }
            Some(lasted) => {
                let lasted_ms = millis(lasted);
                tracing::info!(cause = word, lasted_ms, "the media is in order again");
                let data = json!({ "cause": word, "lasted_ms": lasted_ms });
                self.tell(|view| view.diagnosis = None, "diagnosis_cleared", data);
            }
        }
    }

    /// The call sounds different.
    pub(super) fn sounded(&mut self, quality: Quality) {
        let data = serde_json::to_value(quality_record(quality)).unwrap_or_default();
        let view = data.clone();
        self.tell(|call| call.quality = Some(view), "quality", data);
    }

    /// The call is over: how it sounded, and what was wrong.
    pub(super) fn close_line(&mut self, media: &Statistics) {
        let quality = media.quality;
        self.record.quality = quality_record(quality);
        self.record.diagnoses = diagnosis_records(&media.ailments);
        for (direction, sound) in [("received", quality.received), ("sent", quality.sent)] {
            if let Some(sound) = sound {
                let scale = Scale::of(sound.codec).word();
                self.metrics.mos(direction, scale, f64::from(sound.mos_mean));
            }
        }
        if let Some(round_trip) = media.round_trip {
            self.metrics.rtp_round_trip(round_trip);
        }
    }
}

/// Once for each time it begins. Silence may be wanted, so nobody is woken for it.
fn warn(ailment: Ailment) {
    let (cause, advice) = (ailment.word(), ailment.advice());
    match ailment {
        Ailment::AllSilence => tracing::info!(cause, advice, "the media may not be in order"),
        _ => tracing::warn!(cause, advice, "the media is not in order"),
    }
}

fn quality_record(quality: Quality) -> QualityRecord {
    QualityRecord {
        received: quality.received.map(sound_record),
        sent: quality.sent.map(sound_record),
        round_trip_ms: quality.round_trip.map(|trip| rounded(trip.as_secs_f32() * 1_000.0)),
    }
}

fn sound_record(sound: Sound) -> SoundRecord {
    SoundRecord {
        codec: sound.codec.name().to_owned(),
        scale: Scale::of(sound.codec).word().to_owned(),
        mos: rounded(sound.mos),
        mos_avg: rounded(sound.mos_mean),
        mos_min: rounded(sound.mos_min),
        loss_percent: rounded(sound.loss_percent),
        jitter_ms: rounded(sound.jitter_ms),
    }
}

fn diagnosis_records(sums: &AilmentSums) -> Vec<DiagnosisRecord> {
    let record = |(ailment, times, total): (Ailment, u32, Duration)| DiagnosisRecord {
        cause: ailment.word().to_owned(),
        times,
        total_ms: millis(total),
    };
    sums.seen().map(record).collect()
}

/// Two decimals are more than an estimate has.
fn rounded(value: f32) -> f64 {
    (f64::from(value) * 100.0).round() / 100.0
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::Codec;

    #[test]
    fn a_score_is_written_with_its_scale_and_two_decimals() {
        let sound = Sound {
            codec: Codec::Opus,
            mos: 4.123_4,
            mos_mean: 4.0,
            mos_min: 2.666_6,
            loss_percent: 1.005_1,
            jitter_ms: 3.0,
        };
        let record = quality_record(Quality {
            received: Some(sound),
            sent: None,
            round_trip: Some(Duration::from_micros(12_345)),
        });
        let received = record.received.unwrap();
        assert_eq!((received.codec.as_str(), received.scale.as_str()), ("opus", "wideband"));
        assert_eq!((received.mos, received.mos_min), (4.12, 2.67));
        assert_eq!((record.sent, record.round_trip_ms), (None, Some(12.35)));
    }
}
