//! Named thresholds of a model, from its table of operating points.

use std::fmt;

use wakeling_shared::{
    model::{Model, OperatingPoint},
    sensitivity,
};

use super::FalseAccepts;

/// Named sensitivity of a model.
///
/// ```
/// use wakeling_device::sensitivity::Preset;
/// use wakeling_shared::model::OperatingPoint;
///
/// let point = |false_accepts, threshold| OperatingPoint { false_accepts, audio_seconds: 7_200, threshold };
/// let points = [point(0, 1_800), point(1, 900), point(9, 200)]; // of two hours of negatives
/// let own = 900;
/// let thresholds = Preset::ALL.map(|preset| preset.threshold(&points, own));
/// assert_eq!(thresholds, [1_800, 900, 200]); // strict, normal, eager
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Preset {
    /// Fewest false accepts, most misses
    Strict,
    /// The model's own threshold
    #[default]
    Normal,
    /// Fewest misses, more false accepts
    Eager,
}

wakeling_core::choices!(Preset {
    Strict: "strict", "Fewest false accepts, most misses";
    Normal: "normal", "The model's own threshold";
    Eager: "eager", "Fewest misses, more false accepts";
});

impl Preset {
    /// All presets, strictest first.
    pub const ALL: [Self; 3] = [Self::Strict, Self::Normal, Self::Eager];

    /// Returns the name on the command line and in every report.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Normal => "normal",
            Self::Eager => "eager",
        }
    }

    /// Returns the threshold (Q8) of a keyword with these operating points and this threshold of
    /// its own.
    ///
    /// `Normal` is the keyword's own. `Strict` is the threshold of the table's strictest row.
    /// `Eager` is that of the next looser row that counts more false accepts than the keyword's
    /// own. If the table has no such row, the threshold moves by one unit of log-odds. `Strict`
    /// moves by at least this much, but not beyond the largest possible smoothed logit.
    pub fn threshold(self, points: &[OperatingPoint], own: i16) -> i16 {
        match self {
            Self::Normal => own,
            Self::Strict => sensitivity::strict(points, own),
            Self::Eager => sensitivity::eager(points, own),
        }
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// False accepts that a table of operating points shows for a threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Evidence {
    /// Count at this threshold: a row has it, or a looser row counts none.
    Counted(FalseAccepts),
    /// Upper limit: the threshold is above that of this row, the nearest.
    UpTo(FalseAccepts),
    /// Lower limit: the threshold is below that of this row, the loosest.
    MoreThan(FalseAccepts),
    /// The table is empty.
    Unmeasured,
}

impl Evidence {
    /// Looks up the evidence for a threshold (Q8).
    pub fn of(points: &[OperatingPoint], threshold: i16) -> Self {
        if let Some((row, is_exact)) = sensitivity::row_below(points, threshold) {
            let counted = FalseAccepts::from(row);
            return if is_exact { Self::Counted(counted) } else { Self::UpTo(counted) };
        }
        let loosest = points.iter().min_by_key(|p| p.threshold);
        loosest.map_or(Self::Unmeasured, |row| Self::MoreThan(row.into()))
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Counted(counted) => counted.fmt(f),
            Self::UpTo(counted) => write!(f, "up to {counted}"),
            // The bound of this row does not apply to a lower threshold.
            Self::MoreThan(FalseAccepts { count, hours }) => {
                write!(f, "more than {count} in {}", super::rate::duration(*hours))
            }
            Self::Unmeasured => f.write_str("not measured"),
        }
    }
}

/// Thresholds of all keywords of a model, with a name and the evidence from the model's tables.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// Preset; `None` for thresholds that were chosen otherwise.
    pub preset: Option<Preset>,
    /// Threshold (Q8) of each keyword.
    pub thresholds: Vec<i16>,
    /// Label and evidence of each keyword.
    evidence: Vec<(String, Evidence)>,
}

impl Setting {
    fn new(model: &Model<'_>, preset: Option<Preset>, thresholds: Vec<i16>) -> Self {
        let evidence = model.words.iter().zip(&thresholds);
        let evidence = evidence
            .map(|(word, &t)| (word.label.to_owned(), Evidence::of(&word.points, t)))
            .collect();
        Self { preset, thresholds, evidence }
    }

    /// Returns the name of the preset, or `chosen`.
    pub fn name(&self) -> &'static str {
        self.preset.map_or("chosen", Preset::name)
    }

    /// Returns the label and the evidence of each keyword.
    pub fn keywords(&self) -> &[(String, Evidence)] {
        &self.evidence
    }

    /// Formats the false accepts counted at these thresholds, per keyword if they differ.
    pub fn evidence(&self) -> String {
        let Some((_, first)) = self.evidence.first() else { return String::new() };
        if self.evidence.iter().all(|(_, evidence)| evidence == first) {
            return first.to_string();
        }
        let each = self.evidence.iter().map(|(label, evidence)| format!("{label}: {evidence}"));
        each.collect::<Vec<_>>().join("; ")
    }
}

