"""SIPp scenarios, put together from the messages they share, and the program that plays them."""

import subprocess
from pathlib import Path

from gateway import USER

# Everything of one transaction carries the same branch, given by name: [branch] of SIPp counts messages.
_VIA = "Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=z9hG4bK-[pid]-[call_number]-{branch};rport"
_PARTIES = """From: <sip:sipp@[local_ip]:[local_port]>;tag=[pid]t[call_number]
{to}
Call-ID: [call_id]
CSeq: {number} {method}
Max-Forwards: 70"""
_CALLED = "sip:{user}@[remote_ip]:[remote_port]"
ALLOW = "INVITE, ACK, BYE, CANCEL, UPDATE, PRACK, INFO"
CONTACT = "Contact: <sip:sipp@[local_ip]:[local_port];transport=[transport]>"

# SDP of the caller, by the codecs it offers.
CODECS = {
    "PCMU": "m=audio [rtpstream_audio_port] RTP/AVP 0 101\na=rtpmap:0 PCMU/8000",
    "PCMA": "m=audio [rtpstream_audio_port] RTP/AVP 8 101\na=rtpmap:8 PCMA/8000",
    "GSM": "m=audio [rtpstream_audio_port] RTP/AVP 3 101\na=rtpmap:3 GSM/8000",
}


def sdp(codec):
    return f"""v=0
o=- 1 1 IN IP4 [local_ip]
s=-
c=IN IP4 [media_ip]
t=0 0
{CODECS[codec]}
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
a=ptime:20
a=sendrecv"""


def _send(start, branch, number, method, to, extra=(), body="", retrans=True, content_type="application/sdp"):
    lines = [start, _VIA.format(branch=branch), _PARTIES.format(to=to, number=number, method=method), *extra]
    if body:
        lines.append(f"Content-Type: {content_type}")
    lines += ["Content-Length: [len]", ""] + body.splitlines()
    attribute = ' retrans="500"' if retrans else ""
    return f"<send{attribute}><![CDATA[\n\n" + "\n".join(lines) + "\n\n]]></send>"


def invite(user="operator", number=1, codec="PCMU", extra=(), retrans=True, branch=None):
    """codec None: no offer."""
    uri = _CALLED.format(user=user)
    body = sdp(codec) if codec else ""
    extra = (CONTACT, *extra)
    return _send(f"INVITE {uri} SIP/2.0", branch or f"i{number}", number, "INVITE", f"To: <{uri}>", extra, body, retrans)


def in_dialog(method, number, body="", retrans=True, extra=(), content_type="application/sdp"):
    """A request inside a call: its own branch, the peer's Contact and route set."""
    branch = f"{method.lower()}{number}"
    start, extra = f"{method} [next_url] SIP/2.0", ("[routes]", *extra)
    return _send(start, branch, number, method, "[last_To:]", extra, body, retrans, content_type)


def ack(number=1, codec=None):
    return in_dialog("ACK", number, sdp(codec) if codec else "", retrans=False)


def ack_of_refusal(user="operator", number=1):
    """The ACK that belongs to the INVITE's own transaction."""
    start = f"ACK {_CALLED.format(user=user)} SIP/2.0"
    return _send(start, f"i{number}", number, "ACK", "[last_To:]", retrans=False)


def ack_of_in_dialog_refusal(number):
    """The ACK of a refused re-INVITE, which has its branch."""
    return _send("ACK [next_url] SIP/2.0", f"invite{number}", number, "ACK", "[last_To:]", ("[routes]",), retrans=False)


def cancel(user="operator", number=1):
    uri = _CALLED.format(user=user)
    return _send(f"CANCEL {uri} SIP/2.0", f"i{number}", number, "CANCEL", f"To: <{uri}>")


