"""Recordings on their way to S3: a storage server other people wrote takes what a gateway has in its spool.

The server comes up after the gateway, so that the first attempts fail; one file is small, one goes in parts.
"""

import hashlib
import os
import socket
import subprocess
import time

from gateway import Gateway, Ports

PORT = 9998
BUCKET, PREFIX = "calls", "in/"
KEY, SECRET = "an-id-of-this-lab", "a-secret-of-this-lab"
# Above and below the size of one part.
SIZES = {"20260101T000000Z_call_1_1.wav": 20_000_123, "20260101T000000Z_call_2_1.ogg.sealed": 4_321}
UP_S_MAX, UPLOADED_S_MAX = 30, 60
SLOT = 190


def run(options, notes):
    """What waits in the spool arrives byte for byte, signed, and is gone from here."""
    folder = options.work / "storage"
    spool = folder / "recordings" / "spool"
    spool.mkdir(parents=True)
    sums = {}
    for name, size in SIZES.items():
        content = os.urandom(size)
        (spool / name).write_bytes(content)
        sums[name] = hashlib.sha256(content).hexdigest()
    upload = f"""
[recording]
path = "{folder / 'recordings'}"
[recording.upload]
endpoint = "http://127.0.0.1:{PORT}"
bucket = "{BUCKET}"
prefix = "{PREFIX}"
access_key_id = "env:LAB_S3_KEY"
secret_access_key = "env:LAB_S3_SECRET"
"""
    os.environ.update(LAB_S3_KEY=KEY, LAB_S3_SECRET=SECRET)
    gateway = Gateway(options.gateway, folder, Ports(SLOT, 13000, 64), recording=upload)
    server = None
    try:
        gateway.wait_for_metric('patchcord_recording_uploads_total{result="failed"}', 2, UP_S_MAX)
        server = subprocess.Popen(
            [str(options.venv / "bin" / "moto_server"), "-H", "127.0.0.1", "-p", str(PORT)],
            stdout=open(folder / "storage.log", "w"),
            stderr=subprocess.STDOUT,
        )
        storage = client(options, folder)
        began = time.monotonic()
        gateway.wait_for_metric('patchcord_recording_uploads_total{result="ok"}', len(SIZES), UPLOADED_S_MAX)
        notes.append(f"{len(SIZES)} files {time.monotonic() - began:.1f} s after the storage came up")
        assert not list(spool.iterdir()), f"still in the spool: {list(spool.iterdir())}"
        for name, wanted in sums.items():
            found = storage("sum", PREFIX + name)
            assert found == wanted, f"{name} arrived as something else: {found}"
        gateway.wait_for_metric("patchcord_recording_uploads_pending", 0)
    finally:
        gateway.kill()
        if server:
            server.kill()
            server.wait()


def client(options, folder):
    """Asks the storage with the library of its makers, in the folder of packages that library lives in."""
    deadline = time.monotonic() + UP_S_MAX
    while True:
        try:
            socket.create_connection(("127.0.0.1", PORT), 1).close()
            break
        except OSError:
            assert time.monotonic() < deadline, "the storage does not come up"
            time.sleep(0.1)
    program = f"""
import boto3, hashlib, sys
storage = boto3.client("s3", endpoint_url="http://127.0.0.1:{PORT}", aws_access_key_id="{KEY}",
                       aws_secret_access_key="{SECRET}", region_name="us-east-1")
if sys.argv[1] == "make":
    storage.create_bucket(Bucket="{BUCKET}")
else:
    print(hashlib.sha256(storage.get_object(Bucket="{BUCKET}", Key=sys.argv[2])["Body"].read()).hexdigest())
"""

    def ask(*words):
        python = str(options.venv / "bin" / "python")
        asked = subprocess.run([python, "-c", program, *words], capture_output=True, text=True, timeout=60)
        assert asked.returncode == 0, asked.stderr.strip().splitlines()[-1]
        return asked.stdout.strip()

    ask("make")
    return ask
