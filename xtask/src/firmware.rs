//! Builds of firmware, for emulated machines and for boards.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    process::{
        Failure, TaskResult, cargo, entries, has_program, log, on_path, output, run,
        target_variable,
    },
    table::{Board, Machine},
};

/// Package of the emulated machines, and its main program.
const EMULATED: &str = "wakeling-qemu";

/// Path of a machine's main program.
pub fn program(machine: &Machine) -> TaskResult<PathBuf> {
    let folder = Path::new("firmware/target").join(&machine.name).join(machine.target()?);
    Ok(folder.join("release").join(EMULATED))
}

/// Builds the firmware of several machines.
pub fn build_all(machines: &[&Machine]) -> TaskResult {
    machines.iter().try_for_each(|machine| build(machine))
}

/// Builds the firmware of a machine. Each has a target folder of its own, since flags are no part of a
/// target's name.
pub fn build(machine: &Machine) -> TaskResult {
    let target = machine.target()?;
    let mut command = compiler(target)?;
    command
        .args(["--release", "--target", target, "-p", EMULATED])
        .current_dir("firmware")
        .env("CARGO_TARGET_DIR", Path::new("target").join(&machine.name))
        .env(target_variable(target, "RUSTFLAGS"), &machine.build.flags);
    run(&mut command)?;
    log(&format!("built {}", program(machine)?.display()));
    Ok(())
}

/// Command `cargo build` for a target: the cargo that runs this program if its compiler has the target, or
/// Debian's, which builds `core` from its source package.
pub fn compiler(target: &str) -> TaskResult<Command> {
    let mut command = cargo();
    command.arg("build");
    if has_target(target)? {
        return Ok(command);
    }
    command = Command::new("/usr/bin/cargo");
    command
        .args(["build", "-Z", "build-std=core"])
        .env("RUSTC", "/usr/bin/rustc")
        .env("RUSTC_BOOTSTRAP", "1")
        .env(target_variable(target, "LINKER"), linker(&rustlib()?)?)
        // What the other cargo sets for its own compiler.
        .env_remove("CARGO")
        .env_remove("LD_LIBRARY_PATH");
    Ok(command)
}

/// Tests whether the compiler has a target.
pub fn has_target(target: &str) -> TaskResult<bool> {
    Ok(rustlib()?.join(target).join("lib").is_dir())
}

/// Folder of the compiler's targets.
fn rustlib() -> TaskResult<PathBuf> {
    let sysroot = output(Command::new("rustc").args(["--print", "sysroot"]))?;
    Ok(Path::new(sysroot.trim_end()).join("lib/rustlib"))
}

/// Returns a linker for firmware: that of the compiler in `PATH`, or one that is installed.
fn linker(rustlib: &Path) -> TaskResult<PathBuf> {
    let own = entries(rustlib).into_iter().map(|folder| folder.join("bin/rust-lld"));
    let own = own.into_iter().find(|path| path.is_file());
    own.or_else(|| ["rust-lld", "ld.lld"].into_iter().find_map(on_path))
        .ok_or_else(|| Failure::new("no linker: install rust-lld or lld"))
}

/// Path of a board's program.
pub fn board_program(board: &Board) -> PathBuf {
    let folder = Path::new("firmware/boards/target").join(&board.target).join("release");
    folder.join(format!("wakeling-{}", board.name))
}

/// Firmware of a board that differs by its features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// Without slots: the model has the whole region.
    Plain,
    /// With two slots, and updates of the model.
    Slots,
}

impl Variant {
    /// Variants of a board. The one with slots is last, so that it is left where [`board_program`] is.
    pub fn of(board: &Board) -> &'static [Self] {
        if board.page_kib.is_some() { &[Self::Plain, Self::Slots] } else { &[Self::Plain] }
    }
}

/// Builds the firmware of a board.
pub fn build_board(board: &Board, variant: Variant) -> TaskResult {
    let package = format!("wakeling-{}", board.name);
    let mut command = cargo();
    command
        .args(["build", "--release", "--locked", "--target", &board.target, "-p", &package])
        .args((variant == Variant::Plain).then_some("--no-default-features"))
        .current_dir("firmware/boards")
        .env("CARGO_TARGET_DIR", "target")
        .env(target_variable(&board.target, "RUSTFLAGS"), &board.flags);
    run(&mut command)?;
    log(&format!("built {}", board_program(board).display()));
    Ok(())
}

/// Returns arguments that build for several processes, where that is possible. Everything is then tested
/// so: the program is the same, and dependencies compile once.
pub fn mpi_feature() -> &'static [&'static str] {
    let starts = |path: &Path, start: &str| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(start))
    };
    let compilers = entries(Path::new("/usr/lib"));
    let mut compilers = compilers.iter().filter(|path| starts(path, "llvm"));
    let is_library =
        |path: PathBuf| starts(&path, "libclang") && path.to_string_lossy().contains(".so");
    let has_clang = compilers.any(|path| entries(&path.join("lib")).into_iter().any(is_library));
    if has_clang && has_program("mpicc") && has_program("mpirun") {
        return &["--features", "wakeling/mpi"];
    }
    log("SKIP: several processes; they need libopenmpi-dev, openmpi-bin and libclang-dev");
    &[]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Table;

    #[test]
    fn each_machine_has_a_folder_of_its_own() {
        let table = Table::embedded().expect("boards.toml is valid");
        let path = |name| program(table.machine(name).expect("a machine")).expect("a target");
        let expected = "firmware/target/cortex-m55/thumbv8m.main-none-eabihf/release/wakeling-qemu";
        assert_eq!(path("cortex-m55"), Path::new(expected));
        assert_ne!(path("cortex-m33"), path("cortex-m55"));
        let pico = table.board("pico").expect("a board");
        let expected = "firmware/boards/target/thumbv6m-none-eabi/release/wakeling-pico";
        assert_eq!(board_program(pico), Path::new(expected));
    }

    #[test]
    fn a_linker_is_found_in_the_sysroot_or_on_the_path() {
        let place = std::env::temp_dir().join(format!("xtask-linker-{}", std::process::id()));
        let folder = place.join("x86_64-unknown-linux-gnu/bin");
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join("rust-lld"), "").expect("a file");
        assert_eq!(linker(&place), Ok(folder.join("rust-lld")));
        std::fs::remove_dir_all(&place).expect("the folder is there");
        assert_eq!(linker(&place).is_ok(), has_program("rust-lld") || has_program("ld.lld"));
    }
}
