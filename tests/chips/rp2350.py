"""RP2350 and the Raspberry Pi Pico 2, after the RP2350 data sheet, with an INMP441 on its wires."""

import struct

import unicorn
from unicorn import arm_const as arm

from board import Board, check_fields
from cortex_m import MICROSECOND, SECOND, Failure, Machine, Peripheral

XOSC, ROSC = 12_000_000, 11_000_000
FLASH_BASE = 0x1000_0000
# Erasing a sector of 4 KiB and writing a page of 256 bytes (Winbond's data sheet): typical, longest.
ERASE_MS, PAGE_US = (45, 400), (400, 3_000)
# Bits of RESETS.RESET (data sheet, 7.5).
RESET_BITS = {"DMA": 2, "IO_BANK0": 6, "PADS_BANK0": 9, "PIO0": 11, "PLL_SYS": 14, "PLL_USB": 15,
              "TIMER0": 23, "UART0": 26}
# Functions of the boot ROM by their codes, and where the double has them.
ROM = {b"IF": 0x120, b"EX": 0x124, b"RE": 0x128, b"RP": 0x12C, b"FC": 0x130, b"CX": 0x134}
LOOKUP, SETUP = 0x100, 0x138
INMP441_HERTZ = (500_000, 3_200_000)


class Rp(Peripheral):
    """A peripheral with the aliases that flip, set and clear bits (data sheet, 2.1.3)."""

    def __init__(self, machine, name, base, enabled=None):
        super().__init__(machine, name, base, enabled)
        for step, change in ((0x1000, lambda old, v: old ^ v), (0x2000, lambda old, v: old | v),
                             (0x3000, lambda old, v: old & ~v)):
            Alias(machine, self, base + step, change)


class Alias(Peripheral):
    """One of the aliases of a peripheral."""

    def __init__(self, machine, of, base, change):
        super().__init__(machine, f"{of.name} (alias)", base)
        self.of, self.change = of, change

    def read(self, offset, size):
        return self.of.read(offset, size)

    def write(self, offset, size, value):
        self.of.write(offset, size, self.change(self.of.read(offset, size), value) & 0xFFFF_FFFF)


class Inmp441:
    """The microphone's end of an I²S line (data sheet DS-000069), with L/R at ground.

    Its data are symbols: the place of the bit in the left slot, or None where it leaves the line to
    the resistor to ground.
    """

    def __init__(self):
        self.clock = self.select = self.latched = None
        self.turned, self.place, self.data = False, None, None

    def drive(self, clock, select):
        """Takes the levels of bit clock and word select, and drives the data line."""
        if self.clock == 0 and clock == 1:
            self.turned = self.latched is not None and select != self.latched
            self.latched = select
        if self.clock == 1 and clock == 0:
            # The first bit comes with the clock after the one that saw the new word select.
            if self.turned:
                self.place = 0
            elif self.place is not None:
                self.place += 1
            active = self.latched == 0 and self.place is not None and self.place < 24
            self.data = self.place if active else None
        self.clock = clock


