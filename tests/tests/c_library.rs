//! The C library against real compilers: programs in C print the lines of the laptop byte for byte, on this
//! machine and on emulated processors; the header compiles as C99 and C++11; no archive can panic or allocate.
//!
//! `./x test` builds the archives. Without them, a compiler or QEMU a test prints that it was skipped.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use object::{Object, ObjectSection, ObjectSymbol, SectionKind, read::archive::ArchiveFile};
use tempfile::TempDir;
use wakeling_device::simulate::{Chunking, Device};
use wakeling_shared::{gate::GateParams, model::Model};
use wakeling_tests::{
    Tier,
    model::{gated, random_model, random_model_with_heads},
    sound,
};

/// Warnings of every compilation of ours.
const WARNINGS: [&str; 4] = ["-Wall", "-Wextra", "-Werror", "-pedantic"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the repository")
}

fn examples() -> PathBuf {
    root().join("bindings/c/examples")
}

/// Prints that a test is skipped. `WAKELING_REQUIRE_C` turns that into a failure.
fn skip<T>(reason: &str) -> Option<T> {
    assert!(env::var_os("WAKELING_REQUIRE_C").is_none(), "{reason}");
    eprintln!("SKIP: {reason}");
    None
}

fn archive_path(name: &str) -> PathBuf {
    root().join("bindings/target/archives").join(name).join("libwakeling.a")
}

/// Returns the path of a built archive.
fn archive(name: &str) -> Option<PathBuf> {
    let path = archive_path(name);
    if path.is_file() { Some(path) } else { skip(&format!("no archive {name}: run ./x test")) }
}

/// Returns the name of a program that runs.
fn program(name: &'static str) -> Option<&'static str> {
    let runs = Command::new(name).arg("--version").output().is_ok_and(|o| o.status.success());
    if runs { Some(name) } else { skip(&format!("no {name}")) }
}

/// Runs a command in a folder; its failure is that of the test.
fn run(command: &mut Command) -> Output {
    let output = command.output().expect("the program starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{command:?}\n{stdout}\n{stderr}");
    output
}

/// Writes a model as a header, in the form of `wakeling export model.wkl --format c-array`.
fn write_array(folder: &Path, model: &[u8]) {
    let bytes: Vec<String> = model.iter().map(u8::to_string).collect();
    let text = format!(
        "#define MODEL_LENGTH {}u\n\
         static const unsigned char model[{0}] __attribute__((aligned(16))) = {{{}}};\n",
        model.len(),
        bytes.join(",")
    );
    fs::write(folder.join("model.h"), text).expect("a header");
}

/// Returns the lines that the laptop prints.
fn lines_of_laptop(model: &[u8], pcm: &[i16]) -> String {
    let model = Model::load(model).expect("the model is valid");
    let lines = Device::Host(Chunking::Whole).lines(&model, pcm, true).expect("it runs");
    assert!(lines.lines().count() > 10, "a test of nothing");
    lines
}

/// Compares the lines of a C program with those of the laptop.
fn assert_equal(place: &str, found: &str, expected: &str) {
    let differs =
        found.lines().zip(expected.lines()).position(|(found, expected)| found != expected);
    let line = |text: &str| differs.and_then(|at| Some(text.lines().nth(at)?.to_owned()));
    assert!(
        found == expected,
        "{place}: {} bytes, not {}; line {differs:?}: {:?}, not {:?}",
        found.len(),
        expected.len(),
        line(found),
        line(expected)
    );
}

/// Models and sounds: heads, normalizations, a gate, and clipping, which changes the microphone's health.
fn cases() -> Vec<(Vec<u8>, Vec<i16>)> {
    let gate = GateParams { margin: 240, hold_steps: 5 };
    let square = (0..64_000).map(|n| [i16::MIN, i16::MAX][n / 20 % 2]);
    vec![
        (random_model_with_heads(1, Tier::S, 4), sound::speech_like(1, 10)),
        (random_model(2, Tier::Odd), sound::speech_like(2, 5)),
        (gated(&random_model(3, Tier::Tiny), gate), sound::between_silences(3, 2)),
        (random_model(4, Tier::Tiny), sound::speech_like(4, 2).into_iter().chain(square).collect()),
    ]
}

/// A processor that QEMU emulates, and the compiler of its programs.
struct Emulated {
    archive: &'static str,
    compiler: &'static str,
    options: &'static [&'static str],
    /// Further sources and options of the linker, relative to the example.
    linked: &'static [&'static str],
    qemu: &'static [&'static str],
}

