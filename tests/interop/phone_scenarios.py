"""What a person with a softphone does, against a running gateway, judged by what can be heard.

Times come from the RTP on the wire; pitch and length from the wire and from the softphone's own recording.
"""

import socket
import time
from datetime import datetime

import sound
from caller_scenarios import expect
from gateway import LOGIN, realtime_backend, trunk

TONE_S = 2.0
# The caller waits this long for the greeting to end before speaking.
LISTEN_S = 9.0
# How much longer a call goes on after the caller spoke: the tone comes back within this.
ANSWER_S = 5.0
# The impatient caller speaks into the greeting, and again into what comes back of that.
INTERRUPT_S = 1.5
INTERRUPT_AGAIN_S = 5.4
# The caller on hold says nothing for so long; the gateway would give up a silent one sooner.
HOLD_S = 3.5
SILENCE_S = 2
# A held phone gets no RTP once its re-INVITE is answered, and RTP again as fast.
HOLD_MS_MAX = 300.0
# The session server comes up so long after an answer at once.
LATE_S = 2.0

TOLERANCE = 0.01
GAP_MS_MAX = 40.0
GREETING_S = (0.8, LISTEN_S - 0.5)
CUT_OFF_MS_MAX = 300.0
CONFIRMATION_S_MAX = 3.0


def voice(folder, *pieces):
    """A 48 kHz file for baresip out of tones and silences, with enough silence after them for any call."""
    path = folder / "voice.wav"
    samples = [sample for piece in pieces for sample in piece] + sound.silence(30, 48000)
    sound.write_wav(path, samples, 48000)
    return path


def operator(lab, transport="udp"):
    """Whom to dial."""
    port = lab.ports.sip_tls if transport == "tls" else lab.ports.sip
    return f"sip:operator@127.0.0.1:{port};transport={transport}"


def conversation(law, transport, hz):
    """Greeting, a tone that comes back as it was, and the caller hangs up."""

    def run(lab):
        lab.start_gateway(**lab.identity_for(transport))
        speech = voice(lab.folder, sound.silence(LISTEN_S, 48000), sound.tone(hz, TONE_S, 48000))
        phone = lab.softphone(law, transport, speech)
        phone.dial(operator(lab, transport))
        time.sleep(LISTEN_S + TONE_S + ANSWER_S)
        lab.gateway.check_metrics_with_promtool()
        phone.control.command("hangup")
        time.sleep(0.5)
        phone.stop()
        check_conversation(lab, phone.heard(), hz)
        check_record(lab, lab.gateway.check_records(1, "caller_hung_up"), law)

    return run


def started_by_command_line(lab):
    """The same, the way the README has it: baresip -e "/dial …", from whatever address baresip takes."""
    hz = 850
    lab.start_gateway(address="0.0.0.0")
    speech = voice(lab.folder, sound.silence(LISTEN_S, 48000), sound.tone(hz, TONE_S, 48000))
    dial = ("-e", f"/dial sip:operator@127.0.0.1:{lab.ports.sip}")
    phone = lab.softphone("PCMU", "udp", speech, dial, on_loopback=False)
    phone.wait_for_log("Call established", 10)
    time.sleep(LISTEN_S + TONE_S + ANSWER_S)
    phone.stop()
    check_conversation(lab, phone.heard(), hz)
    check_record(lab, lab.gateway.check_records(1, "caller_hung_up"), "PCMU")


def interruption(lab):
    """The caller speaks into the greeting and then into the tone that comes back, and each goes silent at once.

    Speech has pauses, so only the tone tells how long the operator went on.
    """
    hz = 620
    lab.start_gateway()
    pause_s = INTERRUPT_AGAIN_S - INTERRUPT_S - TONE_S
    first = [sound.silence(INTERRUPT_S, 48000), sound.tone(440, TONE_S, 48000)]
    second = [sound.silence(pause_s, 48000), sound.tone(hz, TONE_S, 48000)]
    phone = lab.softphone("PCMU", "udp", voice(lab.folder, *first, *second))
    phone.dial(f"sip:operator@127.0.0.1:{lab.ports.sip}")
    time.sleep(INTERRUPT_AGAIN_S + TONE_S + ANSWER_S)
    phone.stop()
    caller, agent = lab.streams()
    said = caller.loud_times(0, float("inf"))
    again = next(index for index, (a, b) in enumerate(zip(said, said[1:]), 1) if b - a > 1)
    into_greeting = cut_off_ms(agent, said[0], said[again - 1])
    into_tone = cut_off_ms(agent, said[again], said[-1])
    lab.note(f"silent {into_greeting:.0f} ms after the caller's first packet, the tone {into_tone:.0f} ms")
    assert 0 < into_tone <= CUT_OFF_MS_MAX, f"the tone went on for {into_tone:.0f} ms"
    assert into_greeting <= CUT_OFF_MS_MAX, f"the greeting went on for {into_greeting:.0f} ms"
    check_echo(lab, "wire", agent.samples(), hz, after=said[-1] - agent.packets[0].at)
    barge_ins = lab.gateway.check_records(1, "caller_hung_up")["barge_ins"]
    assert barge_ins == 2, f"{barge_ins} interruptions in the record"


