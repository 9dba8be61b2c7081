//! Tests of `./x` on machines that lack dependencies of its tasks: everything missing is installed
//! or named before anything is compiled. The PATH of these machines contains only the commands of
//! every Debian system, and scripts in place of `cargo`, `rustup`, `apt-get` and others. The
//! scripts log their calls.
#![cfg(unix)]

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use object::{Object, ObjectSection};
use tempfile::TempDir;

/// Commands of every Debian system that `x` uses.
const ESSENTIAL: [&str; 24] = [
    "bash", "sh", "env", "cat", "dirname", "uname", "sed", "grep", "tr", "sort", "mkdir", "mktemp",
    "rm", "touch", "chmod", "timeout", "wc", "ls", "tee", "cmp", "basename", "awk", "head", "tail",
];

/// Tasks that compile, with the packages and targets that a bare machine lacks for each.
const TASKS: [(&[&str], &[&str], &[&str]); 20] = [
    (&["build"], &["build-essential", "libasound2-dev", "pkg-config"], &SHIPPED_TARGETS),
    (&["firmware"], &["build-essential"], &["thumbv7em-none-eabihf"]),
    (&["firmware", "rv32imc"], &["build-essential"], &["riscv32imc-unknown-none-elf"]),
    (&["boards", "pico"], &["build-essential"], &["thumbv6m-none-eabi"]),
    (&["boards"], &["build-essential"], &ALL_TARGETS),
    (&["sizes"], &["build-essential"], &[]),
    (&["table"], &["build-essential"], &[]),
    (
        &["release"],
        &["build-essential", "libasound2-dev", "npm", "pkg-config", "python3-venv"],
        &RELEASE_TARGETS,
    ),
    (&["release", "c"], &["build-essential", "libasound2-dev", "pkg-config"], &C_TARGETS),
    (&["release", "firmware"], &["build-essential", "libasound2-dev", "pkg-config"], &ALL_TARGETS),
    (
        &["release", "program"],
        &["build-essential", "libasound2-dev", "pkg-config"],
        &SHIPPED_TARGETS,
    ),
    (
        &["release", "program", "--target", "x86_64-pc-windows-gnu"],
        &["build-essential", "libasound2-dev", "pkg-config"],
        &WINDOWS_TARGETS,
    ),
    (
        &["test"],
        &[
            "build-essential",
            "cmake",
            "gcc-arm-none-eabi",
            "gcc-riscv64-unknown-elf",
            "libasound2-dev",
            "libnewlib-arm-none-eabi",
            "picolibc-riscv64-unknown-elf",
            "pkg-config",
            "qemu-system-arm",
            "qemu-system-misc",
        ],
        &SHIPPED_TARGETS,
    ),
    (
        &["bench", "cortex-m0"],
        &["build-essential", "libasound2-dev", "pkg-config", "qemu-system-arm", "qemu-system-misc"],
        &["thumbv6m-none-eabi"],
    ),
    (&["fuzz"], &["build-essential", "libasound2-dev", "pkg-config"], &[]),
    (&["lint"], &["build-essential", "libasound2-dev", "pkg-config"], &[]),
    (
        &["images"],
        &[
            "build-essential",
            "chromium",
            "fontconfig",
            "fonts-inter",
            "libasound2-dev",
            "libasound2-plugins",
            "pkg-config",
            "pulseaudio",
            "pulseaudio-utils",
            "tmux",
        ],
        &[],
    ),
    (
        &["demo"],
        &["build-essential", "libasound2-dev", "pkg-config", "qemu-system-arm"],
        &["thumbv7em-none-eabihf"],
    ),
    (
        &["release", "npm"],
        &["build-essential", "libasound2-dev", "npm", "pkg-config"],
        &["wasm32-unknown-unknown"],
    ),
    (
        &["release", "wheel"],
        &["build-essential", "libasound2-dev", "pkg-config", "python3-venv"],
        &[],
    ),
];

/// Targets of what ships with the program, and of the tests: those of the firmware, and that of the browser.
const SHIPPED_TARGETS: [&str; 5] = [
    "riscv32imc-unknown-none-elf",
    "thumbv6m-none-eabi",
    "thumbv7em-none-eabihf",
    "thumbv8m.main-none-eabihf",
    "wasm32-unknown-unknown",
];

/// Targets of the firmware in the order of `sort`.
const ALL_TARGETS: [&str; 4] = [
    "riscv32imc-unknown-none-elf",
    "thumbv6m-none-eabi",
    "thumbv7em-none-eabihf",
    "thumbv8m.main-none-eabihf",
];

/// Targets of a program for Windows: those of what ships with it, and its own.
const WINDOWS_TARGETS: [&str; 6] = [
    "riscv32imc-unknown-none-elf",
    "thumbv6m-none-eabi",
    "thumbv7em-none-eabihf",
    "thumbv8m.main-none-eabihf",
    "wasm32-unknown-unknown",
    "x86_64-pc-windows-gnu",
];

