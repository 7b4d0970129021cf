//! A thousand scripts of faults, each of another seed: one call between a caller and two backends that fail in every
//! state they can be in, on one clock.
//!
//! Nothing but the bridge, the reconnecting and the leg is here, so that a run is cheap. What must hold: the call is
//! never given up while a backend is to be had, the caller is never left in silence, no tool is at work twice, each
//! answer of a tool is told once to every session, the conversation that a session is told is the one that was heard,
//! and no truncate is refused (which [`Backend`] checks).

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use patchcord::{
    audio::Law,
    call::{
        Bridge, Order, Outage,
        bridge::{Report, away},
        filler,
        outage::Verdict,
    },
    media::{self, Channel},
    realtime::{self, FaultClass, ReconnectSettings, ToolSpec},
    sdp::{self, Codec, Local},
};

use crate::{
    account::Account,
    backend::{Backend, BackendPlan, Said},
    dice::Dice,
    mouth::Mouth,
    rtp::Packet,
};

/// Scripts in one run of the tests; `PATCHCORD_SIM_SCRIPTS` says otherwise, `PATCHCORD_SIM_SCRIPT` runs one alone.
const SCRIPTS: u64 = 1_000;

/// How long the caller of a script talks.
const LENGTH: Duration = Duration::from_secs(5);

/// How long after that everything has to have come to rest.
const AFTERMATH: Duration = Duration::from_secs(20);

const FILLER_AFTER: Duration = Duration::from_millis(200);
const SILENCE_SLACK: Duration = Duration::from_millis(100);

/// A message takes so long between gateway and backend.
const DELAY: Duration = Duration::from_millis(15);

/// Louder than this is no sign of life.
const LOUD: u16 = 1_500;

#[test]
fn scripts_of_the_first_quarter_hold() {
    quarter(0);
}

#[test]
fn scripts_of_the_second_quarter_hold() {
    quarter(1);
}

#[test]
fn scripts_of_the_third_quarter_hold() {
    quarter(2);
}

#[test]
fn scripts_of_the_fourth_quarter_hold() {
    quarter(3);
}

#[test]
fn a_call_goes_over_to_a_second_session_without_losing_or_repeating_a_frame() {
    let script = Script {
        faults: [String::new(), String::new()],
        lines: vec![(900, Line::Say(400.0, 800)), (4_000, Line::Say(500.0, 800))],
        renew_ms: Some(1_000),
        tool_ms: 100,
    };
    let line = run(&script, Dice::new(1));
    let [gap] = line.gaps[..] else {
        panic!("{:?}", line.gaps)
    };
    println!("renewal: {gap:?} between the caller's last frame to the one and the first to the other");
    assert!(gap <= Duration::from_millis(40), "{gap:?}");
    assert_eq!(line.lost, 0);
    assert_eq!(line.appended, 160 * line.frames, "each frame is told once");
    assert_eq!(line.account.compared, 2);
}

#[test]
fn a_second_session_that_is_ready_takes_over_from_one_that_is_lost_without_an_absence() {
    let script = Script {
        faults: ["drop@3000*1".to_owned(), String::new()],
        // The caller talks all the time, so that there is no moment between two turns.
        lines: vec![(900, Line::Say(400.0, 4_000))],
        renew_ms: Some(1_500),
        tool_ms: 100,
    };
    let line = run(&script, Dice::new(1));
    assert_eq!((line.lost, line.renewed), (0, 1));
}

#[derive(Debug, Default)]
struct Tally {
    losses: u32,
    filled: u32,
    tools: usize,
    renewed: u32,
    compared: u32,
    cut: u32,
    replayed: Duration,
    recovered: Vec<Duration>,
}

#[derive(Debug, Clone)]
struct Script {
    /// Of each backend.
    faults: [String; 2],
    lines: Vec<(u64, Line)>,
    renew_ms: Option<u64>,
    /// How long a tool takes.
    tool_ms: u64,
}

#[derive(Debug, Clone, Copy)]
enum Line {
    Say(f32, u64),
    Key(char),
}

struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("this was PATCHCORD_SIM_SCRIPT={}", self.0);
        }
    }
}

