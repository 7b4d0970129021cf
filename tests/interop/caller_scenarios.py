"""What a caller written by hand asks of a gateway that no phone and no load generator asks: see caller.py."""

import random
import socket
import time
from pathlib import Path

from caller import Caller, directive
from gateway import LEVELS, LOGIN, PASSWORD, outcome_of, trunk

# Which hosts of 127.0.0.0/8 call, and with what they are challenged.
SHA, BOTH, PLAIN, STRANGER = "127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.9"
TRUNKS = "".join(
    [
        trunk("sha", f"{SHA}/32", LOGIN + '\ndigest = ["sha-256"]'),
        trunk("both", f"{BOTH}/32", LOGIN),
        trunk("plain", f"{PLAIN}/32"),
    ]
)


# How many guesses are one too many, and for how long.
GUESSES, LOCKED_S = 3, 3
TORTURE = Path(__file__).resolve().parent.parent / "data" / "rfc4475"
GARBAGE, DATAGRAM_MAX = 50, 65507


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
    outcomes = sorted(map(outcome_of, lab.gateway.wait_for_records(4)))
    assert outcomes == ["auth_failed"] + ["caller_hung_up"] * 3, f"the records say {outcomes}"


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


def lockout(lab):
    """Who guesses passwords gets no answer any more, for a while; others are served meanwhile."""
    anyone = trunk("anyone", login=LOGIN).replace('from = ["127.0.0.0/8"]\n', "")
    limits = f"lockout_failures = {GUESSES}\nlockout_s = {LOCKED_S}\nrequests_per_s = 0"
    lab.start_gateway(trunks=anyone, defence=limits)
    guesser, other = lab.caller(PLAIN), lab.caller(BOTH)
    for _ in range(GUESSES):
        challenge = guesser.invite()
        expect(guesser.invite_again(guesser.answer(challenge, "SHA-256", "guess")), 403, "auth_failed")
    locked = time.monotonic()
    assert not guesser.is_answered(), f"an answer after {GUESSES} wrong passwords"
    challenge = other.invite()
    expect(other.invite_again(other.answer(challenge, "SHA-256", PASSWORD)), 200)
    expect(other.hang_up(), 200)
    lab.gateway.wait_for_metric('patchcord_sip_dropped_total{reason="locked_out"}', 1)
    time.sleep(max(0, locked + LOCKED_S + 0.2 - time.monotonic()))
    challenge = guesser.invite()
    expect(guesser.invite_again(guesser.answer(challenge, "SHA-256", PASSWORD)), 200)
    expect(guesser.hang_up(), 200)
    lab.gateway.check_records(2, "caller_hung_up")


def torture(lab):
    """The messages of RFC 4475 and garbage, by UDP and TCP, while somebody is in a call: it goes on, and the next works."""
    lab.start_gateway()
    caller = lab.caller()
    expect(caller.invite(), 200)
    messages = [path.read_bytes() for path in sorted(TORTURE.glob("*.dat"))]
    assert len(messages) >= 48, f"{len(messages)} messages in {TORTURE}"
    messages += list(garbage(messages, random.Random(4475)))
    heard = lambda: lab.gateway.metrics()["patchcord_sip_messages_received_total"]
    before = heard()
    for message in messages:
        caller.socket.sendto(message[:DATAGRAM_MAX], caller.gateway)
        over_tcp(caller.gateway, message)
    assert heard() > before, "nothing of it was heard"
    # Answers to all that wait at the caller's socket.
    caller.drain()
    expect(caller.options(in_call=True), 200)
    expect(caller.hang_up(), 200)
    expect(caller.invite(), 200)
    expect(caller.hang_up(), 200)
    lab.note(f"{len(messages)} messages by either transport")
    ours = lab.gateway.wait_for_records(2, of=lambda record: record["sip_call_id"].startswith(caller.here))
    assert [outcome_of(record) for record in ours] == ["caller_hung_up"] * 2, f"the records of two calls are {ours}"


def garbage(messages, dice):
    """What is no message at all, and messages cut off, doubled, and with octets changed."""
    whole = next(message for message in messages if message.startswith(b"OPTIONS"))
    yield from [b"\0" * 200, b"\r\n" * 500, b"SIP/2.0\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00" * 40]
    yield whole.replace(b"Content-Length: 0", b"Content-Length: 4294967296")
    yield whole.replace(b"Content-Length: 0", b"Content-Length: -1")
    yield b"OPTIONS sip:a@b SIP/2.0\r\n" + b"X: y\r\n" * 8000 + b"\r\n"
    yield b"OPTIONS sip:" + b"a" * 60000 + b" SIP/2.0\r\n\r\n"
    for _ in range(GARBAGE):
        yield dice.randbytes(dice.randrange(1, 1400))
    for message in messages:
        yield message[: dice.randrange(1, len(message))]
        changed = bytearray(message)
        for _ in range(5):
            changed[dice.randrange(len(changed))] = dice.randrange(256)
        yield bytes(changed)


def over_tcp(gateway, message):
    """On a connection of its own, which the gateway may close whenever it likes."""
    with socket.create_connection(gateway, 2) as connection:
        try:
            connection.sendall(message)
        except OSError:
            pass


def expect(response, status, reason=""):
    told = response.first("Reason")
    assert response.status == status, f"{response.status} instead of {status} ({told})"
    assert reason in told, f"the reason is {told}, not {reason}"


SCENARIOS = {
    "caller-digest": digest,
    "caller-strangers": strangers,
    "caller-lockout": lockout,
    "caller-torture": torture,
}