class StateMachine:
    """Interpreter for one PIO state machine (data sheet, 11.4), over symbols instead of bits."""

    def __init__(self, program, registers, microphone, pins):
        self.program, self.microphone, self.pins = program, microphone, pins
        execution, self.shift, self.control = (registers[name] for name in ("EXECCTRL", "SHIFTCTRL", "PINCTRL"))
        self.bottom, self.top = execution >> 7 & 31, execution >> 12 & 31
        self.side_optional = execution >> 30 & 1
        self.pc, self.x, self.y, self.isr, self.pushed = registers["ADDR"], 0, 0, [], []
        self.levels, self.cycles = {}, 0
        if self.shift >> 16 & 1 == 0 or self.shift >> 18 & 1 or self.shift >> 20 & 31:
            raise Failure(f"PIO0.SM0_SHIFTCTRL: {self.shift:#x} is not pushed by itself at 32 bits from the right")

    def step(self):
        word = self.program[self.pc]
        count, base = self.control >> 29 & 7, self.control >> 10 & 31
        if self.side_optional or count + 0 > 5:
            raise Failure("PIO0: an optional side-set is not modelled")
        field = word >> 8 & 31
        side, delay = field >> 5 - count, field & (1 << 5 - count) - 1
        for n in range(count):
            self.levels[base + n] = side >> n & 1
        self.microphone.drive(self.levels.get(self.pins["clock"]), self.levels.get(self.pins["select"]))
        following = self.bottom if self.pc == self.top else self.pc + 1
        code, operand = word >> 13, word & 0xFF
        if code == 0:  # JMP
            condition, address = operand >> 5, operand & 31
            if condition == 2:
                if self.x:
                    following = address
                self.x = self.x - 1 & 0xFFFF_FFFF
            elif condition == 0:
                following = address
            else:
                raise Failure(f"PIO0: a jump by condition {condition}")
        elif code == 2 and operand == 1:  # IN PINS, 1
            at_data = self.control >> 15 & 31 == self.pins["data"]
            self.isr.append((self.cycles, self.microphone.data if at_data else None))
            if len(self.isr) == 32:
                self.pushed.append(self.isr)
                self.isr = []
        elif code == 7 and operand >> 5 == 1:  # SET X
            self.x = operand & 31
        elif word & 0xE0FF == 0xA042:  # MOV Y, Y, which is NOP
            pass
        else:
            raise Failure(f"PIO0: the instruction {word:#06x} is not modelled")
        self.cycles += 1 + delay
        self.pc = following


