//! Cost of the device on every emulated processor, compared with the table in
//! `docs/reference/bench.md`. A figure more than 2 % above the table fails. `./x bench` prints a
//! new table, and `./x bench accept` writes it.
//!
//! The figures are instructions, not cycles, with random weights in the shape of each tier, which
//! cost as much as trained ones. QEMU counts the same in every run, but compilers differ, so the
//! table names its own.

use std::{collections::BTreeMap, env, fmt::Write, fs, path::PathBuf};

use wakeling_audio::features::NormalizationKind;
use wakeling_core::files;
use wakeling_device::{
    board::BOARDS,
    cost::BoardLoad,
    emulator::{APPLICATION, Emulator, EmulatorError, IMAGE, METER, Machine},
    simulate::Simulation,
};
use wakeling_interop::microwakeword::import::{Imported, Settings};
use wakeling_shared::{
    events::Stats,
    model::{ImageModel, Model},
    timebase::{HOP_SAMPLES, SAMPLE_RATE_HZ},
};
use wakeling_tests::{
    Random, Tier,
    device::if_there,
    image::{Network, random_image_model, tier_model},
    model::{random_model, random_model_with_heads},
    sound, tflite,
};
use wakeling_vision::network::Tier as ImageTier;

/// Machines to measure. Cortex-M7 runs the program of Cortex-M4.
const MACHINES: [Machine; 5] = [
    Machine::CORTEX_M0,
    Machine::CORTEX_M4,
    Machine::CORTEX_M33,
    Machine::CORTEX_M55,
    Machine::RV32IMC,
];
const SECONDS: usize = 4;
/// Relative increase over the table that is allowed.
const TOLERANCE: f64 = 0.02;
/// Seeds of random models, with the resulting normalization.
const SEEDS: [(u64, NormalizationKind); 2] =
    [(1, NormalizationKind::Log), (0, NormalizationKind::Pcan)];

/// Figures by name, one per processor; `None` where the processor's memory is too small.
type Results = BTreeMap<String, Vec<Option<f64>>>;

/// Programs of one processor.
struct Programs {
    application: Emulator,
    meter: Emulator,
    image: Emulator,
}

impl Programs {
    fn of(machine: Machine) -> Result<Self, EmulatorError> {
        Ok(Self {
            application: Emulator::built(machine, APPLICATION)?,
            meter: Emulator::built(machine, METER)?,
            image: Emulator::built(machine, IMAGE)?,
        })
    }
}

/// Returns the machines to measure: all, or those that the environment names as `./x firmware`
/// does.
fn machines() -> Vec<Machine> {
    let wanted = env::var("WAKELING_BENCH_PROCESSORS").unwrap_or_default();
    let is_wanted = |machine: &Machine| {
        let name = processor(*machine);
        wanted.is_empty() || wanted.split(' ').any(|wanted| name == wanted)
    };
    MACHINES.into_iter().filter(is_wanted).collect()
}

fn programs(machines: &[Machine]) -> Option<Vec<Programs>> {
    if_there(machines.iter().copied().map(Programs::of).collect())
}

/// Returns the number after `name=` in a line of such pairs.
fn field(line: &str, name: &str) -> f64 {
    let value = line.split(' ').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    value.and_then(|value| value.parse().ok()).expect("the program prints it")
}

/// The meter's counts for a model.
struct Metered {
    /// Instructions of the front end per frame.
    frame: f64,
    /// Instructions of the network per step.
    step: f64,
    /// Products per step.
    macs: f64,
    /// Instructions of the check of the whole model, in the parts in which a device does it.
    check: f64,
}

/// Returns the meter's counts for a random model.
fn metered(meter: &Emulator, seed: u64, tier: Tier, pcm: &[i16]) -> Metered {
    metered_file(meter, &random_model(seed, tier), pcm)
}

