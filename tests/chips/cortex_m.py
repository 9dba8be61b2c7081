"""A Cortex-M microcontroller at the level of its registers.

Unicorn (QEMU's processor core as a library) executes the instructions. This module adds what
surrounds that core on every Cortex-M: the nested interrupt controller, exception entry and return,
the system control block, time, and a strict description of registers. The chips add their
peripherals.

An access to a register, or to a bit, that the double does not describe is a `Failure`.
"""

import heapq
import struct

import unicorn
from unicorn import arm_const as arm

SECOND = 10**12  # time is in picoseconds
MICROSECOND = 10**6
# Longest time without a look at interrupts. It bounds the latency of one that the program itself
# causes, by a write to a register; those of events are exact.
QUANTUM = 20 * MICROSECOND

CORE = [arm.UC_ARM_REG_R0, arm.UC_ARM_REG_R1, arm.UC_ARM_REG_R2, arm.UC_ARM_REG_R3, arm.UC_ARM_REG_R12]
SINGLES = [getattr(arm, f"UC_ARM_REG_S{n}") for n in range(16)]
WFE, WFI = 0xBF20, 0xBF30


class Failure(Exception):
    """The program used the chip in a way that the double does not allow."""


class Register:
    """One register: its writable bits, its value, and what happens beside a plain load or store."""

    def __init__(self, name, bits=0xFFFF_FFFF, value=0, read=None, write=None, sizes=(4,)):
        self.name, self.bits, self.value, self.sizes = name, bits, value, sizes
        self.on_read, self.on_write = read, write


class Peripheral:
    """A block of registers at an address. `enabled` returns whether its clock runs."""

    def __init__(self, machine, name, base, enabled=None):
        self.machine, self.name, self.base = machine, name, base
        self.enabled = enabled or (lambda: True)
        self.registers = {}
        machine.add_peripheral(self)

    def register(self, offset, name, *arguments, **options):
        self.registers[offset] = made = Register(f"{self.name}.{name}", *arguments, **options)
        return made

    def find(self, offset, size):
        found = self.registers.get(offset)
        if found is None:
            raise Failure(f"unknown register: {self.name} + {offset:#x}")
        if size not in found.sizes:
            raise Failure(f"{found.name}: an access of {size} bytes")
        if not self.enabled():
            raise Failure(f"{found.name}: its clock is off")
        return found

    def read(self, offset, size):
        found = self.find(offset, size)
        return found.on_read() if found.on_read else found.value

    def write(self, offset, size, value):
        found = self.find(offset, size)
        if value & ~found.bits:
            raise Failure(f"{found.name}: unknown bits {value & ~found.bits:#x} in {value:#x}")
        if found.on_write:
            found.on_write(value)
        else:
            found.value = value


