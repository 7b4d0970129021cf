"""What a caller written by hand asks of a gateway that no phone and no load generator asks: see caller.py."""

from caller import Caller, directive
from gateway import LEVELS, LOGIN, PASSWORD, trunk

# Which hosts of 127.0.0.0/8 call, and with what they are challenged.
SHA, BOTH, PLAIN, STRANGER = "127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.9"
TRUNKS = "".join(
    [
        trunk("sha", f"{SHA}/32", LOGIN + '\ndigest = ["sha-256"]'),
        trunk("both", f"{BOTH}/32", LOGIN),
        trunk("plain", f"{PLAIN}/32"),
    ]
)


def digest(lab):
    """A challenge offers what the trunk takes; nothing else proves anything, and nothing proves anything twice."""
    lab.start_gateway(trunks=TRUNKS)
    caller = lab.caller(SHA)
    challenge = caller.invite()
    expect(challenge, 401)
    assert challenge.algorithms() == ["SHA-256"], f"a SHA-256 trunk is offered {challenge.algorithms()}"
    assert directive(challenge.first("WWW-Authenticate"), "qop") == "auth", "the challenge does not ask for qop=auth"
    other = caller.invite_again(caller.answer(challenge, "MD5", PASSWORD))
    expect(other, 401)
    assert other.algorithms() == ["SHA-256"], f"after an MD5 answer {other.algorithms()} is offered"
    wrong = caller.invite_again(caller.answer(other, "SHA-256", "guess"))
    expect(wrong, 403, "auth_failed")

    challenge = caller.invite()
    proof = caller.answer(challenge, "SHA-256", PASSWORD)
    expect(caller.invite_again(proof), 200)
    again = caller.repeat()
    assert set(again) <= {200}, f"a retransmitted INVITE is answered with {again}"
    expect(caller.hang_up(), 200)
    replayed = caller.invite(proof)
    expect(replayed, 401)
    assert directive(replayed.first("WWW-Authenticate"), "stale") == "true", "a replay is not told to be stale"
    expect(caller.invite_again(caller.answer(challenge, "SHA-256", PASSWORD, count=2)), 200)
    expect(caller.hang_up(), 200)

    caller = lab.caller(BOTH)
    challenge = caller.invite()
    assert challenge.algorithms() == ["SHA-256", "MD5"], f"by default {challenge.algorithms()} is offered"
    expect(caller.invite_again(caller.answer(challenge, "MD5", PASSWORD)), 200)
    expect(caller.hang_up(), 200)
    lab.gateway.check_records(3, "caller_hung_up")


def strangers(lab):
    """Options are told to those who may call; others are refused with the reason and leave nothing behind."""
    lab.start_gateway(trunks=TRUNKS)
    known = lab.caller(PLAIN)
    allowed = known.options()
    expect(allowed, 200)
    assert {"INVITE", "ACK", "BYE", "CANCEL", "OPTIONS"} <= set(allowed.first("Allow").replace(",", " ").split())
    expect(known.hang_up(), 481)
    stranger = lab.caller(STRANGER)
    expect(stranger.invite(), 403, "unknown_source")
    metrics = lab.gateway.metrics()
    left = [name for name in LEVELS if metrics[name]]
    assert not left, f"a stranger left {left}"
    assert not lab.gateway.records(), "a record of a call that never was"


def expect(response, status, reason=""):
    told = response.first("Reason")
    assert response.status == status, f"{response.status} instead of {status} ({told})"
    assert reason in told, f"the reason is {told}, not {reason}"


SCENARIOS = {"caller-digest": digest, "caller-strangers": strangers}