const CORTEX_M4F: Emulated = Emulated {
    archive: "cortex-m4f",
    compiler: "arm-none-eabi-gcc",
    options: &["-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"],
    linked: &["cortex_m.c", "-nostartfiles", "--specs=rdimon.specs", "-T", "mps2.ld"],
    qemu: &["qemu-system-arm", "-machine", "mps2-an386"],
};

const RV32IMC: Emulated = Emulated {
    archive: "riscv32imc",
    compiler: "riscv64-unknown-elf-gcc",
    options: &["-march=rv32imc", "-mabi=ilp32", "--specs=picolibc.specs"],
    linked: &[
        "--oslib=semihost",
        "--crt0=semihost",
        "-Wl,--defsym=__flash=0x80000000",
        "-Wl,--defsym=__flash_size=0x200000",
        "-Wl,--defsym=__ram=0x80200000",
        "-Wl,--defsym=__ram_size=0x40000",
        "-Wl,--defsym=__stack_size=0x8000",
    ],
    qemu: &["qemu-system-riscv32", "-machine", "virt", "-bios", "none"],
};

impl Emulated {
    /// Compiles a source of the example in `folder`, which has `model.h`. Returns `None` if a program is
    /// missing.
    fn build(&self, folder: &Path, source: &Path) -> Option<PathBuf> {
        let archive = archive(self.archive)?;
        let compiler = program(self.compiler)?;
        let elf = folder.join("program.elf");
        let mut command = Command::new(compiler);
        command
            .args(["-std=gnu11", "-Os", "-ffunction-sections", "-fdata-sections"])
            .args(WARNINGS)
            .args(self.options)
            .arg(format!("-I{}", root().join("bindings/c/include").display()))
            .arg(format!("-I{}", folder.display()))
            .arg(source)
            .args(self.linked)
            .arg(archive)
            .args(["-Wl,--gc-sections", "-o"])
            .arg(&elf)
            .current_dir(examples().join("emulator"));
        run(&mut command);
        Some(elf)
    }

    /// Runs a program in `folder` and returns what it prints.
    fn run(&self, folder: &Path, elf: &Path) -> Option<String> {
        let (qemu, machine) = self.qemu.split_first().expect("a program");
        program(qemu)?;
        let mut command = Command::new(qemu);
        command
            .args(machine)
            .args(["-display", "none", "-monitor", "none", "-serial", "none"])
            // The C libraries write by different calls; all go to standard output.
            .args(["-chardev", "stdio,id=console", "-semihosting-config"])
            .args(["enable=on,target=native,chardev=console", "-kernel"])
            .arg(elf)
            .stdin(Stdio::null())
            .current_dir(folder);
        Some(String::from_utf8(run(&mut command).stdout).expect("text"))
    }
}

fn compare_on(machine: &Emulated) {
    for (model, pcm) in cases() {
        let folder = TempDir::new().expect("a folder");
        write_array(folder.path(), &model);
        let bytes: Vec<u8> = pcm.iter().flat_map(|s| s.to_le_bytes()).collect();
        fs::write(folder.path().join("recording.pcm"), bytes).expect("a recording");
        let Some(elf) = machine.build(folder.path(), Path::new("main.c")) else { return };
        let Some(lines) = machine.run(folder.path(), &elf) else { return };
        assert_equal(machine.archive, &lines, &lines_of_laptop(&model, &pcm));
    }
}

#[test]
fn a_c_program_on_a_cortex_m4_prints_the_lines_of_the_laptop() {
    compare_on(&CORTEX_M4F);
}

#[test]
fn a_c_program_on_risc_v_prints_the_lines_of_the_laptop() {
    compare_on(&RV32IMC);
}

/// Options that make a program end at an error in its own memory accesses. Those of the library are not seen;
/// valgrind sees them.
const SANITIZERS: [&str; 2] = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];

/// Compiles a C program for this machine.
fn build_here(folder: &Path, source: &Path, options: &[&str]) -> Option<PathBuf> {
    let archive = archive(&format!("linux-{}", env::consts::ARCH))?;
    let compiler = program("gcc")?;
    let built = folder.join("program");
    let mut command = Command::new(compiler);
    command
        .args(["-std=c99", "-g"])
        .args(options)
        .args(WARNINGS)
        .arg(format!("-I{}", root().join("bindings/c/include").display()))
        .arg(source)
        .arg(archive)
        .args(["-o"])
        .arg(&built);
    run(&mut command);
    Some(built)
}

