"""What carriers do, by the hundred, and what they do wrong: SIPp against a running gateway.

Each says how many calls it makes and how every one of them must end; after it nothing may be left.
"""

import socket
import threading
from dataclasses import dataclass, field

import sipp
import sound
from gateway import LOGIN, PASSWORD, realtime_backend, trunk

CALLS, RATE = 200, 20
TALK_MS = 2500
# SIPp 3.6 gives up when the first of several challenges is not MD5.
MD5_TRUNK = {"trunks": trunk(login=LOGIN + '\ndigest = ["md5"]')}


@dataclass
class Scenario:
    """The messages, the call's outcome in the records, and what the gateway must be configured with."""

    steps: list
    outcome: str
    calls: int = CALLS
    transport: str = "u1"
    password: str | None = None
    # Sends and receives RTP: only one of these runs at a time, as they measure nothing but load the machine.
    heavy: bool = False
    # The session never comes up, so that the caller hears ringing.
    rings: bool = False
    # Every datagram of the caller arrives this often.
    copies: int = 1
    options: dict = field(default_factory=dict)

    def __call__(self, lab):
        steps = [step.replace("@VOICE@", str(lab.tone_file())) for step in self.steps]
        with lab.load if self.heavy else lab.light:
            self.play(lab, steps)
        lab.gateway.check_records(self.calls, self.outcome)
        if self.heavy:
            self.check_media(lab)

    def play(self, lab, steps):
        arguments = (lab.folder, lab.ports, steps, self.calls, RATE, self.transport, self.password)
        if self.copies == 1:
            return sipp.play(*arguments)
        with Repeater(lab.ports.sip, self.copies) as between:
            return sipp.play(*arguments, target=between.port)

    def check_media(self, lab):
        """Both directions carried sound in every call, as far as totals can tell."""
        metrics = lab.gateway.metrics()
        least = self.calls * (TALK_MS / 20) * 0.8
        for name in ("patchcord_rtp_packets_received_total", "patchcord_rtp_packets_sent_total"):
            assert metrics[name] >= least, f"{name} is {metrics[name]:g}, below {least:g}"
        lab.note(f"{metrics['patchcord_rtp_packets_received_total']:g} packets in, "
                 f"{metrics['patchcord_rtp_packets_sent_total']:g} out, "
                 f"{metrics['patchcord_rtp_packets_lost_total']:g} lost")


TALK = [sipp.speak("@VOICE@"), sipp.pause(TALK_MS)]

SCENARIOS = {
    "sipp-calls": Scenario(
        [sipp.invite(), sipp.ANSWER, sipp.ack(), *TALK, sipp.hang_up()], "caller_hung_up", heavy=True
    ),
    "sipp-calls-tcp": Scenario(
        [sipp.invite(retrans=False), sipp.ANSWER, sipp.ack(), *TALK, sipp.hang_up()],
        "caller_hung_up",
        transport="tn",
        heavy=True,
    ),
    "sipp-digest": Scenario(
        [
            *[sipp.invite(), sipp.CHALLENGE, sipp.ack_of_refusal()],
            *[sipp.invite(number=2, extra=sipp.AUTHENTICATION), sipp.ANSWER, sipp.ack(2), *TALK],
            sipp.hang_up(3),
        ],
        "caller_hung_up",
        password=PASSWORD,
        heavy=True,
        options=MD5_TRUNK,
    ),
    "sipp-repeated": Scenario(
        [sipp.invite(), sipp.ANSWER, sipp.ack(), *TALK, sipp.hang_up()], "caller_hung_up", heavy=True, copies=3
    ),
    "sipp-cancel": Scenario(
        [
            *[sipp.invite(), sipp.RINGING, sipp.pause(200), sipp.cancel(), sipp.OK],
            *['<recv response="487"/>', sipp.ack_of_refusal()],
        ],
        "cancelled",
        rings=True,
    ),
    "sipp-lost-ack": Scenario([sipp.invite(), sipp.ANSWER, sipp.answer_bye()], "ack_timeout"),
    "sipp-offer-in-ack": Scenario(
        [
            *[sipp.invite(codec=None), sipp.ANSWER, sipp.ack(codec="PCMU")],
            *[sipp.speak("@VOICE@"), sipp.pause(1000), sipp.hang_up()],
        ],
        "caller_hung_up",
        calls=20,
    ),
    # Answered before there is a session; comfort tone until the caller gives up.
    "sipp-at-once": Scenario(
        [sipp.invite(), sipp.AT_ONCE, sipp.ack(), sipp.pause(1000), sipp.hang_up()],
        "caller_hung_up",
        calls=20,
        rings=True,
        options={"answer": "at_once"},
    ),
    "sipp-wrong-password": Scenario(
        [
            *[sipp.invite(), sipp.CHALLENGE, sipp.ack_of_refusal()],
            *[sipp.invite(number=2, extra=sipp.AUTHENTICATION), sipp.refusal(403, "auth_failed")],
            sipp.ack_of_refusal(number=2),
        ],
        "auth_failed",
        calls=20,
        password="wrong",
        options=MD5_TRUNK,
    ),
    "sipp-no-route": Scenario(
        [sipp.invite(user="nobody"), sipp.refusal(404, "no_route"), sipp.ack_of_refusal(user="nobody")],
        "no_route",
        calls=20,
    ),
    "sipp-no-common-codec": Scenario(
        [sipp.invite(codec="GSM"), sipp.refusal(488, "no_common_codec"), sipp.ack_of_refusal()],
        "no_common_codec",
        calls=20,
    ),
}


class Repeater:
    """Stands between a caller and the gateway and passes the caller's datagrams on so often."""

    def __init__(self, gateway_port, copies):
        self.gateway, self.copies, self.caller = ("127.0.0.1", gateway_port), copies, None
        self.near, self.far = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        for side in (self.near, self.far):
            side.bind(("127.0.0.1", 0))
            side.settimeout(0.1)
        self.port = self.near.getsockname()[1]
        self.ended = threading.Event()
        self.threads = [threading.Thread(target=side, daemon=True) for side in (self._forth, self._back)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        for thread in self.threads:
            thread.join()
        self.near.close()
        self.far.close()

    def _forth(self):
        for data, self.caller in self._datagrams(self.near):
            for _ in range(self.copies):
                self.far.sendto(data, self.gateway)

    def _back(self):
        for data, _ in self._datagrams(self.far):
            self.near.sendto(data, self.caller)

    def _datagrams(self, side):
        while not self.ended.is_set():
            try:
                yield side.recvfrom(65536)
            except socket.timeout:
                pass


def silent_backend():
    """A listening socket behind which nobody answers, and the backend that points to it."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    return listener, realtime_backend(listener.getsockname()[1])


def tone_file(folder):
    """A second of tone as headerless PCMU, which SIPp repeats."""
    path = folder / "tone.ulaw"
    path.write_bytes(sound.g711_encode(sound.tone(440, 1.0), sound.ULAW))
    return path