/// Returns the meter's counts for a model file.
fn metered_file(meter: &Emulator, bytes: &[u8], pcm: &[i16]) -> Metered {
    let model = Model::load(bytes).expect("the model is valid");
    let text = meter.measure(bytes, pcm, &[]).expect("the meter runs");
    let line = text.lines().last().expect("the meter prints a line");
    let front = field(line, "powers") + field(line, "normalization");
    Metered {
        frame: front / field(line, "frames"),
        step: field(line, "network") / field(line, "steps"),
        macs: model.step_macs() as f64,
        check: field(line, "check"),
    }
}

/// Number of words of the larger of two models, whose difference is the cost of a further word. A
/// third one of tier M fits no Cortex-M0 here.
const WORDS: usize = 2;

/// Returns the cost of a further word, with a head of its own: instructions for a second of audio,
/// bytes of the model, bytes of state.
fn further_word(meter: &Emulator, tier: Tier, step: f64, pcm: &[i16]) -> [f64; 3] {
    let files = [1, WORDS].map(|words| random_model_with_heads(1, tier, words));
    let models = files.each_ref().map(|file| Model::load(file).expect("the model is valid"));
    // A second is enough for the mean of a step, which differs little.
    let more = metered_file(meter, &files[1], &pcm[..SAMPLE_RATE_HZ]).step - step;
    let per_word = |difference: f64| difference / (WORDS - 1) as f64;
    let bytes = files[1].len() - files[0].len();
    let state = models[1].arena_bytes() - models[0].arena_bytes();
    [
        per_word(more * 1_000.0 / f64::from(step_ms(&models[0]))),
        per_word(bytes as f64),
        per_word(state as f64),
    ]
}

/// Returns the length of a step in milliseconds.
fn step_ms(model: &Model<'_>) -> u32 {
    u32::from(model.frames_per_step) * (1_000 * HOP_SAMPLES / SAMPLE_RATE_HZ) as u32
}

/// Returns the instructions for one image, its products, and bytes of memory; `None` if it does not
/// fit.
fn imaged(image: &Emulator, file: &[u8]) -> Option<[f64; 3]> {
    let model = ImageModel::load(file).expect("the model is valid");
    let mut random = Random::new(8);
    let samples: Vec<i16> =
        (0..model.shape.bytes().div_ceil(2)).map(|_| random.bits() as i16).collect();
    let text = image.run(file, &samples, false).ok()?;
    let line = text.trim_end().lines().last()?;
    Some([field(line, "audio_instructions"), model.macs() as f64, field(line, "arena_bytes")])
}

/// Returns image networks: the shapes of MLPerf Tiny, and our own for images of 96 × 96.
fn image_networks() -> Vec<(String, Vec<u8>)> {
    let mlperf = [Network::KeywordSpotting, Network::VisualWakeWords];
    let mlperf = mlperf.map(|network| (format!("{network:?}"), random_image_model(7, network)));
    let ours = [ImageTier::S, ImageTier::M];
    let ours = ours.map(|tier| (format!("Picture {tier:?} 96 × 96"), tier_model(7, tier, 96)));
    mlperf.into_iter().chain(ours).collect()
}

/// Returns the bytes of a program in flash: the file sizes of its loaded segments (ELF32, figure
/// 2-1).
fn program_bytes(elf: &[u8]) -> f64 {
    let half = |at: usize| usize::from(u16::from_le_bytes([elf[at], elf[at + 1]]));
    let word = |at: usize| u32::from_le_bytes(elf[at..at + 4].try_into().expect("four bytes"));
    let (start, size, count) = (word(28) as usize, half(42), half(44));
    let segments = (0..count).map(|i| start + i * size).filter(|&at| word(at) == 1);
    segments.map(|at| f64::from(word(at + 16))).sum()
}

