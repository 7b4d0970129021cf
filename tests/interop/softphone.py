"""baresip without a sound card: a WAV file speaks for the caller, another records what the caller hears."""

import json
import socket
import subprocess
import time
from pathlib import Path

from gateway import PASSWORD, USER

# On a machine that is busy.
START_S_MAX = 15
MODULES = "/usr/lib/baresip/modules"
# Loaded alone, so that nothing else is offered.
CODEC_MODULES = {"PCMU": "g711.so", "PCMA": "g711.so", "G722": "g722.so", "opus": "opus.so"}


def write_config(folder, ports, codec, transport, voice, on_loopback, identity, authority, mediaenc, address="127.0.0.1", more=""):
    """A configuration folder with one account and the one codec to offer; the login waits to be asked for."""
    place = f"sip_listen {address}:{ports.phone}\nnet_interface {address}" if on_loopback else ""
    secure = f"sip_certificate {identity.all}\nsip_cafile {authority}" if identity else ""
    (folder / "heard").mkdir(parents=True, exist_ok=True)
    (folder / "config").write_text(
        f"""
poll_method          epoll
{place}
{secure}
rtp_ports            {ports.phone_rtp[0]}-{ports.phone_rtp[-1]}
call_local_timeout   30
audio_source         aufile,{voice}
audio_player         aufile,{folder}/heard/player.wav
audio_alert          aufile,{folder}/heard/alert.wav
ausrc_srate          48000
ausrc_channels       1
auplay_channels      1
audio_txmode         thread
audio_buffer         20-160
jitter_buffer_delay  2-10
rtcp_mux             no
module_path          {MODULES}
module               {CODEC_MODULES[codec]}
module               aufile.so
module               sndfile.so
module               srtp.so
module               dtls_srtp.so
module_tmp           uuid.so
module_tmp           account.so
module_app           menu.so
module_app           ctrl_tcp.so
ctrl_tcp_listen      127.0.0.1:{ports.control}
snd_path             {folder}/heard
menu_bell            no
statmode_default     off
ringback_disabled    yes
{more}
"""
    )
    account = f"<sip:caller@{address}:{ports.phone};transport={transport}>;regint=0;answermode=auto;audio_codecs={codec}"
    account += f";mediaenc={mediaenc}" if mediaenc else ""
    account += f";auth_user={USER};auth_pass={PASSWORD}\n"
    (folder / "accounts").write_text(account)
    (folder / "contacts").write_text("")


class Softphone:
    """One running baresip; `stop` ends it and nothing else. Left to itself it does not call from 127.0.0.1 but from
    the first other address of the machine."""

    def __init__(
        self,
        folder,
        ports,
        codec,
        transport,
        voice,
        arguments=(),
        on_loopback=True,
        identity=None,
        authority=None,
        mediaenc=None,
        more="",
    ):
        self.folder = Path(folder) / "baresip"
        write_config(self.folder, ports, codec, transport, voice, on_loopback, identity, authority, mediaenc, more=more)
        self.log = open(self.folder / "log", "w")
        self.process = subprocess.Popen(
            ["baresip", "-4", "-s", "-f", str(self.folder), "-t", "120", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )
        try:
            self.control = Control(ports.control)
        except OSError:
            self.kill()
            raise

    def dial(self, uri):
        """Calls and waits for the answer."""
        self.control.command("dial", uri)
        answered = self.control.wait_event("CALL_ESTABLISHED", 10)
        assert answered, f"not answered; baresip saw {self.control.event_types()}"

    def wait_for_log(self, words, timeout):
        """For what happened before the control port was reached."""
        deadline = time.monotonic() + timeout
        while words not in self.said():
            assert time.monotonic() < deadline, f"baresip did not say '{words}' within {timeout} s"
            time.sleep(0.1)

    def said(self):
        """Its log, with every SIP message."""
        return (self.folder / "log").read_text(errors="replace")

    def heard(self):
        """The recording of what came from the far end."""
        return next(self.folder.glob("heard/dump-*-dec.wav"))

    def kill(self):
        """As when the battery is empty: no BYE, no RTCP BYE."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.control.close()
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


class Control:
    """The control port: netstrings of JSON both ways, events in between."""

    def __init__(self, port):
        self.buffer, self.events, self.commands = b"", [], 0
        deadline = time.monotonic() + START_S_MAX
        while True:
            try:
                self.socket = socket.create_connection(("127.0.0.1", port), 1)
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def command(self, name, parameters="", timeout=5.0):
        self.commands += 1
        token = str(self.commands)
        message = json.dumps({"command": name, "params": parameters, "token": token}).encode()
        self.socket.sendall(b"%d:%s," % (len(message), message))
        deadline = time.monotonic() + timeout
        while (reply := self._next(deadline)) is not None:
            if reply.get("response") and reply.get("token", token) == token:
                return reply
            self.events.append(reply)
        raise AssertionError(f"baresip did not answer the command {name}")

    def wait_event(self, kind, timeout):
        """The first event of this type, now or within the timeout."""
        deadline = time.monotonic() + timeout
        seen = 0
        while True:
            for event in self.events[seen:]:
                if event.get("type") == kind:
                    return event
            seen = len(self.events)
            message = self._next(deadline)
            if message is None:
                return None
            self.events.append(message)

    def event_types(self):
        return [event.get("type") for event in self.events]

    def close(self):
        self.socket.close()

    def _next(self, deadline):
        while (message := self._complete()) is None:
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            self.socket.settimeout(left)
            try:
                data = self.socket.recv(65536)
            except socket.timeout:
                return None
            if not data:
                return None
            self.buffer += data
        return message

    def _complete(self):
        head, colon, rest = self.buffer.partition(b":")
        if not colon or len(rest) <= int(head):
            return None
        self.buffer = rest[int(head) + 1 :]
        return json.loads(rest[: int(head)].decode("utf-8", "replace"))
