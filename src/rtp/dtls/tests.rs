//! Two sides against each other, on a line that loses and mutilates.

use super::*;

#[test]
fn both_sides_come_to_the_same_keys() {
    let mut line = Line::new();
    line.run();
    let (active, passive) = line.keys();
    assert_eq!((&active.ours, &active.theirs), (&passive.theirs, &passive.ours));
    assert_ne!(active.ours, active.theirs);
    assert_eq!(active.ours.suite, Suite::AeadAes256Gcm);
}

#[test]
fn what_is_lost_is_said_again() {
    for first in 0..7 {
        for lost in [
            vec![first],
            vec![first, first + 1],
            vec![first, first + 1, first + 2],
            vec![first, first + 2],
        ] {
            let mut line = Line::new();
            line.lose = lost;
            line.run();
            line.keys();
        }
    }
}

#[test]
fn a_certificate_that_the_description_does_not_name_is_refused_by_either_side() {
    for deceived in [0, 1] {
        let mut line = Line::new();
        let stranger = Identity::generate().unwrap();
        let active = deceived == 0;
        let fingerprint = stranger.fingerprint().clone();
        line.sides[deceived] = Handshake::new(line.now, &line.identities[deceived], active, fingerprint).unwrap();
        line.run();
        assert_eq!(line.outcomes[deceived], Some(Err(Failure::Fingerprint)));
        assert!(
            !matches!(line.outcomes[1 - deceived], Some(Ok(_))),
            "the other side learns no key it could use"
        );
    }
}

#[test]
fn every_hash_of_the_certificate_is_known() {
    let identity = Identity::generate().unwrap();
    let der = identity.certificate.certificate[0].clone();
    for hash in [Hash::Sha256, Hash::Sha384, Hash::Sha512] {
        let fingerprint = Fingerprint::new(&hash.name().to_uppercase(), &hash.of(&der)).unwrap();
        assert!(fingerprint.fits(&der));
        assert!(!fingerprint.fits(&der[1..]));
    }
    assert_eq!(Fingerprint::new("sha-1", &[0; 20]), None);
    assert_eq!(Fingerprint::new("sha-256", &[0; 20]), None);
}

#[test]
fn nobody_waits_for_ever() {
    for active in [true, false] {
        let (identity, now) = (Identity::generate().unwrap(), Instant::now());
        let expected = identity.fingerprint().clone();
        let mut handshake = Handshake::new(now, &identity, active, expected).unwrap();
        let mut sent = 0;
        let (failure, at) = loop {
            while handshake.poll_transmit().is_some() {
                sent += 1;
            }
            let at = handshake.poll_timeout().unwrap();
            if let Err(failure) = handshake.handle_timeout(at) {
                break (failure, at);
            }
        };
        assert_eq!((failure, at - now), (Failure::Timeout, HANDSHAKE_MAX));
        assert_eq!(handshake.poll_timeout(), None);
        assert!(if active { (5..=20).contains(&sent) } else { sent == 0 }, "{sent}");
    }
}

#[test]
fn the_last_words_are_repeated_for_a_side_that_did_not_hear_them() {
    let mut line = Line::new();
    line.run();
    line.keys();
    let last = line.said[0].last().unwrap().clone();
    assert_eq!(line.sides[1].handle_datagram(line.now, &last), Ok(None));
    assert!(line.sides[1].poll_timeout().is_none());
}

#[test]
fn a_goodbye_ends_the_association_and_not_the_call() {
    let mut line = Line::new();
    line.run();
    line.keys();
    line.sides[0].close(line.now);
    let goodbye = line.sides[0].poll_transmit().unwrap();
    assert_eq!(line.sides[1].handle_datagram(line.now, &goodbye), Ok(None));
    assert_eq!(line.sides[1].handle_datagram(line.now, &goodbye), Ok(None));
}

#[test]
fn mutilated_datagrams_never_panic_and_never_make_keys_that_differ() {
    let mut dice = Dice(11);
    for _ in 0..60 {
        let mut line = Line::new();
        line.mutilate = Some(Dice(dice.next()));
        line.run();
        if let (Some(Ok(active)), Some(Ok(passive))) = (&line.outcomes[0], &line.outcomes[1]) {
            assert_eq!((&active.ours, &active.theirs), (&passive.theirs, &passive.ours));
        }
    }
}

