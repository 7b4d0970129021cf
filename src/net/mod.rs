//! Sockets: SIP over UDP, TCP, TLS and WebSocket, the DNS, the RTP port pool, and the WebSockets to the backends.
//!
//! Everything here opens, marks, limits and names sockets. What travels on them is the business of the drivers and of
//! the pure modules behind them.

mod connect_error;
mod dial;
pub mod http_websocket;
pub mod ports;
pub mod resolve;
pub mod sip_tls;
pub mod sip_websocket;
mod socket;
mod stream;
mod target;
pub mod tcp;
#[cfg(test)]
pub(crate) mod test_authority;
pub mod tls;
pub mod udp;
pub mod websocket;

pub use stream::{Stream, Traffic};
