"""Runs the program of a board on a double of its chip, and prints what the board did as JSON.

    python run.py stm32f4-discovery --flash IMAGE --sound PCM --seconds S \
        --wire clock=PB10 --wire data=PC3 ... [--requests FRAMES] [--words FILE] [--flash-out FILE]
"""

import argparse
import json
import struct
import sys
import time

from cortex_m import SECOND, Failure
from microphone import Host, Sound, frames
from nrf52 import Microbit, Nano33
from rp2350 import Pico2
from stm32f4 import Stm32F4

BOARDS = {"stm32f4-discovery": Stm32F4, "nano33": Nano33, "microbit-v2": Microbit, "pico2": Pico2}
# A program may reset the chip once for each setting that takes effect so.
MOST_RESETS = 4


def run(board, options):
    """Runs a board until the power goes or it resets. Returns what it did wrong, if anything."""
    machine = board.machine
    if options.symbols:
        machine.load_symbols(options.symbols)
    board.start()
    try:
        machine.at(100 * SECOND // 1000, lambda: board.deliver(board.host.next()))
        machine.run(int(options.seconds * SECOND))
    except Failure as error:
        return str(error)
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("board", choices=BOARDS)
    parser.add_argument("--flash", required=True, help="contents of the whole flash")
    parser.add_argument("--symbols", help="lines of address, size and name of the program's functions")
    parser.add_argument("--sound", required=True, help="raw 16 kHz mono i16")
    parser.add_argument("--seconds", type=float, required=True, help="time after which the power goes")
    parser.add_argument("--wire", action="append", default=[], metavar="PURPOSE=PIN")
    parser.add_argument("--requests", help="frames that the host sends, each after the reply before")
    parser.add_argument("--words", help="where the words or samples that DMA delivered are written")
    parser.add_argument("--flash-out", help="where the contents of the flash are written")
    parser.add_argument("--slow-flash", action="store_true", help="the longest times of the data sheet")
    parser.add_argument("--lsi", type=int, default=32_000, help="clock of the watchdog in Hz")
    options = parser.parse_args()
    with open(options.flash, "rb") as file:
        contents = file.read()
    requests = []
    if options.requests:
        with open(options.requests, "rb") as file:
            requests = frames(file.read())
    sound, wiring = Sound(options.sound), dict(wire.split("=") for wire in options.wire)
    make, kept, began, resets = BOARDS[options.board], [], time.time(), 0
    while True:
        host = Host(requests)
        board = make(wiring, sound, host, contents, options, *kept)
        machine = board.machine
        failure = run(board, options)
        if machine.stopped != "reset by the program" or resets == MOST_RESETS:
            break
        resets += 1
        contents, kept = machine.read(board.flash_base, len(contents)), [board.keep()]
    if options.words:
        with open(options.words, "wb") as file:
            file.write(struct.pack(f"<{len(board.words)}H", *(w & 0xFFFF for w in board.words)))
    if options.flash_out:
        with open(options.flash_out, "wb") as file:
            file.write(machine.read(board.flash_base, len(contents)))
    json.dump({
        "failure": failure,
        "ended": machine.stopped,
        "resets": resets,
        "text": host.text.decode("utf-8", "replace"),
        "replies": [reply.hex() for reply in host.replies],
        "sent": host.sent,
        "pins": board.pin_log,
        "flash": board.flash_log,
        "seconds": machine.now / SECOND,
        "instructions": machine.instructions,
        "wall": round(time.time() - began, 2),
        "exceptions": machine.exceptions,
        **board.report(),
    }, sys.stdout)
    print()


main()
