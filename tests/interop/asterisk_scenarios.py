"""What a switchboard does, with Asterisk: it calls, holds and dials digits; it is registered with, called and transfers.

Asterisk runs small dial plans written here; sound is judged by what passed and by Asterisk's own recording.
"""

import re
import time

import phone_scenarios
import sound
from gateway import UPLINK_USER, uplink
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
    pbx = lab.asterisk(speaks(lab, hz, held), options="direct_media = no\nmoh_passthrough = yes")
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


def direct_media(lab):
    """A phone calls through Asterisk, which then takes itself out of the way of the sound: its re-INVITE moves it."""
    hz = 880
    lab.start_gateway()
    pbx = lab.asterisk(extension("operator", "Dial(PJSIP/operator@gateway)"), options="direct_media = yes")
    speech = phone_scenarios.voice(lab.folder, sound.silence(LISTEN_S, 48000), sound.tone(hz, TONE_S, 48000))
    phone = lab.softphone("PCMU", "udp", speech)
    phone.dial(f"sip:operator@127.0.0.1:{lab.ports.peer}")
    time.sleep(LISTEN_S + TONE_S + ANSWER_S)
    phone.control.command("hangup")
    time.sleep(0.5)
    phone.stop()
    pbx.wait_until_quiet(SLACK_S)
    own = int(re.search(r"m=audio (\d+) ", phone.said())[1])
    time.sleep(0.3)
    agents = lab.capture.streams(source_ports=lab.ports.gateway_rtp)
    assert len({stream.packets[0].ssrc for stream in agents}) == 1, "the agent's stream changed its SSRC"
    target = agents[0].packets[0].target
    assert target == own, f"the agent's voice went to {target}, the phone is at {own}"
    moved_s = agents[0].packets[0].at - min(stream.packets[0].at for stream in agents)
    lab.note(f"the sound was moved after {moved_s:.2f} s")
    rate, samples = sound.read_wav(phone.heard())
    check_echo(lab, "recording", samples, hz, after=LISTEN_S + TONE_S - 0.5, rate=rate)
    lab.gateway.check_records(1, "caller_hung_up")


def registered(lab):
    """The gateway registers, is called where it registered, and has the registration taken back when it ends."""
    hz = 640
    pbx = lab.asterisk(speaks(lab, hz))
    start_registered(lab, pbx)
    assert "401 Unauthorized" in pbx.said(), "Asterisk did not ask for a password"
    pbx.call("talk", endpoint=UPLINK_USER)
    hear_out(lab, pbx, hz)
    check_record(lab, lab.gateway.check_records(1, "caller_hung_up"), "PCMU", trunk="pbx")


def start_registered(lab, pbx):
    """A gateway that has logged in at Asterisk."""
    lab.start_gateway(trunks=uplink(lab.ports), api=True)
    lab.gateway.wait_for_metric('patchcord_trunk_registered{trunk="pbx"}', 1, REGISTER_S_MAX)
    pbx.wait_for_contact(UPLINK_USER, REGISTER_S_MAX)
    lab.uplinked(lambda: pbx.wait_for_log("Removed contact", REGISTER_S_MAX))


def start_calling(lab, *steps, **more):
    """Asterisk with one extension, 100, and a gateway that calls it without being registered: a call is challenged."""
    pbx = lab.asterisk(extension("100", *steps))
    lab.start_gateway(trunks=uplink(lab.ports, register=False), api=True)
    return pbx, lab.gateway.place_call("100", **more)


def called_out(lab):
    """The gateway calls, is asked for its login, and the operator speaks to who answers, who hangs up in the end."""
    hz = 680
    pbx = lab.asterisk(speaks(lab, hz))
    lab.start_gateway(trunks=uplink(lab.ports, register=False), api=True)
    call = lab.gateway.place_call(f"sip:talk@127.0.0.1:{lab.ports.peer}")
    lab.gateway.wait_for_state(call, "talking")
    assert "401 Unauthorized" in pbx.said(), "Asterisk did not ask for a password"
    hear_out(lab, pbx, hz)
    lab.gateway.wait_for_state(call, "ended")
    check_record(lab, lab.gateway.check_records(1, "callee_hung_up"), "PCMU", trunk="pbx", route=None)


