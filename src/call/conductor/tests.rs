//! What the conductor does with a call, from event to act.

use super::*;
use crate::{
    call::{machine::Answer, recording::Sound},
    config::{KeyWay, Tool, TransferWays},
};

mod recording;
mod second_leg;
mod tools;

#[test]
fn a_call_we_place_is_offered_answered_and_greeted() {
    let mut call = Call::located();
    assert_eq!(call.leg(Event::Ringing), [Act::Note(Note::Ringing)]);
    assert_eq!(call.hear(Input::SessionReady), []);
    let acts = call.leg(Event::Answered {
        answer: Some(answer("0 101")),
    });
    assert_eq!(acts[0], Act::Note(Note::Answered));
    assert_eq!(acts[2], Act::Media(Order::Away(away())));
    assert!(matches!(acts[3], Act::Media(Order::Apply(_))), "{acts:?}");
    assert_eq!(acts[4], Act::Media(Order::WatchVoice(Duration::from_secs(4))));
    assert_eq!(acts[5..], [Act::Media(Order::Comfort(false)), Act::Media(Order::Greet)]);
    let over = call.leg(Event::ByeReceived { reason: None });
    assert_eq!(over[1], Act::End(Outcome::answered(Cause::CalleeHungUp)));
}

#[test]
fn early_media_of_a_callee_is_not_let_in_before_the_answer() {
    let mut call = Call::located();
    let acts = call.leg(Event::Progressed {
        answer: answer("0 101"),
    });
    assert_eq!(acts, [Act::Note(Note::Early)]);
    let acts = call.leg(Event::Answered { answer: None });
    assert!(
        acts.iter().any(|act| matches!(act, Act::Media(Order::Apply(_)))),
        "{acts:?}"
    );
}

#[test]
fn an_answer_that_cannot_be_used_ends_the_call_we_place() {
    for body in [None, Some(answer("96"))] {
        let mut call = Call::located();
        let acts = call.leg(Event::Answered { answer: body });
        assert!(matches!(acts[0], Act::Note(Note::Unusable(_))), "{acts:?}");
        assert!(matches!(acts[1], Act::EndLeg(Command::HangUp { .. })), "{acts:?}");
    }
}

#[test]
fn without_ports_the_call_is_given_up() {
    let mut call = Call::placing();
    call.conductor.located(call.now, Err(Cause::NoPorts));
    assert_eq!(call.acts()[0], Act::EndLeg(hang_up(Cause::NoPorts)));
}

#[test]
fn a_session_that_is_gone_before_the_answer_cancels() {
    let mut call = Call::located();
    let acts = call.hear(Input::SessionGone);
    assert_eq!(acts[0], Act::EndLeg(hang_up(Cause::SessionUnavailable)));
    assert_eq!(acts[2], Act::End(Outcome::given_up(Cause::SessionUnavailable)));
}