def cut_off_ms(agent, started, ended):
    """How long the operator went on after the caller's voice began."""
    assert agent.loud_times(started - 0.4, started), "the operator was not speaking when the caller spoke"
    return 1000 * (max(agent.loud_times(started, ended), default=started) - started)


def hold(transport, hz):
    """On hold the phone gets no RTP; after it the same stream goes on, and the operator still listens."""

    def run(lab):
        lab.start_gateway(silence_timeout_s=SILENCE_S, **lab.identity_for(transport))
        speech = voice(lab.folder, sound.silence(LISTEN_S + HOLD_S, 48000), sound.tone(hz, TONE_S, 48000))
        phone = lab.softphone("PCMU", transport, speech)
        phone.dial(operator(lab, transport))
        time.sleep(1.5)
        held = time.time()
        phone.control.command("hold")
        time.sleep(HOLD_S)
        resumed = time.time()
        phone.control.command("resume")
        time.sleep(LISTEN_S - 1.5 + TONE_S + ANSWER_S)
        phone.stop()
        assert "a=recvonly" in phone.said(), "the offer to hold was not answered with recvonly"
        _, agent = lab.streams()
        before = [packet for packet in agent.packets if packet.at < resumed]
        after = [packet for packet in agent.packets if packet.at >= resumed]
        assert after, "no RTP after the hold"
        stopped_ms, back_ms = 1000 * (before[-1].at - held), 1000 * (after[0].at - resumed)
        lab.note(f"silent {stopped_ms:.0f} ms after hold, back {back_ms:.0f} ms after resume")
        assert stopped_ms <= HOLD_MS_MAX, f"RTP for {stopped_ms:.0f} ms after hold"
        assert back_ms <= HOLD_MS_MAX, f"no RTP for {back_ms:.0f} ms after resume"
        assert agent.missing() == 0, f"{agent.missing()} packets never came"
        passed_s = (after[0].timestamp - before[-1].timestamp & 0xFFFFFFFF) / sound.RATE
        assert abs(passed_s - (after[0].at - before[-1].at)) < 0.05, f"the RTP clock went on by {passed_s:.2f} s in the hold"
        caller = lab.capture.streams(target_ports=lab.ports.gateway_rtp)
        ended = max(at for stream in caller for at in stream.loud_times(0, float("inf")))
        check_echo(lab, "wire", agent.samples(), hz, after=ended - agent.packets[0].at)
        lab.gateway.check_records(1, "caller_hung_up")

    return run


def vanished(transport):
    """A phone that dies without a word: the call ends for want of RTP, and the BYE is sent to where the phone was."""

    def run(lab):
        lab.start_gateway(silence_timeout_s=SILENCE_S)
        phone = lab.softphone("PCMU", transport, voice(lab.folder))
        phone.dial(f"sip:operator@127.0.0.1:{lab.ports.sip};transport={transport}")
        time.sleep(3.0)
        at = time.time()
        phone.kill()
        if transport == "udp":
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as place:
                place.bind(("127.0.0.1", lab.ports.phone))
                place.settimeout(SILENCE_S + 3)
                byes = [place.recv(65536) for _ in range(3)]
            assert all(bye.startswith(b"BYE ") for bye in byes), f"instead of BYE came {byes}"
            assert b"media_timeout" in byes[0], "the BYE does not say why"
        record = lab.gateway.check_records(1, "media_timeout")
        ended_s = datetime.fromisoformat(record["ended_at"]).timestamp() - at
        lab.note(f"ended {ended_s:.1f} s after the phone died")
        assert SILENCE_S - 0.1 <= ended_s <= SILENCE_S + 1, f"ended {ended_s:.1f} s after the phone died"

    return run