/// Returns the compiler of a program, such as `rustc version 1.95.0`, from its comment section.
fn compiler(elf: &[u8]) -> String {
    const NAME: &[u8] = b"rustc version ";
    let at = elf.windows(NAME.len()).position(|window| window == NAME);
    let text = at.map(|at| &elf[at..(at + 40).min(elf.len())]).unwrap_or_default();
    let text = String::from_utf8_lossy(text);
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// Returns the statistics of the application on a model.
fn ran(application: &Emulator, model: &[u8], pcm: &[i16]) -> Stats {
    let text = application.run(model, pcm, false).expect("the application runs");
    Simulation::parse(&text).expect("events").stats.expect("the chip counts")
}

fn measure(programs: &[Programs]) -> (Results, String) {
    let pcm = sound::speech_like(1, SECONDS);
    let mut results = Results::new();
    let mut made_by = String::new();
    for Programs { application, meter, image } in programs {
        let mut add = |name: String, value: Option<f64>| {
            results.entry(name).or_default().push(value);
        };
        for (seed, kind) in SEEDS {
            let Metered { frame, .. } = metered(meter, seed, Tier::Tiny, &pcm);
            add(format!("1 front end ({kind:?}), a frame"), Some(frame));
        }
        for tier in [Tier::Alexa, Tier::S, Tier::M] {
            let Metered { step, macs, check, .. } = metered(meter, 1, tier, &pcm);
            add(format!("2 {tier:?} ({macs} MAC), a step"), Some(step));
            add(format!("3 {tier:?}, a MAC"), Some(step / macs));
            let bytes = random_model(1, tier);
            let stats = ran(application, &bytes, &pcm);
            let second = stats.audio_instructions as f64 / SECONDS as f64;
            add(format!("5 {tier:?}, a second of audio"), Some(second));
            add(format!("6 {tier:?}, set-up"), Some(stats.setup_instructions as f64));
            add(format!("6 {tier:?}, check of the model after set-up"), Some(check));
            add(format!("7 {tier:?}, bytes of the model"), Some(bytes.len() as f64));
            add(format!("8 {tier:?}, bytes of state"), Some(stats.arena_bytes as f64));
            if tier != Tier::Alexa {
                let [instructions, bytes, state] = further_word(meter, tier, step, &pcm);
                add(format!("5 {tier:?}, a further word, a second of audio"), Some(instructions));
                add(format!("7 {tier:?}, a further word, bytes of the model"), Some(bytes));
                add(format!("8 {tier:?}, a further word, bytes of state"), Some(state));
            }
            if tier == Tier::S {
                add(
                    "9 bytes of stack, with model and front end".into(),
                    Some(stats.stack_bytes as f64),
                );
                add("9 bytes of other statics".into(), Some(stats.static_bytes as f64));
            }
        }
        let alexa = Imported::of(&tflite::alexa(1), &Settings::default()).expect("it is converted");
        let Metered { step, macs, check, .. } = metered_file(meter, alexa.bytes(), &pcm);
        let stats = ran(application, alexa.bytes(), &pcm);
        let second = stats.audio_instructions as f64 / SECONDS as f64;
        add("5 microWakeWord alexa, a second of audio".into(), Some(second));
        let setup = stats.setup_instructions as f64;
        add("6 microWakeWord alexa, set-up".into(), Some(setup));
        add("6 microWakeWord alexa, check of the model after set-up".into(), Some(check));
        add(format!("2 microWakeWord alexa ({macs} MAC), a step"), Some(step));
        add("3 microWakeWord alexa, a MAC".into(), Some(step / macs));
        add("7 microWakeWord alexa, bytes of the model".into(), Some(alexa.bytes().len() as f64));
        add("8 microWakeWord alexa, bytes of state".into(), Some(alexa.arena as f64));
        for (name, file) in image_networks() {
            let found = imaged(image, &file);
            add(format!("4 {name}, an image"), found.map(|[instructions, ..]| instructions));
            add(format!("4 {name}, a MAC"), found.map(|[all, macs, _]| all / macs));
            add(format!("8 {name}, bytes of arena"), found.map(|[.., arena]| arena));
        }
        let elf = fs::read(application.firmware()).expect("the firmware is there");
        add("9 bytes of program".into(), Some(program_bytes(&elf)));
        made_by = compiler(&elf);
    }
    (results, made_by)
}

/// Formats the page with the figures.
fn page(machines: &[Machine], results: &Results, made_by: &str) -> String {
    let mut page = String::from(
        "# What the device costs\n\n\
         Instructions and bytes on processors that QEMU emulates (instructions, not cycles: nothing \
         here ran on hardware), release profile, random weights in the shape of each tier, one word, \
         4 s of synthetic sound. A Cortex-M7 runs the program of the Cortex-M4F. `–`: more memory \
         than the machine is given. `./x bench` measures it anew and compares, `./x test` fails if a \
         figure is more than 2 % worse, and `./x bench accept` writes this page, and `costs.toml` from \
         it. Set-up reads the description of a model. Its checksum is computed in the first second of \
         sound, of which no line is written before; the four seconds include it. A further word has a \
         head of its own.\n\n",
    );
    let names: Vec<&str> = machines.iter().map(|machine| machine.name).collect();
    let _ = writeln!(page, "Compiler: {made_by}.\n\n| | {} |", names.join(" | "));
    let _ = writeln!(page, "|---|{}", "---:|".repeat(names.len()));
    for (name, values) in results {
        let text: Vec<String> = values.iter().map(|&value| number(value)).collect();
        let _ = writeln!(page, "| {} | {} |", &name[2..], text.join(" | "));
    }
    page
}

/// Formats a number with commas, or with two decimals below 100.
fn number(value: Option<f64>) -> String {
    match value {
        None => "–".into(),
        Some(value) if value < 100.0 => format!("{value:.2}"),
        Some(value) => {
            let digits = format!("{value:.0}");
            let mut text = String::new();
            for (at, digit) in digits.chars().enumerate() {
                if at > 0 && (digits.len() - at).is_multiple_of(3) {
                    text.push(',');
                }
                text.push(digit);
            }
            text
        }
    }
}

/// Returns the cells of a row.
fn cells(line: &str) -> Option<Vec<&str>> {
    Some(line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").collect())
}

/// Values of one row of a page, by processor.
type Row<'p> = BTreeMap<&'p str, Option<f64>>;

/// Returns the rows of a page, by their names.
fn rows(page: &str) -> BTreeMap<&str, Row<'_>> {
    let parse = |text: &str| text.trim().replace(',', "").parse().ok();
    let is_head = |line: &&str| line.starts_with("| | ");
    let head = page.lines().find(is_head).and_then(|line| line.strip_prefix("| | "));
    let machines = head.and_then(|line| line.strip_suffix(" |")).unwrap_or_default();
    let row = |cells: &[&str]| -> Row<'_> {
        machines.split(" | ").zip(cells.iter().map(|&text| parse(text))).collect()
    };
    let rows = page.lines().filter(|line| !is_head(line)).filter_map(cells);
    rows.map(|cells| (cells[0], row(&cells[1..]))).collect()
}