def early(lab):
    """A tone before the answer (183): the call is early, then talking; the control API hangs up."""
    pbx, call = start_calling(lab, "Progress()", "Playtones(440)", f"Wait({RING_S})", "StopPlaytones()", "Answer()", "Wait(30)")
    lab.gateway.wait_for_state(call, "early")
    assert "SIP/2.0 183 " in pbx.said(), "Asterisk sent no 183"
    lab.gateway.wait_for_state(call, "talking")
    # The greeting.
    time.sleep(2)
    lab.gateway.hang_up(call)
    pbx.wait_until_quiet(SLACK_S)
    caller, agent = lab.streams()
    heard = sound.find_tone(caller.samples())
    assert abs(heard.hz / 440 - 1) <= 0.01, f"the early tone was {heard}"
    assert agent.loud_times(0, float("inf")), "no greeting after the answer"
    lab.gateway.check_records(1, "api_hung_up")


def busy(lab):
    """486."""
    pbx, call = start_calling(lab, "Busy(2)")
    lab.gateway.wait_for_state(call, "ended")
    assert "SIP/2.0 486 " in pbx.said(), "Asterisk was not busy"
    check_turned_down(lab, "busy", 486)


def no_answer(lab):
    """It rings, and Asterisk gives up: 480."""
    pbx, call = start_calling(lab, "Ringing()", f"Wait({RING_S})", "Hangup(19)")
    lab.gateway.wait_for_state(call, "ringing")
    lab.gateway.wait_for_state(call, "ended")
    assert "SIP/2.0 480 " in pbx.said(), "Asterisk did not give up"
    check_turned_down(lab, "no_answer", 480)


def given_up(lab):
    """It rings, and the control API gives up: CANCEL."""
    pbx, call = start_calling(lab, "Ringing()", "Wait(30)")
    lab.gateway.wait_for_state(call, "ringing")
    time.sleep(RING_S)
    lab.gateway.hang_up(call)
    check_cancelled(lab, pbx, "api_hung_up")


def rung_out(lab):
    """It rings for as long as the call was given: CANCEL."""
    pbx, call = start_calling(lab, "Ringing()", "Wait(30)", ring_timeout_s=RING_S)
    lab.gateway.wait_for_state(call, "ringing")
    lab.gateway.wait_for_state(call, "ended", RING_S + SLACK_S)
    check_cancelled(lab, pbx, "no_answer")


def check_cancelled(lab, pbx, cause):
    pbx.wait_for_log("\nCANCEL sip:", SLACK_S)
    pbx.wait_for_log("SIP/2.0 487 ", SLACK_S)
    pbx.wait_until_quiet(SLACK_S)
    lab.gateway.check_records(1, cause)
    check_silent(lab)


def check_turned_down(lab, cause, status):
    outcome = lab.gateway.check_records(1, cause)["outcome"]
    assert outcome["sip_code"] == status, f"the record says {outcome}"
    check_silent(lab)


def check_silent(lab):
    """Nobody answered: the operator said nothing to anybody."""
    time.sleep(0.3)
    sent = lab.capture.streams(source_ports=lab.ports.gateway_rtp)
    assert not sent, f"{len(sent)} streams were sent to who never answered"


def dialled_digits(lab):
    """Digits by the control API reach Asterisk as telephone-events, each once, in order."""
    pbx, call = start_calling(lab, "Answer()", "Read(digits,,4,,1,15)", "Verbose(0,DIGITS=${digits}.)", "Wait(1)")
    lab.gateway.wait_for_state(call, "talking")
    time.sleep(1)
    lab.gateway.send_digits(call, "12*5")
    pbx.wait_for_log("DIGITS=12*5.", SLACK_S)
    pbx.wait_until_quiet(SLACK_S)
    sent = [event.digit for event in lab.capture.events(lab.ports.phone_rtp)]
    assert sent == list("12*5"), f"on the wire: {sent}"
    lab.gateway.check_records(1, "callee_hung_up")


