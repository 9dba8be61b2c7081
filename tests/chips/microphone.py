"""Sound sources on the pins of a board, and the host at the other end of its serial line."""

import struct

import numpy as np

SAMPLE_RATE = 16_000


class Sound:
    """PCM at 16 kHz with silence around it."""

    def __init__(self, path):
        self.pcm = np.fromfile(path, dtype="<i2").astype(np.float64)
        self.places, self.list = np.arange(len(self.pcm)), self.pcm.tolist()

    def at(self, seconds):
        """Values at these times, interpolated linearly, in −1 … 1."""
        position = np.asarray(seconds) * SAMPLE_RATE
        return np.interp(position, self.places, self.pcm, left=0, right=0) / 32_768

    def one(self, seconds):
        """The value at one time, without the cost of an array."""
        position = seconds * SAMPLE_RATE
        first = int(position)
        if position < 0 or first + 1 >= len(self.list):
            return 0.0
        low, high = self.list[first : first + 2]
        return (low + (high - low) * (position - first)) / 32_768


class Pdm:
    """Microphone with a pulse density output: a sigma–delta modulator of second order.

    `clock_hertz` is the frequency that the chip's registers give its clock pin. Time is that of the
    sound: a wrong clock changes pitch and length of the chip's recording.
    """

    def __init__(self, sound, clock_hertz, limits):
        self.sound, self.hertz = sound, clock_hertz
        self.works = limits[0] <= clock_hertz <= limits[1]
        self.made, self.first, self.second = 0, 0.0, 0.0

    def words(self, count):
        """The next words of 16 bits, the first bit on top."""
        length = 16 * count
        if not self.works:
            return [0] * count
        values = self.sound.at((self.made + np.arange(length)) / self.hertz)
        self.made += length
        if not values.any() and self.first == 0.0 == self.second:
            # A pattern without a direct voltage, which the modulator would settle in.
            return [0xAAAA] * count
        bits = bytearray(length)
        first, second = self.first, self.second
        for n, value in enumerate(values.tolist()):
            # The level is halved, because the modulator is stable to about 0.8 of full scale.
            output = 1.0 if second >= 0.0 else -1.0
            first += value - output
            second += first - 2.0 * output
            bits[n] = output > 0.0
        self.first, self.second = first, second
        return np.packbits(np.frombuffer(bytes(bits), np.uint8)).view(">u2").tolist()


class Host:
    """The computer at the serial line. It sends each request after the reply to the one before."""

    def __init__(self, requests):
        self.requests, self.sent, self.text, self.replies = requests, 0, bytearray(), []
        self.received = bytearray()

    def take(self, byte):
        """Takes a byte of the board. Returns bytes to send."""
        self.received.append(byte)
        while self.received:
            if self.received[0] != 0xA5:
                end = self.received.find(0xA5)
                end = len(self.received) if end < 0 else end
                self.text += self.received[:end]
                del self.received[:end]
                continue
            if len(self.received) < 4:
                break
            length = 8 + struct.unpack_from("<H", self.received, 2)[0]
            if len(self.received) < length:
                break
            self.replies.append(bytes(self.received[:length]))
            del self.received[:length]
            return self.next()
        return b""

    def next(self):
        """Returns the next request, if there is one."""
        if self.sent == len(self.requests):
            return b""
        self.sent += 1
        return self.requests[self.sent - 1]


def frames(data):
    """Splits a file of request frames."""
    found = []
    while data:
        length = 8 + struct.unpack_from("<H", data, 2)[0]
        found.append(data[:length])
        data = data[length:]
    return found
