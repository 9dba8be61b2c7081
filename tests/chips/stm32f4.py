"""STM32F407VG and the STM32F4-Discovery, after RM0090 (reference manual) and DS8626 (data sheet)."""

import struct

from unicorn import arm_const as arm

from board import Board, check_fields
from cortex_m import MICROSECOND, SECOND, Failure, Machine, Peripheral
from microphone import Pdm

HSI, HSE = 16_000_000, 8_000_000
FLASH_BASE, FLASH_BYTES = 0x0800_0000, 1024 * 1024
SECTORS = [16] * 4 + [64] + [128] * 7  # KiB (RM0090, table 5)
# Erasing by parallelism (PSIZE): typical and longest, in ms (DS8626, table "Flash memory programming").
ERASE_MS = {
    16: [(400, 800), (300, 600), (250, 500)],
    64: [(1200, 2400), (700, 1400), (550, 1100)],
    128: [(2000, 4000), (1300, 2600), (1000, 2000)],
}
WORD_US = (16, 100)
# Pins and alternate functions of what the board uses (DS8626, table 9), all of them: the program's
# choice decides where a signal arrives.
FUNCTIONS = {
    "USART2_TX": {"PA2": 7, "PD5": 7},
    "USART2_RX": {"PA3": 7, "PD6": 7},
    "I2S2_CK": {"PB10": 5, "PB13": 5},
    "I2S2_SD": {"PB15": 5, "PC3": 5},
}
DMA_INTERRUPTS = [11, 12, 13, 14, 15, 16, 17, 47, 56, 57, 58, 59, 60, 68, 69, 70]
MP45DT02_HERTZ = (1_000_000, 3_250_000)


