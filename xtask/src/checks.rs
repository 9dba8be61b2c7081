//! Tests, bench and lints.

use std::{
    env,
    path::{Path, PathBuf},
};

use crate::{
    archives,
    firmware::{self, mpi_feature},
    npm, package,
    process::{Failure, TaskResult, cargo, log, run},
    table::{Machine, Table},
    wheel,
};

/// Variable with the folder of the npm package that emulates an RP2040.
const RP2040JS: &str = "WAKELING_RP2040JS";

/// Builds all firmware and runs every test; `arguments` go to `cargo test`.
pub fn test(table: &Table, arguments: &[String]) -> TaskResult {
    let machines: Vec<_> = table.built_machines().collect();
    firmware::build_all(&machines)?;
    let application = firmware::program(table.machine("cortex-m4")?)?;
    let application = application.canonicalize().map_err(Failure::io(&application))?;
    archives::build_tested()?;
    let npm = npm::build()?;
    let npm = npm.canonicalize().map_err(Failure::io(&npm))?;
    let wheel = wheel::for_tests()?;
    let pico = pico(table)?;
    log("tests of the workspace: shared, host, tasks, and what crosses them");
    let mut tests = cargo();
    tests
        .args(["test", "--workspace"])
        .args(mpi_feature())
        .args(arguments)
        .env("WAKELING_REQUIRE_EMULATOR", "1")
        .env("WAKELING_REQUIRE_C", "1")
        .env("WAKELING_FIRMWARE", application)
        .env("WAKELING_NPM", npm);
    if let Some(wheel) = wheel {
        tests.env("WAKELING_WHEEL", wheel);
    }
    match pico {
        Some(program) => tests.env("WAKELING_PICO_FIRMWARE", program),
        None => tests.env_remove(RP2040JS),
    };
    run(&mut tests)?;
    log("tests of the firmware's loop");
    let mut tests = cargo();
    tests
        .args(["test", "-p", "wakeling-firmware", "--features", "signature"])
        .current_dir("firmware")
        .env("CARGO_TARGET_DIR", "target");
    run(&mut tests)?;
    log("tests of the C library");
    let mut tests = cargo();
    tests.args(["test", "-p", "wakeling-c"]).current_dir("bindings");
    run(tests.env("CARGO_TARGET_DIR", "target"))
}

/// Builds the Pico's program where its emulator is installed and the compiler has its target, and returns
/// its path.
fn pico(table: &Table) -> TaskResult<Option<PathBuf>> {
    let board = table.board("pico")?;
    if env::var_os(RP2040JS).is_none() || !firmware::has_target(&board.target)? {
        log(&format!(
            "SKIP: the Pico's program; it needs {RP2040JS} and rustup's {}",
            board.target
        ));
        return Ok(None);
    }
    firmware::build_board(board)?;
    let program = firmware::board_program(board);
    program.canonicalize().map(Some).map_err(Failure::io(&program))
}

/// Measures machines, and compares with the page or writes it.
pub fn bench(table: &Table, accept: bool, machines: &[&Machine]) -> TaskResult {
    firmware::build_all(machines)?;
    let is_all = machines.len() == table.built_machines().count();
    let names: Vec<&str> = machines.iter().map(|machine| machine.name.as_str()).collect();
    // An empty list stands for all.
    let names = if is_all { String::new() } else { names.join(" ") };
    let run_test = |name| {
        let mut test = cargo();
        test.args(["test", "-p", "wakeling-tests", "--test", "bench", name, "--", "--nocapture"])
            .env("WAKELING_REQUIRE_EMULATOR", "1")
            .env("WAKELING_BENCH", if accept { "accept" } else { "compare" })
            .env("WAKELING_BENCH_PROCESSORS", &names);
        run(&mut test)
    };
    run_test("no_figure")?;
    // Costs that were just written are part of the program that makes the table of the boards.
    run_test("loads_of_the_boards")
}

/// Checks formatting, runs clippy and rustdoc with warnings as errors, and lists the packages.
pub fn lint() -> TaskResult {
    log("formatting");
    for folder in [".", "bindings", "firmware", "firmware/boards"] {
        run(cargo().args(["fmt", "--all", "--check"]).current_dir(folder))?;
    }
    log("clippy");
    let mut workspace = cargo();
    workspace.args(["clippy", "--workspace"]).args(mpi_feature());
    run(workspace.args(["--all-targets", "--", "-D", "warnings"]))?;
    // The emulated board checks on this machine's own target as well: only linking needs the chip's. One
    // package at a time, since the loop's tests need std and the board has a panic handler of its own.
    for package in [&["wakeling-firmware", "--features", "signature"][..], &["wakeling-qemu"]] {
        let mut clippy = cargo();
        clippy
            .args(["clippy", "-p"])
            .args(package)
            .args(["--all-targets", "--", "-D", "warnings"])
            .current_dir(Path::new("firmware"))
            .env("CARGO_TARGET_DIR", "target");
        run(&mut clippy)?;
    }
    let mut clippy = cargo();
    clippy
        .args(["clippy", "-p", "wakeling-c", "--all-targets", "--", "-D", "warnings"])
        .current_dir("bindings")
        .env("CARGO_TARGET_DIR", "target");
    run(&mut clippy)?;
    bindings()?;
    log("documentation");
    let mut documentation = cargo();
    documentation.args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
    run(&mut documentation)?;
    package::run()
}

/// Runs clippy on the bindings: the module of the browser for its own target, where the compiler has it.
fn bindings() -> TaskResult {
    let packages: [&[&str]; 2] =
        [&["wakeling-python"], &["wakeling-wasm", "--target", npm::TARGET]];
    for package in packages {
        if package.contains(&npm::TARGET) && !firmware::has_target(npm::TARGET)? {
            log(&format!(
                "SKIP: clippy of the browser's module; rustup target add {}",
                npm::TARGET
            ));
            continue;
        }
        let mut clippy = cargo();
        clippy
            .args(["clippy", "-p"])
            .args(package)
            .args(["--", "-D", "warnings"])
            .current_dir("bindings")
            .env("CARGO_TARGET_DIR", "target");
        run(&mut clippy)?;
    }
    Ok(())
}
