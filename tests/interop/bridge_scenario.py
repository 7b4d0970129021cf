"""A call that the gateway hands on by calling a second softphone itself: two baresips that hear each other through it.

Judged by their own recordings: each has the other's tone as it was said, although their codecs differ.
"""

import time

import sound
from gateway import Ports, trunk
from phone_scenarios import TONE_S, check_echo, operator
from softphone import Softphone

# The call is handed on in the middle of the greeting, and what is judged begins after that.
HANDED_ON_S, JOINED_S = 3.0, 4.5
# When the caller speaks, from the answer; and the second phone, from its own.
CALLER_S, HUMAN_S = 7.0, 2.5
CALLER_HZ, HUMAN_HZ = 620, 850


class SecondPorts(Ports):
    """The second phone's, in the same slot."""

    @property
    def phone(self):
        return self.peer

    @property
    def control(self):
        return self.sip + 10


def voice(folder, name, after_s, hz):
    path = folder / f"{name}.wav"
    samples = sound.silence(after_s, 48000) + sound.tone(hz, TONE_S, 48000) + sound.silence(30, 48000)
    sound.write_wav(path, samples, 48000)
    return path


def second_phone(lab, codec):
    ports = SecondPorts(lab.ports.slot, lab.ports.rtp, lab.ports.rtp_count)
    folder = lab.folder / "human"
    folder.mkdir()
    phone = Softphone(folder, ports, codec, "udp", voice(lab.folder, "human", HUMAN_S, HUMAN_HZ))
    lab.phones.append(phone)
    return phone, f"sip:caller@127.0.0.1:{ports.phone}"


def joined(codec, second_codec):
    """Both hear each other, the caller hangs up, and the second phone is hung up on."""

    def run(lab):
        lab.start_gateway(api=True, agent='transfer = "bridge"', trunks=trunk(login='host = "127.0.0.1"'))
        human, uri = second_phone(lab, second_codec)
        caller = lab.softphone(codec, "udp", voice(lab.folder, "caller", CALLER_S, CALLER_HZ))
        caller.dial(operator(lab))
        time.sleep(HANDED_ON_S)
        lab.gateway.transfer(lab.gateway.calls()[0]["id"], uri)
        assert human.control.wait_event("CALL_ESTABLISHED", 5), "the second phone was not called"
        time.sleep(CALLER_S + TONE_S)
        lab.gateway.check_metrics_with_promtool()
        caller.control.command("hangup")
        assert human.control.wait_event("CALL_CLOSED", 5), "the second phone was not hung up on"
        time.sleep(0.5)
        for phone in (caller, human):
            phone.stop()
        for where, phone, hz, after in [
            ("the caller's ear", caller, HUMAN_HZ, JOINED_S),
            ("the second phone's ear", human, CALLER_HZ, 0),
        ]:
            rate, samples = sound.read_wav(phone.heard())
            check_echo(lab, where, samples, hz, after, rate)
        record = lab.gateway.check_records(1, "caller_hung_up")
        transfer = record["transfer"]
        assert (transfer["way"], transfer["status"]) == ("bridge", 200), f"the record says {transfer}"
        lab.note(f"joined for {transfer['talk_ms'] / 1000:.1f} s")
        assert transfer["talk_ms"] > 1000 * CALLER_S - 1000, f"the record says {transfer}"

    return run


def busy(lab):
    """The second phone turns the call down: the caller is back with the operator, who says back what it says."""
    lab.start_gateway(api=True, agent='transfer = "bridge"', trunks=trunk(login='host = "127.0.0.1"'))
    human, uri = second_phone(lab, "PCMU")
    # The greeting goes on behind the attempt; the operator listens when it is over.
    caller = lab.softphone("PCMU", "udp", voice(lab.folder, "caller", 9.0, CALLER_HZ))
    caller.dial(operator(lab))
    time.sleep(HANDED_ON_S)
    # baresip knows nobody of another name, and says so.
    lab.gateway.transfer(lab.gateway.calls()[0]["id"], uri.replace("caller@", "stranger@"))
    time.sleep(9.0 - HANDED_ON_S + 2 * TONE_S + 3)
    for phone in (caller, human):
        phone.stop()
    rate, samples = sound.read_wav(caller.heard())
    check_echo(lab, "the caller's ear", samples, CALLER_HZ, 9.0 + TONE_S, rate)
    transfer = lab.gateway.check_records(1, "caller_hung_up")["transfer"]
    assert transfer["way"] == "bridge" and transfer["status"] >= 400, f"the record says {transfer}"
    lab.note(f"turned down with {transfer['status']}")


SCENARIOS = {
    "bridge-pcmu-pcma": joined("PCMU", "PCMA"),
    "bridge-g722-pcmu": joined("G722", "PCMU"),
    "bridge-turned-down": busy,
}