fn quarter(number: u64) {
    let ordered = |variable: &str| {
        let value = std::env::var(variable).ok()?;
        Some(value.parse().expect("the variable is a number"))
    };
    let mut tally = Tally::default();
    if let Some(seed) = ordered("PATCHCORD_SIM_SCRIPT") {
        return if number == 0 {
            one(seed, &mut tally)
        };
    }
    let scripts = ordered("PATCHCORD_SIM_SCRIPTS").unwrap_or(SCRIPTS);
    (number * scripts / 4..(number + 1) * scripts / 4).for_each(|seed| one(seed, &mut tally));
    tally.recovered.sort();
    let at = |part: usize| tally.recovered.get(tally.recovered.len() * part / 100);
    println!("next session heard after a loss: p50 {:?}, p99 {:?}", at(50), at(99));
    tally.recovered.clear();
    println!("{tally:?}");
    let seen = tally.losses > 50 && tally.filled > 10 && tally.tools > 10 && tally.renewed > 5 && tally.cut > 10;
    assert!(seen || scripts < SCRIPTS, "{tally:?}");
}

fn one(seed: u64, tally: &mut Tally) {
    let _named = Named(seed);
    let mut dice = Dice::new(seed);
    let script = Script::drawn(&mut dice);
    let line = run(&script, dice);
    tally.losses += line.lost;
    tally.filled += line.filled;
    tally.tools += line.called.len();
    tally.renewed += line.renewed;
    tally.compared += line.account.compared;
    tally.cut += line.account.cut;
    tally.replayed += line.bridge.summary().replayed;
    tally.recovered.extend(&line.recovered);
}

fn run(script: &Script, dice: Dice) -> Talk {
    let mut talk = Talk::new(script, dice);
    talk.run();
    assert_eq!(talk.account.faults, Vec::<String>::new(), "{script:?}");
    assert_eq!(talk.faults, Vec::<String>::new(), "{script:?}");
    for (call, times) in &talk.called {
        assert_eq!(*times, 1, "{call} was reported {times} times: {script:?}");
        let told = talk.account.outputs().get(&format!("output {call}"));
        assert_eq!(told, Some(&1), "{call} was answered: {script:?}");
    }
    talk
}

impl Script {
    fn drawn(dice: &mut Dice) -> Self {
        let mut lines = Vec::new();
        let mut at_ms = dice.between(100, 2_500);
        while at_ms < LENGTH.as_millis() as u64 - 900 {
            let line = if dice.percent(60) {
                Line::Say(dice.between(200, 1_500) as f32, dice.between(200, 900))
            } else {
                Line::Key(dice.pick(&['*', '*', '1', '5', '#']))
            };
            lines.push((at_ms, line));
            at_ms += dice.between(300, 2_000);
        }
        let first = (0..dice.between(1, 3)).map(|_| fault(dice)).collect::<Vec<_>>();
        let second = dice.percent(30).then(|| {
            let at_ms = dice.between(0, 3_000);
            dice.pick(&["drop@", "close:1001@", "stall@"]).to_owned() + &format!("{at_ms}*1")
        });
        Self {
            faults: [first.join(","), second.unwrap_or_default()],
            lines,
            renew_ms: dice.percent(30).then(|| dice.between(500, 3_500)),
            tool_ms: dice.pick(&[1, 100, 700, 2_000]),
        }
    }
}

fn fault(dice: &mut Dice) -> String {
    let (at_ms, times) = (dice.between(0, 4_500), dice.between(1, 3));
    let kinds = [
        "drop",
        "drop",
        "close:1001",
        "close:1011",
        "close:4000",
        "stall",
        "stall",
        "garbage",
        "error:insufficient_quota",
        "error:session_expired",
        "error:server_error",
    ];
    match dice.below(12) {
        0 => format!("refuse:503*{times}"),
        1 => format!("slow:{}", dice.between(100, 900)),
        _ => format!("{}@{at_ms}*{times}", dice.pick(&kinds)),
    }
}

/// A message under way, or the end of a connection.
type Mail<T> = VecDeque<(Instant, T)>;

/// One connection of the gateway to a backend.
struct Cord {
    backend: usize,
    number: u64,
    connected: bool,
    out: Mail<String>,
    back: Mail<Back>,
}

enum Back {
    Connected,
    Text(String),
    End(FaultClass),
}

/// One call between a caller and two backends.
struct Talk {
    bridge: Bridge,
    account: Account,
    faults: Vec<String>,
    called: HashMap<String, u32>,
    lost: u32,
    filled: u32,
    renewed: u32,
    recovered: Vec<Duration>,
    gaps: Vec<Duration>,
    /// Frames of the caller.
    frames: usize,
    /// Bytes of caller audio that sessions were told.
    appended: usize,
    now: Instant,
    start: Instant,
    dice: Dice,
    outage: Outage,
    backends: [Backend; 2],
    main: Option<Cord>,
    standby: Option<Cord>,
    connections: u64,
    dial_at: Option<Instant>,
    mouth: Mouth,
    script: Script,
    tools: Vec<(Instant, String)>,
    served_once: bool,
    /// There is a session that hears and speaks.
    served: bool,
    /// While there is no session: since when nothing loud was heard.
    quiet_since: Option<Instant>,
}

