//! What holds whatever server and bridge do.

use std::collections::{HashMap, HashSet, VecDeque};

use super::*;

#[test]
fn no_truncation_exceeds_what_came_and_no_audio_comes_back_after_an_interruption() {
    for seed in 0..12 {
        let mut chaos = Chaos::new(seed);
        for _ in 0..400 {
            chaos.step();
        }
        assert!(chaos.truncates > 0, "seed {seed} shows nothing");
    }
}

#[test]
fn against_a_lawful_server_every_wish_is_answered_and_none_is_refused_for_long() {
    for seed in 0..40 {
        let mut server = Server::new(seed);
        for _ in 0..200 {
            server.step();
        }
        server.settle();
        let dropped = |output: &Output| matches!(output, Output::Fault(fault) if fault.code == "response_dropped");
        assert!(!server.bench.outputs.iter().any(dropped), "seed {seed}");
        assert!(server.answered_since_last_wish, "seed {seed}: a wish is stuck");
        assert_eq!(server.active, None, "seed {seed}");
    }
}

#[test]
fn random_bytes_as_events_never_panic() {
    let mut random = Random(11);
    let mut bench = Bench::ready(Settings::default());
    let pieces = [
        "{",
        "}",
        "\"type\":",
        "\"error\"",
        "\"response.done\"",
        ",",
        "null",
        "[",
        "-1e9",
        "\"delta\":",
        "\\",
    ];
    for _ in 0..5_000 {
        let text: String = (0..random.below(12))
            .map(|_| pieces[random.below(pieces.len())])
            .collect();
        bench.text(&text);
        bench.outputs.clear();
        bench.sent.clear();
    }
}

/// Random events of a lawless server and a bridge that reports any number, with the truth kept beside.
struct Chaos {
    random: Random,
    bench: Bench,
    ids: Vec<String>,
    /// Bytes handed out, by item.
    received: HashMap<String, usize>,
    unheard: Vec<(Utterance, String)>,
    cut: HashSet<String>,
    truncates: usize,
}

impl Chaos {
    fn new(seed: u64) -> Self {
        Self {
            random: Random(seed),
            bench: Bench::ready(Settings::default()),
            ids: vec!["r0".to_owned()],
            received: HashMap::new(),
            unheard: Vec::new(),
            cut: HashSet::new(),
            truncates: 0,
        }
    }

    fn step(&mut self) {
        let id = self.ids[self.random.below(self.ids.len())].clone();
        match self.random.below(12) {
            0 => self.create(),
            1 => drop(self.bench.server(done(&id))),
            2 => drop(self.bench.server(audio_done(&id, &format!("{id}_i")))),
            3 => self.interrupt(|bench| drop(bench.server(speech_started()))),
            4 => self.interrupt(|bench| bench.bridge(|machine, now| machine.digit(now, '7'))),
            5 => self.finish(),
            6 => drop(
                self.bench
                    .server(error("conversation_already_has_active_response", None)),
            ),
            7 => self.bench.pass(Duration::from_secs(3)),
            _ => self.delta(&id),
        }
        self.check();
    }

    fn create(&mut self) {
        // More ids than the machine remembers would only show its documented bound.
        if self.ids.len() < 30 {
            self.ids.push(format!("r{}", self.ids.len()));
            let id = self.ids.last().unwrap().clone();
            self.bench.server(created(&id));
        }
    }

    fn delta(&mut self, id: &str) {
        let item = format!("{id}_i");
        let bytes = self.random.below(3_000);
        let mut event = delta(id, &item, 0);
        event["delta"] = base64_simd::STANDARD.encode_to_string(vec![3; bytes]).into();
        if let Some((utterance, _)) = self.bench.server(event) {
            assert!(!self.cut.contains(id), "audio of an interrupted response");
            self.unheard.push((utterance, id.to_owned()));
        }
        if !self.cut.contains(id) {
            *self.received.entry(item).or_default() += bytes;
        }
    }

