"""What trunks ask of a gateway beyond a call that comes in and ends: SIPp on either side of session timers, early media, redirects,
forks, crossings and requests in the middle of a call.

A callee is SIPp at the peer's port, called through the trunk `pbx`; a caller is SIPp as in `sipp_scenarios`.
"""

import threading
from dataclasses import dataclass, field

import sipp
from gateway import trunk
from sipp_scenarios import Scenario

# Seconds: short enough to see five refreshes in ten seconds.
EXPIRES_S = 4
REFRESHES = 5
SHORT_TIMERS = f"session_expires_s = {EXPIRES_S}\n"
TIMER = f"Session-Expires: {EXPIRES_S}"
# Well before the gateway gives up, at two thirds of the interval; all refreshes together take longer than it.
REFRESH_MS = 1000
REFRESHER = ("Supported: timer", f"{TIMER};refresher=uac")


# --- callees --------------------------------------------------------------------------------------------------------


@dataclass
class Callee:
    """What SIPp does when it is called, and how the call must end in the record; one call after the other."""

    steps: list
    outcome: str
    calls: int = 3
    # Ends each call by the control API once the callee's phone is off the hook.
    hangs_up: bool = False
    request: dict = field(default_factory=dict)
    trunk: str = ""

    def options(self, ports):
        reached = f'host = "127.0.0.1"\nport = {ports.peer}\ntransport = "udp"\n{self.trunk}'
        return {"trunks": trunk("pbx", "127.0.0.1/32", reached), "api": True}

    def __call__(self, lab):
        failed = []
        callee = threading.Thread(target=self.answer, args=(lab, failed))
        callee.start()
        for _ in range(self.calls):
            call = lab.gateway.place_call("callee", **self.request)
            if self.hangs_up:
                lab.gateway.wait_for_state(call, "talking")
                status, answer = lab.gateway.api("DELETE", f"/v1/calls/{call}")
                assert status in (200, 202, 204), f"{status}: {answer}"
            lab.gateway.wait_for_state(call, "ended", seconds=30)
        callee.join()
        assert not failed, failed[0]
        lab.gateway.check_records(self.calls, self.outcome)

    def answer(self, lab, failed):
        try:
            sipp.listen(lab.folder, lab.ports, self.steps, self.calls)
        except AssertionError as error:
            failed.append(str(error))


RINGS = sipp.reply(180, "Ringing")
ANSWERS = sipp.reply(200, "OK", codec="PCMU")
CONNECTED = [sipp.CALLED, RINGS, ANSWERS, sipp.CONFIRMED]
ENDED_BY_US = [sipp.receive("BYE"), sipp.reply(200, "OK", tag=None)]
ENDS = [sipp.callee_request("BYE", 1), sipp.OK]


def refuses(status, phrase, extra=()):
    return [sipp.CALLED, sipp.reply(status, phrase, extra=extra), sipp.receive("ACK")]


REFRESHED = [sipp.receive("UPDATE"), sipp.reply(200, "OK", extra=(f"{TIMER};refresher=uac", "Require: timer"), tag=None)]