impl Talk {
    fn new(script: &Script, mut dice: Dice) -> Self {
        let now = Instant::now();
        let backend = |faults: &str| {
            let plan = BackendPlan {
                faults: faults.parse().expect("faults the operator knows"),
                ..BackendPlan::default()
            };
            Backend::new(now, plan)
        };
        let reconnect = ReconnectSettings {
            first: Duration::from_millis(250),
            delay_max: Duration::from_secs(2),
            budget: Duration::from_secs(60),
        };
        let mut talk = Self {
            bridge: bridge(now, dice.number()),
            account: Account::new(),
            faults: Vec::new(),
            called: HashMap::new(),
            lost: 0,
            filled: 0,
            renewed: 0,
            recovered: Vec::new(),
            gaps: Vec::new(),
            frames: 0,
            appended: 0,
            now,
            start: now,
            outage: Outage::new(reconnect, 2),
            backends: [backend(&script.faults[0]), backend(&script.faults[1])],
            main: None,
            standby: None,
            connections: 0,
            dial_at: Some(now),
            mouth: Mouth::new(
                now,
                "192.0.2.1:5000".parse().expect("an address"),
                0,
                dice.number(),
                false,
            ),
            script: script.clone(),
            tools: Vec::new(),
            served_once: false,
            served: false,
            quiet_since: None,
            dice,
        };
        talk.order(Order::Comfort(true));
        talk.account.away(true);
        talk
    }

    fn run(&mut self) {
        let end = self.start + LENGTH + AFTERMATH;
        while self.now < end && !(self.now > self.start + LENGTH && self.rests()) {
            self.now = self.next_at().max(self.now);
            self.step();
        }
        if !self.rests() {
            self.faults.push("the call does not come to rest".to_owned());
        }
    }

    fn rests(&self) -> bool {
        self.bridge.is_served() && self.tools.is_empty() && self.standby.is_none() && !self.is_untold()
    }

    /// Something is on its way.
    fn is_untold(&self) -> bool {
        self.main
            .as_ref()
            .is_some_and(|cord| !cord.out.iter().all(|(_, text)| crate::backend::is_append(text)))
    }

    fn next_at(&self) -> Instant {
        let cords = [&self.main, &self.standby].into_iter().flatten();
        let mail = cords.flat_map(|cord| {
            let out = cord.out.front().map(|(at, _)| *at);
            [out, cord.back.front().map(|(at, _)| *at)]
        });
        let due = [
            self.bridge.poll_timeout(),
            self.dial_at,
            self.tools.iter().map(|(at, _)| *at).min(),
            self.backends[0].poll_timeout(),
            self.backends[1].poll_timeout(),
        ];
        let script = self
            .script
            .lines
            .first()
            .map(|(ms, _)| *ms)
            .into_iter()
            .chain(self.script.renew_ms);
        let script = script.map(|ms| self.start + Duration::from_millis(ms)).min();
        due.into_iter()
            .chain(mail)
            .chain([script])
            .flatten()
            .fold(self.mouth.poll_timeout(), Instant::min)
    }

    fn step(&mut self) {
        let now = self.now;
        self.follow_script();
        if let Some(mut packet) = self.mouth.handle_timeout(now) {
            self.frames += 1;
            self.bridge
                .handle_rtp(now, "198.51.100.7:4000".parse().expect("an address"), &mut packet);
            self.carry();
        }
        if self.bridge.poll_timeout().is_some_and(|at| at <= now) {
            self.bridge.handle_timeout(now);
            self.carry();
        }
        if self.dial_at.is_some_and(|at| at <= now) {
            self.dial_at = None;
            self.main = Some(self.connect(self.outage.backend()));
        }
        while let Some(index) = self.tools.iter().position(|(at, _)| *at <= now) {
            let (_, call_id) = self.tools.remove(index);
            if !self.bridge.is_served() {
                self.account.answered_unserved(&call_id);
            }
            let output = "done".to_owned();
            self.order(Order::ToolResult {
                call_id,
                output,
                respond: true,
            });
        }
        self.backends.iter_mut().for_each(|backend| backend.handle_timeout(now));
        self.move_mail(false);
        self.move_mail(true);
    }