/// Formats the setting as `normal: none in 1.2 h (at most 2.5/h)`.
impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name(), self.evidence())
    }
}

/// Settings of a model, strictest first, and the index of the current one.
#[derive(Clone, Debug, PartialEq)]
pub struct SensitivityScale {
    settings: Vec<Setting>,
    current: usize,
}

impl SensitivityScale {
    /// Creates a scale of a model's presets; the current one is [`Preset::Normal`].
    pub fn of(model: &Model<'_>) -> Self {
        let setting = |preset: Preset| {
            let words = model.words.iter();
            let thresholds = words.map(|w| preset.threshold(&w.points, w.detector.threshold));
            Setting::new(model, Some(preset), thresholds.collect())
        };
        Self { settings: Preset::ALL.map(setting).into(), current: Preset::Normal as usize }
    }

    /// Selects thresholds (Q8, one per keyword). Thresholds of a preset select this preset. Others
    /// become a separate setting, placed by the first keyword between stricter and more sensitive
    /// ones.
    #[must_use]
    pub fn with_thresholds(mut self, model: &Model<'_>, thresholds: Vec<i16>) -> Self {
        if self.setting().thresholds == thresholds {
            return self;
        }
        let same = self.settings.iter().position(|s| s.thresholds == thresholds);
        self.current = same.unwrap_or_else(|| {
            let at = self.settings.partition_point(|s| s.thresholds > thresholds);
            self.settings.insert(at, Setting::new(model, None, thresholds));
            at
        });
        self
    }

    /// Returns all settings, strictest first.
    pub fn settings(&self) -> &[Setting] {
        &self.settings
    }

    /// Returns the index of the current setting.
    pub fn current(&self) -> usize {
        self.current
    }

    /// Returns the current setting.
    pub fn setting(&self) -> &Setting {
        &self.settings[self.current]
    }

    /// Selects a setting by its index, or the last one if there are fewer.
    pub fn move_to(&mut self, index: usize) -> &Setting {
        self.current = index.min(self.settings.len() - 1);
        self.setting()
    }

    /// Formats the names of all settings, the current one in brackets: `strict · [normal] · eager`.
    pub fn names(&self) -> String {
        let name = |(i, setting): (usize, &Setting)| match setting.name() {
            name if i == self.current => format!("[{name}]"),
            name => name.to_owned(),
        };
        self.settings.iter().enumerate().map(name).collect::<Vec<_>>().join(" · ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wakeling_shared::detector::LOGIT_CLAMP;

    fn point(false_accepts: u32, threshold: i16) -> OperatingPoint {
        OperatingPoint { false_accepts, audio_seconds: 4_320, threshold }
    }

    #[test]
    fn presets_come_from_the_table() {
        let points = [point(0, 900), point(1, 500), point(6, 100)];
        let at = |own| Preset::ALL.map(|p| p.threshold(&points, own));
        // The model's own threshold is a row.
        assert_eq!(at(500), [900, 500, 100]);
        // The own threshold is the strictest row, or stricter: the next row that counts more is
        // `Eager`.
        assert_eq!(at(900), [1_156, 900, 500]);
        assert_eq!(at(1_000), [1_256, 1_000, 500]);
        // The own threshold is between two rows.
        assert_eq!(at(700), [956, 700, 500]);
        // The own threshold is looser than all rows; then without a table.
        assert_eq!(at(0), [900, 0, -256]);
        assert_eq!(Preset::ALL.map(|p| p.threshold(&[], 0)), [256, 0, -256]);
    }

    #[test]
    fn presets_are_in_order_for_every_threshold() {
        let tables: [&[OperatingPoint]; 3] =
            [&[], &[point(0, i16::MAX), point(2, 0)], &[point(0, -3_000), point(9, -3_001)]];
        for points in tables {
            for own in (i16::MIN..=i16::MAX).step_by(97).chain([i16::MAX, LOGIT_CLAMP]) {
                let [strict, normal, eager] = Preset::ALL.map(|p| p.threshold(points, own));
                assert!(strict >= normal && normal >= eager && normal == own, "{own}");
                // Only a model whose own threshold is beyond the reachable range exceeds it.
                assert!(strict <= LOGIT_CLAMP.max(own), "{own}: {strict}");
            }
        }
    }

    #[test]
    fn evidence_has_one_form_and_claims_no_more_than_was_counted() {
        let points = [point(0, 900), point(1, 500), point(6, 100)];
        let shown = |threshold| Evidence::of(&points, threshold).to_string();
        assert_eq!(shown(1_200), "none in 1.2 h (at most 2.5/h)");
        assert_eq!(shown(900), "none in 1.2 h (at most 2.5/h)");
        assert_eq!(shown(500), "1 in 1.2 h (at most 4.0/h)");
        assert_eq!(shown(700), "up to 1 in 1.2 h (at most 4.0/h)");
        assert_eq!(shown(99), "more than 6 in 1.2 h");
        assert_eq!(Evidence::of(&[], 0).to_string(), "not measured");
    }
}