def answered_at_once(lab):
    """answer = "at_once": no ringing, comfort tone while there is no session, then the greeting."""
    lab.start_gateway(answer="at_once", backend=realtime_backend(lab.ports.backend))
    phone = lab.softphone("PCMA", "udp", voice(lab.folder))
    began = time.time()
    phone.dial(f"sip:operator@127.0.0.1:{lab.ports.sip}")
    answered_s = time.time() - began
    time.sleep(LATE_S)
    late = time.time()
    lab.start_operator()
    time.sleep(LISTEN_S)
    phone.stop()
    assert "180 Ringing" not in phone.said(), "it rang"
    _, agent = lab.streams()
    comfort, speech = agent.loud_times(began, late), agent.loud_times(late, late + LISTEN_S)
    assert comfort, "no comfort tone"
    assert len(speech) * 0.02 >= GREETING_S[0], f"{len(speech) * 0.02:.2f} s of voice after the session was there"
    lab.note(f"answered after {1000 * answered_s:.0f} ms, comfort tone {1000 * (comfort[0] - began):.0f} ms after dialling")
    assert answered_s < 1, f"answered after {answered_s:.1f} s"
    assert agent.gap_ms() <= GAP_MS_MAX, f"{agent.gap_ms():.1f} ms without a packet"
    lab.gateway.check_records(1, "caller_hung_up")


def session_lost(lab):
    """The session server drops the connection in the middle of the greeting; the call stays up and goes on."""
    hz = 760
    lab.start_operator("drop@2000*1")
    lab.start_gateway(backend=realtime_backend(lab.ports.backend))
    speech = voice(lab.folder, sound.silence(LISTEN_S + 3, 48000), sound.tone(hz, TONE_S, 48000))
    phone = lab.softphone("PCMA", "udp", speech)
    phone.dial(f"sip:operator@127.0.0.1:{lab.ports.sip}")
    time.sleep(LISTEN_S + 3 + TONE_S + ANSWER_S)
    phone.stop()
    caller, agent = lab.streams()
    check_echo(lab, "wire", agent.samples(), hz, after=caller.loud_times(0, float("inf"))[-1] - agent.packets[0].at)
    lab.note(f"longest packet gap {agent.gap_ms():.1f} ms")
    assert agent.gap_ms() <= GAP_MS_MAX and agent.missing() == 0, "the RTP did not go on"
    reconnects = lab.gateway.check_records(1, "caller_hung_up")["reconnects"]
    assert reconnects == 1, f"{reconnects} reconnects in the record"


def login(lab):
    """The phone is asked for its password and gives it."""
    lab.start_gateway(trunks=trunk(login=LOGIN + '\ndigest = ["md5"]'))
    phone = lab.softphone("PCMU", "udp", voice(lab.folder))
    phone.dial(f"sip:operator@127.0.0.1:{lab.ports.sip}")
    time.sleep(2.0)
    phone.stop()
    assert "401 Unauthorized" in phone.said(), "the phone was not challenged"
    lab.gateway.check_records(1, "caller_hung_up")


def drained(lab):
    """SIGTERM in the middle of a call: new calls are refused, this one may go on for a while, and then ends with a BYE."""
    lab.start_gateway(drain_s_max=3)
    phone = lab.softphone("PCMU", "tcp", voice(lab.folder))
    phone.dial(f"sip:operator@127.0.0.1:{lab.ports.sip};transport=tcp")
    time.sleep(1.0)
    ordered = time.monotonic()
    lab.gateway.order_stop()
    time.sleep(0.5)
    assert not lab.gateway.is_ready(), "ready while it drains"
    late = lab.caller()
    expect(late.invite(), 503, "draining")
    assert phone.control.wait_event("CALL_CLOSED", 10), "the call was not ended"
    closed_s = time.monotonic() - ordered
    lab.gateway.wait_for_end()
    phone.stop()
    assert "drained" in phone.said(), "the BYE does not say why"
    lab.note(f"call ended {closed_s:.1f} s after SIGTERM, gateway with 0 after {time.monotonic() - ordered:.1f} s")
    assert closed_s >= 3, "the call was not left its time"
    outcomes = sorted(record["outcome"]["cause"] for record in lab.gateway.wait_for_records(2))
    assert outcomes == ["drained", "draining"], f"the records say {outcomes}"


def digits(lab):
    """A digit is confirmed by voice; the star makes the operator hang up."""
    lab.start_gateway()
    phone = lab.softphone("PCMA", "udp", voice(lab.folder))
    phone.dial(f"sip:operator@127.0.0.1:{lab.ports.sip}")
    time.sleep(LISTEN_S)
    pressed = time.time()
    phone.control.command("sndcode", "5")
    time.sleep(CONFIRMATION_S_MAX)
    _, agent = lab.streams()
    before = agent.loud_times(pressed - 0.5, pressed)
    after = agent.loud_times(pressed, pressed + CONFIRMATION_S_MAX)
    assert not before, "the operator still spoke when the digit was pressed"
    assert len(after) >= 10, f"{len(after)} packets of voice after the digit"
    lab.note(f"digit confirmed after {1000 * (after[0] - pressed):.0f} ms")
    time.sleep(1.0)
    phone.control.command("sndcode", "*")
    assert phone.control.wait_event("CALL_CLOSED", 8), "the operator did not hang up after the star"
    phone.stop()
    lab.gateway.check_records(1, "agent_hung_up")