PROGRESS = '<recv response="100" optional="true"/><recv response="180" optional="true"/>'
RINGING = '<recv response="100" optional="true"/><recv response="180"/>'
AT_ONCE = '<recv response="100" optional="true"/><recv response="200" rrs="true" rtd="true"/>'
ANSWER = PROGRESS + '<recv response="200" rrs="true" rtd="true"/>'
ANSWER_KEPT = PROGRESS + (
    '<recv response="200" rrs="true"><action>'
    '<ereg regexp=".*" search_in="hdr" header="To:" assign_to="to"/></action></recv>'
)
CHALLENGE = '<recv response="100" optional="true"/><recv response="401" auth="true"/>'
# Early media, reliably; its number is kept for the PRACK.
EARLY = PROGRESS + (
    '<recv response="183" rrs="true"><action>'
    '<ereg regexp="[0-9]+" search_in="hdr" header="RSeq:" check_it="true" assign_to="rseq"/></action></recv>'
)
OK = '<recv response="200"/>'
AUTHENTICATION = ("[authentication]",)


def refusal(status, reason=None):
    """A final answer whose Reason header carries our word."""
    if reason is None:
        return PROGRESS + f'<recv response="{status}"/>'
    word = f'regexp="{reason}" search_in="hdr" header="Reason:" check_it="true" assign_to="word"'
    return PROGRESS + f'<recv response="{status}"><action><ereg {word}/></action></recv>'


def ok_with(direction):
    """A 200 whose session description has this direction."""
    check = f'regexp="a={direction}" search_in="body" check_it="true" assign_to="word"'
    return f'<recv response="200"><action><ereg {check}/></action></recv>'


def pause(milliseconds):
    return f'<pause milliseconds="{milliseconds}"/>'


def speak(path, payload_type=0):
    return f'<nop><action><exec rtp_stream="{path},-1,{payload_type}"/></action></nop>'


def hang_up(number=2):
    return in_dialog("BYE", number) + OK


def hang_up_as_caller(number=2):
    """The same after requests of the far end, whose To is our own: needs ANSWER_KEPT before."""
    return in_dialog("BYE", number).replace("[last_To:]", "To:[$to]") + OK


def answer_bye():
    """Waits for the far end's BYE, longer than a gateway waits for a lost ACK."""
    reply = "SIP/2.0 200 OK\n[last_Via:]\n[last_From:]\n[last_To:]\n[last_Call-ID:]\n[last_CSeq:]\nContent-Length: 0"
    return f'<recv request="BYE" timeout="45000"/><send><![CDATA[\n\n{reply}\n\n]]></send>'


# --- the called side: SIPp waits for a request and answers it ------------------------------------------------------


def receive(method, keep=None):
    """A request. `keep` names headers and the variables they go to, for messages later on."""
    actions = "".join(
        f'<ereg regexp=".*" search_in="hdr" header="{header}:" assign_to="{name}"/>' for header, name in (keep or {}).items()
    )
    routes = ' rrs="true"' if method == "INVITE" else ""
    return f'<recv request="{method}"{routes}><action>{actions}</action></recv>' if keep else f'<recv request="{method}"{routes}/>'


CALLED = receive("INVITE", keep={"Via": "via", "To": "called"})
CONFIRMED = receive("ACK", keep={"From": "from", "To": "to"})


def reply(status, phrase, extra=(), codec=None, tag="c", allow=ALLOW):
    """The answer to the request received last. tag None: its To has one already."""
    to = "[last_To:]" if tag is None else f"[last_To:];tag={tag}[pid]x[call_number]"
    return _reply(status, phrase, ("[last_Via:]", to, "[last_CSeq:]"), extra, codec, allow)


def reply_to_invite(status, phrase, extra=(), codec=None, tag="c"):
    """An answer to the INVITE, although another request came after it."""
    headers = ("Via:[$via]", f"To:[$called];tag={tag}[pid]x[call_number]", "CSeq: 1 INVITE")
    return _reply(status, phrase, headers, extra, codec)


def challenge(number, realm="lab"):
    value = f'Digest realm="{realm}", nonce="n[call_number]x{number}", algorithm=MD5, qop="auth"'
    return reply(401, "Unauthorized", extra=(f"WWW-Authenticate: {value}",))