/// Writes a WAV file with a chunk before the samples.
fn write_wav(path: &Path, pcm: &[i16]) {
    let samples: Vec<u8> = pcm.iter().flat_map(|s| s.to_le_bytes()).collect();
    let mut file = b"RIFF\0\0\0\0WAVELIST\x03\0\0\0abc\0fmt \x10\0\0\0\x01\0\x01\0".to_vec();
    file.extend(16_000_u32.to_le_bytes());
    file.extend(32_000_u32.to_le_bytes());
    file.extend(b"\x02\0\x10\0data");
    file.extend((samples.len() as u32).to_le_bytes());
    file.extend(samples);
    fs::write(path, file).expect("a WAV file");
}

#[test]
fn a_c_program_on_this_machine_prints_the_lines_of_the_laptop() {
    let folder = TempDir::new().expect("a folder");
    let source = examples().join("linux/main.c");
    let Some(detect) = build_here(folder.path(), &source, &SANITIZERS) else { return };
    let (model, wav) = (folder.path().join("m.wkl"), folder.path().join("s.wav"));
    for (bytes, pcm) in cases() {
        fs::write(&model, &bytes).expect("a model");
        write_wav(&wav, &pcm);
        let output = run(Command::new(&detect).args([&model, &wav]).arg("lines"));
        let lines = lines_of_laptop(&bytes, &pcm);
        assert_equal("this machine", &String::from_utf8_lossy(&output.stdout), &lines);

        // Without lines, it prints time, level and label of each detection.
        let output = run(Command::new(&detect).args([&model, &wav]));
        let detections = lines.lines().filter(|line| line.starts_with("detection ")).count();
        assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), detections);
    }

    let (mut bytes, pcm) = cases().remove(0);
    write_wav(&wav, &pcm);
    bytes[200] ^= 1;
    for (bytes, expected) in [(&bytes[..], "damaged"), (b"no model", "truncated")] {
        fs::write(&model, bytes).expect("a model");
        let output = Command::new(&detect).args([&model, &wav]).output().expect("it starts");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.code() == Some(1) && text.contains(expected), "{text}");
    }
}

#[test]
fn wrong_arguments_give_errors_and_touch_no_memory() {
    let folder = TempDir::new().expect("a folder");
    let source = root().join("bindings/c/tests/misuse.c");
    let model = folder.path().join("m.wkl");
    let file = random_model_with_heads(5, Tier::Tiny, 2);
    fs::write(&model, &file).expect("a model");
    let Some(misuse) = build_here(folder.path(), &source, &SANITIZERS) else { return };
    run(Command::new(misuse).arg(&model));
    let Some(misuse) = build_here(folder.path(), &source, &[]) else { return };
    if Command::new("valgrind").arg("--version").output().is_err() {
        return eprintln!("SKIP: no valgrind; accesses of the library are not checked");
    }
    run(Command::new("valgrind").args(["-q", "--error-exitcode=9"]).arg(misuse).arg(&model));
}

#[test]
fn the_header_is_c99_and_cpp11() {
    let (header, folder) = (root().join("bindings/c/include"), TempDir::new().expect("a folder"));
    for (compiler, language, standard) in [
        ("gcc", "c", "-std=c99"),
        ("gcc", "c", "-std=c11"),
        ("g++", "c++", "-std=c++11"),
        ("g++", "c++", "-std=c++20"),
        ("arm-none-eabi-gcc", "c", "-std=c99"),
        ("riscv64-unknown-elf-gcc", "c", "-std=c99"),
    ] {
        let Some(compiler) = program(compiler) else { continue };
        let mut command = Command::new(compiler);
        command.args(["-fsyntax-only", standard]).args(WARNINGS);
        if compiler.starts_with("riscv64") {
            command.arg("--specs=picolibc.specs");
        }
        let source = folder.path().join("header");
        // A use of the header, since a file without a declaration is no C by the letter.
        let text =
            "#include \"wakeling.h\"\nwakeling_object object;\nwakeling_detection detection;\n";
        fs::write(&source, text).expect("a source");
        command.arg(format!("-I{}", header.display())).args(["-x", language]).arg(source);
        run(&mut command);
    }
}