/// Describes the figures that are worse in `now` than in `table`, for the processors in `now`.
fn regressions(table: &str, now: &str) -> Vec<String> {
    let (old, new) = (rows(table), rows(now));
    let mut worse = Vec::new();
    for (name, results) in &old {
        let Some(found) = new.get(name) else {
            worse.push(format!("{name}: is not measured any more"));
            continue;
        };
        for (machine, &after) in found {
            let before = results.get(machine).copied().flatten();
            let bound = before.map(|before| before * (1.0 + TOLERANCE));
            if bound.is_some_and(|bound| after.is_none_or(|after| after > bound)) {
                let [before, after] = [before, after].map(number);
                worse.push(format!("{name} on {machine}: {after}, was {before}"));
            }
        }
    }
    let added = new.keys().filter(|name| !old.contains_key(*name));
    worse.extend(added.map(|name| format!("{name}: is not in the table")));
    worse
}

/// First lines of the file of costs.
const COSTS_HEAD: &str = "\
# What the device costs on every emulated processor, for programs: the figures of docs/reference/bench.md
# that decide whether a model fits a board and runs in real time. Written by ./x bench accept.
#
#   machine                  processor: the name of a machine in boards.toml
#   model                    tier of the model, with one word
#   instructions_per_second  instructions for a second of audio, without a gate
#   step_instructions        instructions of the network for a step
#   step_ms                  audio of a step, in milliseconds
#   setup_instructions       instructions before the first sample
#   check_instructions       instructions of the check of the model, in the first second or two
#   model_bytes              size of the model file
#   state_bytes              size of the arena for the model's state
#   further_word             what a further word with a head of its own adds, where it can have one
";