def check_conversation(lab, recording, hz):
    """Judges a whole conversation: the greeting, the tone on the wire and as the caller recorded it, and the gaps."""
    caller, agent = lab.streams()
    said = caller.loud_times(0, float("inf"))
    began, spoken_at, ended = agent.packets[0].at, said[0], said[-1]
    samples = agent.samples()
    greeting = [stretch for stretch in sound.loud_stretches(samples) if stretch.start < spoken_at - began]
    assert greeting, "no greeting was heard"
    greeting_s = greeting[-1].end - greeting[0].start
    assert GREETING_S[0] <= greeting_s <= GREETING_S[1], f"a greeting of {greeting_s:.2f} s"
    heard = check_echo(lab, "wire", samples, hz, after=ended - began)
    spoken = agent.between(agent.time_of(heard.start), agent.time_of(heard.start + heard.seconds))
    assert spoken.missing() == 0 and agent.missing() == 0, f"{agent.missing()} packets never came"
    gap_ms = max(spoken.gap_ms(), agent.between(began, began + greeting[-1].end).gap_ms())
    assert gap_ms <= GAP_MS_MAX, f"{gap_ms:.1f} ms without a packet inside playout; {lab.contention()}"
    rate, recorded = sound.read_wav(recording)
    check_echo(lab, "recording", recorded, hz, after=ended - began - 0.5, rate=rate)
    answer_ms = 1000 * (agent.time_of(heard.start) - ended)
    lab.note(f"greeting {greeting_s:.2f} s, answer after {answer_ms:.0f} ms")
    lab.note(f"longest packet gap {gap_ms:.1f} ms; {lab.contention()}")


def check_record(lab, record, law, trunk="lab", route="route[0]"):
    """What the record says of a conversation is what passed."""
    caller, agent = lab.streams()
    named = [record[name] for name in ("trunk", "route", "agent", "backend", "codec")]
    assert named == [trunk, route, "operator", "only", law], f"the record names {named}"
    rtp, passed = record["rtp"], len(caller.packets)
    assert abs(rtp["received"] - passed) <= 5, f"{rtp['received']} packets in the record, {passed} on the wire"
    assert abs(rtp["sent"] - len(agent.packets)) <= 5, f"{rtp['sent']} sent in the record, {len(agent.packets)} on the wire"
    assert (rtp["lost"], rtp["foreign"], record["barge_ins"], record["reconnects"]) == (0, 0, 0, 0), f"{record}"
    spoken_s, lasted_s = record["caller_talk_ms"] / 1000, record["duration_ms"] / 1000
    assert abs(spoken_s - TONE_S) < 0.2, f"the record has the caller speak for {spoken_s} s"
    assert abs(lasted_s - (caller.packets[-1].at - caller.packets[0].at)) < 0.5, f"the record has a call of {lasted_s} s"


def check_echo(lab, where, samples, hz, after, rate=sound.RATE):
    """The tone came back: same pitch, same length, no hole."""
    heard = sound.find_tone(samples, rate, after)
    assert heard is not None, f"nothing was heard after the caller spoke ({where})"
    lab.note(f"{where}: {heard.hz:.2f} Hz for {heard.seconds:.3f} s, longest hole {heard.gap_ms:.0f} ms")
    assert heard.purity > 0.3, f"what came back is not a tone ({where}): {heard}"
    assert abs(heard.hz / hz - 1) <= TOLERANCE, f"{heard.hz:.1f} Hz came back for {hz} Hz ({where})"
    assert abs(heard.seconds / TONE_S - 1) <= TOLERANCE, f"{heard.seconds:.3f} s came back for {TONE_S} s ({where})"
    assert heard.gap_ms <= GAP_MS_MAX, f"a hole of {heard.gap_ms:.0f} ms ({where})"
    return heard


SCENARIOS = {
    "baresip-udp-pcmu": conversation("PCMU", "udp", 440),
    "baresip-udp-pcma": conversation("PCMA", "udp", 1000),
    "baresip-tcp-pcmu": conversation("PCMU", "tcp", 523),
    "baresip-tcp-pcma": conversation("PCMA", "tcp", 700),
    "baresip-command-line": started_by_command_line,
    "baresip-interruption": interruption,
    "baresip-hold": hold("udp", 480),
}
# These measure no milliseconds, so that more of them can run at once.
MORE = {
    "baresip-digits": digits,
    "baresip-at-once": answered_at_once,
    "baresip-session-lost": session_lost,
    "baresip-login": login,
    "baresip-vanished-udp": vanished("udp"),
    "baresip-vanished-tcp": vanished("tcp"),
    "baresip-drain": drained,
}