/// Targets of a release: those of the C library, which hold those of the boards, and of the browser.
const RELEASE_TARGETS: [&str; 11] = [
    "aarch64-unknown-linux-gnu",
    "riscv32imac-unknown-none-elf",
    "riscv32imc-unknown-none-elf",
    "thumbv6m-none-eabi",
    "thumbv7em-none-eabi",
    "thumbv7em-none-eabihf",
    "thumbv7m-none-eabi",
    "thumbv8m.main-none-eabi",
    "thumbv8m.main-none-eabihf",
    "wasm32-unknown-unknown",
    "x86_64-unknown-linux-gnu",
];

/// Targets of the C library.
const C_TARGETS: [&str; 10] = [
    "aarch64-unknown-linux-gnu",
    "riscv32imac-unknown-none-elf",
    "riscv32imc-unknown-none-elf",
    "thumbv6m-none-eabi",
    "thumbv7em-none-eabi",
    "thumbv7em-none-eabihf",
    "thumbv7m-none-eabi",
    "thumbv8m.main-none-eabi",
    "thumbv8m.main-none-eabihf",
    "x86_64-unknown-linux-gnu",
];

/// Machine with Rust and nothing else: a PATH of its own, and a log of calls.
struct Machine(TempDir);

impl Machine {
    /// Creates a machine. With `is_root`, installing is allowed. apt-get and rustup then install
    /// the requested items and log them. cargo only logs its call and fails, so `x` ends where
    /// compiling would begin.
    fn new(is_root: bool) -> Self {
        let machine = Self(TempDir::new().expect("a folder"));
        fs::create_dir(machine.bin()).expect("a folder");
        fs::create_dir(machine.path("home")).expect("a folder");
        for name in ESSENTIAL {
            let program = ["/usr/bin", "/bin"].map(|folder| Path::new(folder).join(name));
            let program = program.iter().find(|path| path.exists()).expect("a system program");
            symlink(program, machine.bin().join(name)).expect("a link");
        }
        machine.script("id", &format!("echo {}", if is_root { 0 } else { 1000 }));
        machine.script(
            "rustc",
            "case $1 in --version) echo 'rustc 1.95.0 (59807616e 2026-04-14)' ;;
             *) echo \"$MACHINE/sysroot\" ;; esac",
        );
        machine.script(
            "cargo",
            "case \"$*\" in *--version) exit 0 ;; esac; echo \"cargo $*\" >>\"$MACHINE/log\"; exit 9",
        );
        machine.rustup("for target in \"${@:3}\"; do mkdir -p \"$MACHINE/sysroot/lib/rustlib/$target/lib\"; done");
        machine.apt_get(
            "for package in $packages; do case $package in
                build-essential) make cc && make c++ ;;
                pkg-config) make pkg-config '[ -f \"$MACHINE/alsa\" ]' ;;
                libasound2-dev) touch \"$MACHINE/alsa\" ;;
                qemu-system-arm) make qemu-system-arm ;;
                gcc-arm-none-eabi) make arm-none-eabi-gcc '[ -f \"$MACHINE/newlib\" ]' ;;
                libnewlib-arm-none-eabi) touch \"$MACHINE/newlib\" ;;
                gcc-riscv64-unknown-elf) make riscv64-unknown-elf-gcc '[ -f \"$MACHINE/picolibc\" ]' ;;
                picolibc-riscv64-unknown-elf) touch \"$MACHINE/picolibc\" ;;
                cmake) make cmake ;;
                npm) make npm ;;
                chromium | pulseaudio | tmux) make $package ;;
                fonts-inter) make fc-list 'echo Inter' ;;
                fontconfig) ;;
                pulseaudio-utils | libasound2-plugins) ;;
                python3-venv) make python3 ;;
                qemu-system-misc | qemu-system-riscv) make qemu-system-riscv32 ;;
                *) exit 100 ;;
            esac; done",
        );
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn bin(&self) -> PathBuf {
        self.path("bin")
    }

    /// Writes a program of this machine.
    fn script(&self, name: &str, text: &str) {
        let path = self.bin().join(name);
        fs::write(&path, format!("#!/usr/bin/env bash\n{text}\n")).expect("a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("ours");
    }

    /// Writes a `rustup` that logs its call and then runs `effect`.
    fn rustup(&self, effect: &str) {
        self.script("rustup", &format!("echo \"rustup $*\" >>\"$MACHINE/log\"; {effect}"));
    }

    /// Writes an `apt-get` that logs its call, and on `install` runs `effect` with the packages in
    /// `$packages`.
    fn apt_get(&self, effect: &str) {
        self.script(
            "apt-get",
            &format!(
                "make() {{ printf '#!/usr/bin/env bash\\n%s\\n' \"${{2:-exit 0}}\" >\"$MACHINE/bin/$1\"
                    chmod +x \"$MACHINE/bin/$1\"; }}
                packages=''; for word in \"$@\"; do case $word in
                    -* | install | update) ;; *) packages+=\" $word\" ;;
                esac; done
                [[ $1 != install ]] || {{ echo \"apt-get$packages\" >>\"$MACHINE/log\"; {effect}; }}"
            ),
        );
        self.script("apt-cache", "exit 100");
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.bin().join(name)).expect("it is there");
    }

    /// Runs `./x` on this machine. Returns the logged calls, the text that `x` printed, and its
    /// output.
    fn x(&self, arguments: &[&str]) -> (Vec<String>, String, Output) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../x");
        let output = Command::new(self.bin().join("bash"))
            .arg(script)
            .args(arguments)
            .env_clear()
            .env("PATH", self.bin())
            .env("HOME", self.path("home"))
            .env("MACHINE", self.0.path())
            .stdin(std::process::Stdio::null())
            .output()
            .expect("bash starts");
        let log = fs::read_to_string(self.path("log")).unwrap_or_default();
        let log = log.lines().map(str::to_owned).collect();
        (log, String::from_utf8_lossy(&output.stderr).into_owned(), output)
    }
}