#[test]
fn noise_never_panics_and_is_bounded() {
    let mut dice = Dice(5);
    let (identity, now) = (Identity::generate().unwrap(), Instant::now());
    for active in [true, false] {
        let expected = identity.fingerprint().clone();
        let mut handshake = Handshake::new(now, &identity, active, expected).unwrap();
        for _ in 0..2 * DATAGRAMS_MAX {
            let mut noise: Vec<u8> = (0..dice.next() % 200).map(|_| dice.next() as u8).collect();
            let header = [20 + (dice.next() % 4) as u8, 254, 253, 0, (dice.next() % 2) as u8];
            noise.splice(0..0, header);
            let _ = handshake.handle_datagram(now, &noise);
        }
        assert!(handshake.outbox.len() < 2 * DATAGRAMS_MAX as usize);
    }
}

/// An active and a passive side, in that order.
struct Line {
    now: Instant,
    identities: [Identity; 2],
    sides: [Handshake; 2],
    outcomes: [Option<Result<Keys, Failure>>; 2],
    said: [Vec<Vec<u8>>; 2],
    carried: usize,
    /// Which datagrams get lost, counted over both ways.
    lose: Vec<usize>,
    mutilate: Option<Dice>,
}

impl Line {
    fn new() -> Self {
        let now = Instant::now();
        let identities = [Identity::generate().unwrap(), Identity::generate().unwrap()];
        let side = |own: usize| {
            let expected = identities[1 - own].fingerprint().clone();
            Handshake::new(now, &identities[own], own == 0, expected).unwrap()
        };
        Self {
            now,
            sides: [side(0), side(1)],
            identities,
            outcomes: [None, None],
            said: [Vec::new(), Vec::new()],
            carried: 0,
            lose: Vec::new(),
            mutilate: None,
        }
    }

    /// Until nothing is to be said, and nobody waits.
    fn run(&mut self) {
        loop {
            while self.carry(0) | self.carry(1) {}
            let next = self.sides.iter().filter_map(Handshake::poll_timeout).min();
            let Some(next) = next else { return };
            self.now = next;
            for side in [0, 1] {
                if let Err(failure) = self.sides[side].handle_timeout(self.now) {
                    self.outcomes[side] = Some(Err(failure));
                }
            }
        }
    }

    fn carry(&mut self, from: usize) -> bool {
        let Some(mut datagram) = self.sides[from].poll_transmit() else {
            return false;
        };
        self.said[from].push(datagram.clone());
        self.carried += 1;
        if self.lose.contains(&(self.carried - 1)) {
            return true;
        }
        if let Some(dice) = &mut self.mutilate {
            dice.mutilate(&mut datagram);
        }
        let to = 1 - from;
        match self.sides[to].handle_datagram(self.now, &datagram) {
            Ok(Some(keys)) => self.outcomes[to] = Some(Ok(keys)),
            Ok(None) => {}
            Err(failure) => self.outcomes[to] = Some(Err(failure)),
        }
        true
    }

    fn keys(&self) -> (Keys, Keys) {
        let [Some(Ok(active)), Some(Ok(passive))] = &self.outcomes else {
            panic!("no keys: {:?}", self.outcomes);
        };
        (active.clone(), passive.clone())
    }
}

struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// One datagram in three, in one to four places.
    fn mutilate(&mut self, datagram: &mut Vec<u8>) {
        if !self.next().is_multiple_of(3) || datagram.is_empty() {
            return;
        }
        for _ in 0..=self.next() % 4 {
            let at = self.next() as usize % datagram.len().max(1);
            match self.next() % 4 {
                0 => datagram.truncate(at),
                1 => datagram.insert(at.min(datagram.len()), self.next() as u8),
                _ => datagram
                    .iter_mut()
                    .skip(at)
                    .take(1)
                    .for_each(|byte| *byte = self.0 as u8),
            }
        }
    }
}
