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
from stm32f4 import Stm32F4

BOARDS = {"stm32f4-discovery": Stm32F4}


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
    host = Host(requests)
    wiring = dict(wire.split("=") for wire in options.wire)
    board = BOARDS[options.board](wiring, Sound(options.sound), host, contents, options)
    machine = board.machine
    if options.symbols:
        machine.load_symbols(options.symbols)
    board.start()
    failure, began = None, time.time()
    try:
        machine.at(100 * SECOND // 1000, lambda: board.deliver(host.next()))
        machine.run(int(options.seconds * SECOND))
    except Failure as error:
        failure = str(error)
    if options.words:
        with open(options.words, "wb") as file:
            file.write(struct.pack(f"<{len(board.words)}H", *(w & 0xFFFF for w in board.words)))
    if options.flash_out:
        with open(options.flash_out, "wb") as file:
            file.write(machine.read(board.flash_base, len(contents)))
    json.dump({
        "failure": failure,
        "ended": machine.stopped,
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
