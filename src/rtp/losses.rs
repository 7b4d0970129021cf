//! Whether packets are lost one by one or in bursts, which sounds worse (RFC 3611 section 4.7.2).
//!
//! Fed with what came and what was given up, in order. A few sums whatever the length of a call.

/// The sums of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    received: u64,
    lost: u64,
    /// Losses in a row count as one.
    runs: u64,
    since_loss: u64,
    /// What may turn out to be a burst: the packets lost in it and the packets between those.
    burst: Share,
    bursts: u64,
    in_bursts: Share,
    between: Share,
}

/// Packets lost, among all of a stretch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Share {
    lost: u64,
    all: u64,
}

/// What the sums say by the definitions of RFC 3611.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bursts {
    /// The share of packets lost within bursts.
    pub burst_density: f32,
    /// The share of packets lost between bursts.
    pub gap_density: f32,
    /// The mean length of a burst, in packets.
    pub burst_packets: f32,
    /// The mean length of what is between bursts, in packets.
    pub gap_packets: f32,
}

/// So many packets in a row without loss end a burst.
const BURST_ENDS_AFTER: u64 = 16;

impl Losses {
    /// A packet came, in time to be heard.
    pub fn received(&mut self) {
        self.received += 1;
        self.since_loss += 1;
    }

    /// So many packets in a row did not.
    pub fn lost(&mut self, packets: u32) {
        if packets == 0 {
            return;
        }
        let packets = u64::from(packets);
        self.runs += u64::from(self.since_loss > 0 || self.lost == 0);
        self.lost += packets;
        if self.since_loss >= BURST_ENDS_AFTER {
            self.close();
            self.between.all += self.since_loss;
        } else {
            self.burst.all += self.since_loss;
        }
        self.burst.lost += packets;
        self.burst.all += packets;
        self.since_loss = 0;
    }

    /// The share lost of all packets there should have been.
    pub fn share(&self) -> f32 {
        ratio(self.lost, self.expected())
    }

    /// Packets there should have been.
    pub fn expected(&self) -> u64 {
        self.received + self.lost
    }

    /// Packets lost.
    pub fn total(&self) -> u64 {
        self.lost
    }

    /// How much longer losses in a row are than they would be by chance: 1 when packets are lost independently (ITU-T
    /// G.107 clause 7.4). Never below 1, as losses that are spread out evenly do not sound better.
    pub fn burst_ratio(&self) -> f32 {
        (ratio(self.lost, self.runs) * (1.0 - self.share())).max(1.0)
    }

    /// What has been added since an earlier state of the same sums.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            received: self.received - earlier.received,
            lost: self.lost - earlier.lost,
            runs: self.runs - earlier.runs,
            ..Self::default()
        }
    }

    /// Bursts and what is between them, with what is under way counted as it stands.
    pub fn bursts(&self) -> Bursts {
        let mut sums = *self;
        if sums.since_loss >= BURST_ENDS_AFTER || sums.lost == 0 {
            sums.between.all += sums.since_loss;
        } else {
            sums.burst.all += sums.since_loss;
        }
        sums.close();
        Bursts {
            burst_density: ratio(sums.in_bursts.lost, sums.in_bursts.all),
            gap_density: ratio(sums.between.lost, sums.between.all),
            burst_packets: ratio(sums.in_bursts.all, sums.bursts),
            gap_packets: ratio(sums.between.all, sums.bursts + 1),
        }
    }

    /// A single packet lost among good ones is no burst.
    fn close(&mut self) {
        let burst = std::mem::take(&mut self.burst);
        let sum = match burst.lost {
            0..=1 => &mut self.between,
            _ => {
                self.bursts += 1;
                &mut self.in_bursts
            }
        };
        sum.lost += burst.lost;
        sum.all += burst.all;
    }
}

fn ratio(part: u64, whole: u64) -> f32 {
    match whole {
        0 => 0.0,
        whole => part as f32 / whole as f32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_far_apart_are_no_bursts() {
        let mut losses = Losses::default();
        for _ in 0..10 {
            (0..49).for_each(|_| losses.received());
            losses.lost(1);
        }
        let bursts = losses.bursts();
        assert_eq!((losses.share(), losses.burst_ratio()), (0.02, 1.0));
        assert_eq!((bursts.burst_density, bursts.burst_packets), (0.0, 0.0));
        assert_eq!((bursts.gap_density, bursts.gap_packets), (0.02, 500.0));
    }

    #[test]
    fn losses_close_together_are_one_burst() {
        let mut losses = Losses::default();
        (0..100).for_each(|_| losses.received());
        for _ in 0..5 {
            losses.lost(2);
            (0..4).for_each(|_| losses.received());
        }
        (0..96).for_each(|_| losses.received());
        let bursts = losses.bursts();
        // Five times two lost, with four between: the last four belong to what follows.
        assert_eq!(bursts.burst_packets, 26.0);
        assert!((bursts.burst_density - 10.0 / 26.0).abs() < 1e-6);
        assert_eq!((bursts.gap_density, bursts.gap_packets), (0.0, 100.0));
        assert!(losses.burst_ratio() > 1.9);
    }

    #[test]
    fn what_was_added_since_has_its_own_share() {
        let mut losses = Losses::default();
        losses.lost(50);
        let before = losses;
        (0..90).for_each(|_| losses.received());
        losses.lost(10);
        let since = losses.since(&before);
        assert_eq!((since.expected(), since.share(), since.burst_ratio()), (100, 0.1, 9.0));
    }

    #[test]
    fn nothing_received_is_nothing_lost() {
        let losses = Losses::default();
        assert_eq!((losses.share(), losses.burst_ratio()), (0.0, 1.0));
        assert_eq!(losses.bursts(), Bursts::default());
    }
}
