"""What a person with a softphone does, against a running gateway, judged by what can be heard.

Times come from the RTP on the wire; pitch and length from the wire and from the softphone's own recording.
"""

import time

import sound

TONE_S = 2.0
# The caller waits this long for the greeting to end before speaking.
LISTEN_S = 9.0
# How much longer a call goes on after the caller spoke: the tone comes back within this.
ANSWER_S = 5.0
# When the impatient caller speaks into the greeting.
INTERRUPT_S = 1.5

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


def conversation(law, transport, hz):
    """Greeting, a tone that comes back as it was, and the caller hangs up."""

    def run(lab):
        speech = voice(lab.folder, sound.silence(LISTEN_S, 48000), sound.tone(hz, TONE_S, 48000))
        phone = lab.softphone(law, transport, speech)
        phone.dial(f"sip:operator@127.0.0.1:{lab.ports.sip};transport={transport}")
        time.sleep(LISTEN_S + TONE_S + ANSWER_S)
        lab.gateway.check_metrics_with_promtool()
        phone.control.command("hangup")
        time.sleep(0.5)
        phone.stop()
        check_conversation(lab, phone, hz)
        lab.gateway.check_records(1, "caller_hung_up")

    return run


def started_by_command_line(lab):
    """The same, the way the README has it: baresip -e "/dial …"."""
    hz = 850
    speech = voice(lab.folder, sound.silence(LISTEN_S, 48000), sound.tone(hz, TONE_S, 48000))
    phone = lab.softphone("PCMU", "udp", speech, ("-e", f"/dial sip:operator@127.0.0.1:{lab.ports.sip}"))
    phone.wait_for_log("Call established", 10)
    time.sleep(LISTEN_S + TONE_S + ANSWER_S)
    phone.stop()
    check_conversation(lab, phone, hz)
    lab.gateway.check_records(1, "caller_hung_up")


def interruption(lab):
    """The caller speaks into the greeting, which goes silent at once; what the caller said still comes back."""
    hz = 620
    speech = voice(lab.folder, sound.silence(INTERRUPT_S, 48000), sound.tone(hz, TONE_S, 48000))
    phone = lab.softphone("PCMU", "udp", speech)
    phone.dial(f"sip:operator@127.0.0.1:{lab.ports.sip}")
    time.sleep(INTERRUPT_S + TONE_S + ANSWER_S)
    phone.stop()
    caller, agent = lab.streams()
    said = caller.loud_times(0, float("inf"))
    started, ended = said[0], said[-1]
    assert agent.loud_times(started - 0.4, started), "the greeting was not playing when the caller spoke"
    cut_off_ms = 1000 * (max(agent.loud_times(started, ended), default=started) - started)
    lab.note(f"silent {cut_off_ms:.0f} ms after the caller's first packet")
    assert cut_off_ms <= CUT_OFF_MS_MAX, f"the greeting went on for {cut_off_ms:.0f} ms"
    check_echo(lab, "wire", agent.samples(), hz, after=ended - agent.packets[0].at)
    lab.gateway.check_records(1, "caller_hung_up")


def digits(lab):
    """A digit is confirmed by voice; the star makes the operator hang up."""
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


def check_conversation(lab, phone, hz):
    """Judges a whole conversation: the greeting, the tone on the wire and as the softphone recorded it, and the gaps."""
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
    assert gap_ms <= GAP_MS_MAX, f"{gap_ms:.1f} ms without a packet inside playout"
    rate, recorded = sound.read_wav(phone.heard())
    check_echo(lab, "recording", recorded, hz, after=ended - began - 0.5, rate=rate)
    answer_ms = 1000 * (agent.time_of(heard.start) - ended)
    lab.note(f"greeting {greeting_s:.2f} s, answer after {answer_ms:.0f} ms, longest packet gap {gap_ms:.1f} ms")


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
    "baresip-digits": digits,
}
