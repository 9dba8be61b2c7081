//! Progress over all stages of a training run, as one measure.

use wakeling_core::progress::Update;

/// Stage with a progress bar, and its usual share of the time.
struct Phase {
    command: &'static str,
    title: &'static str,
    /// Share of the total time, in percent.
    weight: f64,
}

const fn stage(command: &'static str, title: &'static str, weight: f64) -> Phase {
    Phase { command, title, weight }
}

/// Stages in order. The weights were measured for a training run with the shipped negatives and
/// default settings on two cores. A bar that is not listed shows its title and adds no progress.
const STAGES: [Phase; 4] = [
    stage("finetune", "recordings", 2.0),
    stage("finetune", "finetune", 94.0),
    stage("evaluate", "words", 2.0),
    stage("evaluate", "negatives", 2.0),
];

/// Progress over all stages; it never decreases.
#[derive(Clone, Debug, Default)]
pub struct Overall {
    command: &'static str,
    /// Number of the current bar, and the index of its stage.
    current: Option<(u64, usize)>,
    share: f64,
}

impl Overall {
    /// Begins a command, and with it the stages of that command.
    pub fn begin(&mut self, command: &'static str) {
        (self.command, self.current) = (command, None);
        if let Some(first) = STAGES.iter().position(|s| s.command == command) {
            self.reach(before(first));
        }
    }

    /// Processes the state of a bar.
    pub fn update(&mut self, update: &Update) {
        // A bar of length 0 has no work.
        if update.length == 0 {
            return;
        }
        let index = match self.current {
            Some((bar, index)) if bar == update.bar => index,
            last => {
                let next = last.map_or(0, |(_, index)| index + 1);
                let is_it = |s: &Phase| s.command == self.command && s.title == update.stage;
                let Some(ahead) = STAGES[next..].iter().position(is_it) else { return };
                self.current = Some((update.bar, next + ahead));
                next + ahead
            }
        };
        self.reach(before(index) + STAGES[index].weight * update.share());
    }

    fn reach(&mut self, weight: f64) {
        let all: f64 = before(STAGES.len());
        self.share = self.share.max(weight / all);
    }

    /// Returns the share of all stages that is done, 0 to 1.
    pub fn share(&self) -> f64 {
        self.share
    }
}

/// Returns the sum of the weights of the stages before `index`.
fn before(index: usize) -> f64 {
    STAGES[..index].iter().map(|s| s.weight).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(bar: u64, title: &str, position: u64, length: u64) -> Update {
        Update { bar, stage: title.into(), position, length, message: String::new() }
    }

    #[test]
    fn progress_covers_every_stage_and_never_goes_back() {
        let mut overall = Overall::default();
        let mut shares = Vec::new();
        let mut bar = 0;
        for command in ["finetune", "evaluate"] {
            overall.begin(command);
            for stage in STAGES.iter().filter(|s| s.command == command) {
                bar += 1;
                for position in [0, 3, 10] {
                    overall.update(&update(bar, stage.title, position, 10));
                    shares.push(overall.share());
                }
            }
        }
        assert!(shares.is_sorted(), "{shares:?}");
        let different = shares.chunk_by(|a, b| a == b).count();
        assert_eq!(different, 2 * STAGES.len() + 1, "{shares:?}");
        assert_eq!((shares[0], shares.last()), (0.0, Some(&1.0)));
    }

    #[test]
    fn unknown_and_empty_bars_move_nothing() {
        let mut overall = Overall::default();
        overall.begin("finetune");
        overall.update(&update(0, "recordings", 10, 10));
        let share = overall.share();
        for (bar, title, length) in [(1, "something new", 10), (2, "finetune", 0), (3, "words", 10)]
        {
            overall.update(&update(bar, title, 10, length));
            assert_eq!(overall.share(), share, "{title}");
        }
        overall.update(&update(4, "finetune", 5, 10));
        assert!(overall.share() > share && overall.share() < 0.6);
    }
}
