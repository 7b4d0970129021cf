#!/usr/bin/env python3
"""Holds a session with the operator like any Realtime client and writes down every event it sends.

    events_client.py ws://127.0.0.1:PORT/v1/realtime EVENTS.jsonl

Walks through what a session can do: settings, a typed turn, a spoken turn, an interruption with truncation, a
cancelled response, a function call, and mistakes. Fails when the operator stays away with what must come. Needs the
`websockets` package (tests/interop/requirements.txt).
"""

import base64
import json
import math
import struct
import sys
import time

from websockets.sync.client import connect

RATE = 24000
FRAME_MS = 20
WAIT_S_MAX = 15


class Session:
    def __init__(self, url, log):
        self.log = log
        self.socket = connect(url + "?model=operator", max_size=None)

    def send(self, kind, **fields):
        self.socket.send(json.dumps({"type": kind, **fields}))

    def send_raw(self, text):
        self.socket.send(text)

    def until(self, kind, where=lambda event: True):
        """Writes down what comes until an event of this type passes the condition, and returns that one."""
        deadline = time.monotonic() + WAIT_S_MAX
        seen = []
        while True:
            try:
                text = self.socket.recv(timeout=max(0.01, deadline - time.monotonic()))
            except TimeoutError:
                raise SystemExit(f"no {kind} within {WAIT_S_MAX} s; came: {seen}") from None
            self.log.write(text.replace("\n", " ") + "\n")
            event = json.loads(text)
            seen.append(event["type"])
            if event["type"] == kind and where(event):
                return event

    def error(self, code):
        self.until("error", lambda event: event["error"].get("code") == code)

    def speak(self, seconds, hz=440, at_once=True):
        """Appends a tone, or silence when hz is 0, in 20 ms pieces."""
        per_frame = RATE * FRAME_MS // 1000
        for frame in range(round(seconds * 1000 / FRAME_MS)):
            first = frame * per_frame
            samples = [int(8000 * math.sin(2 * math.pi * hz * n / RATE)) for n in range(first, first + per_frame)]
            audio = base64.b64encode(struct.pack(f"<{per_frame}h", *samples)).decode()
            self.send("input_audio_buffer.append", audio=audio)
            if not at_once:
                time.sleep(FRAME_MS / 1000)


def say(text):
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


def settings(session):
    session.until("session.created")
    detection = {"type": "server_vad", "silence_duration_ms": 300}
    tool = {"type": "function", "name": "hang_up", "description": "Ends the call.", "parameters": {"type": "object"}}
    audio = {
        "input": {"format": {"type": "audio/pcm", "rate": RATE}, "turn_detection": detection},
        "output": {"format": {"type": "audio/pcm", "rate": RATE}, "voice": "marin"},
    }
    session.send("session.update", session={"type": "realtime", "instructions": "Be brief.", "audio": audio, "tools": [tool]})
    session.until("session.updated")


def typed_turn(session):
    session.send("conversation.item.create", item=say("hello"))
    session.until("conversation.item.done")
    session.send("response.create")
    session.until("response.output_audio.delta")
    session.until("response.done", lambda event: event["response"]["status"] == "completed")


def spoken_turn(session):
    session.speak(1.0)
    session.until("input_audio_buffer.speech_started")
    session.speak(1.0, hz=0)
    session.until("input_audio_buffer.speech_stopped")
    session.until("input_audio_buffer.committed")
    session.until("response.created")
    session.until("response.done")


def interruption(session):
    session.send("response.create")
    item = session.until("response.output_audio.delta")["item_id"]
    session.speak(0.6)
    session.until("input_audio_buffer.speech_started")
    session.send("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=20)
    session.until("conversation.item.truncated")
    session.speak(1.0, hz=0)
    session.until("input_audio_buffer.speech_stopped")
    session.until("response.done", lambda event: event["response"]["status"] == "completed")


def cancelled_response(session):
    session.send("response.create")
    session.until("response.created")
    session.send("response.cancel")
    session.until("response.done")


def mistakes(session):
    session.send_raw("{not json")
    session.until("error")
    session.send("no.such.event")
    session.until("error")
    session.send("session.update", session={"instructions": "no type"})
    session.until("error")
    session.send("response.cancel")
    session.error("response_cancel_not_active")
    session.send("input_audio_buffer.clear")
    session.until("input_audio_buffer.cleared")
    session.send("input_audio_buffer.commit")
    session.error("input_audio_buffer_commit_empty")
    session.send("conversation.item.truncate", item_id="item_none", content_index=0, audio_end_ms=0)
    session.until("error")
    session.send("conversation.item.delete", item_id="item_none")
    session.until("error")


def items(session):
    session.send("conversation.item.create", item={**say("keep me"), "id": "item_kept"})
    session.until("conversation.item.done")
    session.send("conversation.item.retrieve", item_id="item_kept")
    session.until("conversation.item.retrieved")
    session.send("conversation.item.delete", item_id="item_kept")
    session.until("conversation.item.deleted")


def main():
    url, path = sys.argv[1:]
    with open(path, "w") as log:
        session = Session(url, log)
        for part in (settings, typed_turn, spoken_turn, interruption, cancelled_response, mistakes, items):
            part(session)
        session.socket.close()


if __name__ == "__main__":
    main()