CALLEES = {
    "out-hang-up": Callee([*CONNECTED, *ENDED_BY_US], "api_hung_up", hangs_up=True),
    "out-callee-hangs-up": Callee([*CONNECTED, sipp.pause(300), *ENDS], "callee_hung_up"),
    "out-busy": Callee(refuses(486, "Busy Here"), "busy"),
    "out-declined": Callee(refuses(603, "Decline"), "declined"),
    "out-not-found": Callee(refuses(404, "Not Found"), "not_found"),
    "out-no-answer": Callee(
        [
            *[sipp.CALLED, RINGS, sipp.receive("CANCEL"), sipp.reply(200, "OK")],
            *[sipp.reply_to_invite(487, "Request Terminated"), sipp.receive("ACK")],
        ],
        "no_answer",
        calls=2,
        request={"ring_timeout_s": 1},
    ),
    # The answer crosses the CANCEL: it has to be acknowledged and ended.
    "out-answer-crosses-cancel": Callee(
        [
            *[sipp.CALLED, RINGS, sipp.receive("CANCEL"), sipp.reply(200, "OK")],
            *[sipp.reply_to_invite(200, "OK", codec="PCMU"), sipp.receive("ACK"), *ENDED_BY_US],
        ],
        "no_answer",
        calls=2,
        request={"ring_timeout_s": 1},
    ),
    "out-early-media": Callee(
        [sipp.CALLED, sipp.reply(183, "Session Progress", codec="PCMU"), sipp.pause(300), *CONNECTED[2:], *ENDED_BY_US],
        "api_hung_up",
        hangs_up=True,
    ),
    "out-prack": Callee(
        [
            *[sipp.CALLED, sipp.reply(183, "Session Progress", extra=("Require: 100rel", "RSeq: 17"), codec="PCMU")],
            *[sipp.receive("PRACK"), sipp.reply(200, "OK", tag=None), sipp.reply_to_invite(200, "OK")],
            *[sipp.receive("ACK"), *ENDED_BY_US],
        ],
        "api_hung_up",
        hangs_up=True,
    ),
    "out-redirected": Callee(
        [
            *refuses(302, "Moved Temporarily", ("Contact: <sip:second@[local_ip]:[local_port]>",)),
            *[*CONNECTED, *ENDED_BY_US],
        ],
        "api_hung_up",
        hangs_up=True,
    ),
    # Each fork rings; the one that answers first is the call, the other one is sent home.
    "out-forked": Callee(
        [
            *[sipp.CALLED, sipp.reply(180, "Ringing", tag="a"), sipp.reply(180, "Ringing", tag="b")],
            *[sipp.reply(200, "OK", tag="b", codec="PCMU"), sipp.receive("ACK")],
            *[sipp.reply_to_invite(200, "OK", tag="a", codec="PCMU"), sipp.receive("ACK")],
            *ENDED_BY_US,
            *ENDED_BY_US,
        ],
        "api_hung_up",
        hangs_up=True,
    ),
    "out-challenged-for-ever": Callee(
        sum(([sipp.CALLED, sipp.challenge(number), sipp.receive("ACK")] for number in range(2)), []),
        "rejected",
        trunk='login_username = "gw"\nlogin_password = "env:LAB_UPLINK"\n',
    ),
    "out-refreshes": Callee(
        [
            *[sipp.CALLED, RINGS, sipp.reply(200, "OK", extra=(f"{TIMER};refresher=uac", "Require: timer"), codec="PCMU")],
            sipp.CONFIRMED,
            *(REFRESHED * REFRESHES),
            *ENDS,
        ],
        "callee_hung_up",
        calls=1,
        trunk=SHORT_TIMERS,
    ),
    "out-is-refreshed": Callee(
        [
            *[sipp.CALLED, RINGS, sipp.reply(200, "OK", extra=(f"{TIMER};refresher=uas", "Require: timer"), codec="PCMU")],
            sipp.CONFIRMED,
            *sum(
                (
                    [sipp.pause(REFRESH_MS), sipp.callee_request("UPDATE", number, REFRESHER), sipp.OK]
                    for number in range(1, REFRESHES + 1)
                ),
                [],
            ),
            *[sipp.callee_request("BYE", REFRESHES + 1), sipp.OK],
        ],
        "callee_hung_up",
        calls=1,
        trunk=SHORT_TIMERS,
    ),
}


# --- callers --------------------------------------------------------------------------------------------------------

LAB = {"trunks": trunk(login=SHORT_TIMERS)}
WITHOUT_UPDATE = "INVITE, ACK, BYE, CANCEL"


def timed(refresher, allow=sipp.ALLOW):
    return sipp.invite(extra=("Supported: timer", f"{TIMER};refresher={refresher}", f"Allow: {allow}"))


def request(method, number, extra=(), body="", content_type="application/sdp"):
    return sipp.in_dialog(method, number, body, extra=extra, content_type=content_type)


HOLD = sipp.sdp("PCMU").replace("a=sendrecv", "a=sendonly")

# The greeting of five seconds, before the answer.
EARLY_PACKETS_MIN = 200


@dataclass
class GreetedEarly(Scenario):
    """The greeting is heard before the answer, which comes when it is over."""

    def __call__(self, lab):
        super().__call__(lab)
        sent = lab.gateway.metrics()["patchcord_rtp_packets_sent_total"]
        assert sent >= self.calls * EARLY_PACKETS_MIN, f"{sent:g} packets to {self.calls} callers before the answer"
        lab.note(f"{sent / self.calls:g} packets before the answer")


@dataclass
class Pressed(Scenario):
    """Each call has two digits in its record."""

    def __call__(self, lab):
        super().__call__(lab)
        digits = [record["digits"] for record in lab.gateway.records()]
        assert digits == [2] * self.calls, f"digits in the records: {digits}"