/// Symbols that an archive may leave to the program that links it: memory functions of the C library.
const LEFT: [&str; 4] = ["memcpy", "memmove", "memset", "memcmp"];

#[test]
fn no_archive_for_a_chip_can_panic_or_allocate() {
    // Besides those of the tests, all that `cargo xtask release c` has built.
    let others = MEASURED.map(|(name, ..)| name);
    let others = others.into_iter().filter(|name| archive_path(name).is_file());
    for name in ["cortex-m4f", "riscv32imc"].into_iter().chain(others) {
        let Some(path) = archive(name) else { continue };
        let bytes = fs::read(&path).expect("the archive can be read");
        let archive = ArchiveFile::parse(&*bytes).expect("an archive");
        let (mut own, mut arithmetic) = (Vec::new(), BTreeSet::new());
        for member in archive.members() {
            let member = member.expect("a member");
            let object = object::File::parse(member.data(&*bytes).expect("bytes")).expect("ELF");
            if member.name().starts_with(b"wakeling") {
                own.push(object);
                continue;
            }
            // The others are the compiler's arithmetic functions.
            let defined = object.symbols().filter(|symbol| symbol.is_definition());
            arithmetic.extend(defined.filter_map(|symbol| symbol.name().ok().map(str::to_owned)));
        }
        let mut functions = 0;
        for symbol in own.iter().flat_map(|object| object.symbols()) {
            let symbol_name = symbol.name().unwrap_or_default();
            functions += usize::from(symbol.is_global() && symbol_name.starts_with("wakeling_"));
            assert!(!symbol_name.contains("panic"), "{name}: {symbol_name} can be reached");
            let is_memory = symbol_name.starts_with("__aeabi_mem") || LEFT.contains(&symbol_name);
            let is_left = symbol.is_undefined() && !symbol_name.is_empty();
            let is_known = is_memory || arithmetic.contains(symbol_name);
            assert!(!is_left || is_known, "{name} needs {symbol_name}");
        }
        assert!(own.len() == 1 && functions > 20, "{name}: the test sees nothing");
    }
}

/// A program for a board that runs here, against headers that stand for those of the board's software.
struct BoardProgram {
    compiler: &'static str,
    options: &'static [&'static str],
    /// Folder of the headers, in `tests/stubs`.
    stubs: &'static str,
    /// Sources, relative to the repository.
    sources: &'static [&'static str],
    /// Folder with `Wakeling.h` or the like.
    include: &'static str,
}

const BOARD_PROGRAMS: [BoardProgram; 4] = [
    BoardProgram {
        compiler: "g++",
        options: &["-std=c++11", "-DSKETCH=\"examples/Nano33BleSense/Nano33BleSense.ino\""],
        stubs: "arduino",
        sources: &["tests/stubs/arduino/main.cpp"],
        include: "bindings/arduino",
    },
    BoardProgram {
        compiler: "g++",
        options: &["-std=c++11", "-DSKETCH=\"examples/Esp32I2s/Esp32I2s.ino\""],
        stubs: "arduino",
        sources: &["tests/stubs/arduino/main.cpp"],
        include: "bindings/arduino",
    },
    BoardProgram {
        compiler: "gcc",
        options: &["-std=gnu11"],
        stubs: "esp-idf",
        sources: &["tests/stubs/esp-idf/main.c", "bindings/esp-idf/examples/wake_word/main/main.c"],
        include: "bindings/c/include",
    },
    BoardProgram {
        compiler: "gcc",
        options: &["-std=gnu11"],
        stubs: "zephyr",
        sources: &["bindings/zephyr/samples/wake_word/src/main.c"],
        include: "bindings/c/include",
    },
];