/// Models in the file of costs.
const COSTED: [(&str, f64); 3] = [("S", 40.0), ("M", 40.0), ("microWakeWord alexa", 30.0)];

/// Returns the file of costs that belongs to a page.
fn costs(page: &str) -> String {
    let rows = rows(page);
    let mut file = COSTS_HEAD.to_owned();
    for machine in MACHINES {
        let value = |name: &str| rows.get(name).and_then(|row| row.get(machine.name).copied())?;
        for (model, step_ms) in COSTED {
            let whole = |row: &str| {
                let value = value(&format!("{model}, {row}"));
                value.unwrap_or_else(|| panic!("docs/reference/bench.md has no {row} of {model}"))
            };
            // The name of the row has the number of products.
            let is_step = |name: &&&str| {
                let rest = name.strip_prefix(model);
                rest.is_some_and(|rest| rest.starts_with(" (") && rest.ends_with(", a step"))
            };
            let step = rows.keys().find(is_step).and_then(|name| value(name));
            let fields = [
                ("instructions_per_second", whole("a second of audio")),
                ("step_instructions", step.expect("a page has the steps")),
                ("step_ms", step_ms),
                ("setup_instructions", whole("set-up")),
                ("check_instructions", whole("check of the model after set-up")),
                ("model_bytes", whole("bytes of the model")),
                ("state_bytes", whole("bytes of state")),
            ];
            let name = processor(machine);
            let _ = writeln!(file, "\n[[cost]]\nmachine = \"{name}\"\nmodel = \"{model}\"");
            for (field, value) in fields {
                let _ = writeln!(file, "{field} = {value:.0}");
            }
            let further = |row: &str| value(&format!("{model}, a further word, {row}"));
            let further =
                ["a second of audio", "bytes of the model", "bytes of state"].map(further);
            if let [Some(second), Some(bytes), Some(state)] = further {
                let _ = writeln!(
                    file,
                    "further_word = {{ instructions_per_second = {second:.0}, model_bytes = \
                     {bytes:.0}, state_bytes = {state:.0} }}"
                );
            }
        }
    }
    file
}

/// Returns the name of a machine in `boards.toml`.
fn processor(machine: Machine) -> String {
    machine.name.to_lowercase().trim_end_matches('f').to_owned()
}

fn repository(path: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", path].iter().collect()
}

#[test]
fn costs_are_those_of_the_page() {
    let page = fs::read_to_string(repository(PAGE)).expect("the page is part of the repository");
    let file = fs::read_to_string(repository(COSTS)).expect("so are the costs");
    assert!(costs(&page) == file, "{COSTS} differs from {PAGE}: ./x bench accept");
    assert_ne!(costs(&page.replacen("a second of audio | ", "a second of audio | 1", 3)), file);
}

/// First and last line of the generated part of the document on boards.
const START: &str = "<!-- from boards.toml and costs.toml, by ./x bench accept -->\n";
const END: &str = "<!-- end -->\n";

/// Returns the document on boards with a table made from `costs`.
fn with_loads(document: &str) -> String {
    let (before, rest) = document.split_once(START).expect("docs/reference/boards.md has the part");
    let (_, after) = rest.split_once(END).expect("it has an end");
    format!("{before}{START}{}{END}{after}", loads())
}

