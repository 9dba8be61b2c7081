//! Static libraries for C, one per processor and calling convention.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    firmware::compiler,
    process::{Failure, TaskResult, host_target, log, run, target_variable},
};

/// Header of every archive.
pub const HEADER: &str = "bindings/c/include/wakeling.h";

/// A static library.
#[derive(Clone, Copy, Debug)]
pub struct Archive {
    /// Folder in a release; the processor, with `f` if floating-point registers pass arguments.
    pub name: &'static str,
    /// Target of the compiler.
    pub target: &'static str,
    /// Further flags of the compiler.
    flags: &'static str,
    /// Folders in an Arduino library: `build.mcu`, and options of the floating-point unit where a core passes
    /// them.
    pub arduino: &'static [&'static str],
}

/// Every archive of a release. Xtensa (ESP32, S2 and S3) is missing: rustup has no such target.
pub const ARCHIVES: [Archive; 11] = [
    Archive {
        name: "cortex-m0",
        target: "thumbv6m-none-eabi",
        flags: "",
        arduino: &["cortex-m0plus"],
    },
    Archive { name: "cortex-m3", target: "thumbv7m-none-eabi", flags: "", arduino: &[] },
    // The cores of the Nano 33 BLE and of the Portenta H7 compile with -mfloat-abi=softfp, which links with soft.
    Archive {
        name: "cortex-m4",
        target: "thumbv7em-none-eabi",
        flags: "",
        arduino: &["cortex-m4/fpv4-sp-d16-softfp", "cortex-m7/fpv5-d16-softfp"],
    },
    Archive {
        name: "cortex-m4f",
        target: "thumbv7em-none-eabihf",
        flags: "",
        arduino: &["cortex-m4/fpv4-sp-d16-hard"],
    },
    Archive {
        name: "cortex-m33",
        target: "thumbv8m.main-none-eabi",
        flags: "-C target-cpu=cortex-m33",
        arduino: &[],
    },
    Archive {
        name: "cortex-m33f",
        target: "thumbv8m.main-none-eabihf",
        flags: "-C target-cpu=cortex-m33",
        arduino: &[],
    },
    Archive {
        name: "cortex-m55f",
        target: "thumbv8m.main-none-eabihf",
        flags: "-C target-cpu=cortex-m55",
        arduino: &[],
    },
    Archive {
        name: "riscv32imc",
        target: "riscv32imc-unknown-none-elf",
        flags: "",
        arduino: &["esp32c3"],
    },
    Archive {
        name: "riscv32imac",
        target: "riscv32imac-unknown-none-elf",
        flags: "",
        arduino: &["esp32c6"],
    },
    Archive { name: "linux-x86_64", target: "x86_64-unknown-linux-gnu", flags: "", arduino: &[] },
    Archive { name: "linux-aarch64", target: "aarch64-unknown-linux-gnu", flags: "", arduino: &[] },
];

/// Archives for the emulated processors of the tests.
const EMULATED: [&str; 2] = ["cortex-m4f", "riscv32imc"];

impl Archive {
    /// Path of the built archive.
    pub fn path(&self) -> PathBuf {
        Path::new("bindings/target/archives").join(self.name).join("libwakeling.a")
    }

    /// Builds the archive. All share a target folder, so each is copied out of it.
    pub fn build(&self) -> TaskResult {
        let mut command = compiler(self.target)?;
        command
            .args(["--locked", "-p", "wakeling-c", "--profile", "embedded"])
            .args(["--target", self.target])
            .current_dir("bindings")
            .env("CARGO_TARGET_DIR", "target")
            .env(target_variable(self.target, "RUSTFLAGS"), self.flags);
        run(&mut command)?;
        let built = Path::new("bindings/target").join(self.target).join("embedded/libwakeling.a");
        let path = self.path();
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(Failure::io(folder))?;
        fs::copy(&built, &path).map_err(Failure::io(&built))?;
        log(&format!("built {}", path.display()));
        Ok(())
    }
}

/// Builds the archives that the tests link: for the emulated processors, and for this machine.
pub fn build_tested() -> TaskResult {
    let host = host_target()?;
    let is_tested = |archive: &&Archive| EMULATED.contains(&archive.name) || archive.target == host;
    ARCHIVES.iter().filter(is_tested).try_for_each(Archive::build)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_bootstrap_adds_the_target_of_every_archive() {
        let script = fs::read_to_string(crate::root().join("scripts/needs.sh")).expect("a script");
        let list = script.split("C_TARGETS=(").nth(1).and_then(|rest| rest.split(')').next());
        let listed: BTreeSet<_> = list.expect("a list").split_whitespace().collect();
        let targets: BTreeSet<_> = ARCHIVES.iter().map(|archive| archive.target).collect();
        assert_eq!(listed, targets);
    }
}
