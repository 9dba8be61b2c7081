//! Tests plans, their errors, and UF2 files, with programs made here.

use wakeling_tests::{
    Random, Tier,
    elf::{LOAD, elf},
    hostile::mutate,
    model::random_model,
};

use wakeling_shared::update::{
    crc32_of,
    package::{HEADER_BYTES, Header},
    ram::RamFlash,
    store::{CheckLevel, Mapped, Store},
};

use super::*;
use crate::{
    board::{BOARDS, Family, Loader},
    update::{
        keys::Key,
        package::{Package, pack},
    },
};

fn plan(name: &str, segments: &[(u32, Vec<u8>, u32)], model: &[u8]) -> Result<Plan> {
    let firmware = elf(segments);
    let board = Board::named(name)?;
    Plan::new(board, Some(source("board.elf", &firmware)), source("model.wkl", model), false)
}

fn source<'s>(path: &'s str, bytes: &'s [u8]) -> Source<'s> {
    Source { path: Path::new(path), bytes }
}

/// Bytes of a board's region in front of its model: a journal and a header.
const IN_FRONT: usize = 2 * 4_096 + HEADER_BYTES;

fn model() -> Vec<u8> {
    random_model(1, Tier::S)
}

#[test]
fn plan_has_the_loaded_parts_at_their_addresses_and_the_model_behind() {
    let bytes = vec![1; 1_000];
    let segments = [
        (0x0001_1000, vec![2; 20], LOAD),
        (0x0001_0000, bytes.clone(), LOAD),
        // A segment without content, and one of another kind.
        (0x2000_0000, vec![], LOAD),
        (0, vec![9; 4], 0x7000_0001),
    ];
    let model = model();
    let plan = plan("nano33", &segments, &model).expect("it fits");
    let found: Vec<_> = plan.parts.iter().map(|p| (p.what, p.address, p.bytes.len())).collect();
    let length = plan.parts[2].bytes.len();
    let expected =
        [("program", 0x1_0000, 1_000), ("program", 0x1_1000, 20), ("model", 0x3_0000, length)];
    assert_eq!(found, expected);
    assert_eq!(plan.parts[0].bytes, bytes);
    assert_eq!(plan.parts[2].bytes[IN_FRONT..][..model.len()], model);
    assert_eq!(plan.bytes(), 1_020 + length);
    let text = plan.to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[1], "  0x00010000..0x000103e8     1000 bytes  program");
    let end = 0x3_0000 + length;
    assert_eq!(lines[3], format!("  0x00030000..{end:#010x} {length:>8} bytes  model"));
}

#[test]
fn every_board_takes_a_program_in_its_own_region_and_none_outside() {
    let model = model();
    for board in BOARDS.iter().filter(|board| board.loader != Loader::Espflash) {
        let Range { start, end } = board.program;
        let at = |address| plan(board.name, &[(address, vec![7; 64], LOAD)], &model);
        for inside in [start, end - 64] {
            assert_eq!(at(inside).expect("it is inside").parts.len(), 2, "{}", board.name);
        }
        for outside in
            [start.wrapping_sub(64), start.wrapping_sub(1), end - 63, end, 0x2000_0000, u32::MAX]
        {
            let error = at(outside).expect_err("it is outside").to_string();
            assert!(error.contains("board.elf"), "{error}");
            assert!(error.contains(&format!("{outside:#010x}")), "{error}");
        }
    }
}

#[test]
fn a_model_alone_is_a_plan() {
    let (board, model) = (Board::named("esp32-c3").expect("a board"), model());
    let plan = Plan::new(board, None, source("model.wkl", &model), false).expect("it fits");
    assert_eq!(plan.parts.len(), 1);
    assert_eq!((plan.parts[0].address, &plan.parts[0].bytes), (0x0020_0000, &model));
    // A program without slots reads the model at the front of its region.
    let board = Board::named("nano33").expect("a board");
    let plan = Plan::new(board, None, source("model.wkl", &model), true).expect("it fits");
    assert_eq!((plan.parts[0].address, &plan.parts[0].bytes), (0x0003_0000, &model));
}

/// Runs the start of the firmware on what is flashed, over earlier content.
#[test]
fn a_board_with_slots_runs_what_is_flashed_and_takes_what_is_newer() {
    let model = model();
    let signed = pack(Path::new("m"), &model, 7, Some(&Key::development())).expect("a model");
    for board in BOARDS.iter().filter(|board| board.page_bytes.is_some()) {
        for (file, version) in [(&model, 1), (&signed, 7)] {
            let plan = Plan::new(board, None, source("m", file), false).expect(board.name);
            let part = &plan.parts[0];
            assert_eq!(part.address, board.model.start);
            let mut region = vec![0u64; board.model.len() / 8];
            // Whole pages are erased before they are written.
            let page = board.page_bytes.expect("it has slots") as usize;
            let mut bytes = part.bytes.clone();
            bytes.resize(bytes.len().next_multiple_of(page), 0xFF);
            for (word, bytes) in region.iter_mut().zip(bytes.as_chunks().0) {
                *word = u64::from_le_bytes(*bytes);
            }
            match page {
                4_096 => starts::<4_096>(&mut region, &model, version),
                _ => starts::<131_072>(&mut region, &model, version),
            }
        }
    }
}