/// Returns the calls before the first call of cargo, which must exist.
fn before_cargo<'l>(log: &'l [String], context: &str) -> &'l [String] {
    let first = log.iter().position(|line| line.starts_with("cargo "));
    &log[..first.unwrap_or_else(|| panic!("{context}: nothing was compiled: {log:?}"))]
}

#[test]
fn each_task_installs_all_it_needs_before_it_compiles() {
    for (task, packages, targets) in TASKS {
        let machine = Machine::new(true);
        let (log, message, _) = machine.x(task);
        let context = format!("{task:?}: {message}");
        assert!(log.contains(&format!("cargo xtask {}", task.join(" "))), "{context}: {log:?}");
        let mut expected = vec![format!("apt-get {}", packages.join(" "))];
        if !targets.is_empty() {
            expected.insert(0, format!("rustup target add {}", targets.join(" ")));
        }
        assert_eq!(before_cargo(&log, &context), expected, "{context}");

        // On the second run nothing is missing.
        fs::remove_file(machine.path("log")).expect("a log");
        let (log, message, _) = machine.x(task);
        assert!(before_cargo(&log, &message).is_empty(), "{task:?} again: {log:?}");
    }
}

#[test]
fn without_rights_all_that_is_missing_is_named_with_one_command() {
    for (task, packages, targets) in TASKS {
        let machine = Machine::new(false);
        machine.rustup("exit 1");
        let (log, message, output) = machine.x(task);
        assert_eq!(output.status.code(), Some(1), "{task:?}: {message}");
        let is_allowed = |line: &String| line.starts_with("rustup ");
        assert!(log.iter().all(is_allowed), "{task:?}: {log:?}");
        let mut command = format!("type: sudo apt-get install {}", packages.join(" "));
        if !targets.is_empty() {
            command += &format!(" && rustup target add {}", targets.join(" "));
        }
        assert!(message.lines().any(|line| line.trim() == command), "{task:?}: {message}");
    }
}

#[test]
fn each_missing_thing_alone_is_noticed() {
    // One item is removed from a machine that has everything.
    let complete = || {
        let machine = Machine::new(true);
        machine.x(&["test"]);
        fs::remove_file(machine.path("log")).expect("a log");
        machine
    };
    type Loss = fn(&Machine);
    let losses: [(Loss, &str); 10] = [
        (
            |m| fs::remove_file(m.path("newlib")).expect("headers"),
            "apt-get gcc-arm-none-eabi libnewlib-arm-none-eabi",
        ),
        (
            |m| m.remove("riscv64-unknown-elf-gcc"),
            "apt-get gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf",
        ),
        (|m| m.remove("cmake"), "apt-get cmake"),
        (|m| m.remove("qemu-system-arm"), "apt-get qemu-system-arm"),
        (|m| m.remove("qemu-system-riscv32"), "apt-get qemu-system-misc"),
        (|m| m.remove("pkg-config"), "apt-get libasound2-dev pkg-config"),
        (
            |m| fs::remove_file(m.path("alsa")).expect("headers"),
            "apt-get libasound2-dev pkg-config",
        ),
        (|m| m.remove("cc"), "apt-get build-essential"),
        // A compiler without the C library's headers, as `apt-get install --no-install-recommends
        // gcc` installs it.
        (|m| m.script("cc", "exit 1"), "apt-get build-essential"),
        (
            |m| {
                let library = "sysroot/lib/rustlib/thumbv8m.main-none-eabihf";
                fs::remove_dir_all(m.path(library)).expect("a target");
            },
            "rustup target add thumbv8m.main-none-eabihf",
        ),
    ];
    for (lose, expected) in losses {
        let machine = complete();
        lose(&machine);
        let (log, message, _) = machine.x(&["test"]);
        assert_eq!(before_cargo(&log, &message), [expected], "{message}");
    }
}

