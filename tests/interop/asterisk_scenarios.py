"""What a switchboard does, with Asterisk: it calls, holds and dials digits; it is registered with, called and transfers.

Asterisk runs small dial plans written here; sound is judged by what passed and by Asterisk's own recording.
"""

import time

import sound
from gateway import UPLINK_USER, outcome_of, uplink
from phone_scenarios import ANSWER_S, CONFIRMATION_S_MAX, HOLD_S, LISTEN_S, SILENCE_S, TONE_S, check_conversation
from phone_scenarios import check_echo, check_record

# What an extension needs to set up and to end.
SLACK_S = 5
# A registration is there so soon after the gateway is ready.
REGISTER_S_MAX = 5
# Somebody rings for so long before the caller gives up.
RING_S = 2


def speaks(lab, hz, before=()):
    """An extension that listens to the greeting, says a tone, hears it come back, and hangs up."""
    steps = ["Answer()", f"MixMonitor({lab.folder}/mixed.wav,r({lab.folder}/heard.wav))", *before]
    return extension("talk", *steps, f"Playback({voice(lab.folder, hz)})")


def extension(name, *steps):
    return f"exten => {name},1,NoOp()\n" + "".join(f" same => n,{step}\n" for step in (*steps, "Hangup()"))


def voice(folder, hz):
    """What it plays, named as Asterisk wants it."""
    samples = sound.silence(LISTEN_S) + sound.tone(hz, TONE_S) + sound.silence(ANSWER_S)
    sound.write_wav(folder / "voice.wav", samples, sound.RATE)
    return folder / "voice"


def conversation(law, transport, hz):
    """Asterisk calls; greeting, a tone that comes back as it was, and Asterisk hangs up."""

    def run(lab):
        lab.start_gateway()
        pbx = lab.asterisk(speaks(lab, hz), law=law, transport=transport)
        pbx.call("talk")
        hear_out(lab, pbx, hz)
        check_record(lab, lab.gateway.check_records(1, "caller_hung_up"), law)

    return run


def hear_out(lab, pbx, hz):
    """Waits for the conversation to end and judges it."""
    time.sleep(LISTEN_S + TONE_S + ANSWER_S)
    lab.gateway.check_metrics_with_promtool()
    pbx.wait_until_quiet(SLACK_S)
    check_conversation(lab, lab.folder / "heard.wav", hz)


def digits(lab):
    """Digits by RFC 4733: one is confirmed by voice, the star makes the operator hang up."""
    lab.start_gateway()
    steps = ["Answer()", f"Wait({LISTEN_S})", "SendDTMF(5,250,200)", f"Wait({CONFIRMATION_S_MAX + 1})", "SendDTMF(*)"]
    pbx = lab.asterisk(extension("press", *steps, "Wait(20)"), law="PCMA")
    pbx.call("press")
    time.sleep(LISTEN_S + CONFIRMATION_S_MAX + 1)
    pressed = lab.capture.events(lab.ports.gateway_rtp)
    assert [event.digit for event in pressed] == ["5"], f"on the wire: {pressed}"
    pbx.wait_until_quiet(SLACK_S + CONFIRMATION_S_MAX)
    _, agent = lab.streams()
    at = pressed[0].at
    before, after = agent.loud_times(at - 0.5, at), agent.loud_times(at, at + CONFIRMATION_S_MAX)
    assert not before, "the operator still spoke when the digit was pressed"
    assert len(after) >= 10, f"{len(after)} packets of voice after the digit"
    lab.note(f"digit confirmed after {1000 * (after[0] - at):.0f} ms")
    record = lab.gateway.check_records(1, "agent_hung_up")
    assert record["digits"] == 2, f"{record['digits']} digits in the record"


def hold(lab):
    """Asterisk holds by a re-INVITE: no RTP until it resumes, then the same stream, and the operator still listens."""
    hz = 560
    lab.start_gateway(silence_timeout_s=SILENCE_S)
    held = ["Wait(1.5)", f"BridgeWait(hold,participant,e(h)S({HOLD_S:.0f}))"]
    pbx = lab.asterisk(speaks(lab, hz, held), options="moh_passthrough = yes")
    pbx.call("talk")
    pbx.wait_for_log("a=sendonly", 5)
    pbx.wait_for_log("a=recvonly", 2)
    # Twice offered, twice answered: at the start and to resume.
    pbx.wait_for_log("a=sendrecv", HOLD_S + 2, times=4)
    time.sleep(LISTEN_S + TONE_S + ANSWER_S)
    pbx.wait_until_quiet(SLACK_S)
    _, agent = lab.streams()
    before, after = max(zip(agent.packets, agent.packets[1:]), key=lambda pair: pair[1].at - pair[0].at)
    silent_s = after.at - before.at
    lab.note(f"silent for {silent_s:.2f} s of a hold of {HOLD_S:.0f} s")
    assert abs(silent_s - round(HOLD_S)) < 0.5, f"no RTP for {silent_s:.2f} s in a hold of {HOLD_S:.0f} s"
    assert agent.missing() == 0, f"{agent.missing()} packets never came"
    passed_s = (after.timestamp - before.timestamp & 0xFFFFFFFF) / sound.RATE
    assert abs(passed_s - silent_s) < 0.05, f"the RTP clock went on by {passed_s:.2f} s in the hold"
    callers = lab.capture.streams(target_ports=lab.ports.gateway_rtp)
    ended = max(at for stream in callers for at in stream.loud_times(0, float("inf")))
    check_echo(lab, "wire", agent.samples(), hz, after=ended - agent.packets[0].at)
    lab.gateway.check_records(1, "caller_hung_up")


def agent_hangs_up(lab):
    """The star over TCP: the gateway's BYE reaches Asterisk on the connection of the call."""
    lab.start_gateway()
    steps = ["Answer()", f"Wait({LISTEN_S})", "SendDTMF(*)", "Wait(20)"]
    pbx = lab.asterisk(extension("press", *steps), transport="tcp")
    pbx.call("press")
    time.sleep(LISTEN_S)
    pbx.wait_until_quiet(SLACK_S + CONFIRMATION_S_MAX)
    byes = [line for line in pbx.said().splitlines() if line.startswith("BYE ")]
    assert len(byes) == 1 and "Received SIP request" in line_before(pbx.said(), byes[0]), f"the BYEs were {byes}"
    lab.gateway.check_records(1, "agent_hung_up")


def line_before(text, line):
    lines = text.splitlines()
    return lines[lines.index(line) - 1]


SCENARIOS = {
    "asterisk-pcmu": conversation("PCMU", "udp", 600),
    "asterisk-pcma": conversation("PCMA", "tcp", 820),
    "asterisk-digits": digits,
    "asterisk-hold": hold,
    "asterisk-agent-ends": agent_hangs_up,
}