fn starts<const PAGE: usize>(region: &mut [u64], model: &[u8], version: u32) {
    let mut store = Store::open(RamFlash::<4, PAGE>::new(region)).expect("it opens");
    let mut asked = 0;
    let place = store.start(|flash, place, question| {
        asked += 1;
        let held = flash.mapped(place.model_at, place.header.model_bytes);
        question == CheckLevel::Loads && held[..model.len()] == *model
    });
    let place = place.expect("it reads").expect("it runs");
    assert_eq!((place.header.version, place.slot.index(), asked), (version, 0, 1));
    assert_eq!(store.next_version(), version + 1);
}

#[test]
fn a_model_that_fits_the_region_and_no_slot_is_refused() {
    let board = Board::named("microbit-v2").expect("a board");
    let model = vec![0; board.model.len() / 2];
    let header = Header {
        version: 1,
        model_bytes: model.len() as u32,
        test_bytes: 0,
        body_crc: crc32_of(&model),
        signature: None,
        enrolled: false,
    };
    let package = Package::of([&header.encode()[..], &model].concat()).expect("an image");
    let error = slots::region(board, 4_096, Path::new("m.wkl"), &package).expect_err("too large");
    assert!(matches!(error, Error::NotForSlot { .. }), "{error}");
}

#[test]
fn a_large_model_needs_firmware_without_slots() {
    let board = |name| Board::named(name).expect("a board");
    let (small, large) = (model(), random_model(1, Tier::M));
    let plain = |name, model: &[u8]| needs_plain(board(name), source("m.wkl", model));
    for name in ["microbit-v2", "stm32f4-discovery"] {
        assert_eq!(plain(name, &small).ok(), Some(false), "{name}");
        assert_eq!(plain(name, &large).ok(), Some(true), "{name}");
    }
    for name in ["nano33", "pico", "pico2", "esp32-c3"] {
        assert_eq!(plain(name, &large).ok(), Some(false), "{name}");
    }
    assert!(plain("pico", &large[..100]).is_err(), "no model");
}

#[test]
fn rejects_what_is_no_model_or_no_program() {
    let good = [(0x1000_0000, vec![1; 64], LOAD)];
    let model = model();
    let mut broken = model.clone();
    let last = broken.len() - 1;
    broken[last] ^= 1;
    for bad in [&[][..], b"RIFF", &model[..100], &broken] {
        let error = plan("pico", &good, bad).expect_err("it is no model").to_string();
        assert!(error.starts_with("model.wkl: "), "{error}");
    }

    let firmware = elf(&good);
    let board = Board::named("pico").expect("a board");
    let parts =
        |bytes: &[u8]| super::elf::parts(board, Source { path: Path::new("board.elf"), bytes });
    assert_eq!(parts(&firmware).map(|parts| parts.len()).ok(), Some(1));
    for length in 0..firmware.len() {
        let error = parts(&firmware[..length]).expect_err("it was cut short").to_string();
        assert!(error.starts_with("board.elf: "), "{error}");
    }
    let empty = parts(&elf(&[])).expect_err("nothing is loaded").to_string();
    assert!(empty.contains("nothing in it is loaded"), "{empty}");
}