    fn interrupt(&mut self, input: impl FnOnce(&mut Bench)) {
        let numbers = (self.random.below(400) as u32, self.random.below(400) as u32);
        self.bench.heard = self
            .unheard
            .iter()
            .map(|(utterance, _)| heard(*utterance, numbers.0, numbers.1))
            .collect();
        self.bench.outputs.clear();
        input(&mut self.bench);
        if self.bench.outputs.contains(&Output::Interrupt) {
            self.cut.extend(self.unheard.drain(..).map(|(_, response)| response));
        }
    }

    fn finish(&mut self) {
        if !self.unheard.is_empty() {
            let (utterance, id) = self.unheard[self.random.below(self.unheard.len())].clone();
            self.bench.server(audio_done(&id, &format!("{id}_i")));
            self.bench.machine.finished(utterance);
            self.unheard.retain(|(unheard, _)| *unheard != utterance);
        }
    }

    fn check(&mut self) {
        for event in self.bench.sent.drain(..) {
            if event["type"] == "conversation.item.truncate" {
                let received = self.received[event["item_id"].as_str().unwrap()];
                assert!(event["audio_end_ms"].as_u64().unwrap() * 48 <= received as u64);
                self.truncates += 1;
            }
        }
    }
}

/// A server that keeps the rules, at the end of a line with random delay in both directions.
struct Server {
    random: Random,
    bench: Bench,
    to_server: VecDeque<Value>,
    to_client: VecDeque<Value>,
    active: Option<String>,
    responses: usize,
    answered_since_last_wish: bool,
}

impl Server {
    fn new(seed: u64) -> Self {
        Self {
            random: Random(seed),
            bench: Bench::ready_to_cancel(),
            to_server: VecDeque::new(),
            to_client: VecDeque::new(),
            active: None,
            responses: 0,
            answered_since_last_wish: true,
        }
    }

    fn step(&mut self) {
        match self.random.below(12) {
            0 => self.wish(|machine, now| machine.digit(now, '7')),
            1 => self.wish(|machine, now| machine.tool_result(now, "c", "42", true)),
            2 => self.to_client.push_back(speech_started()),
            // A server that answers by itself all the time leaves no room for a wish.
            3 if self.active.is_none() && self.random.below(3) == 0 => self.begin(),
            4 => self.end(),
            5..8 => self.hear_client(),
            _ => self.tell_client(),
        }
        self.to_server.extend(self.bench.sent.drain(..));
    }

    fn settle(&mut self) {
        for _ in 0..100 {
            while !self.to_server.is_empty() || !self.to_client.is_empty() {
                self.hear_client();
                self.tell_client();
                self.to_server.extend(self.bench.sent.drain(..));
            }
            self.end();
            self.bench.pass(Duration::from_millis(100));
            self.to_server.extend(self.bench.sent.drain(..));
        }
    }

    fn wish(&mut self, input: impl FnOnce(&mut Machine, Instant)) {
        self.answered_since_last_wish = false;
        self.bench.bridge(input);
    }

    fn hear_client(&mut self) {
        let Some(event) = self.to_server.pop_front() else {
            return;
        };
        match (event["type"].as_str().unwrap(), self.active.is_some()) {
            ("response.create", false) => {
                self.answered_since_last_wish = true;
                self.begin();
            }
            ("response.create", true) => {
                let refusal = error("conversation_already_has_active_response", Some(&event["event_id"]));
                self.to_client.push_back(refusal);
            }
            ("response.cancel", true) if self.active.as_deref() == event["response_id"].as_str() => self.end(),
            ("response.cancel", _) => self.to_client.push_back(error("response_cancel_not_active", None)),
            _ => {}
        }
    }

    fn tell_client(&mut self) {
        if let Some(event) = self.to_client.pop_front() {
            self.bench.server(event);
        }
    }

    fn begin(&mut self) {
        self.responses += 1;
        let id = format!("r{}", self.responses);
        self.to_client.push_back(created(&id));
        self.to_client.push_back(delta(&id, &id, 20));
        self.active = Some(id);
    }

    fn end(&mut self) {
        if let Some(id) = self.active.take() {
            self.to_client.push_back(done(&id));
        }
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}
