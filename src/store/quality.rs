//! How a call sounded and what was wrong with its line, as records and the control API have it.
//!
//! Names are an interface to other programs, as those of the record are.

use serde::{Deserialize, Serialize};

/// Both directions of the leg.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct QualityRecord {
    /// What came from the other side, judged by us.
    pub received: Option<SoundRecord>,
    /// What we sent, as the other side reported it by RTCP; `null` when it did not.
    pub sent: Option<SoundRecord>,
    /// The last round trip measured by RTCP.
    pub round_trip_ms: Option<f64>,
}

/// One direction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SoundRecord {
    /// The codec.
    pub codec: String,
    /// `narrowband` or `wideband`: scores of the two are not to be compared.
    pub scale: String,
    /// The estimated opinion score (E-model, 1 to 5) of the last window of about 5 s.
    pub mos: f64,
    /// The mean over all windows.
    pub mos_avg: f64,
    /// The worst window.
    pub mos_min: f64,
    /// Packets lost of all there should have been, in percent.
    pub loss_percent: f64,
    /// Interarrival jitter.
    pub jitter_ms: f64,
}

/// Something that was wrong with the line, over the whole call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiagnosisRecord {
    /// The cause word.
    pub cause: String,
    /// How often it began.
    pub times: u32,
    /// How long it was so, all times together.
    pub total_ms: u64,
}
