//! RTCP: reports, names and goodbyes (RFC 3550 section 6), with extended reports behind them (RFC 3611), written into a
//! reused buffer and read into plain values.
//!
//! The only module that names `rtcp-types`, which reads; what we write is a few fixed fields, put down here without
//! taking memory. When to report, and what about, is its user's affair.

use rtcp_types::{Compound, Packet, ReportBlock};

use super::{
    reception::Block,
    xr::{self, VoipMetrics},
};

/// A compound packet to be sent: a report, our canonical name, perhaps extended reports, and perhaps a goodbye.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// Who we are.
    pub ssrc: u32,
    /// Our canonical name, the same for the whole call; at most 255 bytes count.
    pub name: &'a str,
    /// What we sent; without it the report is a receiver's.
    pub sent: Option<Sent>,
    /// What we received.
    pub received: Option<Feedback>,
    /// Extended reports.
    pub extended: [Option<xr::Block>; EXTENDED_MAX],
    /// Whether we leave.
    pub goodbye: bool,
}

/// Extended report blocks in one packet: the time, its echo and the metrics.
pub const EXTENDED_MAX: usize = 3;

/// A sender's own figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Now, as an NTP timestamp: 1/2^32 s since 1900 (section 4).
    pub clock: u64,
    /// Now, in timestamps.
    pub timestamp: u32,
    /// Packets sent.
    pub packets: u32,
    /// Payload bytes sent.
    pub bytes: u32,
}

/// A receiver's figures, with what the sender needs to time the round trip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feedback {
    /// The figures.
    pub block: Block,
    /// The middle of the clock in the last sender report, 0 before the first.
    pub last_report: u32,
    /// How long ago that report came, in 1/65536 s.
    pub delay: u32,
}

/// What a compound packet that came in says, as far as it concerns one pair of streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Incoming {
    /// Who reports.
    pub reporter: u32,
    /// A sender report: who sent it, and the middle of its clock.
    pub report: Option<(u32, u32)>,
    /// What the far end says about our packets.
    pub feedback: Option<Feedback>,
    /// A receiver's question for the round trip: the middle of its time.
    pub reference: Option<u32>,
    /// The answer to our own such question: the middle of our time, and how long the answer took, in 1/65536 s.
    pub echo: Option<(u32, u32)>,
    /// How our packets sound at the far end.
    pub voip: Option<VoipMetrics>,
    /// The far end left.
    pub goodbye: bool,
}

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const NAMES: u8 = 202;
const GOODBYE: u8 = 203;
/// The largest loss count of section 6.4.1, 24 bits with sign.
const LOST_MAX: i32 = 0x7F_FFFF;
const CNAME: u8 = 1;
/// As long as a name can be: its length is one byte.
const NAME_BYTES_MAX: usize = 255;

impl Outgoing<'_> {
    /// Replaces the contents of `out` with the packet.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.clear();
        self.write_report(out);
        self.write_name(out);
        xr::write(self.ssrc, self.extended.into_iter().flatten(), out);
        if self.goodbye {
            packet(out, GOODBYE, 1, |out| put(out, self.ssrc));
        }
    }

    fn write_report(&self, out: &mut Vec<u8>) {
        let kind = self.sent.map_or(RECEIVER_REPORT, |_| SENDER_REPORT);
        packet(out, kind, self.received.is_some().into(), |out| {
            put(out, self.ssrc);
            if let Some(sent) = self.sent {
                out.extend(sent.clock.to_be_bytes());
                put_all(out, &[sent.timestamp, sent.packets, sent.bytes]);
            }
            if let Some(received) = &self.received {
                received.write(out);
            }
        });
    }

    /// One chunk with one item, closed by at least one zero and padded to whole words (section 6.5).
    fn write_name(&self, out: &mut Vec<u8>) {
        let name = self.name.as_bytes();
        let name = &name[..name.len().min(NAME_BYTES_MAX)];
        packet(out, NAMES, 1, |out| {
            put(out, self.ssrc);
            out.extend([CNAME, name.len() as u8]);
            out.extend(name);
            out.push(0);
            out.resize(out.len().next_multiple_of(4), 0);
        });
    }
}