#[test]
fn a_transfer_that_succeeds_ends_the_call_and_one_that_fails_does_not() {
    for (status, ends) in [(200, true), (486, false)] {
        let mut call = Call::talking();
        let acts = call.tool("transfer", r#"{"target":"desk"}"#);
        let command = Command::Transfer {
            to: "sip:desk@a".to_owned(),
            replaces: None,
        };
        assert_eq!(acts[2], Act::Leg(command));
        call.leg(Event::TransferProgress { status: 100 });
        let acts = call.leg(Event::TransferProgress { status });
        let told = matches!(&acts[1], Act::Media(Order::ToolResult { respond, .. }) if *respond != ends);
        assert!(told, "{acts:?}");
        let ended = acts.contains(&Act::End(Outcome::answered(Cause::Transferred)));
        assert_eq!((ended, call.conductor.ended()), (ends, ends));
    }
}

#[test]
fn a_call_whose_agent_has_gone_for_good_is_handed_on_after_a_prompt_and_apologised_for_when_nobody_takes_it() {
    let sound = Arc::new(Sound {
        rate: crate::audio::SampleRate::Hz8000,
        pcm: vec![1; 800],
    });
    for (status, taken) in [(200, true), (486, false)] {
        let mut settings = settings();
        settings.failover = Failover {
            prompt: Some(sound.clone()),
            transfer: Some("sip:desk@a".to_owned()),
        };
        let mut call = Call::talking_by(settings);
        let acts = call.hear(Input::SessionGone);
        let expected = [Order::Comfort(false), Order::Play(sound.clone()), Order::AwaitQuiet].map(Act::Media);
        assert_eq!(acts, expected);
        let acts = call.report(Report::Quiet);
        assert_eq!(acts[0], Act::Media(Order::Comfort(true)));
        assert!(
            matches!(&acts[2], Act::Leg(Command::Transfer { to, .. }) if to == "sip:desk@a"),
            "{acts:?}"
        );
        let acts = call.leg(Event::TransferProgress { status });
        assert_eq!(acts.contains(&Act::End(Outcome::answered(Cause::Transferred))), taken);
        assert_eq!(acts.contains(&Act::Media(Order::Apologise)), !taken, "{acts:?}");
        if !taken {
            let acts = call.report(Report::Quiet);
            assert!(
                acts.contains(&Act::End(Outcome::answered(Cause::SessionLost))),
                "{acts:?}"
            );
        }
    }
}

#[test]
fn a_prompt_alone_is_the_last_word() {
    let mut settings = settings();
    settings.failover.prompt = Some(Arc::new(Sound {
        rate: crate::audio::SampleRate::Hz8000,
        pcm: Vec::new(),
    }));
    let mut call = Call::talking_by(settings);
    call.hear(Input::SessionGone);
    let acts = call.report(Report::Quiet);
    assert!(
        acts.contains(&Act::End(Outcome::answered(Cause::SessionLost))),
        "{acts:?}"
    );
    assert!(!acts.contains(&Act::Media(Order::Apologise)));
}

#[test]
fn one_transfer_at_a_time_and_none_before_the_answer() {
    let mut call = Call::located();
    let asked = call.conductor.transfer(call.now, Asker::Api, "2".to_owned(), None);
    assert_eq!(asked, Err(NotNow::NotTalking));
    let mut call = Call::talking();
    let mut ask = || call.conductor.transfer(call.now, Asker::Api, "2".to_owned(), None);
    assert_eq!((ask(), ask()), (Ok(()), Err(NotNow::Transferring)));
}

#[test]
fn a_transfer_nobody_tells_of_fails_in_time() {
    let mut call = Call::talking();
    call.tool("transfer", r#"{"target":"desk"}"#);
    let due = call.conductor.poll_timeout().unwrap();
    call.conductor.handle_timeout(due);
    let acts = call.acts();
    assert!(
        matches!(&acts[1], Act::Media(Order::ToolResult { respond: true, .. })),
        "{acts:?}"
    );
    assert!(!call.conductor.ended());
}

#[test]
fn digits_leave_as_telephone_events_or_by_info() {
    let mut call = Call::talking();
    let acts = call.tool("send_dtmf", r#"{"digits":"1#"}"#);
    assert_eq!(acts[1], Act::Media(Order::SendDigits("1#".to_owned())));
    let mut call = Call::located();
    call.leg(Event::Answered {
        answer: Some(answer("0")),
    });
    let acts = call.tool("send_dtmf", r#"{"digits":"1#"}"#);
    let digits: Vec<char> = acts
        .iter()
        .filter_map(|act| match act {
            Act::Leg(Command::SendDigit { digit, .. }) => Some(*digit),
            _ => None,
        })
        .collect();
    assert_eq!(digits, ['1', '#']);
}

#[test]
fn digits_leave_in_the_first_of_the_trunks_ways_that_the_far_end_takes() {
    let ways = |ways: &[KeyWay]| {
        let mut call = Call::located();
        call.conductor.settings.keys.ways = ways.to_vec();
        call.leg(Event::Answered {
            answer: Some(answer("0")),
        });
        call.conductor.send_digits("1").map(|()| call.acts())
    };
    assert_eq!(ways(&[KeyWay::Event]), Err(NotNow::NoKeys));
    let tones = ways(&[KeyWay::Event, KeyWay::Tone, KeyWay::Info]).unwrap();
    assert_eq!(tones, [Act::Media(Order::PlayDigits("1".to_owned()))]);
    let info = ways(&[KeyWay::Info, KeyWay::Tone]).unwrap();
    assert!(matches!(info[..], [Act::Leg(Command::SendDigit { digit: '1', .. })]));
}

#[test]
fn a_stranger_does_not_make_us_call() {
    let mut call = Call::talking();
    let acts = call.leg(Event::TransferAsked {
        to: Box::new(crate::sip::Uri::read("sip:premium@x").unwrap()),
        replaces: None,
        referred_by: None,
    });
    assert_eq!(acts[1], Act::Leg(Command::AnswerTransfer { accept: false }));
}

#[test]
fn digits_by_info_and_texts_reach_the_agent() {
    let mut call = Call::talking();
    let acts = call.leg(Event::Digit {
        digit: '5',
        duration: None,
    });
    assert_eq!(acts, [Act::Media(Order::HearDigit('5'))]);
    assert_eq!(call.report(Report::Digit('5')), [Act::Note(Note::Digit('5'))]);
    let acts = call.leg(Event::MessageReceived { text: "hi".to_owned() });
    assert_eq!(acts, [Act::Media(Order::HearText("hi".to_owned()))]);
}

#[test]
fn early_media_answers_the_offer_before_the_call() {
    let now = Instant::now();
    let mut settings = settings();
    settings.machine.answer = Answer::AfterGreeting;
    let terms = Terms::new(local(), Some(&answer("0"))).unwrap();
    let mut call = Call {
        now,
        conductor: Conductor::answering(now, settings, terms),
    };
    assert_eq!(call.acts(), [Act::Leg(Command::Ring), Act::Note(Note::Ringing)]);
    let acts = call.hear(Input::SessionReady);
    assert_eq!(acts[0], Act::Media(Order::Early(true)));
    assert!(matches!(acts[3], Act::Media(Order::Apply(_))), "{acts:?}");
    assert!(matches!(acts[4], Act::Leg(Command::Progress { .. })), "{acts:?}");
    let acts = call.report(Report::Said);
    assert!(acts.contains(&Act::Media(Order::Early(false))), "{acts:?}");
    assert!(
        matches!(acts.last(), Some(Act::Leg(Command::Answer { .. }))),
        "{acts:?}"
    );
}

#[test]
fn an_invite_without_an_offer_is_greeted_after_the_answer() {
    let now = Instant::now();
    let mut settings = settings();
    settings.machine.answer = Answer::AfterGreeting;
    let terms = Terms::new(local(), None).unwrap();
    let mut call = Call {
        now,
        conductor: Conductor::answering(now, settings, terms),
    };
    call.acts();
    let acts = call.hear(Input::SessionReady);
    assert!(
        matches!(acts.last(), Some(Act::Leg(Command::Answer { .. }))),
        "{acts:?}"
    );
}

struct Call {
    now: Instant,
    conductor: Conductor,
}

impl Call {
    fn placing() -> Self {
        Self::placing_by(settings())
    }

    fn placing_by(settings: Settings) -> Self {
        let now = Instant::now();
        let conductor = Conductor::placing(now, settings);
        Self { now, conductor }
    }

    fn located() -> Self {
        Self::located_by(settings())
    }

    fn located_by(settings: Settings) -> Self {
        let mut call = Self::placing_by(settings);
        let ip = local().address;
        let start = Act::StartMedia {
            local_ip: ip,
            advertised_ip: ip,
        };
        let located = Event::Located {
            local_ip: ip,
            advertised_ip: ip,
        };
        assert_eq!(call.leg(located), [start]);
        call.conductor.located(call.now, Ok(local()));
        assert!(matches!(call.acts()[..], [Act::Leg(Command::Offer { .. })]));
        call
    }

    fn talking() -> Self {
        Self::talking_by(settings())
    }

    fn talking_by(settings: Settings) -> Self {
        let mut call = Self::located_by(settings);
        call.hear(Input::SessionReady);
        call.leg(Event::Answered {
            answer: Some(answer("0 101")),
        });
        call
    }

    fn leg(&mut self, event: Event) -> Vec<Act> {
        self.conductor.handle_leg(self.now, event);
        self.acts()
    }

    fn hear(&mut self, input: Input) -> Vec<Act> {
        self.conductor.handle(self.now, input);
        self.acts()
    }

    fn report(&mut self, report: Report) -> Vec<Act> {
        self.conductor.handle_report(self.now, report);
        self.acts()
    }

    fn tool(&mut self, name: &str, arguments: &str) -> Vec<Act> {
        self.report(Report::ToolCall {
            session: 1,
            call_id: "t".to_owned(),
            name: name.to_owned(),
            arguments: arguments.to_owned(),
        })
    }

    fn acts(&mut self) -> Vec<Act> {
        std::iter::from_fn(|| self.conductor.poll_act()).collect()
    }
}

fn settings() -> Settings {
    Settings {
        machine: machine::Settings {
            answer: Answer::WhenReady,
            ring_max: Duration::from_secs(60),
            duration_max: Duration::from_secs(7200),
            failover: machine::Failover::default(),
        },
        away: away(),
        failover: Failover::default(),
        transfers: transfer::Settings {
            ways: TransferWays::Refer,
            ..transfer::Settings::default()
        },
        toolbox: Toolbox::new(
            vec![Tool::HangUp, Tool::Transfer, Tool::SendDtmf],
            [("desk".to_owned(), "sip:desk@a".to_owned())].into(),
            false,
        ),
        voicemail_after: Some(Duration::from_secs(4)),
        messages: true,
        recording: Default::default(),
        turns: Default::default(),
        disclosure: None,
        keys: keys::Settings::default(),
    }
}

fn away() -> away::Settings {
    away::Settings {
        filler: crate::call::filler::Settings {
            after: Duration::from_millis(2_500),
            words: None,
        },
        replay_max: Duration::from_secs(10),
    }
}

fn local() -> Local {
    Local::new("127.0.0.1".parse().unwrap(), 5000, 1)
}

fn answer(formats: &str) -> Vec<u8> {
    let head = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n";
    let map = "a=rtpmap:101 telephone-event/8000\r\n";
    format!("{head}m=audio 4000 RTP/AVP {formats}\r\n{map}").into_bytes()
}
