//! One phone of a run and everything around it: its two networks, its ear and mouth, and the backend its call gets.

use std::{collections::BTreeSet, time::Instant};

use crate::{
    backend::Backend,
    dice::Dice,
    ear::Ear,
    gateway::SIP_ADDRESS,
    link::{Link, Weather},
    mouth::Mouth,
    phone::Phone,
    plan::PhonePlan,
};

/// One phone and everything around it.
pub struct Caller {
    /// What it is going to do.
    pub plan: PhonePlan,
    /// Its SIP half.
    pub phone: Phone,
    /// What it says, once its call was answered.
    pub mouth: Option<Mouth>,
    /// What it hears.
    pub ear: Ear,
    /// The call it became.
    pub call: Option<usize>,
    /// The call's backend.
    pub backend: Backend,
    /// The keys pressed, with the timestamps their packets carry.
    pub pressed: Vec<(char, u32)>,
    /// Presses of which at least one packet arrived, by their timestamps.
    pub keys_arrived: BTreeSet<u32>,
    /// The network from the phone to the gateway.
    pub out: Link,
    /// And back.
    pub back: Link,
    vanished: bool,
}

impl Caller {
    /// A phone that has done nothing yet, and its networks.
    pub fn new(number: usize, start: Instant, weather: Weather, plan: &PhonePlan, dice: &mut Dice) -> Self {
        let gateway = SIP_ADDRESS.parse().expect("an address");
        Self {
            plan: plan.clone(),
            phone: Phone::new(number, gateway, plan.habits),
            mouth: None,
            ear: Ear::new(start),
            call: None,
            backend: Backend::new(start, plan.backend.clone()),
            pressed: Vec::new(),
            keys_arrived: BTreeSet::new(),
            vanished: false,
            out: Link::new(weather, dice.split()),
            back: Link::new(weather, dice.split()),
        }
    }

    /// Whether this key was pressed.
    pub fn has_pressed(&self, key: char) -> bool {
        self.pressed.iter().any(|(pressed, _)| *pressed == key)
    }

    /// A SIP datagram of the gateway.
    pub fn sip(&mut self, now: Instant, bytes: &[u8]) {
        if !self.vanished {
            self.phone.handle_datagram(now, bytes);
        }
    }

    /// The phone is gone, and what is under way to and from it.
    pub fn vanish(&mut self) {
        self.be_silent();
        self.vanished = true;
        self.out.break_for_good();
        self.back.break_for_good();
    }

    /// It says no more.
    pub fn be_silent(&mut self) {
        self.pressed
            .extend(self.mouth.take().into_iter().flat_map(|mouth| mouth.pressed));
    }

    /// When something is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let mouth = self.mouth.as_ref().map(Mouth::poll_timeout);
        [self.phone.poll_timeout(), self.backend.poll_timeout(), mouth]
            .into_iter()
            .flatten()
            .min()
    }
}
