//! RTCP: reports, names and goodbyes (RFC 3550 section 6), written into a reused buffer and read into plain values.
//!
//! The only module that names `rtcp-types`. When to report, and what about, is its user's affair.

use rtcp_types::{
    Bye, Compound, CompoundBuilder, Packet, ReceiverReport, ReportBlock, ReportBlockBuilder, RtcpPacketWriterExt as _,
    RtcpWriteError, Sdes, SdesChunk, SdesItem, SenderReport,
};

use super::reception::Block;

/// A compound packet to be sent: a report, our canonical name, and perhaps a goodbye.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// Who we are.
    pub ssrc: u32,
    /// Our canonical name, the same for the whole call.
    pub name: &'a str,
    /// What we sent; without it the report is a receiver's.
    pub sent: Option<Sent>,
    /// What we received.
    pub received: Option<Feedback>,
    /// Whether we leave.
    pub goodbye: bool,
}

/// A sender's own figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Now, in 1/2^32 seconds of a clock that may begin anywhere (section 6.4.1).
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
    /// A sender report: who sent it, and the middle of its clock.
    pub report: Option<(u32, u32)>,
    /// What the far end says about our packets.
    pub feedback: Option<Feedback>,
    /// The far end left.
    pub goodbye: bool,
}

/// The longest compound packet we write is 28 + 24 + 40 + 8 bytes.
const COMPOUND_BYTES_MAX: usize = 256;
/// The largest loss count of section 6.4.1, 24 bits with sign.
const LOST_MAX: i32 = 0x7F_FFFF;
const CNAME: u8 = SdesItem::CNAME;

impl Outgoing<'_> {
    /// Replaces the contents of `out` with the packet.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.resize(COMPOUND_BYTES_MAX, 0);
        let written = self.builder().write_into(out);
        out.truncate(Self::length(written));
    }

    /// Our own values fit their fields, and the buffer fits them all; a name that does not is a report not sent.
    fn length(written: Result<usize, RtcpWriteError>) -> usize {
        written.unwrap_or(0)
    }

    fn builder(&self) -> CompoundBuilder<'_> {
        let name = SdesItem::builder(CNAME, self.name);
        let compound = self.report();
        let compound = compound.add_packet(Sdes::builder().add_chunk(SdesChunk::builder(self.ssrc).add_item(name)));
        match self.goodbye {
            true => compound.add_packet(Bye::builder().add_source(self.ssrc)),
            false => compound,
        }
    }

    fn report(&self) -> CompoundBuilder<'_> {
        let blocks = self.received.iter().map(Feedback::builder);
        match self.sent {
            Some(sent) => {
                let report = SenderReport::builder(self.ssrc)
                    .ntp_timestamp(sent.clock)
                    .rtp_timestamp(sent.timestamp)
                    .packet_count(sent.packets)
                    .octet_count(sent.bytes);
                Compound::builder().add_packet(blocks.fold(report, |report, block| report.add_report_block(block)))
            }
            None => {
                let report = ReceiverReport::builder(self.ssrc);
                Compound::builder().add_packet(blocks.fold(report, |report, block| report.add_report_block(block)))
            }
        }
    }
}

impl Feedback {
    fn builder(&self) -> ReportBlockBuilder {
        let lost = self.block.lost.clamp(-LOST_MAX, LOST_MAX) as u32 & 0xFF_FFFF;
        ReportBlock::builder(self.block.ssrc)
            .fraction_lost(self.block.fraction_lost)
            .cumulative_lost(lost)
            .extended_sequence_number(self.block.highest)
            .interarrival_jitter(self.block.jitter)
            .last_sender_report_timestamp(self.last_report)
            .delay_since_last_sender_report_timestamp(self.delay)
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
    /// Reads a datagram; nothing when it is no valid compound packet. `ours` picks the block about us.
    pub fn read(datagram: &[u8], ours: u32) -> Option<Self> {
        let mut incoming = Self::default();
        for packet in Compound::parse(datagram).ok()? {
            incoming.take(&packet.ok()?, ours);
        }
        Some(incoming)
    }

    fn take(&mut self, packet: &Packet<'_>, ours: u32) {
        match packet {
            Packet::Sr(report) => {
                self.report = Some((report.ssrc(), (report.ntp_timestamp() >> 16) as u32));
                self.take_blocks(report.report_blocks(), ours);
            }
            Packet::Rr(report) => self.take_blocks(report.report_blocks(), ours),
            Packet::Bye(_) => self.goodbye = true,
            _ => {}
        }
    }

    fn take_blocks<'a>(&mut self, mut blocks: impl Iterator<Item = ReportBlock<'a>>, ours: u32) {
        if let Some(block) = blocks.find(|block| block.ssrc() == ours) {
            self.feedback = Some(Feedback::read(&block));
        }
    }
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
    fn a_name_that_does_not_fit_writes_nothing() {
        let name = "n".repeat(300);
        let mut bytes = Vec::new();
        Outgoing {
            name: &name,
            ..outgoing()
        }
        .write(&mut bytes);
        assert!(bytes.is_empty());
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
            goodbye: false,
        }
    }
}
