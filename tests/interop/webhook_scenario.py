"""Webhooks at a receiver that checks them with the library of Standard Webhooks, which other people wrote.

The receiver comes up after the calls are over and the gateway has been killed and started again: nothing may be lost.
"""

import json
import os
import subprocess
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

from gateway import TOKEN, Gateway, Ports, trunk

PORT = 9997
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SLOT = 191
CALLS = 3
WAIT_S_MAX = 30


def run(options, notes):
    """Every call that was tried is told of, started and ended, in order, once taken and rightly signed."""
    folder = options.work / "webhooks"
    folder.mkdir(parents=True)
    os.environ.update(LAB_HOOK=SECRET)
    ports = Ports(SLOT, 13200, 64)
    webhook = f"""
[[webhook]]
name = "lab"
url = "http://127.0.0.1:{PORT}/hook"
secret = "env:LAB_HOOK"
retry_first_ms = 100
retry_ms_max = 500
"""
    # Nobody is there: the calls come to nothing, which is told as well.
    out = trunk("out", "127.0.0.2/32", f'host = "127.0.0.1"\nport = {ports.peer}\ntransport = "tcp"')
    gateway = Gateway(options.gateway, folder, ports, trunks=out, recording=webhook, api=True)
    receiver = None
    try:
        ids = [place(ports) for _ in range(CALLS)]
        gateway.wait_for_metric('patchcord_webhooks_pending{webhook="lab"}', 2 * CALLS, WAIT_S_MAX)
        gateway.kill()
        receiver = Receiver()
        gateway = Gateway(options.gateway, folder, ports, trunks=out, recording=webhook, api=True)
        began = time.monotonic()
        # Each is refused once before it is taken.
        gateway.wait_for_metric('patchcord_webhook_attempts_total{result="ok",webhook="lab"}', 2 * CALLS, WAIT_S_MAX)
        notes.append(f"{2 * CALLS} webhooks {time.monotonic() - began:.1f} s after the start")
        gateway.wait_for_metric('patchcord_webhooks_pending{webhook="lab"}', 0)
        verify(options, receiver.taken, True)
        verify(options, [{**message, "body": message["body"] + " "} for message in receiver.taken], False)
        for call in ids:
            told = [json.loads(message["body"]) for message in receiver.taken]
            kinds = [event["type"] for event in told if event["data"]["call_id"] == call]
            assert kinds == ["call.started", "call.ended"], f"{call} was told as {kinds}"
        twice = [message["headers"]["webhook-id"] for message in receiver.taken]
        assert len(set(twice)) == 2 * CALLS, f"one id for two messages: {twice}"
        assert receiver.refused == set(twice), "a message came again with another id"
    finally:
        gateway.kill()
        if receiver:
            receiver.server.shutdown()


def place(ports):
    body = json.dumps({"to": "100", "trunk": "out", "agent": "operator"}).encode()
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{ports.http}/v1/calls", body, headers)
    with urllib.request.urlopen(request, timeout=5) as response:
        return json.load(response)["id"]


class Receiver:
    """Refuses each message once, then takes it."""

    def __init__(self):
        self.taken, self.refused = [], set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                headers = {name.lower(): value for name, value in self.headers.items()}
                body = self.rfile.read(int(headers["content-length"])).decode()
                name = headers["webhook-id"]
                again = name in receiver.refused
                receiver.refused.add(name)
                if again:
                    receiver.taken.append({"headers": headers, "body": body})
                self.send_response(204 if again else 503)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = HTTPServer(("127.0.0.1", PORT), Handler)
        Thread(target=self.server.serve_forever, daemon=True).start()


def verify(options, messages, good):
    """Asks the library, in the folder of packages it lives in."""
    program = f"""
import json, sys
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
hook = Webhook("{SECRET}")
for message in json.load(sys.stdin):
    try:
        hook.verify(message["body"], message["headers"])
        print("good")
    except WebhookVerificationError:
        print("bad")
"""
    python = str(options.venv / "bin" / "python")
    asked = subprocess.run(
        [python, "-c", program], input=json.dumps(messages), capture_output=True, text=True, timeout=60
    )
    assert asked.returncode == 0, asked.stderr.strip().splitlines()[-1]
    found = asked.stdout.split()
    assert found == ["good" if good else "bad"] * len(messages), f"the library says {found}"
