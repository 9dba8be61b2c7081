//! Writes a plan to a chip through a debug probe, with probe-rs, which contains the chips' flash
//! layouts and algorithms. Written data is read back and compared. The chip is then reset.

use probe_rs::{
    Permissions, Session, Target,
    config::Registry,
    flashing::{DownloadOptions, FlashLoader, FlashProgress, ProgressEvent, ProgressOperation},
    probe::{Probe, list::Lister},
};

use super::Plan;
use crate::board::{Board, UsbId};
use wakeling_core::progress;

use crate::{Error, Result};

/// Writes a plan through the debug probe that is plugged in, verifies it, and resets the chip.
///
/// # Errors
/// [`Error::NoProbe`], [`Error::SeveralProbes`]; [`Error::Probe`] if probe-rs reports an error.
pub fn flash(plan: &Plan) -> Result<()> {
    let probes = Lister::new().list_all();
    let ids: Vec<UsbId> = probes.iter().map(|probe| (probe.vendor_id, probe.product_id)).collect();
    let info = &probes[choose(&ids, plan.board)?];
    let probe = info.open().map_err(refused(&info.identifier))?;
    let mut session = attach(probe, plan.board)?;
    commit(&mut session, plan, false)?;
    let mut core = session.core(0).map_err(refused(plan.board.title))?;
    core.reset().map_err(refused(plan.board.title))
}

/// Lays a plan out in the chip's flash as probe-rs describes it. Needs no probe and writes nothing.
///
/// # Errors
/// [`Error::Probe`] if a part is outside the chip's memory.
pub fn check(plan: &Plan) -> Result<()> {
    let target = Registry::from_builtin_families().get_target_by_name(plan.board.chip);
    loader(&target.map_err(refused(plan.board.title))?, plan).map(|_| ())
}

/// Returns the index of the board's own probe among those plugged in, or else of the only one.
fn choose(probes: &[UsbId], board: &Board) -> Result<usize> {
    let own = |at: &usize| board.usb.contains(&probes[*at]);
    let mut candidates: Vec<usize> = (0..probes.len()).filter(own).collect();
    if candidates.is_empty() {
        candidates = (0..probes.len()).collect();
    }
    match candidates[..] {
        [one] => Ok(one),
        [] => Err(Error::NoProbe),
        _ => Err(Error::SeveralProbes { count: candidates.len() }),
    }
}

/// Connects to a board's chip.
fn attach(probe: Probe, board: &Board) -> Result<Session> {
    probe.attach(board.chip, Permissions::default()).map_err(refused(board.title))
}

/// Creates a loader for a plan. Rejects parts outside the chip's memory.
fn loader(target: &Target, plan: &Plan) -> Result<FlashLoader> {
    let mut loader = target.flash_loader();
    for part in &plan.parts {
        loader.add_data(part.address.into(), &part.bytes).map_err(refused(plan.board.title))?;
    }
    Ok(loader)
}

/// Writes a plan and verifies it. A dry run stops once the flash algorithms are selected.
fn commit(session: &mut Session, plan: &Plan, dry_run: bool) -> Result<()> {
    let loader = loader(session.target(), plan)?;
    let bar = progress::progress_bar(plan.bytes() as u64, "writing");
    let mut options = DownloadOptions::new();
    options.dry_run = dry_run;
    options.verify = true;
    options.progress = FlashProgress::new(|event| {
        if let ProgressEvent::Progress { operation: ProgressOperation::Program, size, .. } = event {
            bar.inc(size);
        }
    });
    loader.commit(session, options).map_err(refused(plan.board.title))
}

/// Converts an error of probe-rs, with the chain of its causes.
fn refused<E: std::error::Error>(device: &str) -> impl FnOnce(E) -> Error {
    move |error| {
        let mut problem = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            problem += &format!(": {error}");
            cause = error.source();
        }
        Error::Probe { device: device.to_owned(), problem }
    }
}

#[cfg(test)]
mod tests {
    use probe_rs::{
        architecture::arm::FullyQualifiedApAddress,
        integration::{FakeProbe, Operation},
    };
    use wakeling_tests::{Tier, model::random_model};

    use super::*;
    use crate::{
        board::{BOARDS, Loader},
        flash::Part,
    };

    /// Plan that fills the ends of both regions.
    fn plan(board: &'static Board) -> Plan {
        let part = |what, address, bytes| Part { what, address, bytes };
        let parts = vec![
            part("program", board.program.start, vec![1; 256]),
            part("program", board.program.end - 256, vec![2; 256]),
            part("model", board.model.start, random_model(1, Tier::S)),
            part("model", board.model.end - 256, vec![3; 256]),
        ];
        Plan { board, parts }
    }

    fn probe_boards() -> impl Iterator<Item = &'static Board> {
        BOARDS.iter().filter(|board| board.loader != Loader::Espflash)
    }

    #[test]
    fn flash_plans_match_the_chips_of_probe_rs() {
        for board in probe_boards() {
            let probe = FakeProbe::with_mocked_core();
            if board.chip.starts_with("nRF52") {
                // The access port is read once for the lock of the chip: APPROTECTSTATUS, not
                // locked.
                let ap = FullyQualifiedApAddress::v1_with_default_dp(1);
                probe.expect_operation(Operation::ReadRawApRegister {
                    ap,
                    address: 0xC,
                    result: 1,
                });
            }
            let mut session = attach(probe.into_probe(), board).expect(board.name);
            commit(&mut session, &plan(board), true).expect(board.name);
        }
    }

    #[test]
    fn a_part_outside_the_chips_memory_is_refused() {
        for board in probe_boards() {
            check(&plan(board)).expect(board.name);
            let mut outside = plan(board);
            outside.parts.push(Part { what: "model", address: 0x7000_0000, bytes: vec![0; 4] });
            let error = check(&outside).expect_err(board.name).to_string();
            assert!(error.contains(board.title) && error.contains("0x70000000"), "{error}");
        }
    }

    #[test]
    fn the_boards_own_probe_comes_before_others_and_none_is_guessed() {
        let board = Board::named("microbit-v2").expect("a board");
        let (own, other) = (board.usb[0], (0x1366, 0x0101));
        assert_eq!(choose(&[other, own], board).ok(), Some(1));
        assert_eq!(choose(&[other], board).ok(), Some(0));
        let none = choose(&[], board).expect_err("none is there").to_string();
        assert!(none.contains("none is plugged in"), "{none}");
        for several in [&[other; 2][..], &[own, other, own]] {
            let error = choose(several, board).expect_err("two would do").to_string();
            assert!(error.contains("2 are plugged in"), "{error}");
        }
    }
}