class Machine:
    """Processor, memory, interrupts and time."""

    def __init__(self, cpu, hertz, priority_bits):
        self.engine = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        self.engine.ctl_set_cpu_model(cpu)
        self.hertz, self.priority_mask = hertz, 0xFF & ~(0xFF >> priority_bits)
        self.now, self.events, self.sequence = 0, [], 0
        self.blocks, self.symbols, self.failure, self.stopped = {}, [], None, None
        self.lines, self.pending, self.enabled, self.active = {}, set(), set(), []
        self.priority, self.event, self.vectors = {}, False, 0
        self.exceptions, self.instructions = {}, 0
        self.flash_write = None
        hook = self.engine.hook_add
        hook(unicorn.UC_HOOK_INTR, self._interrupt_hook)
        hook(unicorn.UC_HOOK_MEM_WRITE_PROT, self._protected_hook)
        hook(unicorn.UC_HOOK_MEM_INVALID & ~unicorn.UC_HOOK_MEM_WRITE_PROT, self._invalid_hook)
        self._system()

    # Memory.

    def map_ram(self, start, length):
        self.engine.mem_map(start, length)

    def map_flash(self, start, contents, write):
        """Maps flash. `write(address, size, value)` returns the bytes that the cells then hold."""
        self.engine.mem_map(start, len(contents), unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC)
        self.engine.mem_write(start, bytes(contents))
        self.flash_write = write

    def load_symbols(self, path):
        """Loads names of functions for messages: lines of address, size and name."""
        with open(path, encoding="utf-8") as file:
            rows = [line.split() for line in file]
        self.symbols = [(int(start) & ~1, int(size), name) for start, size, name in rows]

    def read(self, address, length):
        return bytes(self.engine.mem_read(address, length))

    def word(self, address):
        return struct.unpack("<I", self.read(address, 4))[0]

    def place(self, address):
        """Name of the function at an address."""
        inside = [name for start, size, name in self.symbols if start <= address < start + max(size, 2)]
        return f"{address:#010x} {inside[-1] if inside else '?'}"

    # Peripherals.

    def add_peripheral(self, peripheral):
        page = peripheral.base & ~0xFFF
        if page not in self.blocks:
            self.blocks[page] = []
            self.engine.mmio_map(page, 0x1000, self._mmio_read, page, self._mmio_write, page)
        self.blocks[page].append(peripheral)

    def _peripheral(self, address):
        below = [p for p in self.blocks[address & ~0xFFF] if p.base <= address]
        if not below:
            raise Failure(f"no peripheral at {address:#010x}")
        return max(below, key=lambda p: p.base)

    def _mmio_read(self, _, offset, size, page):
        if self.failure:
            return 0
        try:
            found = self._peripheral(page + offset)
            return found.read(page + offset - found.base, size)
        except Exception as failure:  # goes on in `run`
            self._fail(failure)
            return 0

    def _mmio_write(self, _, offset, size, value, page):
        if self.failure:
            return
        try:
            found = self._peripheral(page + offset)
            found.write(page + offset - found.base, size, value)
        except Exception as failure:  # goes on in `run`
            self._fail(failure)

    def _fail(self, failure):
        self.failure = self.failure or failure
        self.engine.emu_stop()

    def _protected_hook(self, _, access, address, size, value, data):
        try:
            contents = self.flash_write(address, size, value & (1 << 8 * size) - 1)
            self.engine.mem_write(address, contents)
        except Exception as failure:  # goes on in `run`
            self._fail(failure)
        return True

    def _invalid_hook(self, _, access, address, size, value, data):
        self._fail(Failure(f"no memory at {address:#010x}"))
        return False

    # Time.

    def at(self, time, action):
        """Calls `action` at a time."""
        self.sequence += 1
        heapq.heappush(self.events, (time, self.sequence, action))

    def after(self, duration, action):
        self.at(self.now + duration, action)

    def cycles(self, count):
        return count * SECOND // self.hertz

    def _fire(self):
        while self.events and self.events[0][0] <= self.now:
            heapq.heappop(self.events)[2]()

    def stall(self, duration):
        """Lets time pass in which the processor stands still, such as that of erasing flash."""
        end = self.now + duration
        while self.events and self.events[0][0] <= end:
            self.now = max(self.now, self.events[0][0])
            self._fire()
        self.now = end

    # Interrupts.

    def line(self, number, level):
        """Connects an interrupt; `level()` returns whether it is requested."""
        self.lines[number] = level

    def _running_priority(self):
        return min([self._priority_of(e) for e in self.active], default=256)

    def _priority_of(self, exception):
        return {2: -2, 3: -1}.get(exception, self.priority.get(exception, 0))

    def _next_exception(self):
        for number, level in self.lines.items():
            if number + 16 not in self.active and level():
                self.pending.add(number + 16)
        ready = [e for e in self.pending if e < 16 or e - 16 in self.enabled]
        if not ready:
            return None
        first = min(ready, key=lambda e: (self._priority_of(e), e))
        return first if self._priority_of(first) < self._running_priority() else None

    def _reg(self, name):
        return self.engine.reg_read(getattr(arm, f"UC_ARM_REG_{name}"))

    def _set(self, name, value):
        self.engine.reg_write(getattr(arm, f"UC_ARM_REG_{name}"), value)

    def _enter(self, exception):
        """Exception entry (ARMv7-M Architecture Reference Manual, B1.5.6)."""
        control = self._reg("CONTROL")
        if control & 2:
            raise Failure("the process stack is not modelled")
        floats = bool(control & 4)
        stack, status = self._reg("SP"), self._reg("XPSR")
        length = 0x68 if floats else 0x20
        frame = (stack - length) & ~7
        padded = (stack - length) & 4
        values = [self.engine.reg_read(r) for r in CORE]
        values += [self._reg("LR"), self._reg("PC"), status & ~0x200 | padded << 7]
        if floats:
            # At once, where the processor would wait for the first use.
            values += [self.engine.reg_read(r) for r in SINGLES] + [self._reg("FPSCR"), 0]
            self._set("CONTROL", control & ~0xC)
        self.engine.mem_write(frame, struct.pack(f"<{len(values)}I", *values))
        self._set("SP", frame)
        self._set("LR", (0xFFFF_FFF1 if self.active else 0xFFFF_FFF9) & ~(0x10 if floats else 0))
        self._set("XPSR", 0x0100_0000 | exception)
        self._set("PC", self.word(self.vectors + 4 * exception) | 1)
        self.pending.discard(exception)
        self.active.append(exception)
        self.exceptions[exception] = self.exceptions.get(exception, 0) + 1
        self.event = True

    def _return(self, target):
        """Exception return (B1.5.8)."""
        if target | 1 not in (0xFFFF_FFF1, 0xFFFF_FFF9, 0xFFFF_FFE1, 0xFFFF_FFE9) or not self.active:
            raise Failure(f"a jump to {target:#010x}")
        self.active.pop()
        if (target & 8 == 0) != bool(self.active):
            raise Failure(f"a return by {target | 1:#010x} among {self.active}")
        frame, floats = self._reg("SP"), target & 0x10 == 0
        count = 26 if floats else 8
        values = struct.unpack(f"<{count}I", self.read(frame, 4 * count))
        for register, value in zip(CORE, values):
            self.engine.reg_write(register, value)
        lr, pc, status = values[5:8]
        if floats:
            for register, value in zip(SINGLES, values[8:24]):
                self.engine.reg_write(register, value)
            self._set("FPSCR", values[24])
        control = self._reg("CONTROL") & ~0xC
        self._set("CONTROL", control | (4 if floats else 0))
        self._set("LR", lr)
        self._set("XPSR", status & ~0x200)
        self._set("SP", frame + 4 * count + (4 if status & 0x200 else 0))
        self._set("PC", pc | 1)
        self.event = True

    def _interrupt_hook(self, _, number, data):
        if number == 8:
            try:
                self._return(self._reg("PC"))
            except Exception as failure:  # goes on in `run`
                self._fail(failure)
        else:
            self._fail(Failure(f"exception {number} of the processor"))

    # Running.

    def reset(self, vectors):
        self.vectors = vectors
        self._set("SP", self.word(vectors))
        self._set("PC", self.word(vectors + 4) | 1)

    def stop(self, reason):
        """Ends `run`, for a reason that is no failure."""
        self.stopped = self.stopped or reason
        self.engine.emu_stop()

    def run(self, until):
        """Runs until a time, or until `stop`."""
        try:
            while self.now < until and not self.stopped:
                self._fire()
                first = self._next_exception() if not self._reg("PRIMASK") else None
                if first is not None:
                    self._enter(first)
                self._step(until)
        except Failure as failure:
            trail = self.place(self._reg("PC")), self.place(self._reg("LR") & ~1)
            raise Failure(f"{failure}; at {self.now / SECOND:.6f} s in {trail[0]}, from {trail[1]}") from None

    def _step(self, until):
        end = min([until, self.now + QUANTUM] + [e[0] for e in self.events[:1]])
        count = max(1, (end - self.now) * self.hertz // SECOND)
        try:
            self.engine.emu_start(self._reg("PC") | 1, 0, count=count)
            fault = None
        except unicorn.UcError as error:
            fault = error
        if self.failure:
            raise self.failure
        before = self._reg("PC") - 2
        if fault:
            # Unicorn ends at WFE as at an invalid instruction, and has passed it.
            if struct.unpack("<H", self.read(before, 2))[0] != WFE:
                raise Failure(f"{fault}")
            self._wait(until)
        else:
            self.instructions += count
            # The clock may have changed meanwhile, and a stall may have passed the end.
            self.now = max(self.now, end)

    def _wait(self, until):
        """Sleeps until an event (B1.5.18). Only an exception is one here."""
        if self.event:
            self.event = False
            return
        while self.now < until and not self.stopped:
            if not self.events:
                raise Failure("the processor sleeps for ever")
            self.now = max(self.now, self.events[0][0])
            self._fire()
            if self._next_exception() is not None and not self._reg("PRIMASK"):
                return

    # System control space (B3.2).

    def _system(self):
        block = Peripheral(self, "SCS", 0xE000_E000)
        def bits(name, offset, chosen, on, off):
            def get(n):
                return lambda: sum(1 << b for b in range(32) if 32 * n + b in chosen())

            def put(n, change):
                def write(value):
                    for b in range(32):
                        if value >> b & 1:
                            change(32 * n + b)
                return write

            for n in range(8):
                block.register(offset + 4 * n, f"IS{name}{n}", read=get(n), write=put(n, on))
                block.register(offset + 0x80 + 4 * n, f"IC{name}{n}", read=get(n), write=put(n, off))

        bits("ER", 0x100, lambda: self.enabled, self._enable, self.enabled.discard)
        bits("PR", 0x200, lambda: {e - 16 for e in self.pending},
             lambda n: self.pending.add(n + 16), lambda n: self.pending.discard(n + 16))
        for n in range(240):
            block.register(0x400 + n, f"IPR{n}", 0xFF, sizes=(1,),
                           read=lambda n=n: self.priority.get(n + 16, 0),
                           write=lambda v, n=n: self.priority.update({n + 16: v & self.priority_mask}))
        # EXTEXCLALL, which a chip with two cores needs.
        block.register(0x008, "ACTLR", 0x2000_0000)
        block.register(0xF00, "STIR", 0x1FF, read=lambda: 0, write=lambda n: self.pending.add(n + 16))
        block.register(0xD00, "CPUID", 0, 0x410F_C241)
        block.register(0xD88, "CPACR", 0x00F0_0000)
        block.register(0xF34, "FPCCR", 0xC000_0000, 0xC000_0000)

        def vtor(value):
            self.vectors = value

        block.register(0xD08, "VTOR", 0xFFFF_FF80, read=lambda: self.vectors, write=vtor)

        def aircr(value):
            if value >> 16 != 0x05FA:
                raise Failure(f"SCS.AIRCR: the key is {value >> 16:#x}")
            if value & 4:
                self.stop("reset by the program")

        block.register(0xD0C, "AIRCR", 0xFFFF_0004, read=lambda: 0xFA05_0000, write=aircr)
        block.register(0xD10, "SCR", 0x10)
        block.register(0xD14, "CCR", 0x218, 0x200)
    def _enable(self, number):
        if number not in self.lines:
            raise Failure(f"interrupt {number} is enabled, and nothing requests it here")
        self.enabled.add(number)
