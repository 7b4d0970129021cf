//! A bridge whose leg has agreed on PCMU, and what a session beside it is to be.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use patchcord::{
    audio::SampleRate,
    call::{Bridge, Order, bridge::away, filler},
    media,
    realtime::{self, AudioWish},
    sdp::{self, Codec, Local},
};

/// Where the caller's packets come from.
pub fn caller() -> SocketAddr {
    ([127, 0, 0, 1], 4000).into()
}

/// A bridge with a leg and no session.
pub fn bridge(now: Instant) -> Bridge {
    let local = Local {
        codecs: vec![Codec::Pcmu],
        ..Local::new(caller().ip(), 5000, 1)
    };
    let offer = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
    let (negotiated, _) = sdp::answer(offer.as_bytes(), &local).unwrap();
    let mut bridge = Bridge::new(now, media::Settings::from_seed(1));
    // What is kept for a session that takes over is part of what a call costs.
    let filler = filler::Settings {
        after: Duration::from_millis(2_500),
        words: None,
    };
    let replay_max = Duration::from_secs(10);
    bridge.obey(now, Order::Away(away::Settings { filler, replay_max }));
    bridge.obey(now, Order::Apply(Box::new(negotiated)));
    bridge
}

/// PCM, for which there is more to do than for G.711 straight through.
pub fn session() -> realtime::Settings {
    realtime::Settings {
        audio: AudioWish::Pcm16(SampleRate::Hz24000),
        ..realtime::Settings::default()
    }
}