def transfer(lab):
    """The gateway has Asterisk pass its party on to another extension (REFER), which that party then hears."""
    hz = 900
    listens = extension("listen", "Answer()", f"MixMonitor({lab.folder}/mixed.wav,r({lab.folder}/heard.wav))", "Wait(30)")
    # From a file: a local channel has nothing that would drive Playtones.
    sound.write_wav(lab.folder / "target.wav", sound.tone(hz, TONE_S), sound.RATE)
    plays = extension("target", "Answer()", f"Playback({lab.folder}/target)")
    pbx = lab.asterisk(listens + plays + extension("gateway", "Dial(PJSIP/operator@gateway)"))
    lab.start_gateway(trunks=uplink(lab.ports, register=False), api=True)
    pbx.command("channel originate Local/listen@lab/n extension gateway@lab")
    time.sleep(3)
    lab.gateway.transfer(lab.gateway.calls()[0]["id"], f"sip:target@127.0.0.1:{lab.ports.peer}")
    pbx.wait_for_log("Executing [target@lab:1]", SLACK_S)
    pbx.wait_until_quiet(TONE_S + SLACK_S)
    for words in ("\nREFER sip:", "SIP/2.0 202 ", "\nNOTIFY sip:"):
        assert words in pbx.said(), f"{words.strip()} is missing in what Asterisk saw"
    rate, samples = sound.read_wav(lab.folder / "heard.wav")
    # The greeting was heard before; the recording ends with the tone.
    heard = sound.find_tone(samples[-round(0.75 * TONE_S * rate) :], rate)
    assert heard and heard.purity > 0.3 and abs(heard.hz / hz - 1) <= 0.01, f"after the transfer was heard {heard}"
    lab.note(f"after the transfer: {heard.hz:.1f} Hz")
    lab.gateway.check_records(1, "transferred")


def refers(lab):
    """Asterisk asks the gateway to call somebody else (REFER); it does not, by default, and the call goes on."""
    hz = 720
    lab.start_gateway()
    asks = ["Wait(1)", "Transfer(PJSIP/sip:other@127.0.0.1:9)", "Verbose(0,${TRANSFERSTATUS}.)"]
    pbx = lab.asterisk(speaks(lab, hz, asks))
    pbx.call("talk")
    pbx.wait_for_log("FAILURE.", SLACK_S)
    check_refused(pbx.said())
    hear_out(lab, pbx, hz)
    lab.gateway.check_records(1, "caller_hung_up")


def check_refused(said):
    """The answer to the first REFER of a log."""
    answer = re.search(r"SIP/2\.0 (\d+ [^\r\n]*)\r?\n(?:[^\r\n]+\r?\n)*CSeq: \d+ REFER", said)
    assert answer, "the REFER was not answered"
    assert answer[1][:3] in ("403", "603"), f"the REFER was answered with {answer[1]}"


def transferred(lab):
    """The switchboard passes the operator on by itself: from a phone, which had the sound sent to itself, to an extension.
    The gateway sees re-INVITEs only, and the operator speaks to the extension."""
    hz = 780
    lab.start_gateway()
    pbx = lab.asterisk(extension("operator", "Dial(PJSIP/operator@gateway)") + speaks(lab, hz), options="direct_media = yes")
    (lab.folder / "silence").mkdir()
    phone = lab.softphone("PCMU", "udp", phone_scenarios.voice(lab.folder / "silence"))
    phone.dial(f"sip:operator@127.0.0.1:{lab.ports.peer}")
    time.sleep(2)
    pbx.redirect("gateway", "talk")
    time.sleep(LISTEN_S + TONE_S + ANSWER_S)
    phone.stop()
    pbx.wait_until_quiet(SLACK_S)
    own = int(re.search(r"m=audio (\d+) ", phone.said())[1])
    time.sleep(0.3)
    agents = lab.capture.streams(source_ports=lab.ports.gateway_rtp)
    assert len({stream.packets[0].ssrc for stream in agents}) == 1, "the agent's stream changed its SSRC"
    packets = sorted((packet for stream in agents for packet in stream.packets), key=lambda packet: packet.at)
    targets = [packet.target for packet in packets]
    assert own in targets, f"nothing went to the phone at {own}, but to {set(targets)}"
    assert targets[-1] != own, "the agent's voice went to the phone to the end"
    rate, samples = sound.read_wav(lab.folder / "heard.wav")
    check_echo(lab, "recording", samples, hz, after=LISTEN_S + TONE_S - 0.5, rate=rate)
    lab.gateway.check_records(1, "caller_hung_up")


def line_before(text, line):
    lines = text.splitlines()
    return lines[lines.index(line) - 1]


SCENARIOS = {
    "asterisk-pcmu": conversation("PCMU", "udp", 600),
    "asterisk-pcma": conversation("PCMA", "tcp", 820),
    "asterisk-digits": digits,
    "asterisk-hold": hold,
    "asterisk-agent-ends": agent_hangs_up,
    "asterisk-direct-media": direct_media,
    "asterisk-registers": registered,
    "asterisk-called": called_out,
    "asterisk-early": early,
    "asterisk-busy": busy,
    "asterisk-no-answer": no_answer,
    "asterisk-rings": given_up,
    "asterisk-rings-out": rung_out,
    "asterisk-dialled-digits": dialled_digits,
    "asterisk-transfer": transfer,
    "asterisk-refers": refers,
    "asterisk-transferred": transferred,
}
