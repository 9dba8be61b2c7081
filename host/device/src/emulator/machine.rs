//! The emulated machines of `boards.toml`.

use std::{ops::Range, path::PathBuf};

use crate::board::table::{Emulated, machines};

/// A processor with a little memory, as QEMU has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The processor: the title of an entry in `boards.toml`.
    pub name: &'static str,
}

impl Machine {
    /// The plain kernels, without 64-bit products.
    pub const CORTEX_M0: Self = Self { name: "Cortex-M0" };
    /// The one that is meant when none is named.
    pub const CORTEX_M4: Self = Self { name: "Cortex-M4F" };
    /// Runs the program of [`Machine::CORTEX_M4`].
    pub const CORTEX_M7: Self = Self { name: "Cortex-M7" };
    /// With the DSP instructions.
    pub const CORTEX_M33: Self = Self { name: "Cortex-M33" };
    /// With vectors.
    pub const CORTEX_M55: Self = Self { name: "Cortex-M55" };
    /// RISC-V with multiplication and compressed instructions.
    pub const RV32IMC: Self = Self { name: "rv32imc" };
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::CORTEX_M0,
        Self::CORTEX_M4,
        Self::CORTEX_M7,
        Self::CORTEX_M33,
        Self::CORTEX_M55,
        Self::RV32IMC,
    ];

    /// Entry of the machine. A test looks up each of [`Machine::ALL`].
    fn entry(self) -> &'static Emulated {
        let mut machines = machines().iter();
        machines.find(|machine| machine.title == self.name).expect("boards.toml has the machine")
    }

    /// Entry of the machine whose program this one runs: itself, if it is not another.
    fn program(self) -> &'static Emulated {
        let entry = self.entry();
        let other = |name| machines().iter().find(|machine| machine.name == name);
        entry.program_of.and_then(other).unwrap_or(entry)
    }

    /// Program of QEMU.
    pub(super) fn qemu(self) -> &'static str {
        self.entry().qemu
    }

    /// Arguments of QEMU: the machine, and nanoseconds of an instruction as a power of two.
    pub(super) fn arguments(self) -> impl Iterator<Item = String> {
        let Emulated { machine, options, icount_shift, .. } = self.entry();
        let shift = format!("shift={icount_shift}");
        let words = ["-machine", machine].into_iter().chain(options.iter().copied());
        words.map(str::to_owned).chain(["-icount".to_owned(), shift])
    }

    /// Region of the model.
    pub(super) fn model(self) -> Range<u32> {
        let model = self.program().model.clone();
        model.expect("boards.toml has the region of models").0
    }

    /// Path of a built program, from the folder that holds `firmware/`.
    pub(super) fn built(self, program: &str) -> PathBuf {
        let machine = self.program();
        let target = machine.target.expect("boards.toml has the target");
        ["firmware/target", machine.name, target, "release", program].iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_machine_of_the_table_has_a_name_here() {
        let titles: Vec<_> = machines().iter().map(|machine| machine.title).collect();
        assert_eq!(titles, Machine::ALL.map(|machine| machine.name));
        for machine in Machine::ALL {
            assert!(!machine.model().is_empty() && machine.built("x").is_relative(), "{machine:?}");
        }
    }

    #[test]
    fn a_machine_can_run_the_program_of_another() {
        let path = "firmware/target/cortex-m4/thumbv7em-none-eabihf/release/wakeling-qemu";
        for machine in [Machine::CORTEX_M4, Machine::CORTEX_M7] {
            assert_eq!(machine.built("wakeling-qemu"), PathBuf::from(path));
        }
        let arguments: Vec<_> = Machine::CORTEX_M7.arguments().collect();
        assert_eq!(arguments, ["-machine", "mps2-an500", "-icount", "shift=5"]);
        assert_eq!(Machine::RV32IMC.model(), 0x8010_0000..0x8020_0000);
    }
}