#[test]
fn programs_for_boards_detect_what_the_laptop_does() {
    let folder = TempDir::new().expect("a folder");
    let (model, pcm) = (random_model_with_heads(6, Tier::S, 3), sound::speech_like(6, 20));
    let bytes: Vec<u8> = pcm.iter().flat_map(|s| s.to_le_bytes()).collect();
    fs::write(folder.path().join("recording.pcm"), bytes).expect("a recording");
    write_array(folder.path(), &model);
    // An Arduino library has the header in a folder of its own, as the release lays it out.
    let c = folder.path().join("c");
    fs::create_dir(&c).expect("a folder");
    fs::copy(root().join("bindings/c/include/wakeling.h"), c.join("wakeling.h")).expect("a copy");
    let source = root().join("bindings/arduino/src/Wakeling.h");
    fs::copy(source, folder.path().join("Wakeling.h")).expect("a copy");
    let expected: Vec<String> = lines_of_laptop(&model, &pcm)
        .lines()
        .filter_map(|line| {
            let mut fields = line.strip_prefix("detection ")?.splitn(4, ' ');
            let end: u64 = fields.next()?.parse().ok()?;
            Some(format!("{} ms {}", end / 16, fields.nth(2)?))
        })
        .collect();
    assert!(expected.len() > 2, "a test of nothing");

    let Some(archive) = archive(&format!("linux-{}", env::consts::ARCH)) else { return };
    for board in BOARD_PROGRAMS {
        let Some(compiler) = program(board.compiler) else { return };
        let built = folder.path().join("program");
        let mut command = Command::new(compiler);
        command
            .args(WARNINGS)
            .args(board.options)
            .arg("-I.")
            .arg(format!("-I{}", root().join("tests/stubs").join(board.stubs).display()))
            .arg(format!("-I{}", root().join(board.include).display()))
            .args(board.sources.iter().map(|source| root().join(source)))
            .arg(&archive)
            .arg("-o")
            .arg(&built)
            .current_dir(folder.path());
        run(&mut command);
        let output = run(Command::new(&built).current_dir(folder.path()));
        let text = String::from_utf8(output.stdout).expect("text");
        let found: Vec<&str> = text.lines().collect();
        assert_eq!(found, expected, "{:?} {:?}", board.sources, board.options);
    }
}

/// Runs a script with `cmake -P` and returns what it prints, and whether it succeeded.
fn cmake(script: &str, component: &str, settings: &[&str]) -> Option<(bool, String)> {
    let output = Command::new(program("cmake")?)
        .args(settings.iter().map(|setting| format!("-D{setting}")))
        .arg(format!("-DCOMPONENT={}", root().join(component).display()))
        .arg("-P")
        .arg(root().join("tests/stubs").join(script))
        .output()
        .expect("cmake starts");
    Some((output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned()))
}

#[test]
fn build_files_choose_the_archive_of_the_processor() {
    let (idf, zephyr) = ("esp-idf/component.cmake", "zephyr/module.cmake");
    let (arm, risc) =
        (["CONFIG_WAKELING=1", "CONFIG_ARM=1"], ["CONFIG_WAKELING=1", "CONFIG_RISCV=1"]);
    let cases: [(&str, Vec<&str>, Option<&str>); 14] = [
        (idf, vec!["IDF_TARGET=esp32c3"], Some("riscv32imc")),
        (idf, vec!["IDF_TARGET=esp32c6"], Some("riscv32imac")),
        (idf, vec!["IDF_TARGET=esp32h2"], Some("riscv32imac")),
        (idf, vec!["IDF_TARGET=esp32s3"], None),
        (idf, vec!["IDF_TARGET=esp32p4"], None),
        (idf, vec!["IDF_TARGET=esp32s3", "WAKELING_ARCHIVE=/own/libwakeling.a"], Some("own")),
        (zephyr, [&arm[..], &["CONFIG_CPU_CORTEX_M0PLUS=1"]].concat(), Some("cortex-m0")),
        (zephyr, [&arm[..], &["CONFIG_CPU_CORTEX_M4=1"]].concat(), Some("cortex-m4")),
        (
            zephyr,
            [&arm[..], &["CONFIG_CPU_CORTEX_M4=1", "CONFIG_FPU=1", "CONFIG_FP_HARDABI=1"]].concat(),
            Some("cortex-m4f"),
        ),
        (zephyr, [&arm[..], &["CONFIG_CPU_CORTEX_M33=1"]].concat(), None),
        (
            zephyr,
            [&arm[..], &["CONFIG_CPU_CORTEX_M33=1", "CONFIG_ARMV8_M_DSP=1"]].concat(),
            Some("cortex-m33"),
        ),
        (
            zephyr,
            [&risc[..], &["CONFIG_RISCV_ISA_EXT_M=1", "CONFIG_RISCV_ISA_EXT_C=1"]].concat(),
            Some("riscv32imc"),
        ),
        (zephyr, [&risc[..], &["CONFIG_64BIT=1"]].concat(), None),
        (zephyr, [&arm[..], &["CONFIG_WAKELING_ARCHIVE=/own/libwakeling.a"]].concat(), Some("own")),
    ];
    for (script, settings, expected) in cases {
        let component = if script == idf { "bindings/esp-idf" } else { "bindings/zephyr" };
        let Some((succeeded, text)) = cmake(script, component, &settings) else { return };
        let found = text.lines().find_map(|line| line.strip_prefix("archive "));
        let found = found.and_then(|path| path.rsplit('/').nth(1));
        assert_eq!(found, expected, "{settings:?}: {text}");
        let names_remedy = text.contains("docs/guide/c.md");
        assert!(succeeded == expected.is_some() && names_remedy == expected.is_none(), "{text}");
    }
    let Some((succeeded, text)) = cmake(zephyr, "bindings/zephyr", &[]) else { return };
    assert!(succeeded && !text.contains("archive"), "a module that is off adds nothing: {text}");
}