/// Appends a packet of this type, whose length follows from what is written into it.
fn packet(out: &mut Vec<u8>, kind: u8, count: u8, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend([0x80 | count, kind, 0, 0]);
    write(out);
    let words = ((out.len() - start) / 4 - 1) as u16;
    out[start + 2..start + 4].copy_from_slice(&words.to_be_bytes());
}

fn put(out: &mut Vec<u8>, word: u32) {
    out.extend(word.to_be_bytes());
}

fn put_all(out: &mut Vec<u8>, words: &[u32]) {
    words.iter().for_each(|word| put(out, *word));
}

impl Feedback {
    fn write(&self, out: &mut Vec<u8>) {
        let block = &self.block;
        let lost = block.lost.clamp(-LOST_MAX, LOST_MAX) as u32 & 0xFF_FFFF;
        put(out, block.ssrc);
        put(out, u32::from(block.fraction_lost) << 24 | lost);
        put_all(out, &[block.highest, block.jitter, self.last_report, self.delay]);
    }

    fn read(block: &ReportBlock<'_>) -> Self {
        // The sign of 24 bits, brought to 32.
        let lost = ((block.cumulative_lost() << 8) as i32) >> 8;
        Self {
            block: Block {
                ssrc: block.ssrc(),
                fraction_lost: block.fraction_lost(),
                lost,
                highest: block.extended_sequence_number(),
                jitter: block.interarrival_jitter(),
            },
            last_report: block.last_sender_report_timestamp(),
            delay: block.delay_since_last_sender_report_timestamp(),
        }
    }
}

impl Incoming {
    /// Reads a datagram; nothing when it is no valid compound packet, which begins with a report (RFC 3550 appendix
    /// A.2). `ours` picks what is about us.
    pub fn read(datagram: &[u8], ours: u32) -> Option<Self> {
        if !matches!(datagram.get(1), Some(&(SENDER_REPORT | RECEIVER_REPORT))) {
            return None;
        }
        let mut incoming = Self::default();
        for packet in Compound::parse(datagram).ok()? {
            incoming.take(&packet.ok()?, ours);
        }
        for block in extended(datagram) {
            incoming.take_extended(block, ours);
        }
        Some(incoming)
    }

    fn take(&mut self, packet: &Packet<'_>, ours: u32) {
        match packet {
            Packet::Sr(report) => {
                self.reporter = report.ssrc();
                self.report = Some((report.ssrc(), (report.ntp_timestamp() >> 16) as u32));
                self.take_blocks(report.report_blocks(), ours);
            }
            Packet::Rr(report) => {
                self.reporter = report.ssrc();
                self.take_blocks(report.report_blocks(), ours);
            }
            Packet::Bye(_) => self.goodbye = true,
            _ => {}
        }
    }

    fn take_blocks<'a>(&mut self, mut blocks: impl Iterator<Item = ReportBlock<'a>>, ours: u32) {
        if let Some(block) = blocks.find(|block| block.ssrc() == ours) {
            self.feedback = Some(Feedback::read(&block));
        }
    }

    fn take_extended(&mut self, block: xr::Block, ours: u32) {
        match block {
            xr::Block::ReferenceTime(time) => self.reference = Some((time >> 16) as u32),
            xr::Block::Echo { ssrc, reference, delay } if ssrc == ours => self.echo = Some((reference, delay)),
            xr::Block::Voip(metrics) if metrics.ssrc == ours => self.voip = Some(metrics),
            xr::Block::Echo { .. } | xr::Block::Voip(_) => {}
        }
    }
}