    fn follow_script(&mut self) {
        let due = |ms: u64| self.start + Duration::from_millis(ms) <= self.now;
        if self.script.renew_ms.is_some_and(due) {
            self.script.renew_ms = None;
            // Another backend than the one that serves the call.
            if let Some(main) = self.main.as_ref().filter(|_| self.bridge.is_served()) {
                let other = 1 - main.backend;
                self.standby = Some(self.connect(other));
            }
        }
        while self
            .script
            .lines
            .first()
            .is_some_and(|(ms, _)| self.start + Duration::from_millis(*ms) <= self.now)
        {
            match self.script.lines.remove(0).1 {
                Line::Say(hz, ms) => self.mouth.say(hz, ms),
                Line::Key(key) => {
                    self.account.key(key, self.bridge.is_served());
                    self.order(Order::HearDigit(key));
                }
            }
        }
    }

    fn connect(&mut self, backend: usize) -> Cord {
        self.connections += 1;
        let (number, at) = (self.connections, self.now + 2 * DELAY);
        let answer = match self.backends[backend].connect(self.now, number) {
            Ok(()) => Back::Connected,
            Err(class) => Back::End(class),
        };
        Cord {
            backend,
            number,
            connected: false,
            out: VecDeque::new(),
            back: [(at, answer)].into(),
        }
    }

    fn order(&mut self, order: Order) {
        self.bridge.obey(self.now, order);
        self.carry();
    }

    fn move_mail(&mut self, standby: bool) {
        let now = self.now;
        loop {
            let Some(cord) = self.cord(standby) else { return };
            let (backend, number) = (cord.backend, cord.number);
            let text = cord.out.pop_front_if(|(at, _)| *at <= now);
            if let Some((_, text)) = text {
                self.backends[backend].handle_text(now, number, &text);
            }
            while let Some((from, said)) = self.backends[backend].poll() {
                let back = match said {
                    Said::Text(text) => Back::Text(text),
                    Said::End(class) => Back::End(class),
                };
                let cords = [self.main.as_mut(), self.standby.as_mut()].into_iter().flatten();
                if let Some(cord) = cords
                    .into_iter()
                    .find(|cord| (cord.backend, cord.number) == (backend, from))
                {
                    cord.back.push_back((now + DELAY, back));
                }
            }
            let Some(cord) = self.cord(standby) else { return };
            match cord.back.pop_front_if(|(at, _)| *at <= now) {
                Some((_, back)) => self.hear(standby, back),
                None if cord.out.front().is_none_or(|(at, _)| *at > now) => return,
                None => {}
            }
        }
    }

    fn cord(&mut self, standby: bool) -> Option<&mut Cord> {
        if standby {
            self.standby.as_mut()
        } else {
            self.main.as_mut()
        }
    }

    fn hear(&mut self, standby: bool, back: Back) {
        let now = self.now;
        match (back, standby) {
            (Back::Connected, _) => {
                if let Some(cord) = self.cord(standby) {
                    cord.connected = true;
                }
                match standby {
                    false => self.bridge.session_opened(now, session()),
                    true => self.bridge.standby_opened(now, session()),
                }
            }
            (Back::Text(text), false) => {
                self.account.heard(&text);
                self.bridge.handle_session(now, &text);
            }
            (Back::Text(text), true) => self.bridge.handle_standby(now, &text),
            (Back::End(class), false) => self.session_gone(class),
            (Back::End(_), true) => self.drop_standby(),
        }
        self.carry();
    }

    fn drop_standby(&mut self) {
        if let Some(cord) = self.standby.take() {
            self.backends[cord.backend].disconnect(cord.number);
            self.bridge.standby_lost();
        }
    }

    fn session_gone(&mut self, class: FaultClass) {
        let was_served = std::mem::take(&mut self.served);
        if let Some(cord) = self.main.take() {
            self.backends[cord.backend].disconnect(cord.number);
        }
        self.bridge.session_lost(self.now);
        self.account.lost();
        if self.bridge.promote(self.now) {
            self.served = true;
            return self.carry();
        }
        self.drop_standby();
        self.lost += u32::from(was_served);
        if was_served {
            self.quiet_since = Some(self.now);
            self.account.away(true);
        }
        match self.outage.lost(self.now, class, self.dice.number()) {
            Verdict::Dial { after } => self.dial_at = Some(self.now + after),
            Verdict::GiveUp => self.faults.push("the call was given up".to_owned()),
        }
    }