class Stm32F4(Board):
    """The board: `wiring` names pins by their purpose (`clock`, `data`, `tx`, `rx`, `led`, `pin`)."""

    def __init__(self, wiring, sound, host, flash, options):
        self.machine = machine = Machine(arm.UC_CPU_ARM_CORTEX_M4, HSI, priority_bits=4)
        self.wiring, self.sound, self.host, self.options = wiring, sound, host, options
        machine.map_ram(0x2000_0000, 128 * 1024)
        machine.map_ram(0x1000_0000, 64 * 1024)
        machine.map_flash(FLASH_BASE, flash, self.program_flash)
        self.flash_base = FLASH_BASE
        self.levels, self.pin_log = {}, []
        self.flash_log, self.words, self.counts = [], [], {"overrun bytes": 0}
        self.rcc()
        self.flash_controller()
        self.gpio()
        self.dma()
        self.i2s()
        self.usart()
        self.watchdog()
        for number in DMA_INTERRUPTS + [52]:
            # UART4 (52) is only ever requested by the program.
            machine.lines.setdefault(number, lambda: False)

    def start(self):
        self.machine.reset(FLASH_BASE)

    # Clocks (RM0090, 7).

    def rcc(self):
        machine = self.machine
        rcc = Peripheral(machine, "RCC", 0x4002_3800)
        cr = rcc.register(0x00, "CR", 0x0F0F_FFFB, 0x83)
        ready = {0: 1, 16: 17, 24: 25, 26: 27}

        def read_cr():
            flags = sum(1 << done for on, done in ready.items() if cr.value >> on & 1)
            return cr.value & ~0x0A02_0002 | flags

        def write_cr(value):
            running = rcc.cfgr.value & 3
            if not value >> {0: 0, 1: 16, 2: 24}[running] & 1:
                raise Failure("RCC.CR: the clock of the system is switched off")
            for on, name, config in ((24, "PLL", pll), (26, "PLLI2S", plli2s)):
                if value >> on & 1 and not cr.value >> on & 1:
                    self.check_pll(name, config.value, pll.value, value)
            cr.value = value & 0x050D_00F9

        cr.on_read, cr.on_write = read_cr, write_cr

        def write_pll(register, on):
            def write(value):
                if cr.value >> on & 1:
                    raise Failure(f"{register.name} is written while it runs")
                register.value = value
            register.on_write = write

        pll = rcc.register(0x04, "PLLCFGR", 0x0F43_7FFF, 0x2400_3010)
        plli2s = rcc.register(0x84, "PLLI2SCFGR", 0x7000_7FC0, 0x2000_3000)
        write_pll(pll, 24)
        write_pll(plli2s, 26)
        rcc.cfgr = cfgr = rcc.register(0x08, "CFGR", 0xFFFF_FCF3)

        def write_cfgr(value):
            source = value & 3
            if not cr.value >> {0: 0, 1: 16, 2: 24}[source] & 1:
                raise Failure("RCC.CFGR: the chosen clock is off")
            cfgr.value = value & ~0xC
            machine.hertz = self.bus(0)
            if machine.hertz > 168_000_000 or self.bus(1) > 42_000_000 or self.bus(2) > 84_000_000:
                raise Failure(f"a clock is too fast: {machine.hertz}, {self.bus(1)}, {self.bus(2)} Hz")
            # RM0090, table 10, at 2.7 to 3.6 V: 30 MHz for each wait state.
            if machine.hertz > 30_000_000 * (1 + (self.flash.acr.value & 7)):
                raise Failure(f"too few wait states for {machine.hertz} Hz")

        cfgr.on_read, cfgr.on_write = lambda: cfgr.value | (cfgr.value & 3) << 2, write_cfgr
        self.gates = {}
        for name, offset, bits in (("AHB1", 0x30, 0x7E7411FF), ("APB1", 0x40, 0x36FEC9FF), ("APB2", 0x44, 0x75F33)):
            self.gates[name] = rcc.register(offset, f"{name}ENR", bits, 0x0010_0000 if name == "AHB1" else 0)
            rcc.register(offset - 0x20, f"{name}RSTR", bits)
        rcc.register(0x70, "BDCR", 0x0001_8305)
        # Not on this chip; the driver clears its bits, which are reserved and read as 0.
        rcc.register(0x8C, "DCKCFGR", 0)
        csr = rcc.register(0x74, "CSR", 0xFF00_0003, 0x0E00_0000)
        csr.on_read = lambda: csr.value & ~2 | (csr.value & 1) << 1
        self.clocks = rcc, cr, pll, plli2s
        power = Peripheral(machine, "PWR", 0x4000_7000, self.gate("APB1", 28))
        power.register(0x00, "CR", 0x0000_C3FF, 0xC000)
        power.register(0x04, "CSR", 0x0000_0300, 0x4000)
        configuration = Peripheral(machine, "SYSCFG", 0x4001_3800, self.gate("APB2", 14))
        configuration.register(0x20, "CMPCR", 1)
        debug = Peripheral(machine, "DBGMCU", 0xE004_2000)
        debug.register(0x04, "CR", 0x0000_00E7)

    def gate(self, bus, bit):
        return lambda: self.gates[bus].value >> bit & 1 == 1

    def check_pll(self, name, config, main, control):
        if main >> 22 & 1 and not control >> 16 & 1:
            raise Failure(f"{name}: its source is off")
        source = (HSE if main >> 22 & 1 else HSI) / (main & 0x3F)
        oscillator = source * (config >> 6 & 0x1FF)
        if not (1e6 <= source <= 2e6 and 100e6 <= oscillator <= 432e6 and main & 0x3F >= 2):
            raise Failure(f"{name}: {source} Hz in, {oscillator} Hz inside")

    def oscillator(self, config):
        main = self.clocks[2].value
        return (HSE if main >> 22 & 1 else HSI) * (config >> 6 & 0x1FF) / (main & 0x3F)

    def bus(self, number):
        """Frequency of AHB (0), APB1 or APB2."""
        rcc, _, pll, _ = self.clocks
        config = rcc.cfgr.value
        divided = 2 * ((pll.value >> 16 & 3) + 1)
        clock = [HSI, HSE, self.oscillator(pll.value) / divided][config & 3]
        high, low = config >> 4 & 15, config >> {0: 10, 1: 10, 2: 13}[number] & 7
        if high >= 8:
            clock /= [2, 4, 8, 16, 64, 128, 256, 512][high - 8]
        if number and low >= 4:
            clock /= 2 << low - 4
        return int(clock)

    # Flash (RM0090, 3).

    def flash_controller(self):
        self.flash = flash = Peripheral(self.machine, "FLASH", 0x4002_3C00)
        flash.acr = flash.register(0x00, "ACR", 0x0000_1F07)
        flash.keys = []

        def key(value):
            flash.keys.append(value)
            if flash.keys not in ([0x4567_0123], [0x4567_0123, 0xCDEF_89AB]):
                raise Failure("FLASH.KEYR: a wrong key")
            if len(flash.keys) == 2:
                control.value &= 0x7FFF_FFFF

        flash.register(0x04, "KEYR", read=lambda: 0, write=key)
        flash.status = status = flash.register(0x0C, "SR", 0x0000_00F3)

        def write_status(value):
            status.value &= ~value

        status.on_write = write_status
        flash.control = control = flash.register(0x10, "CR", 0x8301_037F, 0x8000_0000)

        def write_control(value):
            if control.value >> 31:
                raise Failure("FLASH.CR is locked")
            if value & 0x0300_0004:
                raise Failure("FLASH.CR: interrupts and mass erase are not modelled")
            if value >> 31:
                flash.keys.clear()
            control.value = value & ~0x1_0000
            if value >> 16 & 1:
                self.erase(value)

        control.on_write = write_control

    def erase(self, control):
        sector = control >> 3 & 15
        if control & 3 != 2 or sector >= len(SECTORS):
            raise Failure(f"FLASH.CR: a start with {control:#x}")
        start = FLASH_BASE + 1024 * sum(SECTORS[:sector])
        length = 1024 * SECTORS[sector]
        if control >> 8 & 3 == 3:
            raise Failure("FLASH.CR: 64 bits need an external voltage")
        times = ERASE_MS[SECTORS[sector]][control >> 8 & 3]
        duration = times[self.options.slow_flash] * 1000 * MICROSECOND
        self.flash_log.append(("erase", start - FLASH_BASE, length))
        self.machine.engine.mem_write(start, b"\xff" * length)
        # Instructions come from the same flash, so the processor waits.
        self.machine.stall(duration)

    def program_flash(self, address, size, value):
        control, offset = self.flash.control.value, address - FLASH_BASE
        if control >> 31 or not control & 1:
            raise Failure(f"a write to flash at {address:#010x}, which is locked")
        if size != 1 << (control >> 8 & 3):
            raise Failure(f"flash: {size} bytes with FLASH.CR = {control:#x}")
        old = int.from_bytes(self.machine.read(address, size), "little")
        if value & ~old:
            raise Failure(f"flash at {address:#010x}: {value:#x} over {old:#x} needs an erase")
        self.flash_log.append(("write", offset, value.to_bytes(size, "little").hex()))
        self.machine.stall(WORD_US[self.options.slow_flash] * MICROSECOND)
        return value.to_bytes(size, "little")

    # Pins (RM0090, 8).

    def gpio(self):
        self.ports = {}
        resets = {"A": (0xA800_0000, 0x0C00_0000, 0x6400_0000), "B": (0x280, 0xC0, 0x100)}
        for n, letter in enumerate("ABCDEFGHI"):
            port = Peripheral(self.machine, f"GPIO{letter}", 0x4002_0000 + 0x400 * n, self.gate("AHB1", n))
            mode, speed, pull = resets.get(letter, (0, 0, 0))
            port.mode = port.register(0x00, "MODER", value=mode)
            port.open = port.register(0x04, "OTYPER", 0xFFFF)
            port.register(0x08, "OSPEEDR", value=speed)
            port.pull = port.register(0x0C, "PUPDR", value=pull)

            def levels(port=port):
                """Pins that are pulled up; nobody presses a button."""
                return sum(1 << n for n in range(16) if port.pull.value >> 2 * n & 3 == 1)

            port.register(0x10, "IDR", read=levels)
            port.output = port.register(0x14, "ODR", 0xFFFF)
            port.set = port.register(0x18, "BSRR", read=lambda: 0)
            port.alternate = port.register(0x20, "AFRL"), port.register(0x24, "AFRH")
            self.ports[letter] = port

            def put(value, port=port):
                port.output.value = (port.output.value & ~(value >> 16) | value) & 0xFFFF
                self.note_levels()

            def set_mode(value, port=port):
                port.mode.value = value
                self.note_levels()

            port.set.on_write, port.mode.on_write = put, set_mode

    def mode(self, pin):
        port, n = self.ports[pin[1]], int(pin[2:])
        return port.mode.value >> 2 * n & 3, port.alternate[n // 8].value >> 4 * (n % 8) & 15

    def level(self, pin):
        """Level of an output, or None."""
        port, n = self.ports[pin[1]], int(pin[2:])
        return port.output.value >> n & 1 if self.mode(pin)[0] == 1 else None

    def note_levels(self):
        for name in ("led", "pin"):
            level = self.level(self.wiring[name])
            self.note_level(name, level)

    def connected(self, function, purpose):
        """Returns whether the wire of this purpose carries this signal of the chip."""
        pin = self.wiring[purpose]
        return self.mode(pin) == (2, FUNCTIONS[function].get(pin))

    # DMA (RM0090, 10): stream 3 of DMA1, whose channel 0 is the receiver of SPI2 (table 42).

    def dma(self):
        self.dma1 = dma = Peripheral(self.machine, "DMA1", 0x4002_6000, self.gate("AHB1", 21))
        second = Peripheral(self.machine, "DMA2", 0x4002_6400, self.gate("AHB1", 22))
        del second
        dma.flags = 0  # of stream 3, bits as those of stream 0
        dma.register(0x00, "LISR", 0, read=lambda: dma.flags << 22)

        def clear(value):
            if value & ~0x0F40_0000:
                raise Failure(f"DMA1.LIFCR: flags of other streams, {value:#x}")
            dma.flags &= ~(value >> 22)

        dma.register(0x08, "LIFCR", 0x0F7D_0F7D, read=lambda: 0, write=clear)
        base = 0x10 + 0x18 * 3
        dma.control = control = dma.register(base, "S3CR", 0x0FEF_FFFF)
        dma.count = dma.register(base + 0x04, "S3NDTR", 0xFFFF)
        dma.source = dma.register(base + 0x08, "S3PAR")
        dma.target = dma.register(base + 0x0C, "S3M0AR")
        dma.fifo = dma.register(base + 0x14, "S3FCR", 0x0000_0087, 0x21)
        dma.position = dma.length = 0

        def start(value):
            if control.value & 1:
                if value != control.value & ~1:
                    raise Failure("DMA1.S3CR is written while the stream runs")
            elif value & 1:
                self.check_stream(value)
                if dma.flags:
                    raise Failure("DMA1: a start with flags of stream 3 set")
                dma.length, dma.position = dma.count.value, 0
            control.value = value

        def remaining():
            self.receive()
            return dma.length - dma.position if control.value & 1 else dma.count.value

        control.on_write, dma.count.on_read = start, remaining
        self.machine.line(14, self.dma_requests)

    def dma_requests(self):
        flags, control = self.dma1.flags, self.dma1.control.value
        return bool(flags & 0x20 and control & 0x10 or flags & 0x10 and control & 0x08)

    def check_stream(self, value):
        """Accepts the one use that this board makes: I2S2's words, in a circle, in halves."""
        dma = self.dma1
        wanted = {"channel": (25, 7, 0), "memory size": (13, 3, 1), "register size": (11, 3, 1),
                  "memory increment": (10, 1, 1), "register increment": (9, 1, 0), "circular": (8, 1, 1),
                  "direction": (6, 3, 0), "flow control": (5, 1, 0), "double buffer": (18, 1, 0)}
        check_fields("DMA1.S3CR", value, wanted)
        if dma.source.value != 0x4000_380C:
            raise Failure(f"DMA1.S3PAR: {dma.source.value:#010x} is not SPI2.DR")
        first, end = dma.target.value, dma.target.value + 2 * dma.count.value
        if not 0x2000_0000 <= first <= end <= 0x2002_0000:
            raise Failure(f"DMA1.S3M0AR: {first:#010x} is no memory that DMA reaches")

    # I2S2 (RM0090, 28.4).

    def i2s(self):
        self.spi = spi = Peripheral(self.machine, "SPI2", 0x4000_3800, self.gate("APB1", 14))
        spi.control = spi.register(0x00, "CR1", 0xFFFF)
        spi.second = spi.register(0x04, "CR2", 0x0005)
        spi.register(0x08, "SR", 0, 0x0002)
        spi.register(0x0C, "DR", 0, read=lambda: 0, sizes=(1, 2, 4))
        spi.config = config = spi.register(0x1C, "I2SCFGR", 0x0FBF)
        spi.divider = spi.register(0x20, "I2SPR", 0x03FF, 0x0002)
        spi.since, spi.delivered, spi.microphone = None, 0, None

        def configure(value):
            if config.value >> 10 & 1 and value != config.value:
                raise Failure("SPI2.I2SCFGR is written while I2S runs")
            config.value = value
            if value >> 10 & 1:
                self.start_i2s(value)

        config.on_write = configure

    def start_i2s(self, value):
        if value & 0x0B00 != 0x0B00:
            raise Failure(f"SPI2.I2SCFGR: {value:#x} is no receiver that makes the clock")
        if value & 7:
            raise Failure(f"SPI2.I2SCFGR: {value:#x} is not 16 bits in slots of 16")
        _, cr, _, plli2s = self.clocks
        if not cr.value >> 26 & 1:
            raise Failure("PLLI2S is off")
        source = self.oscillator(plli2s.value) / (plli2s.value >> 28 & 7)
        factor = 2 * (self.spi.divider.value & 0xFF) + (self.spi.divider.value >> 8 & 1)
        if self.spi.divider.value >> 9 or factor < 4:
            raise Failure("SPI2.I2SPR: a master clock, or a divider that is not allowed")
        hertz = source / factor
        spi = self.spi
        spi.since, spi.delivered, spi.hertz = self.machine.now, 0, hertz
        spi.microphone = Pdm(self.sound, hertz, MP45DT02_HERTZ)
        spi.wired = self.connected("I2S2_CK", "clock") and self.connected("I2S2_SD", "data")
        self.next_half()

    def receive(self):
        """Lets DMA write the words that have arrived by now."""
        spi, dma = self.spi, self.dma1
        if spi.since is None:
            return
        arrived = int((self.machine.now - spi.since) * spi.hertz / (16 * SECOND)) - spi.delivered
        if arrived <= 0:
            return
        if not (spi.second.value & 1 and dma.control.value & 1):
            raise Failure("I2S2 receives, and nothing takes its words")
        words = spi.microphone.words(arrived) if spi.wired else [0] * arrived
        spi.delivered += arrived
        self.words += words
        while words:
            part = words[:dma.length - dma.position]
            address = dma.target.value + 2 * dma.position
            self.machine.engine.mem_write(address, struct.pack(f"<{len(part)}H", *part))
            if dma.position < dma.length // 2 <= dma.position + len(part):
                dma.flags |= 0x10
            dma.position += len(part)
            if dma.position == dma.length:
                dma.position = 0
                dma.flags |= 0x20
            words = words[len(part):]

    def next_half(self):
        spi, dma = self.spi, self.dma1
        half = dma.length // 2
        left = half - dma.position % half
        # A picosecond more, because the division rounds down.
        when = spi.since + int((spi.delivered + left) * 16 * SECOND / spi.hertz) + 1

        def arrived():
            self.receive()
            self.next_half()

        self.machine.at(when, arrived)

    # USART2 (RM0090, 30).

    def usart(self):
        machine = self.machine
        self.uart = uart = Peripheral(machine, "USART2", 0x4000_4400, self.gate("APB1", 17))
        uart.status, uart.data, uart.sending, uart.waiting = 0xC0, 0, None, None
        uart.divider = uart.register(0x08, "BRR", 0xFFFF)
        uart.one = uart.register(0x0C, "CR1", 0xB7FF)
        uart.register(0x10, "CR2", 0x7F6F)
        uart.register(0x14, "CR3", 0x0FFF)
        uart.seen = 0

        def read_status():
            uart.seen = uart.status
            return uart.status

        def write_status(value):
            uart.status &= value | ~0x60

        uart.register(0x00, "SR", 0x03FF, read=read_status, write=write_status)

        def read_data():
            uart.status &= ~(0x20 | uart.seen & 0x1F)
            uart.seen = 0
            return uart.data

        def write_data(value):
            if uart.one.value & 0x2008 != 0x2008:
                raise Failure("USART2: a byte is sent while the sender is off")
            uart.status &= ~0x40
            if uart.sending is None:
                self.send(value)
            elif uart.waiting is None:
                uart.waiting = value
                uart.status &= ~0x80
            else:
                raise Failure("USART2: a byte is overwritten before it is sent")

        uart.register(0x04, "DR", 0x01FF, read=read_data, write=write_data, sizes=(1, 2, 4))
        machine.line(38, self.uart_requests)

    def uart_requests(self):
        status, enabled = self.uart.status, self.uart.one.value
        return bool(status & 0x80 and enabled & 0x80 or status & 0x40 and enabled & 0x40
                    or status & 0x28 and enabled & 0x20 or status & 0x10 and enabled & 0x10)

    def byte_time(self):
        uart = self.uart
        if uart.one.value & 0x9400:
            raise Failure(f"USART2.CR1: {uart.one.value:#x} is not 8N1")
        baud = self.bus(1) / max(uart.divider.value, 1)
        if abs(baud / 115_200 - 1) > 0.02:
            raise Failure(f"USART2: {baud:.0f} baud")
        return int(10 * SECOND / baud)

    def send(self, value):
        uart = self.uart
        uart.sending = value

        def sent():
            if self.connected("USART2_TX", "tx"):
                self.deliver(self.host.take(uart.sending))
            uart.sending = None
            if uart.waiting is not None:
                following, uart.waiting = uart.waiting, None
                uart.status |= 0x80
                self.send(following)
            else:
                uart.status |= 0x40

        self.machine.after(self.byte_time(), sent)

    def deliver(self, data):
        time = super().deliver(data)
        if data:
            self.machine.after(time + self.byte_time(), self.idle)

    def arrive(self, byte):
        uart = self.uart
        if uart.one.value & 0x2004 != 0x2004 or not self.connected("USART2_RX", "rx"):
            return
        if uart.status & 0x20:
            self.counts["overrun bytes"] += 1
            uart.status |= 0x08
        else:
            uart.data = byte
            uart.status |= 0x20

    def idle(self):
        self.uart.status |= 0x10

    # Independent watchdog (RM0090, 21). LSI has 17 to 47 kHz (DS8626, table 35).

    def watchdog(self):
        dog = Peripheral(self.machine, "IWDG", 0x4000_3000)
        dog.open, dog.started, dog.generation = False, False, 0
        prescaler = dog.register(0x04, "PR", 7)
        reload = dog.register(0x08, "RLR", 0xFFF, 0xFFF)

        def guarded(register):
            def write(value):
                if not dog.open:
                    raise Failure(f"{register.name} is locked")
                register.value = value
            register.on_write = write

        guarded(prescaler)
        guarded(reload)

        def bite(generation):
            if generation == dog.generation:
                self.machine.stop("reset by the watchdog")

        def key(value):
            dog.open = value == 0x5555
            if value == 0xCCCC:
                dog.started = True
            elif value not in (0x5555, 0xAAAA, 0x0000):
                raise Failure(f"IWDG.KR: {value:#x}")
            if dog.started and value in (0xCCCC, 0xAAAA):
                dog.generation += 1
                ticks = (4 << prescaler.value) * (reload.value + 1)
                self.timeout_ms = 1000 * ticks / self.options.lsi
                self.machine.after(ticks * SECOND // self.options.lsi,
                                   lambda generation=dog.generation: bite(generation))

        dog.register(0x00, "KR", 0xFFFF, read=lambda: 0, write=key)
        dog.register(0x0C, "SR", 0, read=lambda: 0)

    def report(self):
        return {
            "microphone_hertz": getattr(self.spi, "hertz", None),
            "system_hertz": self.machine.hertz,
            "watchdog_ms": getattr(self, "timeout_ms", None),
            **self.counts,
        }