#[test]
fn names_what_could_not_be_installed() {
    let machine = Machine::new(true);
    machine.apt_get("exit 100");
    let (log, message, output) = machine.x(&["demo"]);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(log.iter().all(|line| !line.starts_with("cargo ")), "{log:?}");
    assert!(message.contains("QEMU for Arm") && message.contains("apt-get install"), "{message}");
    // rustup installed the target, so it is no longer missing.
    assert!(!message.contains("rustup target add"), "{message}");
}

#[test]
fn releases_with_a_package_for_qemu_on_riscv_get_that() {
    let machine = Machine::new(true);
    machine.script("apt-cache", "[[ $2 == qemu-system-riscv ]]");
    let (log, message, _) = machine.x(&["test"]);
    let installed = before_cargo(&log, &message).last().expect("packages");
    assert!(installed.ends_with("qemu-system-arm qemu-system-riscv"), "{installed}");
}

#[test]
fn a_missing_or_old_compiler_is_named_with_all_the_rest() {
    let machine = Machine::new(true);
    for program in ["cargo", "rustc", "rustup"] {
        machine.remove(program);
    }
    let (log, message, output) = machine.x(&["demo"]);
    assert_eq!((output.status.code(), log.len()), (Some(1), 0), "{message}");
    for part in ["https://rustup.rs", "qemu-system-arm", "pkg-config", "libasound2-dev"] {
        assert!(message.contains(part), "{part}: {message}");
    }

    let machine = Machine::new(true);
    machine.script("rustc", "echo 'rustc 1.63.0 (4b91a6ea7 2022-08-08)'");
    let (_, message, output) = machine.x(&["build"]);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("rustup update stable"), "{message}");
}

#[test]
fn a_wrong_argument_installs_nothing() {
    for task in
        [&["firmware", "z80"][..], &["boards", "toaster"], &["bench", "z80"], &["fuzz", "x"]]
    {
        let machine = Machine::new(true);
        let (log, message, output) = machine.x(task);
        assert_eq!(output.status.code(), Some(1), "{task:?}: {message}");
        assert!(log.is_empty() && message.contains(task[1]), "{task:?}: {message} {log:?}");
    }
    assert!(Machine::new(false).x(&["help"]).2.status.success());
}

/// Debian's compiler replaces rustup only for the emulated boards, so a task for other boards must
/// name the missing target.
#[test]
fn without_rustup_boards_name_the_target() {
    let machine = Machine::new(true);
    machine.remove("rustup");
    let (_, message, output) = machine.x(&["boards", "pico"]);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("rustup target add thumbv6m-none-eabi"), "{message}");
}

/// The program itself needs no target, so a distribution's compiler is enough for it.
#[test]
fn without_rustup_the_program_is_built_alone() {
    let machine = Machine::new(true);
    machine.remove("rustup");
    let (log, message, _) = machine.x(&["build"]);
    assert!(log.iter().any(|line| line.starts_with("cargo")), "{message} {log:?}");
    assert!(!message.contains("rustup"), "{message}");
}

/// Builds a small program with the workspace's release profile.
#[test]
fn a_release_build_has_neither_symbols_nor_debug_information() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let manifest = fs::read_to_string(root.join("Cargo.toml")).expect("the workspace");
    let (_, rest) = manifest.split_once("[profile.release]").expect("a release profile");
    let profile = rest.split("\n[").next().expect("the section");

    let place = TempDir::new().expect("a folder");
    let package =
        "[package]\nname = \"small\"\nedition = \"2024\"\n[workspace]\n[profile.release]\n";
    fs::write(place.path().join("Cargo.toml"), format!("{package}{profile}")).expect("a file");
    fs::create_dir(place.path().join("src")).expect("a folder");
    let source = "fn main() { println!(\"{:?}\", std::env::args()) }";
    fs::write(place.path().join("src/main.rs"), source).expect("a file");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--release", "--offline"])
        .current_dir(place.path())
        .env("CARGO_TARGET_DIR", place.path().join("target"))
        .env_remove("RUSTFLAGS")
        .output()
        .expect("cargo starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let program = fs::read(place.path().join("target/release/small")).expect("it was built");
    let program = object::File::parse(&*program).expect("an executable");
    assert_eq!(program.symbol_map().symbols().len(), 0, "symbols are in it");
    let debug = program.sections().find(|s| s.name().is_ok_and(|name| name.contains("debug_info")));
    assert!(debug.is_none(), "debug information is in it");
}