    /// Moves what the bridge wants moved.
    fn carry(&mut self) {
        let now = self.now;
        self.listen();
        let mut lost = None;
        while let Some(message) = self.bridge.poll_standby_message() {
            let text = message.text.to_owned();
            if let Some(cord) = &mut self.standby {
                cord.out.push_back((now + DELAY, text));
            }
        }
        if self.bridge.take_switched() {
            self.switch();
        }
        while let Some(report) = self.bridge.poll_report() {
            lost = lost.or(self.report(report));
        }
        while let Some(message) = self.bridge.poll_message() {
            let text = message.text.to_owned();
            if message.audio {
                self.appended += audio_bytes(&text);
            } else {
                self.account.said(&text);
            }
            if let Some(cord) = &mut self.main {
                cord.out.push_back((now + DELAY, text));
            }
        }
        self.account.settle();
        if let Some(class) = lost {
            self.session_gone(class);
        }
    }

    fn switch(&mut self) {
        let before = std::mem::replace(&mut self.main, self.standby.take());
        if let Some(cord) = before {
            self.backends[cord.backend].disconnect(cord.number);
            self.account.lost();
        }
        if let Some(main) = &self.main {
            self.outage.moved(main.backend);
        }
        self.account.ready();
        self.renewed += 1;
    }

    /// Hears what leaves for the caller, and whether something does.
    fn listen(&mut self) {
        while let Some(packet) = self.bridge.poll_transmit() {
            if packet.channel != Channel::Rtp {
                continue;
            }
            let payload = Packet::read(packet.bytes).payload.to_vec();
            self.account.packet(&payload);
            let mut pcm = Vec::new();
            Law::Mu.decode(&payload, &mut pcm);
            let Some(since) = &mut self.quiet_since else { continue };
            if pcm.iter().any(|sample| sample.unsigned_abs() > LOUD) {
                *since = self.now;
            }
            let silence = self.now - *since;
            if silence > FILLER_AFTER + SILENCE_SLACK {
                self.faults.push(format!("{silence:?} of silence"));
                *since = self.now;
            }
        }
    }

    fn report(&mut self, report: Report) -> Option<FaultClass> {
        match report {
            Report::SessionReady => self.ready(),
            Report::SessionFault(fault) => return Some(fault.class).filter(|class| *class != FaultClass::Harmless),
            Report::StandbyFault(_) => self.drop_standby(),
            Report::ToolCall { call_id, .. } => {
                *self.called.entry(call_id.clone()).or_default() += 1;
                let due = self.now + Duration::from_millis(self.script.tool_ms);
                self.tools.push((due, call_id));
            }
            Report::Filled(_) => self.filled += 1,
            Report::Recovered(after) => self.recovered.push(after),
            Report::Renewed(gap) => self.gaps.push(gap),
            _ => {}
        }
        None
    }

    fn ready(&mut self) {
        self.outage.ready(self.now);
        self.served = true;
        self.quiet_since = None;
        self.account.away(false);
        self.account.ready();
        if !std::mem::replace(&mut self.served_once, true) {
            self.bridge.obey(self.now, Order::Comfort(false));
            self.bridge.obey(self.now, Order::Greet);
        }
    }
}

fn audio_bytes(text: &str) -> usize {
    let base64 = text
        .rsplit_once(r#":""#)
        .map_or("", |(_, rest)| rest.trim_end_matches(r#""}"#));
    base64.len() / 4 * 3 - base64.bytes().rev().take_while(|byte| *byte == b'=').count()
}

fn bridge(now: Instant, seed: u64) -> Bridge {
    let local = Local {
        codecs: vec![Codec::Pcmu],
        ..Local::new("192.0.2.1".parse().expect("an address"), 5000, 1)
    };
    let offer =
        "v=0\r\no=- 1 1 IN IP4 198.51.100.7\r\ns=-\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
    let (negotiated, _) = sdp::answer(offer.as_bytes(), &local).expect("terms");
    let mut bridge = Bridge::new(now, media::Settings::from_seed(seed));
    bridge.obey(
        now,
        Order::Away(away::Settings {
            filler: filler::Settings {
                after: FILLER_AFTER,
                words: None,
            },
            replay_max: Duration::from_secs(10),
        }),
    );
    bridge.obey(now, Order::Apply(Box::new(negotiated)));
    bridge
}

fn session() -> realtime::Settings {
    realtime::Settings {
        audio: realtime::AudioWish::G711,
        turn_detection: serde_json::json!({"type": "server_vad"}),
        transcription: Some(serde_json::json!({"model": "any"})),
        tools: vec![ToolSpec {
            name: "hang_up".to_owned(),
            description: "Ends the call.".to_owned(),
            parameters: serde_json::json!({"type": "object", "properties": {}}),
        }],
        greeting: Some("Hello.".to_owned()),
        stall_max: Some(Duration::from_secs(2)),
        ..realtime::Settings::default()
    }
}