class Pico2(Board):
    """The board. `wiring` names pins by their purpose (`clock`, `select`, `data`, `tx`, `rx`, `led`, `pin`)."""

    flash_base = FLASH_BASE

    def __init__(self, wiring, sound, host, flash, options, kept=None):
        self.machine = machine = Machine(arm.UC_CPU_ARM_CORTEX_M33, ROSC, priority_bits=4)
        self.wiring = {purpose: int(pin[2:]) for purpose, pin in wiring.items()}
        self.sound, self.host, self.options = sound, host, options
        machine.map_ram(0x2000_0000, 520 * 1024)
        machine.map_flash(FLASH_BASE, flash, self.store_to_flash)
        self.flash_bytes = len(flash)
        self.pin_log, self.flash_log, self.words, self.levels = [], [], [], {}
        self.counts = {"overrun bytes": 0}
        self.find_image()
        self.rom()
        self.clocks()
        self.pins()
        self.sio()
        self.dma()
        self.pio()
        self.uart()
        self.timer()
        # Requested by the program only, or not at all here.
        for number in (0, 10, 15, 21, 25, 33, 48):
            machine.lines.setdefault(number, lambda: False)

    def start(self):
        self.machine.reset(FLASH_BASE)

    def find_image(self):
        """The boot ROM runs a program that has a block in its first 4 KiB (data sheet, 5.9)."""
        head = self.machine.read(FLASH_BASE, 4096)
        at = head.find(struct.pack("<I", 0xFFFF_DED3))
        if at < 0 or at % 4:
            raise Failure("no block of an image in the first 4 KiB")
        item, kind = struct.unpack_from("<BxH", head, at + 4)
        # An executable, secure, for Arm, for the RP2350 (data sheet, 5.9.3.1).
        if item != 0x42 or kind & 0x773F != 0x1021:
            raise Failure(f"the first item of the block, {item:#x} {kind:#x}, is no program for this processor")

    # Boot ROM and flash.

    def rom(self):
        engine = self.machine.engine
        engine.mem_map(0, 0x1000, 5)
        engine.mem_write(0x10, b"Mu\x02\x02")
        engine.mem_write(0x16, struct.pack("<H", LOOKUP | 1))
        for address in [LOOKUP, SETUP, *ROM.values()]:
            engine.mem_write(address, bytes.fromhex("7047"))  # BX LR
        # The boot ROM leaves the function that sets up the flash's interface in boot RAM: here a
        # jump to `SETUP`.
        engine.mem_map(0x400E_0000, 0x1000)
        engine.mem_write(0x400E_0000, bytes.fromhex("00480047") + struct.pack("<I", SETUP | 1))
        self.executing, self.connected_flash = True, False
        engine.hook_add(unicorn.UC_HOOK_CODE, self.rom_hook, begin=LOOKUP, end=SETUP)

    def rom_hook(self, engine, address, size, data):
        try:
            self.call(address)
        except Exception as failure:  # goes on in `run`
            self.machine._fail(failure)

    def call(self, address):
        machine = self.machine
        registers = [machine._reg(f"R{n}") for n in range(4)]
        if address == LOOKUP:
            code = registers[0].to_bytes(4, "little")[:2]
            if code not in ROM:
                raise Failure(f"the boot ROM has no function {code} here")
            machine._set("R0", ROM[code] | 1)
            return
        caller = machine._reg("LR")
        if not 0x2000_0000 <= caller < 0x2008_2000 and address != SETUP:
            raise Failure(f"a function of the flash is called from {caller:#010x}, in the flash")
        if not machine._reg("PRIMASK"):
            raise Failure("a function of the flash is called with interrupts on")
        name = {at: code for code, at in ROM.items()}.get(address)
        if name == b"IF":
            self.connected_flash = True
        elif name == b"EX":
            if not self.connected_flash:
                raise Failure("the flash is not connected")
            self.executing = False
        elif name in (b"RE", b"RP"):
            if self.executing:
                raise Failure("the flash is erased or written while programs are read from it")
            (self.erase if name == b"RE" else self.program)(*registers[:3])
        elif name == b"CX" or address == SETUP:
            self.executing, self.connected_flash = True, False

    def erase(self, start, length, block):
        if start % 4096 or length % 4096 or start + length > self.flash_bytes:
            raise Failure(f"flash: erasing {length:#x} bytes at {start:#x}")
        self.flash_log.append(("erase", start, length))
        self.machine.engine.mem_write(FLASH_BASE + start, b"\xff" * length)
        self.machine.stall(length // 4096 * ERASE_MS[self.options.slow_flash] * 1000 * MICROSECOND)

    def program(self, start, data, length):
        if start % 256 or length % 256 or start + length > self.flash_bytes:
            raise Failure(f"flash: writing {length:#x} bytes at {start:#x}")
        if FLASH_BASE <= data < FLASH_BASE + self.flash_bytes:
            raise Failure("flash: the bytes to write are in the flash, which cannot be read meanwhile")
        for at in range(0, length, 256):
            new, old = (self.machine.read(base + at, 256) for base in (data, FLASH_BASE + start))
            # Bits are only cleared; bytes that stay as they are come as ones.
            stored = bytes(a & b for a, b in zip(new, old))
            if any(n != 0xFF and n & ~o for n, o in zip(new, old)):
                raise Failure(f"flash at {start + at:#x}: a bit is set without an erase")
            changed = [n for n in range(256) if stored[n] != old[n]]
            if changed:
                first, last = changed[0], changed[-1] + 1
                self.flash_log.append(("write", start + at + first, stored[first:last].hex()))
            self.machine.engine.mem_write(FLASH_BASE + start + at, stored)
            self.machine.stall(PAGE_US[self.options.slow_flash] * MICROSECOND)

    def store_to_flash(self, address, size, value):
        raise Failure(f"a store to the flash at {address:#010x}")

    # Clocks (data sheet, 8).

    def clocks(self):
        machine = self.machine
        resets = Rp(machine, "RESETS", 0x4002_0000)
        self.reset = resets.register(0x0, "RESET", 0x1FFF_FFFF, 0x1FFF_FFFF)
        resets.register(0x8, "RESET_DONE", 0, read=lambda: ~self.reset.value & 0x1FFF_FFFF)
        psm = Rp(machine, "PSM", 0x4001_8000)
        psm.register(0x0, "FRCE_ON", 0x01FF_FFFF)
        off = psm.register(0x4, "FRCE_OFF", 0x01FF_FFFF)
        psm.register(0x8, "WDSEL", 0x01FF_FFFF)
        psm.register(0xC, "DONE", 0, read=lambda: ~off.value & 0x01FF_FFFF)
        block = Rp(machine, "CLOCKS", 0x4001_0000)
        self.clock = block
        block.source = {}
        for name, offset, bits in (("REF", 0x30, 0x63), ("SYS", 0x3C, 0xE1)):
            control = block.register(offset, f"CLK_{name}_CTRL", bits)
            divider = block.register(offset + 4, f"CLK_{name}_DIV", value=0x1_0000)
            block.register(offset + 8, f"CLK_{name}_SELECTED", 0,
                           read=lambda c=control: 1 << (c.value & 3))
            block.source[name] = control, divider
            for register in (control, divider):
                register.on_write = lambda v, r=register: self.set_clock(r, v)
        for name, offset in (("PERI", 0x48), ("USB", 0x60), ("ADC", 0x6C)):
            block.source[name] = block.register(offset, f"CLK_{name}_CTRL", 0x0013_0CE0), \
                block.register(offset + 4, f"CLK_{name}_DIV", 0x000F_0000, 0x1_0000)
        block.register(0x84, "CLK_SYS_RESUS_CTRL", 0x1_11FF)
        oscillator = Rp(machine, "XOSC", 0x4004_8000)
        self.xosc = oscillator.register(0x0, "CTRL", 0x00FF_FFFF)
        oscillator.register(0x4, "STATUS", 0, read=lambda: 0x8000_1000 * (self.xosc.value >> 12 == 0xFAB))
        oscillator.register(0xC, "STARTUP", 0x0010_3FFF)
        ring = Rp(machine, "ROSC", 0x400E_8000)
        for offset, name in ((0x0, "CTRL"), (0x4, "FREQA"), (0x8, "FREQB"), (0x14, "DIV"), (0x18, "PHASE")):
            ring.register(offset, name)
        self.pll = {}
        for name, base in (("PLL_SYS", 0x4005_0000), ("PLL_USB", 0x4005_8000)):
            pll = Rp(machine, name, base, lambda name=name: self.running(name))
            pll.cs = pll.register(0x0, "CS", 0x0000_013F, 1)
            pll.power = pll.register(0x4, "PWR", 0x2D, 0x2D)
            pll.feedback = pll.register(0x8, "FBDIV_INT", 0xFFF)
            pll.post = pll.register(0xC, "PRIM", 0x0007_7000, 0x0007_7000)
            pll.cs.on_read = lambda p=pll: p.cs.value | (p.power.value & 0x21 == 0) << 31
            self.pll[name] = pll
        ticks = Rp(machine, "TICKS", 0x4010_8000)
        self.ticks = {}
        for name, offset in (("TIMER0", 0x18), ("WATCHDOG", 0x30)):
            self.ticks[name] = ticks.register(offset, f"{name}_CTRL", 1), \
                ticks.register(offset + 4, f"{name}_CYCLES", 0x1FF)
        power = Rp(machine, "POWMAN", 0x4010_0000)
        power.register(0xC, "VREG", read=lambda: 0x0000_00B0)

    def running(self, name):
        return not self.reset.value >> RESET_BITS[name] & 1

    def pll_hertz(self, name):
        pll = self.pll[name]
        if pll.power.value & 0x29 or self.xosc.value >> 12 != 0xFAB:
            raise Failure(f"{name} is used while it is off")
        inside = XOSC / (pll.cs.value & 63) * pll.feedback.value
        if not 750e6 <= inside <= 1600e6:
            raise Failure(f"{name}: {inside} Hz inside")
        return inside / (pll.post.value >> 16 & 7) / (pll.post.value >> 12 & 7)

    def hertz(self, name):
        """Frequency of a clock."""
        if name == "PERI":
            control, _ = self.clock.source["PERI"]
            if not control.value >> 11 & 1 or control.value >> 5 & 7:
                raise Failure(f"CLK_PERI_CTRL: {control.value:#x}")
            return self.hertz("SYS")
        control, divider = self.clock.source[name]
        source, auxiliary = control.value & 3, control.value >> 5 & 7
        if name == "REF":
            hertz = [ROSC, self.pll_hertz("PLL_USB") if source == 1 else 0, XOSC, 0][source]
        elif source == 0:
            hertz = self.hertz("REF")
        else:
            hertz = self.pll_hertz(["PLL_SYS", "PLL_USB"][auxiliary])
        return hertz * 0x1_0000 / divider.value

    def set_clock(self, register, value):
        register.value = value
        self.machine.hertz = int(self.hertz("SYS"))
        if self.machine.hertz > 150_000_000:
            raise Failure(f"{self.machine.hertz} Hz are too many")

    # Pins (data sheet, 9).

    def pins(self):
        bank = Rp(self.machine, "IO_BANK0", 0x4002_8000, lambda: self.running("IO_BANK0"))
        pads = Rp(self.machine, "PADS_BANK0", 0x4003_8000, lambda: self.running("PADS_BANK0"))
        self.functions, self.pads = [], []
        for n in range(30):
            self.functions.append(bank.register(8 * n + 4, f"GPIO{n}_CTRL", 0x3003_F01F, 0x1F))
            self.pads.append(pads.register(4 * n + 4, f"GPIO{n}", 0x1FF, 0x116))
            for register in (self.functions[n], self.pads[n]):
                register.on_write = lambda v, r=register: self.set_pin(r, v)

    def set_pin(self, register, value):
        register.value = value
        self.note_levels()

    def connected(self, pin, function, reads=False):
        """Returns whether a pin has this function, and its pad is neither isolated nor off."""
        pad = self.pads[pin].value
        return self.functions[pin].value & 0x1F == function and not pad >> 8 & 1 and \
            (pad >> 6 & 1 if reads else not pad >> 7 & 1)

    def note_levels(self):
        for name in ("led", "pin"):
            n = self.wiring[name]
            is_output = self.connected(n, 5) and self.out_enable >> n & 1
            level = self.out >> n & 1 if is_output else None
            self.note_level(name, level)

    def sio(self):
        block = Peripheral(self.machine, "SIO", 0xD000_0000)
        self.out = self.out_enable = 0
        block.register(0x0, "CPUID", 0)

        def levels():
            """Inputs that are connected and pulled up; nobody presses a button."""
            pads = enumerate(pad.value for pad in self.pads)
            return sum(1 << n for n, pad in pads if pad >> 6 & 1 and pad >> 3 & 1 and not pad >> 8 & 1)

        block.register(0x4, "GPIO_IN", read=levels)
        for base, name in ((0x10, "out"), (0x30, "out_enable")):
            def put(value, name=name):
                setattr(self, name, value & 0xFFFF_FFFF)
                self.note_levels()

            get = lambda name=name: getattr(self, name)
            block.register(base, name, read=get, write=put)
            for offset, change in ((0x8, lambda o, v: o | v), (0x10, lambda o, v: o & ~v), (0x18, lambda o, v: o ^ v)):
                block.register(base + offset, f"{name} + {offset:#x}", read=lambda: 0,
                               write=lambda v, g=get, p=put, c=change: p(c(g(), v)))
        self.locked = False

        def claim():
            won, self.locked = not self.locked, True
            return int(won) << 31

        def release(_):
            self.locked = False

        block.register(0x100 + 4 * 31, "SPINLOCK31", read=claim, write=release)

    # DMA (data sheet, 12.6): channel 0, from PIO0's first receiver.

    def dma(self):
        self.dma_block = block = Rp(self.machine, "DMA", 0x5000_0000, lambda: self.running("DMA"))
        block.raised, block.left = 0, 0
        block.source = block.register(0x0, "CH0_READ_ADDR")
        block.target = block.register(0x4, "CH0_WRITE_ADDR")
        block.count = block.register(0x8, "CH0_TRANS_COUNT", 0x0FFF_FFFF)
        control = block.register(0xC, "CH0_CTRL_TRIG", 0x01FF_FFFF)
        block.enabled_interrupts = block.register(0x404, "INTE0", 0xFFFF)

        def start(value):
            if value & 1:
                wanted = {"size": (2, 3, 2), "read increment": (4, 3, 0), "write increment": (6, 3, 1),
                          "ring": (8, 15, 0), "chain": (13, 15, 0), "request": (17, 63, 4)}
                check_fields("DMA.CH0_CTRL", value, wanted)
                if block.source.value != 0x5020_0020:
                    raise Failure(f"DMA.CH0_READ_ADDR: {block.source.value:#010x} is not PIO0.RXF0")
                first, end = block.target.value, block.target.value + 4 * block.count.value
                if not 0x2000_0000 <= first <= end <= 0x2008_2000:
                    raise Failure(f"DMA.CH0_WRITE_ADDR: {first:#010x}")
                block.left = block.count.value
            control.value = value
            self.transfer()

        control.on_read = lambda: control.value | (block.left > 0) << 26
        control.on_write = start

        def interrupts():
            return block.raised & block.enabled_interrupts.value

        def clear(value):
            block.raised &= ~value

        block.register(0x40C, "INTS0", 0xFFFF, read=interrupts, write=clear)

        def abort(value):
            if value & 1:
                block.left = 0

        block.register(0x464, "CHAN_ABORT", 0xFFFF, read=lambda: 0, write=abort)
        for n in range(1, 16):
            # The program looks whether any channel reads the flash.
            block.register(0x40 * n, f"CH{n}_READ_ADDR", 0)
            block.register(0x40 * n + 0xC, f"CH{n}_CTRL_TRIG", 0)
        stream = Rp(self.machine, "XIP_CTRL", 0x400C_8000)
        for offset in (0x10, 0x14, 0x18):
            stream.register(offset, f"+{offset:#x}", 0)
        self.machine.line(10, lambda: bool(interrupts()))

    def transfer(self):
        """Moves words from the state machine's queue to memory."""
        block, pio = self.dma_block, self.pio_block
        while block.left and pio.queue:
            word = pio.queue.pop(0)
            self.machine.engine.mem_write(block.target.value, struct.pack("<I", word))
            self.words += [word & 0xFFFF, word >> 16]
            block.target.value += 4
            block.left -= 1
            if block.left == 0:
                block.raised |= 1
            if pio.stalled_at is not None:
                # The state machine waited with a full queue, and goes on.
                pio.stalled_at = None
                self.machine.after(0, lambda: self.push(pio.generation))

    # PIO0, state machine 0 (data sheet, 11).

    def pio(self):
        self.pio_block = block = Rp(self.machine, "PIO0", 0x5020_0000, lambda: self.running("PIO0"))
        block.queue, block.stalled_at, block.debug, block.generation = [], None, 0, 0
        block.program, block.directions, block.address = [0] * 32, 0, 0
        control = block.register(0x0, "CTRL", 0x0000_0FFF)

        def run(value):
            was, control.value = control.value & 1, value & 0xF
            if value & 0xE:
                raise Failure("PIO0.CTRL: only the first state machine is modelled")
            if control.value and not was:
                self.start_machine()
            elif was and not control.value:
                block.generation += 1

        control.on_write = run
        block.register(0x8, "FDEBUG", 0x0F0F_0F0F, read=lambda: block.debug,
                       write=lambda v: setattr(block, "debug", block.debug & ~v))
        for n in range(32):
            block.register(0x48 + 4 * n, f"INSTR_MEM{n}", 0xFFFF, read=lambda: 0,
                           write=lambda v, n=n: block.program.__setitem__(n, v))
        block.sm = {name: block.register(offset, f"SM0_{name}", bits) for name, offset, bits in (
            ("CLKDIV", 0xC8, 0xFFFF_FF00), ("EXECCTRL", 0xCC, 0xFFFF_FFFF), ("SHIFTCTRL", 0xD0, 0xFFFF_C01F),
            ("PINCTRL", 0xDC, 0xFFFF_FFFF))}

        def execute(word):
            if word >> 13 == 0 and word >> 5 & 7 == 0:
                block.address = word & 31
            elif word >> 13 == 7 and word >> 5 & 7 == 4:
                base, count = block.sm["PINCTRL"].value >> 5 & 31, block.sm["PINCTRL"].value >> 26 & 7
                for n in range(count):
                    mask = 1 << base + n
                    block.directions = block.directions & ~mask | mask * (word >> n & 1)
            else:
                raise Failure(f"PIO0.SM0_INSTR: {word:#06x} is not modelled")

        block.register(0xD8, "SM0_INSTR", 0xFFFF, read=lambda: 0, write=execute)
        block.register(0x168, "GPIOBASE", 0)
        for n in range(4):
            block.register(0x170 + 0xC * (n // 2) + 4 * (n % 2), f"INT{n}", 0xFFFF)

    def start_machine(self):
        """Runs the state machine over symbols for three samples, which then repeat."""
        block = self.pio_block
        registers = {name: register.value for name, register in block.sm.items()}
        registers["ADDR"] = block.address
        divider = (registers["CLKDIV"] >> 8) / 256
        pins = {name: self.wiring[name] for name in ("clock", "select", "data")}
        machine = StateMachine(block.program, registers, Inmp441(), pins)
        while len(machine.pushed) < 4:
            machine.step()
            if machine.cycles > 4_000:
                raise Failure("PIO0: the state machine pushes nothing")
        last = [[at for at, _ in word] for word in machine.pushed]
        period = last[3][0] - last[2][0]
        if period != last[2][0] - last[1][0]:
            raise Failure("PIO0: samples of different length")
        block.pattern = [place for _, place in machine.pushed[3]]
        if block.pattern != [place for _, place in machine.pushed[2]]:
            raise Failure("PIO0: samples of different bits")
        hertz = self.machine.hertz / divider
        self.sample_hertz, self.bit_hertz = hertz / period, hertz / period * 64
        outputs = all(self.connected(pins[name], 6) and block.directions >> pins[name] & 1 for name in ("clock", "select"))
        reads = self.connected(pins["data"], 6, reads=True) and not block.directions >> pins["data"] & 1
        self.heard = outputs and reads and INMP441_HERTZ[0] <= self.bit_hertz <= INMP441_HERTZ[1]
        block.generation += 1
        block.made, block.since = 0, self.machine.now
        self.machine.after(int(SECOND / self.sample_hertz), lambda g=block.generation: self.push(g))

    def push(self, generation):
        block = self.pio_block
        if generation != block.generation:
            return
        joined = self.pio_block.sm["SHIFTCTRL"].value >> 31 & 1
        if len(block.queue) == (8 if joined else 4):
            block.stalled_at = self.machine.now
            block.debug |= 1
            return
        block.queue.append(self.slot())
        self.transfer()
        self.machine.after(int(SECOND / self.sample_hertz), lambda: self.push(generation))

    def slot(self):
        """The bits that the state machine reads of one sample."""
        # Pushed at the end of the sample.
        seconds = (self.machine.now - self.pio_block.since) / SECOND - 1 / self.sample_hertz
        if not self.heard:
            return 0
        # Sixteen bits of the file are the upper part of 24, at the gain of the program's conversion.
        value = round(self.sound.one(seconds) * 32_768) << 4 & 0xFF_FFFF
        word = 0
        for place in self.pio_block.pattern:
            word = word << 1 | (value >> 23 - place & 1 if place is not None else 0)
        return word

    # UART0 (data sheet, 12.1: PL011).

    def uart(self):
        self.serial = uart = Rp(self.machine, "UART0", 0x4007_0000, lambda: self.running("UART0"))
        uart.sending, uart.received, uart.raised, uart.busy, uart.last = [], [], 0, False, 0
        uart.whole = uart.register(0x24, "IBRD", 0xFFFF)
        uart.fraction = uart.register(0x28, "FBRD", 0x3F)
        uart.line = uart.register(0x2C, "LCR_H", 0xFF)
        uart.control = uart.register(0x30, "CR", 0xFF87, 0x300)
        uart.thresholds = uart.register(0x34, "IFLS", 0x3F, 0x12)
        uart.mask = uart.register(0x38, "IMSC", 0x7FF)
        uart.register(0x48, "DMACR", 7)
        uart.register(0x18, "FR", 0, read=lambda: (not uart.sending) << 7 | (len(uart.received) == 32) << 6
                      | (len(uart.sending) == 32) << 5 | (not uart.received) << 4 | uart.busy << 3)

        def status():
            full = len(uart.received) >= [4, 8, 16, 24, 28][uart.thresholds.value >> 3 & 7]
            return uart.raised | full << 4

        uart.register(0x3C, "RIS", 0, read=status)
        uart.register(0x44, "ICR", 0x7FF, read=lambda: 0,
                      write=lambda v: setattr(uart, "raised", uart.raised & ~v))

        def read():
            if not uart.received:
                raise Failure("UART0.DR is read while it is empty")
            byte = uart.received.pop(0)
            if not uart.received:
                uart.raised &= ~0x40
            return byte

        def write(value):
            if uart.control.value & 0x101 != 0x101:
                raise Failure("UART0: a byte is sent while the sender is off")
            if len(uart.sending) == 32:
                raise Failure("UART0: a byte is sent into a full queue")
            uart.sending.append(value & 0xFF)
            if not uart.busy:
                self.send()

        uart.register(0x0, "DR", 0xFF, read=read, write=write, sizes=(1, 2, 4))
        self.machine.line(33, lambda: bool(status() & uart.mask.value))

    def byte_time(self):
        uart = self.serial
        baud = self.hertz("PERI") / 16 / max(uart.whole.value + uart.fraction.value / 64, 1)
        if abs(baud / 115_200 - 1) > 0.02 or uart.line.value != 0x70:
            raise Failure(f"UART0: {baud:.0f} baud, LCR_H = {uart.line.value:#x}")
        return int(10 * SECOND / baud)

    def send(self):
        uart = self.serial
        uart.busy, byte = True, uart.sending.pop(0)
        if len(uart.sending) == [4, 8, 16, 24, 28][uart.thresholds.value & 7]:
            uart.raised |= 0x20

        def sent():
            if self.connected(self.wiring["tx"], 2) and self.wiring["tx"] % 4 == 0:
                self.deliver(self.host.take(byte))
            uart.busy = False
            if uart.sending:
                self.send()

        self.machine.after(self.byte_time(), sent)

    def arrive(self, byte):
        uart, pin = self.serial, self.wiring["rx"]
        if uart.control.value & 0x201 != 0x201 or not self.connected(pin, 2, reads=True) or pin % 4 != 1:
            return
        if len(uart.received) == 32:
            self.counts["overrun bytes"] += 1
            uart.raised |= 0x400
            return
        uart.received.append(byte)
        uart.last = self.machine.now

        def timeout(since=uart.last):
            # 32 bits without another byte.
            if since == uart.last and uart.received:
                uart.raised |= 0x40

        self.machine.after(32 * self.byte_time() // 10, timeout)

    # Timer and watchdog (data sheet, 12.8 and 12.9).

    def timer(self):
        timer = Rp(self.machine, "TIMER0", 0x400B_0000, lambda: self.running("TIMER0"))
        timer.register(0x24, "TIMERAWH", 0, read=lambda: self.machine.now // MICROSECOND >> 32)
        timer.register(0x28, "TIMERAWL", 0, read=lambda: self.machine.now // MICROSECOND & 0xFFFF_FFFF)
        timer.register(0x10, "ALARM0")
        timer.register(0x20, "ARMED", 0xF)
        timer.register(0x3C, "INTR", 0xF, read=lambda: 0)
        timer.register(0x40, "INTE", 0xF)
        dog = Rp(self.machine, "WATCHDOG", 0x400D_8000)
        dog.generation, dog.left = 0, 0
        control = dog.register(0x0, "CTRL", 0xC7FF_FFFF, 0x0700_0000)

        def bite(generation):
            if generation == dog.generation:
                self.machine.stop("reset by the watchdog")

        def count():
            dog.generation += 1
            if control.value >> 30 & 1:
                ticks, cycles = self.ticks["WATCHDOG"]
                if not ticks.value or not cycles.value:
                    raise Failure("WATCHDOG has no ticks")
                tick = cycles.value / self.hertz("REF")
                self.timeout_ms = 1000 * dog.left * tick
                self.machine.after(int(dog.left * tick * SECOND), lambda g=dog.generation: bite(g))

        def enable(value):
            if value >> 31:
                self.machine.stop("reset by the program")
            control.value = value & 0x4700_0000
            count()

        def load(value):
            dog.left = value
            count()

        control.on_write = enable
        dog.register(0x4, "LOAD", 0xFF_FFFF, read=lambda: 0, write=load)

    def report(self):
        return {"microphone_hertz": getattr(self, "sample_hertz", None), "system_hertz": self.machine.hertz,
                "watchdog_ms": getattr(self, "timeout_ms", None), **self.counts}