CALLERS = {
    "in-prack": GreetedEarly(
        [
            *[sipp.invite(extra=("Supported: 100rel",)), sipp.EARLY, request("PRACK", 2, ("RAck: [$rseq] 1 INVITE",))],
            *[sipp.OK, '<recv response="200" rrs="true" timeout="12000"/>', sipp.ack(), sipp.hang_up(3)],
        ],
        "caller_hung_up",
        calls=5,
        options={"early_media": True},
    ),
    "in-update-hold": Scenario(
        [
            *[sipp.invite(), sipp.ANSWER, sipp.ack()],
            *[request("UPDATE", 2, body=HOLD), sipp.ok_with("recvonly")],
            *[request("UPDATE", 3, body=sipp.sdp("PCMU")), sipp.ok_with("sendrecv"), sipp.hang_up(4)],
        ],
        "caller_hung_up",
        calls=20,
    ),
    # We refresh by UPDATE where it is allowed, else by re-INVITE.
    "in-refreshed-by-update": Scenario(
        [
            *[timed("uas"), sipp.ANSWER_KEPT, sipp.ack()],
            *([sipp.receive("UPDATE"), sipp.reply(200, "OK", extra=(f"{TIMER};refresher=uac",), tag=None)] * REFRESHES),
            sipp.hang_up_as_caller(),
        ],
        "caller_hung_up",
        calls=5,
        options=LAB,
    ),
    "in-refreshed-by-invite": Scenario(
        [
            *[timed("uas", WITHOUT_UPDATE), sipp.ANSWER_KEPT, sipp.ack()],
            *(
                [
                    sipp.receive("INVITE"),
                    sipp.reply(200, "OK", (f"{TIMER};refresher=uac",), codec="PCMU", tag=None, allow=WITHOUT_UPDATE),
                    sipp.receive("ACK"),
                ]
                * REFRESHES
            ),
            sipp.hang_up_as_caller(),
        ],
        "caller_hung_up",
        calls=5,
        options=LAB,
    ),
    "in-refreshes": Scenario(
        [
            *[timed("uac"), sipp.ANSWER, sipp.ack()],
            *sum(
                (
                    [sipp.pause(REFRESH_MS), request("UPDATE", number, REFRESHER), sipp.OK]
                    for number in range(2, REFRESHES + 2)
                ),
                [],
            ),
            sipp.hang_up(REFRESHES + 2),
        ],
        "caller_hung_up",
        calls=5,
        options=LAB,
    ),
    "in-not-refreshed": Scenario(
        [timed("uac"), sipp.ANSWER, sipp.ack(), sipp.answer_bye()], "session_expired", calls=5, options=LAB
    ),
    "in-interval-too-small": Scenario(
        [
            sipp.invite(extra=("Supported: timer", "Session-Expires: 10")),
            *[sipp.PROGRESS, '<recv response="422"/>', sipp.ack_of_refusal()],
        ],
        "bad_request",
        calls=5,
    ),
    "in-overlapping-offers": Scenario(
        [
            *[sipp.invite(), sipp.ANSWER, sipp.ack()],
            *[request("INVITE", 2, (sipp.CONTACT,), sipp.sdp("PCMU")), sipp.ANSWER],
            # The ACK of the first is not there yet.
            *[request("INVITE", 3, (sipp.CONTACT,), sipp.sdp("PCMU")), '<recv response="100" optional="true"/>'],
            *['<recv response="491"/>', sipp.ack_of_in_dialog_refusal(3), sipp.ack(2), sipp.hang_up(4)],
        ],
        "caller_hung_up",
        calls=5,
    ),
    "in-refer-refused": Scenario(
        [
            *[sipp.invite(), sipp.ANSWER, sipp.ack()],
            *[request("REFER", 2, (sipp.CONTACT, "Refer-To: <sip:other@127.0.0.1>")), '<recv response="603"/>'],
            sipp.hang_up(3),
        ],
        "caller_hung_up",
        calls=5,
    ),
    "in-replaces-nothing": Scenario(
        [
            sipp.invite(extra=("Replaces: nothing;to-tag=a;from-tag=b",)),
            *[sipp.PROGRESS, '<recv response="481"/>', sipp.ack_of_refusal()],
        ],
        "bad_request",
        calls=5,
    ),
    "in-unknown-extension": Scenario(
        [sipp.invite(extra=("Require: wormhole",)), sipp.PROGRESS, '<recv response="420"/>', sipp.ack_of_refusal()],
        "bad_request",
        calls=5,
    ),
    "in-digits-by-info": Pressed(
        [
            *[sipp.invite(), sipp.ANSWER, sipp.ack()],
            *[request("INFO", 2, body="Signal=5\nDuration=160", content_type="application/dtmf-relay"), sipp.OK],
            *[request("INFO", 3, body="7", content_type="application/dtmf"), sipp.OK, sipp.hang_up(4)],
        ],
        "caller_hung_up",
        calls=5,
    ),
}