/// Archives whose code is measured, with compiler and options.
const MEASURED: [(&str, &str, &[&str]); 8] = [
    ("cortex-m0", "arm-none-eabi-gcc", &["-mcpu=cortex-m0", "-mthumb"]),
    ("cortex-m3", "arm-none-eabi-gcc", &["-mcpu=cortex-m3", "-mthumb"]),
    ("cortex-m4", "arm-none-eabi-gcc", &["-mcpu=cortex-m4", "-mthumb"]),
    ("cortex-m4f", "arm-none-eabi-gcc", &["-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard"]),
    ("cortex-m33f", "arm-none-eabi-gcc", &["-mcpu=cortex-m33", "-mthumb", "-mfloat-abi=hard"]),
    ("cortex-m55f", "arm-none-eabi-gcc", &["-mcpu=cortex-m55", "-mthumb", "-mfloat-abi=hard"]),
    ("riscv32imc", "riscv64-unknown-elf-gcc", &["-march=rv32imc", "-mabi=ilp32"]),
    ("riscv32imac", "riscv64-unknown-elf-gcc", &["-march=rv32imac", "-mabi=ilp32"]),
];

/// Bytes of code and constants that a program takes from an archive.
fn code_bytes(archive: &Path, compiler: &str, options: &[&str], lines: bool) -> u64 {
    let folder = TempDir::new().expect("a folder");
    let elf = folder.path().join("code.elf");
    let mut command = Command::new(compiler);
    command
        .args(["-Os", "-ffreestanding", "-nostdlib", "-Wl,--gc-sections,-e,entry"])
        .arg("-Wl,--unresolved-symbols=ignore-all")
        .args(options)
        .args(lines.then_some("-DLINES"))
        .arg(format!("-I{}", root().join("bindings/c/include").display()))
        .arg(root().join("bindings/c/tests/code.c"))
        .arg(archive)
        .args(["-lgcc", "-o"])
        .arg(&elf);
    run(&mut command);
    let bytes = fs::read(elf).expect("a program");
    let program = object::File::parse(&*bytes).expect("ELF");
    let kept =
        |kind| matches!(kind, SectionKind::Text | SectionKind::ReadOnlyData | SectionKind::Data);
    program.sections().filter(|section| kept(section.kind())).map(|section| section.size()).sum()
}

/// Prints the tables of sizes in `docs/guide/c.md`, after `cargo xtask release c`:
/// `cargo test -p wakeling-tests --test c_library print_sizes -- --ignored --nocapture`.
#[test]
#[ignore = "it measures and proves nothing"]
fn print_sizes() {
    for (name, compiler, options) in MEASURED {
        let Some(archive) = archive(name) else { continue };
        let [code, lines] =
            [false, true].map(|lines| code_bytes(&archive, compiler, options, lines));
        println!("code {name} {code}, with event lines {lines}");
    }
    let pcm = sound::speech_like(1, 1);
    let recording: Vec<u8> = pcm.iter().flat_map(|s| s.to_le_bytes()).collect();
    let source = root().join("bindings/c/tests/sizes.c");
    for machine in [CORTEX_M4F, RV32IMC] {
        for (tier, name) in [(Tier::S, "S"), (Tier::M, "M")] {
            let folder = TempDir::new().expect("a folder");
            fs::write(folder.path().join("recording.pcm"), &recording).expect("a recording");
            write_array(folder.path(), &random_model(1, tier));
            let elf = machine.build(folder.path(), &source).expect("compiler and archive");
            let found = machine.run(folder.path(), &elf).expect("QEMU");
            println!("{} {name} {}", machine.archive, found.trim());
        }
    }
}
