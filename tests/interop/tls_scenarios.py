"""A phone over TLS that shows a certificate of its own, and what phones and the gateway hand on to each other (REFER)."""

import time

import sound
from asterisk_scenarios import check_refused
from certificates import Authority
from phone_scenarios import ANSWER_S, LISTEN_S, TONE_S, check_echo, conversation, hold, operator, voice

# The caller is sent on in the middle of the greeting, and its second call is there so soon after.
SENT_ON_S = 3
SECOND_S_MAX = 5


def refers(lab):
    """The phone asks the gateway to call somebody else; it does not, by default. baresip then hangs up by itself, so
    that the call goes on is asked with Asterisk."""
    phone = start(lab, 650)
    time.sleep(SENT_ON_S)
    phone.control.command("transfer", "sip:other@127.0.0.1:9")
    phone.wait_for_log("BYE sip:", SECOND_S_MAX)
    phone.stop()
    check_refused(phone.said())
    _, agent = lab.streams()
    assert agent.loud_times(0, float("inf")), "no greeting was heard"
    lab.gateway.check_records(1, "caller_hung_up")


def transferred(lab):
    """The gateway tells the phone to call somebody else, here the operator once more, and the phone does."""
    hz = 770
    phone = start(lab, hz, api=True)
    time.sleep(SENT_ON_S)
    call = lab.gateway.calls()[0]["id"]
    asked = time.time()
    lab.gateway.transfer(call, operator(lab, "tls"))
    lab.gateway.wait_for_records(1, SECOND_S_MAX)
    time.sleep(LISTEN_S + TONE_S + ANSWER_S)
    phone.stop()
    for words in ("REFER sip:", "202 Accepted", "NOTIFY sip:"):
        assert words in phone.said(), f"{words} is missing in what the phone saw"
    caller, agent = lab.streams(since=asked)
    check_echo(lab, "wire", agent.samples(), hz, after=caller.loud_times(0, float("inf"))[-1] - agent.packets[0].at)
    outcomes = [record["outcome"]["cause"] for record in lab.gateway.wait_for_records(2)]
    assert outcomes == ["transferred", "caller_hung_up"], f"the records say {outcomes}"


def stranger(lab):
    """A phone whose certificate is of an authority the gateway does not know gets no word out."""
    lab.start_gateway(**lab.identity_for("tls"))
    phone = lab.softphone("PCMU", "tls", voice(lab.folder), authority=Authority(lab.folder / "other"))
    phone.control.command("dial", operator(lab, "tls"))
    assert not phone.control.wait_event("CALL_ESTABLISHED", SECOND_S_MAX), "a stranger could call"
    phone.stop()
    assert "tls_handshake" in lab.gateway.log_tail(), "the gateway does not say why"
    assert not lab.gateway.records(), "a record of a call that never was"


def start(lab, hz, **settings):
    """A phone in a call over TLS."""
    lab.start_gateway(**lab.identity_for("tls"), **settings)
    phone = lab.softphone("PCMU", "tls", voice(lab.folder, sound.silence(LISTEN_S, 48000), sound.tone(hz, TONE_S, 48000)))
    phone.dial(operator(lab, "tls"))
    return phone


SCENARIOS = {
    "baresip-tls-pcmu": conversation("PCMU", "tls", 590),
    "baresip-tls-hold": hold("tls", 510),
    "baresip-tls-stranger": stranger,
    "baresip-tls-refers": refers,
    "baresip-tls-transferred": transferred,
}