/// Firmware of the same content as an ELF file and as an Intel HEX file gives the same plan.
#[test]
fn a_hex_file_is_a_program_too() {
    let model = model();
    let segments = [(0x1_0000, vec![1; 70_000], LOAD), (0x2_2000, vec![2; 20], LOAD)];
    let expected = plan("nano33", &segments, &model).expect("it fits");
    let program =
        Plan { board: expected.board, parts: expected.parts[..2].to_vec(), load_percent: None };
    let file = hex::write(&program);
    let of = |bytes: &[u8]| {
        let firmware = Some(source("nano33.hex", bytes));
        Plan::new(expected.board, firmware, source("model.wkl", &model), false)
    };
    assert_eq!(of(file.as_bytes()).expect("it fits").parts, expected.parts);
    // Windows' ends of lines.
    let other = file.replace('\n', "\r\n");
    assert_eq!(of(other.as_bytes()).expect("it fits").parts, expected.parts);

    // The program of another board lies elsewhere.
    let pico = Board::named("pico").expect("a board");
    let part = Part { what: "program", address: 0x1000_0000, bytes: vec![1; 8] };
    let foreign = hex::write(&Plan { board: pico, parts: vec![part], load_percent: None });
    let error = of(foreign.as_bytes()).expect_err("another board's");
    assert!(matches!(error, Error::OutsideRegion { what: "program", .. }), "{error}");
    for (text, reason) in [
        (":00000001FF\n", "no data"),
        (":\n", "line 1"),
        ("", "ELF"),
        (&file[..file.len() - 12], "cut short"),
        (&file.replacen(":10", ":20", 1), "line 2"),
        (&file.replacen("01010101", "01010102", 1), "line 2"),
        (&(file.clone() + &file), "cut short, or more follows"),
        (":020000021000EC\n:00000001FF\n", "segment"),
        (":08FFFC000000000000000000FD\n:00000001FF\n", "64 KiB"),
    ] {
        let error = of(text.as_bytes()).expect_err(reason).to_string();
        assert!(error.starts_with("nano33.hex: ") && error.contains(reason), "{reason}: {error}");
    }
    let error = of(b":\xFF").expect_err("no text").to_string();
    assert!(error.contains("no text"), "{error}");
}

#[test]
fn a_hex_file_reads_back_at_any_address() {
    let parts = vec![
        Part { what: "flash", address: 0x0000_FFF9, bytes: (0..40).collect() },
        Part { what: "flash", address: 0x0003_0000, bytes: vec![7; 70_000] },
        Part { what: "flash", address: 0xFFFF_FFF0, bytes: vec![8; 16] },
    ];
    let board = Board::named("nano33").expect("a board");
    let file = hex::write(&Plan { board, parts: parts.clone(), load_percent: None });
    assert_eq!(hex::read(file.as_bytes()), Ok(parts));
    assert!(file.lines().all(|line| line.len() <= 43), "lines of 16 bytes");
}

/// Whatever is accepted lies inside the region, since it would be written there.
#[test]
fn a_modified_hex_file_is_an_error_or_a_program() {
    let board = Board::named("nano33").expect("a board");
    let part = Part { what: "program", address: 0x1_0000, bytes: (0..=255).collect() };
    let file = hex::write(&Plan { board, parts: vec![part], load_percent: None }).into_bytes();
    let mut random = Random::new(5);
    let mut accepted = 0;
    for _ in 0..20_000 {
        let mut other = file.clone();
        mutate(&mut other, &mut random);
        let Ok(parts) = program::parts(board, source("x.hex", &other)) else { continue };
        accepted += 1;
        for part in parts {
            let range = part.range();
            assert!(range.start >= 0x1_0000 && range.end <= 0x3_0000, "{part:?}");
        }
    }
    // Such as a line that is there twice, or an end of a line more.
    assert!((1..10_000).contains(&accepted), "{accepted}");
}

#[test]
fn the_binary_of_an_esp32_is_a_program() {
    let (board, model) = (Board::named("esp32-c3").expect("a board"), model());
    let mut binary = vec![0xFF; 0x1_0100];
    binary[0] = 0xE9;
    binary[0x8000..0x8002].copy_from_slice(&[0xAA, 0x50]);
    binary[0x1_0000] = 0xE9;
    let of = |bytes: &[u8]| {
        Plan::new(board, Some(source("esp.bin", bytes)), source("model.wkl", &model), false)
    };
    let plan = of(&binary).expect("it fits");
    assert_eq!((plan.parts[0].address, &plan.parts[0].bytes), (0, &binary));
    let (start, merged) = plan.merged();
    assert_eq!((start, merged.len()), (0, 0x20_0000 + model.len()));
    assert_eq!(merged[..binary.len()], binary);
    assert!(merged[binary.len()..0x20_0000].iter().all(|&byte| byte == 0xFF));
    assert_eq!(merged[0x20_0000..], model);

    for at in [0x8000, 0x1_0000] {
        let mut other = binary.clone();
        other[at] = 0;
        let error = of(&other).expect_err("not whole");
        assert!(matches!(error, Error::NotFirmware { .. }), "{error}");
    }
    binary.resize(0x20_0001, 0);
    let error = of(&binary).expect_err("over the model");
    assert!(matches!(error, Error::OutsideRegion { .. }), "{error}");
    // A board with a probe does not take it.
    let pico = Board::named("pico").expect("a board");
    let refused = Plan::new(pico, Some(source("esp.bin", &[0xE9; 64])), source("m", &model), false);
    assert!(matches!(refused, Err(Error::NotFirmware { .. })));
}

#[test]
fn overlapping_segments_are_refused() {
    let segments = [(0x1000_0000, vec![1; 64], LOAD), (0x1000_0020, vec![2; 64], LOAD)];
    let error = plan("pico", &segments, &model()).expect_err("they overlap").to_string();
    assert!(error.contains("overlap"), "{error}");
}

