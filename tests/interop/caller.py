"""A caller written by hand over UDP: what no phone does on purpose, and the digest algorithms that SIPp does not know."""

import hashlib
import re
import socket
import time

from gateway import USER

ANSWER_S_MAX = 5
# After a repeated request nothing more is expected.
REPEAT_S = 0.3
REPEAT_ANSWERS_MAX = 10
DRAIN_MAX = 10_000


class Response:
    """A response as it came."""

    def __init__(self, data):
        head, _, self.body = data.decode().partition("\r\n\r\n")
        start, *lines = head.split("\r\n")
        self.status = int(start.split(" ")[1])
        self.headers = [(name.strip().lower(), value.strip()) for name, _, value in (l.partition(":") for l in lines)]

    def all(self, name):
        return [value for own, value in self.headers if own == name.lower()]

    def first(self, name):
        return next(iter(self.all(name)), "")

    def algorithms(self):
        """What a 401 offers, in its order."""
        return [directive(challenge, "algorithm") for challenge in self.all("WWW-Authenticate")]


class Caller:
    """One caller at an address of its own, one call at a time."""

    def __init__(self, ports, address="127.0.0.1", called="operator"):
        self.gateway, self.ports = ("127.0.0.1", ports.sip), ports
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, 0))
        self.socket.settimeout(ANSWER_S_MAX)
        self.here = "%s:%d" % self.socket.getsockname()
        self.uri = f"sip:{called}@127.0.0.1:{ports.sip}"
        self.sequence, self.calls = 0, 0

    def options(self, in_call=False):
        if not in_call:
            self._new_call()
        return self._final(self._request("OPTIONS"))

    def is_answered(self):
        """Whether there is any answer to an OPTIONS soon."""
        self._new_call()
        self.socket.sendto(self._request("OPTIONS"), self.gateway)
        return bool(self.drain())

    def drain(self):
        """What has come and comes until it is quiet for a moment."""
        self.socket.settimeout(REPEAT_S)
        came = []
        try:
            while len(came) < DRAIN_MAX:
                came.append(self.socket.recv(65536))
        except socket.timeout:
            pass
        self.socket.settimeout(ANSWER_S_MAX)
        return came

    def invite(self, authorization=None):
        """A new call; its final answer, acknowledged."""
        self._new_call()
        return self.invite_again(authorization)

    def invite_again(self, authorization=None):
        """The same call once more, as after a challenge."""
        extra = [f"Authorization: {authorization}"] if authorization else []
        media = f"c=IN IP4 {self.here.split(':')[0]}\r\nt=0 0\r\nm=audio {self.ports.phone_rtp[0]} RTP/AVP 0\r\n"
        self.sent = self._request("INVITE", extra, "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\n" + media)
        response = self._final(self.sent)
        self._acknowledge(response)
        return response

    def repeat(self):
        """The last INVITE, octet for octet; the answers to it that come, which after a 200 may be none."""
        self.socket.sendto(self.sent, self.gateway)
        self.socket.settimeout(REPEAT_S)
        answers = []
        try:
            while len(answers) < REPEAT_ANSWERS_MAX:
                answers.append(Response(self.socket.recv(65536)).status)
        except socket.timeout:
            pass
        self.socket.settimeout(ANSWER_S_MAX)
        return answers

    def hang_up(self):
        return self._final(self._request("BYE"))

    def answer(self, response, algorithm, password, count=1):
        """The Authorization that answers a 401 with this algorithm, whether it was offered or not."""
        challenges = response.all("WWW-Authenticate")
        challenge = next((one for one in challenges if directive(one, "algorithm") == algorithm), challenges[0])
        realm, nonce = directive(challenge, "realm"), directive(challenge, "nonce")
        digest = {"SHA-256": hashlib.sha256, "MD5": hashlib.md5}[algorithm]
        hashed = lambda *parts: digest(":".join(parts).encode()).hexdigest()
        proof = hashed(
            hashed(USER, realm, password), nonce, f"{count:08x}", "c0ffee", "auth", hashed("INVITE", self.uri)
        )
        return (
            f'Digest username="{USER}", realm="{realm}", nonce="{nonce}", uri="{self.uri}", response="{proof}", '
            f'algorithm={algorithm}, qop=auth, nc={count:08x}, cnonce="c0ffee"'
        )

    def close(self):
        self.socket.close()

    def _new_call(self):
        self.calls += 1
        self.call_id, self.to = f"{self.here}-{self.calls}", f"<{self.uri}>"

    def _request(self, method, extra=(), body="", branch=None):
        if method != "ACK":
            self.sequence += 1
        branch = branch or f"z9hG4bK{self.call_id}-{self.sequence}-{method}"
        lines = [
            f"{method} {self.uri} SIP/2.0",
            f"Via: SIP/2.0/UDP {self.here};branch={branch};rport",
            f"From: <sip:hand@{self.here}>;tag=h{self.calls}",
            f"To: {self.to}",
            f"Call-ID: {self.call_id}",
            f"CSeq: {self.sequence} {method}",
            f"Contact: <sip:hand@{self.here}>",
            "Max-Forwards: 70",
            *extra,
            *(["Content-Type: application/sdp"] if body else []),
            f"Content-Length: {len(body)}",
        ]
        self.branch = branch
        return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()

    def _final(self, request):
        """Sends it and waits for the answer to it that is final."""
        self.socket.sendto(request, self.gateway)
        cseq = re.search(rb"CSeq: (.*?)\r", request)[1].decode()
        deadline = time.monotonic() + ANSWER_S_MAX
        while time.monotonic() < deadline:
            data = self.socket.recv(65536)
            if data.startswith(b"SIP/2.0 "):
                response = Response(data)
                if response.status >= 200 and response.first("CSeq") == cseq:
                    return response
        raise AssertionError(f"no final answer to {cseq}")

    def _acknowledge(self, response):
        offered = self.to
        self.to = response.first("To")
        branch = None if response.status < 300 else self.branch
        self.socket.sendto(self._request("ACK", branch=branch), self.gateway)
        if response.status >= 300:
            self.to = offered


def directive(challenge, name):
    found = re.search(rf'\b{name}="?([^",]*)', challenge)
    return found[1] if found else None
