#!/bin/sh
# Makes every spoken clip of Patchcord: the embedded operator's, here, and the gateway's own in
# ../../media/prompts. Needs flite (voice slt) and sox; run by hand after changing a sentence, the results are checked in.
#
# Each clip is raw 8 kHz mu-law without a header, cut to the speech with 20 ms around it, at about -20 dBFS RMS.
set -eu
cd "$(dirname "$0")"

# say FILE SENTENCE [STRETCH]: STRETCH below 1 speaks faster.
say() {
    wave=$(mktemp --suffix=.wav)
    flite -voice slt --setf duration_stretch="${3:-1.0}" -t "$2" -o "$wave"
    edge="silence 1 0.01 0.4% reverse silence 1 0.01 0.4% pad 0.02 0.02 reverse"
    # The level is measured on the cut and filtered speech, then set by a plain gain.
    # shellcheck disable=SC2086
    level=$(sox "$wave" -n highpass 120 rate 8000 $edge stats 2>&1 | awk '/^RMS lev dB/ { print $4 }')
    # shellcheck disable=SC2086
    sox "$wave" -t raw -r 8000 -c 1 -e mu-law -b 8 "$1" \
        highpass 120 rate 8000 $edge gain "$(awk "BEGIN { print -20 - ($level) }")"
    rm -f "$wave"
}

say greeting.ulaw "Hello. You have reached the Patchcord operator. Say something, and I will repeat it. Press a digit, or star to hang up." 0.82
say goodbye.ulaw "Goodbye."
say okay.ulaw "Okay."
say pressed_0.ulaw "You pressed zero." 0.9
say pressed_1.ulaw "You pressed one." 0.9
say pressed_2.ulaw "You pressed two." 0.9
say pressed_3.ulaw "You pressed three." 0.9
say pressed_4.ulaw "You pressed four." 0.9
say pressed_5.ulaw "You pressed five." 0.9
say pressed_6.ulaw "You pressed six." 0.9
say pressed_7.ulaw "You pressed seven." 0.9
say pressed_8.ulaw "You pressed eight." 0.9
say pressed_9.ulaw "You pressed nine." 0.9
say pressed_hash.ulaw "You pressed hash." 0.9
say ../../media/prompts/one_moment.ulaw "One moment, please." 0.9
say ../../media/prompts/apology.ulaw \
    "I am sorry, I can not continue this call right now. Please call again later. Goodbye." 0.97