def callee_request(method, number, extra=()):
    """A request of the called side; needs a `receive` with parties before."""
    lines = [f"{method} [next_url] SIP/2.0", _VIA.format(branch=f"callee{number}"), "From:[$to]", "To:[$from]"]
    lines += ["Call-ID: [call_id]", f"CSeq: {number} {method}", "Max-Forwards: 70", CONTACT, *extra, "Content-Length: 0"]
    return '<send retrans="500"><![CDATA[\n\n' + "\n".join(lines) + "\n\n]]></send>"


def _reply(status, phrase, headers, extra, codec, allow=ALLOW):
    body = sdp(codec).replace("[rtpstream_audio_port]", "[media_port]") if codec else ""
    lines = [f"SIP/2.0 {status} {phrase}", *headers, "[last_Record-Route:]", "[last_From:]", "[last_Call-ID:]"]
    lines += [CONTACT, f"Allow: {allow}", *extra]
    if body:
        lines.append("Content-Type: application/sdp")
    lines += ["Content-Length: [len]", "", *body.splitlines()]
    return "<send><![CDATA[\n\n" + "\n".join(lines) + "\n\n]]></send>"


def listen(folder, ports, steps, calls):
    """SIPp is called so often at the peer's port; an assertion with its own words when a call went otherwise."""
    folder = Path(folder)
    scenario, errors = folder / "callee.xml", folder / "callee.errors"
    text = "\n".join(steps)
    used = [name for name in ("via", "called", "from", "to") if f'assign_to="{name}"' in text]
    references = f'<Reference variables="{",".join(used)}"/>\n' if used else ""
    scenario.write_text(f'<?xml version="1.0" encoding="UTF-8" ?>\n<scenario name="callee">\n{text}\n{references}</scenario>\n')
    command = ["sipp", "-sf", str(scenario), "-t", "u1", "-i", "127.0.0.1", "-mi", "127.0.0.1", "-p", str(ports.peer)]
    command += ["-mp", str(ports.phone_rtp[0]), "-m", str(calls), "-nostdin", "-timeout", "90", "-timeout_error"]
    command += ["-trace_err", "-error_file", str(errors)]
    with open(folder / "callee.out", "w") as out:
        code = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT).returncode
    assert code == 0, f"sipp as callee ended with {code}: {_first_error(errors)}"


def play(folder, ports, steps, calls, rate, transport="u1", password=None, target=None):
    """Runs the scenario to its end; an assertion with SIPp's own words when a call failed."""
    folder = Path(folder)
    scenario = folder / "scenario.xml"
    text = "\n".join(steps)
    # What is only checked is never referred to, which SIPp takes for a mistake.
    references = '<Reference variables="word"/>\n' if 'assign_to="word"' in text else ""
    head = '<?xml version="1.0" encoding="UTF-8" ?>\n<scenario name="patchcord">\n'
    scenario.write_text(f"{head}{text}\n{references}</scenario>\n")
    errors = folder / "sipp.errors"
    command = ["sipp", f"127.0.0.1:{target or ports.sip}", "-sf", str(scenario), "-t", transport]
    command += ["-i", "127.0.0.1", "-mi", "127.0.0.1", "-p", str(ports.phone), "-mp", str(ports.phone_rtp[0])]
    command += ["-m", str(calls), "-r", str(rate), "-l", str(calls), "-nostdin", "-timeout", "120", "-timeout_error"]
    command += ["-max_socket", str(calls + 100)]
    command += ["-trace_err", "-error_file", str(errors)]
    if password is not None:
        command += ["-au", USER, "-ap", password, "-auth_uri", f"operator@127.0.0.1:{target or ports.sip}"]
    with open(folder / "sipp.out", "w") as out:
        code = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT).returncode
    assert code == 0, f"sipp ended with {code}: {_first_error(errors)}"


def _first_error(path):
    lines = path.read_text(errors="replace").split("\n") if path.exists() else []
    return " ".join(line.strip() for line in lines[:14] if line.strip())[:700] or "it wrote no error"
