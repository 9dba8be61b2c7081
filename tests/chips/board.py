"""Parts of a board that do not depend on its chip: logged outputs, and the wire from the host."""

from cortex_m import MICROSECOND, SECOND, Failure


def check_fields(register, value, wanted):
    """Fails unless each field has the expected value; `wanted` is name: (shift, mask, expected)."""
    for name, (shift, mask, expected) in wanted.items():
        if value >> shift & mask != expected:
            raise Failure(f"{register}: {name} is {value >> shift & mask}, not {expected}")


class Board:
    """A board has `machine`, `levels` and `pin_log`, and the methods `byte_time` and `arrive` of its UART."""

    def note_level(self, name, level):
        """Logs the level of an output if it changed."""
        if level != self.levels.get(name):
            self.levels[name] = level
            self.pin_log.append((self.machine.now / SECOND, name, level))

    def deliver(self, data):
        """Sends bytes of the host, after the 2 ms that it takes to answer. Returns the time until the last."""
        time = 2_000 * MICROSECOND
        for byte in data:
            time += self.byte_time()
            self.machine.after(time, lambda byte=byte: self.arrive(byte))
        return time