/// Formats the table of what every model takes on every board.
fn loads() -> String {
    let mut text = String::from(
        "| board | model | instructions, M/s | cycles, MHz | of the clock | a step, ms | state, KB | \
         model, KB | check, ms | all words | of the clock | current, mA |\n\
         |---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for board in BOARDS.iter() {
        for BoardLoad { cost, cycles_per_second, percent, room, .. } in board.all_loads() {
            let ms = |instructions| {
                board.cycles(instructions, cost.model_bytes) as f64
                    / (1e3 * f64::from(board.clock_mhz))
            };
            let (words, all) = board.with_all_words(cost);
            let fits = cost.model_bytes <= room;
            let current = |cycles: u64| {
                let [least, most] = board.microamps_per_mhz?.map(|microamps| {
                    format!("{:.2}", cycles as f64 / 1e6 * f64::from(microamps) / 1e3)
                });
                Some(if least == most { least } else { format!("{least}–{most}") })
            };
            let _ = writeln!(
                text,
                "| `{}` | {} | {:.1} | {:.1} | {percent:.0} % of {} MHz | {:.1} | {:.1} | {:.0} of {:.0}{} | \
                 {:.1} | {words} | {:.0} % | {} |",
                board.name,
                cost.model,
                cost.instructions_per_second as f64 / 1e6,
                cycles_per_second as f64 / 1e6,
                board.clock_mhz,
                ms(cost.step_instructions),
                cost.state_bytes as f64 / 1e3,
                cost.model_bytes as f64 / 1e3,
                room as f64 / 1e3,
                if fits { "" } else { ", too large" },
                ms(cost.check_instructions),
                board.percent(&all),
                current(cycles_per_second).unwrap_or_else(|| "–".into()),
            );
        }
    }
    text
}

#[test]
fn loads_of_the_boards_are_those_of_the_costs() {
    let path = repository(BOARDS_PAGE);
    let document = fs::read_to_string(&path).expect("the document is part of the repository");
    // Costs are part of this program, which is compiled anew after `./x bench accept` wrote them.
    if env::var("WAKELING_BENCH").is_ok_and(|action| action == "accept") {
        return files::write_atomic(&path, with_loads(&document).as_bytes())
            .expect("it is written");
    }
    assert!(with_loads(&document) == document, "{BOARDS_PAGE} differs: ./x bench accept");
    assert!(with_loads(&document.replacen(" MHz | ", " MHz | 1", 3)) == document);
}

const PAGE: &str = "docs/reference/bench.md";
const BOARDS_PAGE: &str = "docs/reference/boards.md";
const COSTS: &str = "costs.toml";

#[test]
fn no_figure_is_worse_than_the_table() {
    let machines = machines();
    assert!(!machines.is_empty(), "no such processor: ./x help lists them");
    let Some(programs) = programs(&machines) else { return };
    let path = repository(PAGE);
    let (results, made_by) = measure(&programs);
    let now = page(&machines, &results, &made_by);
    println!("{now}");
    if env::var("WAKELING_BENCH").is_ok_and(|action| action == "accept") {
        assert_eq!(machines.len(), MACHINES.len(), "a page has all processors");
        files::write_atomic(&path, now.as_bytes()).expect("docs/reference/ can be written");
        let costs = costs(&now);
        return files::write_atomic(repository(COSTS), costs.as_bytes()).expect("so can this");
    }
    let table =
        fs::read_to_string(&path).expect("docs/reference/bench.md is part of the repository");
    if !table.contains(&format!("Compiler: {made_by}.")) {
        return eprintln!("skipped: the table is of another compiler than {made_by}");
    }
    let worse = regressions(&table, &now);
    assert!(
        worse.is_empty(),
        "worse than docs/reference/bench.md by more than 2 % (if that must be: ./x bench accept):\n{}",
        worse.join("\n")
    );
}

#[test]
fn a_regression_is_found() {
    let table = "| | a | b |\n|---|---:|---:|\n| step | 1,000 | 2.00 |\n| image | – | 10,000 |\n";
    let with = |from: &str, to: &str| regressions(table, &table.replace(from, to)).len();
    assert_eq!(with("1,000", "1,019"), 0);
    assert_eq!(with("1,000", "1,021"), 1);
    assert_eq!(with("2.00", "2.05"), 1);
    assert_eq!(with("10,000", "–"), 1);
    assert_eq!(with("–", "5,000"), 0);
    assert_eq!(with("image", "picture"), 2);
}
