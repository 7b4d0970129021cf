//! SIP: the bytes on the wire, the messages they make, and who may send them.
//!
//! The wire layer reads and writes; it keeps no state between messages except [`StreamReader`], which holds the
//! unfinished bytes of one connection, and [`Authenticator`], which remembers the nonces in use. It owns framing,
//! limits, folding, compact names, lists, addresses and Via. It deliberately does not decide anything about calls:
//! which method is served, which extension is supported and which caller is welcome are the endpoint's questions.
//!
//! Reading goes bytes -> [`reader`] / [`stream`] -> [`Message`] -> typed accessors of [`Headers`]; what was accepted
//! by the reader has a Via set, From, To, Call-ID and CSeq that parse.
//! Writing goes [`Request::to_bytes`] / [`Response::to_bytes`]. What we print we read back equal.

pub mod address;
mod admission;
#[cfg(test)]
mod bounds;
mod calling;
pub mod challenge;
mod connections;
pub mod defect;
pub mod defence;
pub mod dialog;
pub mod digest;
pub mod endpoint;
mod errand;
pub mod flow;
#[cfg(test)]
mod framing;
pub mod grammar;
pub mod head;
pub mod headers;
pub mod host;
mod invitation;
mod keypad;
mod leg;
pub mod locate;
pub mod message;
pub mod method;
mod mint;
pub mod names;
pub mod nonce;
pub mod params;
pub mod peers;
pub mod probe;
#[cfg(test)]
mod probes;
pub mod proof;
mod provisional;
pub mod rate;
pub mod reader;
pub mod reason;
mod refusal;
pub mod registrar;
pub mod registration;
pub mod repeats;
mod replaces;
mod reply;
#[cfg(test)]
mod second_reader;
mod session_timer;
pub mod stream;
pub mod target;
#[cfg(test)]
pub(crate) mod test_line;
#[cfg(test)]
pub(crate) mod test_phone;
#[cfg(test)]
mod torture;
pub mod transaction;
mod transfer;
pub mod uplink;
pub mod uri;
mod usages;
pub mod via;
pub mod vocabulary;
pub(crate) mod whereabouts;
mod writer;

pub use address::NameAddr;
pub use admission::{Credentials, Network, Peer, Source};
pub use defect::{Defect, HeaderError, Malformed, ReadError};
pub use digest::Authenticator;
pub use endpoint::{
    Attempt, Command, Counts, Dropped, Endpoint, Event, Invite, Listener, NotPlaced, Outgoing, Output, QueryId,
    Refused, Settings, TEXT_BYTES_MAX, TrunkReport,
};
pub use flow::{Flow, Origin, Transport};
pub use headers::{Header, Headers};
pub use host::Host;
pub use leg::LegId;
pub use message::{InDialog, Message, Request, Response};
pub use method::{CSeq, Method};
pub use names::HeaderName;
pub use params::{Param, Params};
pub use peers::{Door, Peers};
pub use proof::Algorithm;
pub use reader::read_datagram;
pub use reason::Reason;
pub use registrar::RegistrarSettings;
pub use session_timer::SESSION_EXPIRES;
pub use stream::{PONG, StreamEvent, StreamReader};
pub use target::{Hop, Target};
pub use uplink::{Login, Uplink};
pub use uri::{Scheme, Uri};
pub use via::Via;
