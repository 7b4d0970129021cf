//! Patchcord joins telephone calls to AI speech sessions, and keeps the caller served whatever happens to the session.
//!
//! A **leg** is the caller's side of a call (SIP and RTP today), a **session** its AI side: one connection to one
//! **backend** that speaks a Realtime **dialect**. A **call** is one leg paired with one session, from the first INVITE
//! to the written record. A **trunk** is a configured SIP peer, a **route** picks the **agent** that answers, and the
//! **operator** is the embedded session server that needs no key and no network.
//!
//! ```text
//!  phone / PBX / carrier ──SIP+RTP──┐   ┌──────────── Call ──────────┐   ┌─ OpenAI Realtime and what speaks like it
//!                                   ├──►│ leg ◄── media ──► session  │──►│
//!                                   ┘   └──────── tools · record ────┘   └─ the embedded operator
//! ```
//!
//! # Three kinds of thing
//!
//! - A **machine** is a pure struct: no sockets, no clock, no randomness, no locks. Inputs go in with the time, outputs
//!   are polled until there are none. All protocol and call logic is in machines and is tested in virtual time.
//! - A **driver** owns sockets and machines, moves bytes between them and arms the next deadline. It decides nothing.
//! - An **actor** owns lifetimes: it starts drivers and children, watches them, and turns reports into machine inputs.
//!
//! # Map
//!
//! A module may use only modules above it.
//!
//! | module | duty |
//! |---|---|
//! | [`audio`] | codec bytes ↔ samples ↔ sample rates, levels, voice activity |
//! | [`rtp`] | RTP and RTCP bytes, order, loss, telephone-events; SRTP, and the DTLS handshake that makes its keys |
//! | [`sip`] | messages, transactions, dialogs, digest |
//! | [`config`] | file and environment → validated settings |
//! | [`sdp`] | read an offer, choose an answer; make an offer, read the answer |
//! | [`realtime`] | the AI protocol: dialects ↔ one neutral event set; turns, interruption, truncation |
//! | [`routing`] | which agent answers, whether there is room, and why |
//! | [`media`] | one call's media: packets in → caller frames; agent audio → paced packets |
//! | [`tools`] | what an agent may do; tools that take their time, keys that the model must not see |
//! | [`call`] | one call's decisions, joining leg, media, session and tools; outcome |
//! | [`operator`] | the embedded session server |
//! | [`telemetry`] | logs and the one list of metric names |
//! | [`net`] | sockets, TLS, WebSocket, the DNS, the RTP port pool |
//! | [`store`] | call records, recordings, the journal of tool calls, what days cost, webhooks |
//! | [`http`] | health, readiness, metrics, the control API with the events of calls |
//! | [`drivers`] | the loops: sockets and a machine; tools that are done elsewhere |
//! | [`actors`] | the supervision tree |
//! | [`cli`] | `serve`, `check`, `explain`, `operator`, `probe`, `call`, `recording`, `bench`, `version` |
//!
//! # Invariants
//!
//! - Every INVITE gets exactly one final answer; every call writes exactly one record.
//! - A frame of audio crosses no thread, and passes through no actor's mailbox; only what is recorded goes on, in copies
//!   of 200 ms, to the threads that write files.
//! - Two legs that are joined are one media driver's: their sound crosses no thread either, and waits at most 240 ms.
//! - What counts as heard is what left as RTP, without what the far end's reports say never came. No audio of an
//!   interrupted response leaves after the flush, but for the one packet that fades it out.
//! - A session that takes over is told the conversation as it was heard, what nobody understood of the caller, and each
//!   tool's answer once; no tool is at work twice.
//! - Every queue is bounded by a named constant that says what is lost when it is full.
//! - What a call holds (ports, dialog, slot in the record file) is given back by dropping it.
//! - A refused or failed call carries one reason word, the same in its SIP message, log, metric and record.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod actors;
pub mod audio;
pub mod call;
pub mod cli;
pub mod config;
pub mod drivers;
pub mod http;
pub mod media;
pub mod net;
pub mod operator;
pub mod realtime;
pub mod routing;
pub mod rtp;
pub mod sdp;
pub mod sip;
pub mod store;
pub mod telemetry;
pub mod tools;
