"""nRF52840 and nRF52833 with their boards, after the product specifications of Nordic Semiconductor
(4413_417 v1.7 and 4452_021 v1.5)."""

import struct

import numpy as np
from unicorn import arm_const as arm

from board import Board
from cortex_m import MICROSECOND, SECOND, Failure, Machine, Peripheral

CLOCK_HERTZ = 64_000_000
# Erasing a page takes 85 ms, writing a word 41 µs (NVMC, electrical specification); each word may be
# written twice between two erases.
ERASE_MS, WRITE_US, WRITES = 85, 41, 2
# PDM clock by PDMCLKCTRL (PDM, register overview), in Hz.
PDM_HERTZ = {0x0800_0000: 1_000_000, 0x0840_0000: 1_032_000, 0x0880_0000: 1_067_000,
             0x0980_0000: 1_231_000, 0x0A00_0000: 1_280_000, 0x0A80_0000: 1_333_000}
MP34DT05_HERTZ = (1_200_000, 3_250_000)
# Analog inputs of the converter by their pins.
ANALOG = {"P0.02": 1, "P0.03": 2, "P0.04": 3, "P0.05": 4, "P0.28": 5, "P0.29": 6, "P0.30": 7, "P0.31": 8}
EVENTS = 0x100


class Nordic(Peripheral):
    """A peripheral with tasks, events and interrupts by events."""

    def __init__(self, machine, ppi, name, base):
        super().__init__(machine, name, base)
        self.ppi, self.events, self.enabled_events = ppi, {}, 0
        number = base >> 12 & 0xFF
        machine.line(number, self.requested)
        self.register(0x300, "INTEN", read=lambda: self.enabled_events, write=self.set_enabled)
        self.register(0x304, "INTENSET", read=lambda: self.enabled_events,
                      write=lambda v: self.set_enabled(self.enabled_events | v))
        self.register(0x308, "INTENCLR", read=lambda: self.enabled_events,
                      write=lambda v: self.set_enabled(self.enabled_events & ~v))

    def set_enabled(self, value):
        known = sum(1 << (offset - EVENTS) // 4 for offset in self.events)
        if value & ~known:
            raise Failure(f"{self.name}.INTEN: unknown events {value & ~known:#x}")
        self.enabled_events = value

    def requested(self):
        return any(self.events[offset] and self.enabled_events >> (offset - EVENTS) // 4 & 1
                   for offset in self.events)

    def event(self, offset, name):
        self.events[offset] = 0

        def write(value):
            self.events[offset] = value

        self.register(offset, f"EVENTS_{name}", 1, read=lambda: self.events[offset], write=write)

    def task(self, offset, name, action):
        def write(value):
            if value:
                action()
        self.register(offset, f"TASKS_{name}", 1, read=lambda: 0, write=write)

    def fire(self, offset):
        """Sets an event, and triggers the tasks that are connected to it."""
        self.events[offset] = 1
        self.ppi.fire(self.base + offset)


class Ppi(Peripheral):
    """Connections from events to tasks."""

    def __init__(self, machine):
        super().__init__(machine, "PPI", 0x4001_F000)
        self.enabled_channels, self.groups = 0, [0] * 6
        self.pairs = [[0, 0, 0] for _ in range(20)]

        def put(value):
            self.enabled_channels = value

        self.register(0x500, "CHEN", read=lambda: self.enabled_channels, write=put)
        self.register(0x504, "CHENSET", read=lambda: self.enabled_channels,
                      write=lambda v: put(self.enabled_channels | v))
        self.register(0x508, "CHENCLR", read=lambda: self.enabled_channels,
                      write=lambda v: put(self.enabled_channels & ~v))
        for n, pair in enumerate(self.pairs):
            for place, (offset, name) in enumerate([(0x510 + 8 * n, f"CH[{n}].EEP"),
                                                    (0x514 + 8 * n, f"CH[{n}].TEP"),
                                                    (0x910 + 4 * n, f"FORK[{n}].TEP")]):
                self.register(offset, name, read=lambda p=pair, i=place: p[i],
                              write=lambda v, p=pair, i=place: p.__setitem__(i, v))
        for n in range(6):
            self.register(0x800 + 4 * n, f"CHG[{n}]", read=lambda n=n: self.groups[n],
                          write=lambda v, n=n: self.groups.__setitem__(n, v))
            for offset, name, change in ((8 * n, "EN", lambda n: put(self.enabled_channels | self.groups[n])),
                                         (8 * n + 4, "DIS", lambda n: put(self.enabled_channels & ~self.groups[n]))):
                self.register(offset, f"TASKS_CHG[{n}].{name}", 1, read=lambda: 0,
                              write=lambda v, n=n, change=change: change(n))

    def fire(self, event):
        if not self.enabled_channels:
            return
        tasks = [task for n, (source, *targets) in enumerate(self.pairs)
                 if self.enabled_channels >> n & 1 and source == event for task in targets if task]
        for task in tasks:
            found = self.machine._peripheral(task)
            found.write(task - found.base, 4, 1)


class Timer(Nordic):
    """Timer or counter. `ticking` calls are exact in simulated time."""

    def __init__(self, machine, ppi, name, base):
        super().__init__(machine, ppi, name, base)
        self.count, self.since, self.generation = 0, None, 0
        self.compare = [0] * 4
        self.mode = self.register(0x504, "MODE", 3)
        self.bits = self.register(0x508, "BITMODE", 3)
        self.prescaler = self.register(0x510, "PRESCALER", 15, 4)
        self.shorts = self.register(0x200, "SHORTS", 0x0F0F)
        self.task(0x00, "START", self.start)
        self.task(0x04, "STOP", self.stop)
        self.task(0x08, "COUNT", self.increment)
        self.task(0x0C, "CLEAR", self.clear)
        for n in range(4):
            self.event(0x140 + 4 * n, f"COMPARE[{n}]")
            self.task(0x40 + 4 * n, f"CAPTURE[{n}]", lambda n=n: self.compare.__setitem__(n, self.value()))
            self.register(0x540 + 4 * n, f"CC[{n}]", read=lambda n=n: self.compare[n],
                          write=lambda v, n=n: self.compare.__setitem__(n, v))

    def tick(self):
        return SECOND * (1 << self.prescaler.value) / 16_000_000

    def value(self):
        if self.since is None or self.mode.value:
            return self.count
        return self.count + int((self.machine.now - self.since) / self.tick())

    def start(self):
        self.since = self.machine.now
        self.generation += 1
        if self.mode.value == 0:
            self.next_compare(self.generation, self.machine.now)

    def stop(self):
        self.count, self.since = self.value(), None
        self.generation += 1

    def clear(self):
        self.count = 0
        if self.since is not None:
            self.since = self.machine.now

    def increment(self):
        if self.mode.value == 0:
            raise Failure(f"{self.name}: a timer counts no tasks")
        self.count = self.count + 1 & 0xFFFF_FFFF
        for n in range(4):
            if self.count == self.compare[n] and self.compare[n]:
                self.fire(0x140 + 4 * n)
                if self.shorts.value >> n & 1:
                    self.count = 0

    def next_compare(self, generation, origin):
        """Timers of these boards repeat by CC[0], which clears them."""
        if not self.compare[0] or not self.shorts.value & 1:
            return
        period = self.compare[0] * self.tick()

        def reach(n):
            if generation == self.generation:
                self.fire(0x140)
                self.machine.at(int(origin + (n + 1) * period), lambda: reach(n + 1))

        self.machine.at(int(origin + period), lambda: reach(1))


class Nrf52(Board):
    """A board with an nRF52. `wiring` names pins by their purpose."""

    flash_base = 0

    def __init__(self, wiring, sound, host, flash, options, start, ram_kib, kept=None):
        self.machine = machine = Machine(arm.UC_CPU_ARM_CORTEX_M4, CLOCK_HERTZ, priority_bits=3)
        self.wiring, self.sound, self.host, self.options = wiring, sound, host, options
        self.start_at, self.flash_bytes = start, len(flash)
        machine.map_ram(0x2000_0000, ram_kib * 1024)
        machine.map_flash(0, flash, self.program_flash)
        self.uicr = kept or b"\xff" * 0x1000
        machine.engine.mem_map(0x1000_1000, 0x1000, 1)
        machine.engine.mem_write(0x1000_1000, self.uicr)
        machine.engine.mem_map(0x1000_0000, 0x1000, 1)
        # INFO.VARIANT "AAF0": a build code whose debug port the program must unlock.
        machine.engine.mem_write(0x1000_0104, struct.pack("<I", 0x4141_4630))
        self.pin_log, self.flash_log, self.words = [], [], []
        self.levels, self.counts, self.written = {}, {"overrun bytes": 0}, {}
        self.ppi = Ppi(machine)
        self.power()
        self.nvmc()
        self.gpio()
        self.usart()
        self.timers = [Timer(machine, self.ppi, f"TIMER{n}", 0x4000_8000 + 0x1000 * n) for n in range(2)]
        self.watchdog()
        self.microphone()
        machine.line(20, lambda: False)  # EGU0, which only the program requests

    def start(self):
        self.machine.reset(self.start_at)

    def keep(self):
        """Contents of UICR, which survive a reset."""
        return self.machine.read(0x1000_1000, 0x1000)

    # Power and clocks.

    def power(self):
        block = Nordic(self.machine, self.ppi, "CLOCK", 0x4000_0000)
        block.event(0x100, "HFCLKSTARTED")
        block.event(0x104, "LFCLKSTARTED")
        source = block.register(0x518, "LFCLKSRC", 0x0003_0003)
        self.crystal = False

        def high():
            def started():
                self.crystal = True
                block.fire(0x100)
            self.machine.after(360 * MICROSECOND, started)

        def low():
            if source.value & 3 == 1:
                raise Failure("CLOCK.LFCLKSRC: the board's crystal is not modelled")
            self.machine.after(600 * MICROSECOND, lambda: block.fire(0x104))

        block.task(0x00, "HFCLKSTART", high)
        block.task(0x08, "LFCLKSTART", low)
        block.register(0x558, "APPROTECT.DISABLE", 0xFF)
        block.register(0x578, "DCDCEN", 1)
        block.register(0x580, "DCDCEN0", 1)
        temperature = Peripheral(self.machine, "TEMP", 0x4000_C000)
        for n in range(6):
            temperature.register(0x520 + 4 * n, f"A{n}")
            temperature.register(0x540 + 4 * n, f"B{n}")
        for n in range(5):
            temperature.register(0x560 + 4 * n, f"T{n}")

    # Flash.

    def nvmc(self):
        block = Peripheral(self.machine, "NVMC", 0x4001_E000)
        block.register(0x400, "READY", 0, 1)
        block.register(0x408, "READYNEXT", 0, 1)
        self.flash_config = block.register(0x504, "CONFIG", 3)

        def erase(address):
            if self.flash_config.value != 2:
                raise Failure("NVMC.ERASEPAGE: erasing is not enabled")
            if address % 0x1000 or address >= self.flash_bytes:
                raise Failure(f"NVMC.ERASEPAGE: {address:#x}")
            self.flash_log.append(("erase", address, 0x1000))
            self.machine.engine.mem_write(address, b"\xff" * 0x1000)
            for word in range(address, address + 0x1000, 4):
                self.written.pop(word, None)
            self.machine.stall(ERASE_MS * 1000 * MICROSECOND)

        block.register(0x508, "ERASEPAGE", read=lambda: 0, write=erase)

    def program_flash(self, address, size, value):
        if self.flash_config.value != 1:
            raise Failure(f"a write to flash at {address:#010x} while NVMC.CONFIG is {self.flash_config.value}")
        if size != 4 or address % 4:
            raise Failure(f"flash at {address:#010x}: {size} bytes")
        old = self.machine.word(address)
        if value & ~old and address < self.flash_bytes:
            raise Failure(f"flash at {address:#010x}: {value:#x} over {old:#x} needs an erase")
        self.written[address] = self.written.get(address, 0) + 1
        if self.written[address] > WRITES:
            raise Failure(f"flash at {address:#010x} is written {self.written[address]} times")
        if address < self.flash_bytes:
            self.flash_log.append(("write", address, struct.pack("<I", value).hex()))
        self.machine.stall(WRITE_US * MICROSECOND)
        return struct.pack("<I", value & old)

    # Pins.

    def gpio(self):
        self.outputs, self.configs = [0, 0], [[2] * 32, [2] * 16]
        for port, base in enumerate((0x5000_0500, 0x5000_0800)):
            block = Peripheral(self.machine, f"P{port}", base)

            def put(value, port=port):
                self.outputs[port] = value
                self.note_levels()

            def direct(value, port=port):
                for n, config in enumerate(self.configs[port]):
                    self.configs[port][n] = config & ~1 | value >> n & 1
                self.note_levels()

            def direction(port=port):
                return sum((c & 1) << n for n, c in enumerate(self.configs[port]))

            def levels(port=port):
                """Inputs that are connected and pulled up; nobody presses a button."""
                return sum(1 << n for n, c in enumerate(self.configs[port]) if c & 0b1111 == 0b1100)

            get = lambda port=port: self.outputs[port]
            block.register(0x004, "OUT", read=get, write=put)
            block.register(0x010, "IN", read=levels)
            block.register(0x008, "OUTSET", read=get, write=lambda v, g=get, p=put: p(g() | v))
            block.register(0x00C, "OUTCLR", read=get, write=lambda v, g=get, p=put: p(g() & ~v))
            block.register(0x014, "DIR", read=direction, write=direct)
            block.register(0x018, "DIRSET", read=direction, write=lambda v, d=direction, p=direct: p(d() | v))
            block.register(0x01C, "DIRCLR", read=direction, write=lambda v, d=direction, p=direct: p(d() & ~v))
            for n in range(len(self.configs[port])):
                def configure(value, port=port, n=n):
                    self.configs[port][n] = value
                    self.note_levels()
                block.register(0x200 + 4 * n, f"PIN_CNF[{n}]", 0x0003_070F,
                               read=lambda port=port, n=n: self.configs[port][n], write=configure)

    @staticmethod
    def number(pin):
        """P1.03 as PSEL has it: 35."""
        return 32 * int(pin[1]) + int(pin[3:])

    def config(self, pin):
        number = self.number(pin)
        return self.configs[number // 32][number % 32]

    def level(self, pin):
        """Level of an output, or None."""
        number = self.number(pin)
        return self.outputs[number // 32] >> number % 32 & 1 if self.config(pin) & 1 else None

    def note_levels(self):
        for name in ("led", "pin", "power", "column"):
            if name in self.wiring:
                level = self.level(self.wiring[name])
                if name == "led" and level and "column" in self.wiring:
                    # An LED of a matrix, which is lit while its column is low.
                    level = int(self.level(self.wiring["column"]) == 0)
                self.note_level(name, level)

    # UART.

    def usart(self):
        machine = self.machine
        self.uart = uart = Nordic(machine, self.ppi, "UARTE0", 0x4000_2000)
        for offset, name in ((0x108, "RXDRDY"), (0x110, "ENDRX"), (0x11C, "TXDRDY"), (0x120, "ENDTX"),
                             (0x124, "ERROR"), (0x144, "RXTO"), (0x14C, "RXSTARTED"), (0x150, "TXSTARTED"),
                             (0x158, "TXSTOPPED"), (0x100, "CTS"), (0x104, "NCTS")):
            uart.event(offset, name)
        # Writing to INTENCLR disables whatever there is.
        uart.registers[0x308].on_write = lambda v: uart.set_enabled(uart.enabled_events & ~v)
        errors = uart.register(0x480, "ERRORSRC", 15)
        errors.on_write = lambda v: setattr(errors, "value", errors.value & ~v)
        uart.errors = errors
        uart.on = uart.register(0x500, "ENABLE", 15)
        uart.pins = {name: uart.register(offset, f"PSEL.{name}", 0x8000_003F, 0xFFFF_FFFF)
                     for offset, name in ((0x508, "RTS"), (0x50C, "TXD"), (0x510, "CTS"), (0x514, "RXD"))}
        for register in uart.pins.values():
            register.bits = 0xFFFF_FFFF
        uart.baud = uart.register(0x524, "BAUDRATE")
        uart.config = uart.register(0x56C, "CONFIG", 0x1F)
        uart.receive_at, uart.receive_count = (uart.register(0x534, "RXD.PTR"), uart.register(0x538, "RXD.MAXCNT", 0xFFFF))
        uart.send_at, uart.send_count = (uart.register(0x544, "TXD.PTR"), uart.register(0x548, "TXD.MAXCNT", 0xFFFF))
        uart.receiving, uart.sending, uart.kept = None, False, []
        uart.task(0x00, "STARTRX", self.start_receiving)
        uart.task(0x08, "STARTTX", self.start_sending)

    def byte_time(self):
        uart = self.uart
        baud = uart.baud.value * 16_000_000 / 2**32
        if abs(baud / 115_200 - 1) > 0.02 or uart.config.value:
            raise Failure(f"UARTE0: {baud:.0f} baud, CONFIG = {uart.config.value:#x}")
        return int(10 * SECOND / baud)

    def memory(self, what, address, length):
        size = 1024 * {True: 256, False: 128}[self.flash_bytes > 1 << 19]
        if not 0x2000_0000 <= address <= address + length <= 0x2000_0000 + size:
            raise Failure(f"{what}: {address:#010x} is no memory that EasyDMA reaches")

    def start_sending(self):
        uart = self.uart
        if uart.on.value != 8 or uart.sending:
            raise Failure("UARTE0: TASKS_STARTTX while it is off or sends")
        self.memory("UARTE0.TXD", uart.send_at.value, uart.send_count.value)
        data = self.machine.read(uart.send_at.value, uart.send_count.value)
        uart.sending = True
        uart.fire(0x150)

        def send(n):
            uart.fire(0x11C)
            if uart.pins["TXD"].value == self.number(self.wiring["tx"]) and self.config(self.wiring["tx"]) & 1:
                self.deliver(self.host.take(data[n]))
            if n + 1 < len(data):
                self.machine.after(self.byte_time(), lambda: send(n + 1))
            else:
                uart.sending = False
                uart.fire(0x120)

        if data:
            self.machine.after(self.byte_time(), lambda: send(0))

    def start_receiving(self):
        uart = self.uart
        if uart.on.value != 8:
            raise Failure("UARTE0: TASKS_STARTRX while it is off")
        if uart.receiving is not None:
            raise Failure("UARTE0: TASKS_STARTRX while it receives")
        self.memory("UARTE0.RXD", uart.receive_at.value, uart.receive_count.value)
        uart.receiving = [uart.receive_at.value, uart.receive_count.value]
        uart.fire(0x14C)
        kept, uart.kept = uart.kept, []
        for byte in kept:
            self.store(byte)

    def arrive(self, byte):
        uart, pin = self.uart, self.wiring["rx"]
        if uart.on.value != 8 or uart.pins["RXD"].value != self.number(pin) or self.config(pin) & 3:
            return
        uart.fire(0x108)
        self.store(byte)

    def store(self, byte):
        uart = self.uart
        if uart.receiving is None:
            # The receiver has room for some bytes of its own.
            uart.kept.append(byte)
            if len(uart.kept) > 4:
                uart.kept.pop()
                self.counts["overrun bytes"] += 1
                uart.errors.value |= 1
                uart.fire(0x124)
            return
        address, left = uart.receiving
        self.machine.engine.mem_write(address, bytes([byte]))
        uart.receiving = [address + 1, left - 1] if left > 1 else None
        if uart.receiving is None:
            uart.fire(0x110)

    # Watchdog.

    def watchdog(self):
        dog = Nordic(self.machine, self.ppi, "WDT", 0x4001_0000)
        dog.event(0x100, "TIMEOUT")
        dog.running, dog.generation = False, 0
        reload = dog.register(0x504, "CRV")
        requests = dog.register(0x508, "RREN", 0xFF, 1)
        dog.register(0x50C, "CONFIG", 9, 1)
        dog.register(0x400, "RUNSTATUS", read=lambda: int(dog.running))

        def bite(generation):
            if generation == dog.generation:
                self.machine.stop("reset by the watchdog")

        def feed():
            dog.generation += 1
            ticks = reload.value + 1
            self.timeout_ms = 1000 * ticks / 32_768
            self.machine.after(ticks * SECOND // 32_768, lambda g=dog.generation: bite(g))

        def start():
            dog.running = True
            feed()

        def request(value):
            if value != 0x6E52_4635:
                raise Failure(f"WDT.RR[0]: {value:#x}")
            if requests.value != 1:
                raise Failure("WDT.RREN: more than one request")
            if dog.running:
                feed()

        dog.task(0x00, "START", start)
        dog.register(0x600, "RR[0]", read=lambda: 0, write=request)

    def report(self):
        return {"microphone_hertz": getattr(self, "sample_hertz", None), "system_hertz": self.machine.hertz,
                "watchdog_ms": getattr(self, "timeout_ms", None), "crystal": self.crystal, **self.counts}


class Nano33(Nrf52):
    """Arduino Nano 33 BLE Sense: nRF52840, with an MP34DT05 at the PDM peripheral."""

    # Arduino's bootloader is below, and starts the program with this table of vectors.
    START, RAM_KIB = 0x1_0000, 256

    def __init__(self, wiring, sound, host, flash, options, kept=None):
        super().__init__(wiring, sound, host, flash, options, self.START, self.RAM_KIB, kept)

    def microphone(self):
        self.pdm = pdm = Nordic(self.machine, self.ppi, "PDM", 0x4001_D000)
        for offset, name in ((0x100, "STARTED"), (0x104, "STOPPED"), (0x108, "END")):
            pdm.event(offset, name)
        pdm.registers[0x308].on_write = lambda v: pdm.set_enabled(pdm.enabled_events & ~v)
        pdm.on = pdm.register(0x500, "ENABLE", 1)
        pdm.clock = pdm.register(0x504, "PDMCLKCTRL", value=0x0840_0000)
        pdm.mode = pdm.register(0x508, "MODE", 3)
        pdm.gain = pdm.register(0x518, "GAINL", 0x7F, 0x28)
        pdm.register(0x51C, "GAINR", 0x7F, 0x28)
        pdm.ratio = pdm.register(0x520, "RATIO", 1)
        pdm.pins = {"clock": pdm.register(0x540, "PSEL.CLK", value=0xFFFF_FFFF),
                    "data": pdm.register(0x544, "PSEL.DIN", value=0xFFFF_FFFF)}
        pdm.target = pdm.register(0x560, "SAMPLE.PTR")
        pdm.count = pdm.register(0x564, "SAMPLE.MAXCNT", 0x7FFF)
        pdm.task(0x00, "START", self.start_pdm)
        pdm.made = 0

    def start_pdm(self):
        pdm = self.pdm
        if not pdm.on.value:
            raise Failure("PDM: TASKS_START while it is off")
        if pdm.clock.value not in PDM_HERTZ:
            raise Failure(f"PDM.PDMCLKCTRL: {pdm.clock.value:#x}")
        self.clock_hertz = PDM_HERTZ[pdm.clock.value]
        self.sample_hertz = self.clock_hertz / (80 if pdm.ratio.value else 64)
        if pdm.mode.value & 1 != 1:
            raise Failure("PDM.MODE: two channels, where the board has one")
        self.since = self.machine.now
        self.fill()

    def fill(self):
        """Starts a buffer: its address is taken now, and may then be written for the next."""
        pdm = self.pdm
        address, count = pdm.target.value, pdm.count.value
        self.memory("PDM.SAMPLE", address, 2 * count)
        pdm.fire(0x100)

        def end():
            samples = self.samples(count)
            self.words += samples
            self.machine.engine.mem_write(address, struct.pack(f"<{count}h", *samples))
            pdm.fire(0x108)
            self.fill()

        self.machine.at(self.since + int((pdm.made + count) * SECOND / self.sample_hertz), end)

    def samples(self, count):
        """Samples of the peripheral's filter, whose frequency response is not modelled."""
        pdm = self.pdm
        times = (pdm.made + np.arange(count)) / self.sample_hertz
        pdm.made += count
        wired = (all(pdm.pins[name].value == self.number(self.wiring[name]) for name in pdm.pins)
                 and self.level(self.wiring["clock"]) is not None and self.config(self.wiring["data"]) & 3 == 0
                 and self.level(self.wiring["power"]) == 1)
        low, high = MP34DT05_HERTZ
        # The microphone drives the line while the clock is low: the left one, with L/R at ground.
        if not wired or not low <= self.clock_hertz <= high or pdm.mode.value & 2:
            return [0] * count
        # The sound is 20 dB below its file, as at the microphone; steps of the gain are half dB.
        gain = 10 ** (((pdm.gain.value - 0x28) / 2 - 20) / 20)
        values = np.round(self.sound.at(times) * 32_768 * gain)
        return np.clip(values, -32_768, 32_767).astype(int).tolist()


class Microbit(Nrf52):
    """micro:bit v2: nRF52833, with an analog microphone at the converter."""

    START, RAM_KIB = 0, 128

    def __init__(self, wiring, sound, host, flash, options, kept=None):
        super().__init__(wiring, sound, host, flash, options, self.START, self.RAM_KIB, kept)

    def microphone(self):
        self.adc = adc = Nordic(self.machine, self.ppi, "SAADC", 0x4000_7000)
        for offset, name in ((0x100, "STARTED"), (0x104, "END"), (0x108, "DONE"), (0x10C, "RESULTDONE"),
                             (0x110, "CALIBRATEDONE"), (0x114, "STOPPED")):
            adc.event(offset, name)
        adc.registers[0x308].on_write = lambda v: adc.set_enabled(adc.enabled_events & ~v)
        adc.on = adc.register(0x500, "ENABLE", 1)
        adc.input = adc.register(0x510, "CH[0].PSELP", 0x1F)
        adc.negative = adc.register(0x514, "CH[0].PSELN", 0x1F)
        adc.channel = adc.register(0x518, "CH[0].CONFIG", 0x0117_1733, 0x2_0000)
        adc.resolution = adc.register(0x5F0, "RESOLUTION", 7, 1)
        adc.oversample = adc.register(0x5F4, "OVERSAMPLE", 15)
        adc.rate = adc.register(0x5F8, "SAMPLERATE", 0x17FF)
        adc.target = adc.register(0x62C, "RESULT.PTR")
        adc.count = adc.register(0x630, "RESULT.MAXCNT", 0x7FFF)
        adc.buffer, adc.first = None, None
        adc.task(0x00, "START", self.start_adc)
        adc.task(0x04, "SAMPLE", self.sample)

    def start_adc(self):
        adc = self.adc
        if not adc.on.value:
            raise Failure("SAADC: TASKS_START while it is off")
        if adc.oversample.value or adc.rate.value >> 12 & 1 or adc.resolution.value != 3:
            raise Failure("SAADC: not single readings of 14 bits")
        if adc.channel.value >> 20 & 1 or adc.channel.value >> 24 & 1:
            raise Failure(f"SAADC.CH[0].CONFIG: {adc.channel.value:#x}")
        self.memory("SAADC.RESULT", adc.target.value, 2 * adc.count.value)
        adc.buffer = [adc.target.value, adc.count.value]
        adc.fire(0x100)

    def sample(self):
        adc = self.adc
        if adc.buffer is None:
            raise Failure("SAADC: TASKS_SAMPLE without a buffer")
        now = self.machine.now / SECOND
        if adc.first is None:
            adc.first, self.sampled = now, 0
        elif self.sampled:
            self.sample_hertz = self.sampled / (now - adc.first)
        self.sampled += 1
        reading = self.reading(now - adc.first)
        address, left = adc.buffer
        self.words.append(reading)
        self.machine.engine.mem_write(address, struct.pack("<h", reading))
        adc.buffer = [address + 2, left - 1] if left > 1 else None
        adc.fire(0x108)
        adc.fire(0x10C)
        if adc.buffer is None:
            adc.fire(0x104)

    def reading(self, seconds):
        """Voltage of the amplifier as a reading: a quarter of 3.3 V or 0.6 V as reference, 14 bits."""
        adc = self.adc
        if self.level(self.wiring["power"]) != 1 or adc.input.value != ANALOG.get(self.wiring["signal"]):
            return 0
        gain = [1 / 6, 1 / 5, 1 / 4, 1 / 3, 1 / 2, 1, 2, 4][adc.channel.value >> 8 & 7]
        reference = 0.825 if adc.channel.value >> 12 & 1 else 0.6
        # The direct voltage is such that it stays in the range of the gain; loud sound is ±51 mV.
        volts = 0.1 + 0.0515 * self.sound.one(seconds)
        return max(-8_192, min(16_383, round(volts * gain / reference * 16_384)))
