//! RTP and RTCP as bytes: packets, order and loss, reception figures, telephone-events and the latch on a source; what
//! protects them, and the handshake that makes keys for it.
//!
//! Every type here is fed by its owner and told the time; none of them knows a codec, a call or a socket. RTP is read
//! by `rtp-rs`, which only [`packet`] names; RTCP by `rtcp-types`, which only [`rtcp`] names; DTLS by `rtc-dtls`, which only
//! [`dtls`] names.

pub mod dtls;
pub mod latch;
pub mod losses;
pub mod packet;
pub mod reception;
pub mod reorder;
pub mod rtcp;
pub mod srtp;
pub mod telephone_event;
pub mod xr;

pub use latch::Latch;
pub use losses::Losses;
pub use packet::{Header, Malformed, Packet};
pub use reception::Reception;
pub use reorder::{Arrival, Released, Reorder};