#[test]
fn a_model_that_is_too_large_for_the_region_is_refused() {
    let model = random_model(1, Tier::M);
    let region = 0x0800_0000..0x0800_0000 + model.len() as u32 - 1;
    let board = Board::named("nano33").expect("a board");
    let part = Part { what: "model", address: region.start, bytes: model };
    let error = part.within(&region, board, Path::new("m.wkl")).expect_err("a byte too much");
    assert!(matches!(error, Error::OutsideRegion { what: "model", .. }), "{error}");
}

#[test]
fn a_uf2_file_reads_back_in_whole_sectors() {
    let program: Vec<u8> = (0..5_000u32).map(|n| (n * 7) as u8).collect();
    let segments = [(0x1000_0000, program.clone(), LOAD), (0x1000_3010, vec![3; 8], LOAD)];
    for (name, family, extra) in [("pico", Family::Rp2040, 0), ("pico2", Family::Rp2350ArmS, 1)] {
        let model = model();
        let plan = plan(name, &segments, &model).expect("it fits");
        let file = uf2::write(&plan, family);
        let parts = uf2::read(&file, family).expect("it was written here");
        let length = plan.parts[2].bytes.len();
        let sectors = 2 + 1 + length.div_ceil(4_096);
        assert_eq!(file.len(), (sectors * 16 + extra) * uf2::BLOCK_BYTES);
        // The sector in between is not written.
        let starts: Vec<u32> = parts.iter().map(|part| part.address).collect();
        assert_eq!(starts, [0x1000_0000, 0x1000_3000, 0x1010_0000]);
        assert_eq!(parts[0].bytes[..5_000], program);
        assert!(parts[0].bytes[5_000..].iter().all(|&b| b == 0xFF));
        assert_eq!(parts[1].bytes[..0x10], [0xFF; 0x10]);
        assert_eq!(parts[1].bytes[0x10..0x18], [3; 8]);
        assert_eq!(parts[2].bytes[IN_FRONT..][..model.len()], model);
        assert!(parts.iter().all(|part| part.bytes.len() % 4_096 == 0));
    }
}

/// Words of the format's description, and for the RP2350 those of picotool.
#[test]
fn block_follows_the_uf2_format() {
    let plan = plan("pico2", &[(0x1000_0000, vec![5; 256], LOAD)], &model()).expect("it fits");
    let file = uf2::write(&plan, Family::Rp2350ArmS);
    let word = |block: usize, at: usize| {
        let at = block * 512 + at;
        u32::from_le_bytes(file[at..at + 4].try_into().expect("four bytes"))
    };
    let all = (file.len() / 512 - 1) as u32;
    let first: Vec<u32> = (0..8).map(|i| word(1, 4 * i)).collect();
    let expected = [0x0A32_4655, 0x9E5D_5157, 0x2000, 0x1000_0000, 256, 0, all, 0xE48B_FF59];
    assert_eq!(first, expected);
    assert_eq!(file[512 + 32..512 + 288], [5; 256]);
    assert!(file[512 + 288..1_020].iter().all(|&b| b == 0));
    assert_eq!(word(1, 508), 0x0AB1_6F30);

    let ignored: Vec<u32> = (2..8).map(|i| word(0, 4 * i)).collect();
    assert_eq!(ignored, [0xA000, 0x10FF_FF00, 256, 0, 2, 0xE48B_FF57]);
    assert_eq!(word(0, 288), 0x9957_E304);
}

#[test]
fn a_damaged_uf2_file_is_an_error() {
    let plan = plan("pico", &[(0x1000_0000, vec![5; 256], LOAD)], &model()).expect("it fits");
    let file = uf2::write(&plan, Family::Rp2040);
    let read = |bytes: &[u8]| uf2::read(bytes, Family::Rp2040);
    assert_eq!(read(&file[..700]), Err(uf2::Uf2Error::Length { bytes: 700 }));
    for at in [0, 7, 508] {
        let mut damaged = file.clone();
        damaged[512 + at] ^= 1;
        assert_eq!(read(&damaged), Err(uf2::Uf2Error::Magic { block: 1 }));
    }
    let mut long = file.clone();
    long[16..20].copy_from_slice(&477u32.to_le_bytes());
    assert_eq!(read(&long), Err(uf2::Uf2Error::Payload { block: 0, bytes: 477 }));
    let all = (file.len() / 512) as u32;
    let missing = [&file[..512], &file[1_024..]].concat();
    assert_eq!(read(&missing), Err(uf2::Uf2Error::Order { block: 1, found: 2, all }));
    // Another chip's blocks are skipped.
    assert_eq!(uf2::read(&file, Family::Rp2350ArmS), Ok(vec![]));
}