/// The extended report blocks of a compound packet whose lengths add up.
fn extended(datagram: &[u8]) -> impl Iterator<Item = xr::Block> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let &[_, kind, high, low, ..] = rest else { return None };
        let len = 4 + 4 * usize::from(u16::from_be_bytes([high, low]));
        let (packet, behind) = rest.split_at_checked(len)?;
        rest = behind;
        Some((kind == xr::PACKET_TYPE).then_some(packet))
    })
    .flatten()
    .flat_map(xr::read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_report_reads_back_as_written() {
        let mut bytes = Vec::new();
        outgoing().write(&mut bytes);
        let incoming = Incoming::read(&bytes, 7).unwrap();
        assert_eq!(incoming.report, Some((1, 0x2222_3333)));
        assert_eq!(incoming.feedback, outgoing().received);
        assert!(!incoming.goodbye);
        assert!(bytes.windows(4).any(|window| window == b"name"));
    }

    #[test]
    fn without_packets_sent_it_is_a_receiver_report() {
        let mut bytes = Vec::new();
        Outgoing {
            sent: None,
            goodbye: true,
            ..outgoing()
        }
        .write(&mut bytes);
        assert_eq!(bytes[1], 201);
        let incoming = Incoming::read(&bytes, 7).unwrap();
        assert_eq!(incoming.report, None);
        assert!(incoming.feedback.is_some() && incoming.goodbye);
    }

    #[test]
    fn a_negative_loss_keeps_its_sign() {
        let mut outgoing = outgoing();
        if let Some(received) = &mut outgoing.received {
            received.block.lost = -5;
        }
        let mut bytes = Vec::new();
        outgoing.write(&mut bytes);
        assert_eq!(Incoming::read(&bytes, 7).unwrap().feedback, outgoing.received);
    }

    #[test]
    fn a_block_about_somebody_else_is_not_ours() {
        let mut bytes = Vec::new();
        outgoing().write(&mut bytes);
        assert_eq!(Incoming::read(&bytes, 8).unwrap().feedback, None);
    }

    #[test]
    fn a_name_of_any_length_keeps_whole_words() {
        for len in [0, 1, 2, 3, 255, 300] {
            let name = "n".repeat(len);
            let mut bytes = Vec::new();
            Outgoing {
                name: &name,
                goodbye: true,
                ..outgoing()
            }
            .write(&mut bytes);
            assert!(Incoming::read(&bytes, 7).unwrap().goodbye, "{len}");
        }
    }

    #[test]
    fn extended_reports_follow_the_name_and_read_back() {
        let mut bytes = Vec::new();
        let metrics = xr::tests_metrics(7);
        let extended = [
            Some(xr::Block::ReferenceTime(0x1111_2222_3333_4444)),
            Some(xr::Block::Echo {
                ssrc: 7,
                reference: 5,
                delay: 6,
            }),
            Some(xr::Block::Voip(metrics)),
        ];
        Outgoing {
            extended,
            goodbye: true,
            ..outgoing()
        }
        .write(&mut bytes);
        let incoming = Incoming::read(&bytes, 7).unwrap();
        assert_eq!(incoming.reference, Some(0x2222_3333));
        assert_eq!((incoming.echo, incoming.voip), (Some((5, 6)), Some(metrics)));
        assert!(incoming.goodbye);
        let stranger = Incoming::read(&bytes, 8).unwrap();
        assert_eq!((stranger.echo, stranger.voip), (None, None));
    }

    #[test]
    fn a_compound_packet_begins_with_a_report() {
        let mut bytes = Vec::new();
        outgoing().write(&mut bytes);
        let report = 4 + 4 * usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
        assert_eq!(Incoming::read(&bytes[report..], 7), None);
    }

    #[test]
    fn mutilated_packets_are_refused_without_a_panic() {
        let mut good = Vec::new();
        Outgoing {
            goodbye: true,
            ..outgoing()
        }
        .write(&mut good);
        for len in 0..good.len() {
            Incoming::read(&good[..len], 7);
        }
        let mut state = 3_u64;
        for _ in 0..20_000 {
            let mut bytes = good.clone();
            for _ in 0..4 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let at = (state >> 40) as usize % bytes.len();
                bytes[at] = (state >> 32) as u8;
            }
            Incoming::read(&bytes, 7);
        }
    }

    fn outgoing() -> Outgoing<'static> {
        Outgoing {
            ssrc: 1,
            name: "name",
            sent: Some(Sent {
                clock: 0x1111_2222_3333_4444,
                timestamp: 5,
                packets: 6,
                bytes: 960,
            }),
            received: Some(Feedback {
                block: Block {
                    ssrc: 7,
                    fraction_lost: 64,
                    lost: 100,
                    highest: 70_000,
                    jitter: 12,
                },
                last_report: 99,
                delay: 65_536,
            }),
            extended: [None; EXTENDED_MAX],
            goodbye: false,
        }
    }
}
