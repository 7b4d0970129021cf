"""Every codec over every transport with every kind of media encryption, judged by the tone that comes back."""

import re
import time

import sound
from phone_scenarios import check_echo, operator, voice

# The caller waits this long after the answer, speaks, and the tone comes back within the rest.
BEFORE_S = 1.0
TONE_S = 2.0
ANSWER_S = 4.5

CODECS = ("PCMU", "PCMA", "G722", "opus")
# How baresip is told, what it then offers, the words in its log once keys are there, and the word of the record. A trunk takes
# them all unless told otherwise.
ENCRYPTIONS = {
    "rtp": (None, "RTP/AVP", None, None),
    "sdes": ("srtp-mand", "RTP/SAVP", "SRTP is Enabled", "AES_CM_128_HMAC_SHA1_80"),
    "dtls": ("dtls_srtp", "UDP/TLS/RTP/SAVPF", "DTLS-SRTP complete", "dtls"),
}
# What the agent says first would only delay what is measured.
CALLER_SPEAKS_FIRST = ""


def repeated(codec, transport, encryption, hz):
    """The caller speaks first, and hears the same tone again."""

    def run(lab):
        lab.start_gateway(greeting=CALLER_SPEAKS_FIRST, **lab.identity_for(transport))
        speech = voice(lab.folder, sound.silence(BEFORE_S, 48000), sound.tone(hz, TONE_S, 48000))
        mediaenc, profile, words, recorded_as = ENCRYPTIONS[encryption]
        phone = lab.softphone(codec, transport, speech, mediaenc=mediaenc)
        phone.dial(operator(lab, transport))
        time.sleep(BEFORE_S + TONE_S + ANSWER_S)
        phone.control.command("hangup")
        time.sleep(0.5)
        phone.stop()
        check_description(phone.said(), codec, profile, words)
        rate, recorded = sound.read_wav(phone.heard())
        check_echo(lab, f"recording at {rate} Hz", recorded, hz, after=BEFORE_S + TONE_S / 2, rate=rate)
        check_record(lab.gateway.check_records(1, "caller_hung_up"), codec, recorded_as)

    return run


def check_description(said, codec, profile, words):
    """What was agreed on, by the phone's own log."""
    offered = re.findall(r"^m=audio \d+ (\S+) ", said, re.M)
    assert offered and set(offered) == {profile}, f"the descriptions speak of {offered}, not of {profile}"
    assert re.search(rf"audio rx pipeline:.*<--- {codec}\b", said), f"the phone does not receive {codec}"
    assert words is None or words in said, f"the phone does not say '{words}'"


def check_record(record, codec, srtp):
    assert record["codec"] == codec, f"the record names {record['codec']}"
    rtp = record["rtp"]
    assert rtp["received"] > 50 * (TONE_S + ANSWER_S), f"{rtp['received']} packets received"
    assert rtp["lost"] == 0, f"{rtp['lost']} packets lost on one machine"
    assert record["media"]["srtp"] == srtp, f"the record names {record['media']['srtp']}"


def pitch(codec, transport, encryption):
    """Another one for each scenario, none a multiple of another, all within what every codec carries."""
    places = [CODECS.index(codec), ("udp", "tcp", "tls").index(transport), list(ENCRYPTIONS).index(encryption)]
    return 410 + 61 * places[0] + 217 * places[1] + 23 * places[2]


SCENARIOS = {
    f"codec-{codec.lower()}-{transport}-{encryption}": repeated(codec, transport, encryption, pitch(codec, transport, encryption))
    for codec in CODECS
    for transport, encryption in (("udp", "rtp"), ("udp", "sdes"), ("udp", "dtls"), ("tls", "rtp"), ("tls", "sdes"))
}
