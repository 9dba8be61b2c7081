//! Pipeline that owns its model file and arena, for programs that detect keywords.
//!
//! [`Pipeline`] borrows a model, which borrows its file. That suits a device, where the file is in
//! flash. A program on a laptop would have to keep three values, in this order, in one function.

use std::{path::Path, sync::Arc};

use self_cell::{MutBorrow, self_cell};
use wakeling_shared::{
    model::{LoadError, Model},
    pipeline::{Observer, Pipeline, Step},
};

use crate::Result;
use crate::model_file;

self_cell!(
    /// File of a model, and the model that borrows it.
    struct LoadedModel {
        owner: Arc<[u8]>,
        #[covariant]
        dependent: Model,
    }
);

/// Pipeline with one lifetime, that of its owner.
type Borrowing<'a> = Pipeline<'a, 'a>;

/// Values from which a pipeline borrows.
struct Parts {
    model: LoadedModel,
    arena: MutBorrow<Vec<i8>>,
}

self_cell!(
    /// Model and arena, and the pipeline that borrows them.
    struct Running {
        owner: Parts,
        #[not_covariant]
        dependent: Borrowing,
    }
);

/// Pipeline that owns its model file and its arena. It can be kept, moved, and sent to a thread.
///
/// ```
/// use wakeling_device::owned::OwnedPipeline;
/// # let file = wakeling_tests::model::random_model(1, wakeling_tests::model::Tier::Tiny);
///
/// // Bytes of `model.wkl`; `OwnedPipeline::open` reads them from a path.
/// let mut pipeline = OwnedPipeline::new(file)?;
/// let labels: Vec<String> = pipeline.model().words.iter().map(|w| w.label.into()).collect();
/// let mut steps = 0;
/// pipeline.push(&[0; 16_000], |step| {
///     steps += 1;
///     for (label, decision) in labels.iter().zip(step.decisions) {
///         if decision.fired {
///             println!("{label} after {} samples", step.end_samples);
///         }
///     }
/// });
/// assert!(steps > 40);
/// # Ok::<(), wakeling_shared::model::LoadError>(())
/// ```
pub struct OwnedPipeline(Running);

impl OwnedPipeline {
    /// Loads a model from the bytes of its file. Pipelines of one `Arc<[u8]>` share its weights.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn new(file: impl Into<Arc<[u8]>>) -> Result<Self, LoadError> {
        let model = LoadedModel::try_new(file.into(), |file| Model::load(file))?;
        let arena = MutBorrow::new(vec![0; model.borrow_dependent().arena_bytes()]);
        let running = Running::try_new(Parts { model, arena }, |parts| {
            Pipeline::new(parts.model.borrow_dependent(), parts.arena.borrow_mut())
        });
        // The arena is as large as the model asks for.
        running.map(Self).map_err(|_| LoadError::Body)
    }

    /// Reads a model file.
    ///
    /// # Errors
    /// [`Error::Core`](crate::Error::Core) if reading fails;
    /// [`Error::InvalidModel`](crate::Error::InvalidModel) if the file is no valid model.
    pub fn open(path: &Path) -> Result<Self> {
        let file = model_file::read(path)?;
        Self::new(file).map_err(|error| model_file::load_error(path, error))
    }

    /// Returns the model.
    pub fn model(&self) -> &Model<'_> {
        self.0.borrow_owner().model.borrow_dependent()
    }

    /// Returns the bytes of the model file.
    pub fn file(&self) -> &[u8] {
        self.0.borrow_owner().model.borrow_owner()
    }

    /// Processes `pcm` (16 kHz mono) and calls `on_step` after each step that it completes.
    pub fn push(&mut self, pcm: &[i16], on_step: impl FnMut(Step<'_>)) {
        self.0.with_dependent_mut(|_, pipeline| pipeline.push(pcm, on_step));
    }

    /// Processes `pcm` (16 kHz mono) and calls `observer` at each step that it completes.
    pub fn push_to(&mut self, pcm: &[i16], observer: &mut impl Observer) {
        self.0.with_dependent_mut(|_, pipeline| pipeline.push_to(pcm, observer));
    }

    /// Sets a keyword's threshold, as [`Pipeline::set_threshold`] does.
    pub fn set_threshold(&mut self, word: usize, threshold: i16) {
        self.0.with_dependent_mut(|_, pipeline| pipeline.set_threshold(word, threshold));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wakeling_tests::{
        model::{Tier, random_model},
        sound,
    };

    fn file() -> Vec<u8> {
        random_model(3, Tier::Tiny)
    }

    #[test]
    fn owned_and_borrowing_pipelines_give_the_same_logits() {
        let (file, pcm) = (file(), sound::speech_like(1, 3));
        let model = Model::load(&file).unwrap();
        let mut arena = vec![0; model.arena_bytes()];
        let mut borrowing = Pipeline::new(&model, &mut arena).unwrap();
        let mut expected = Vec::new();
        borrowing.push(&pcm, |step| expected.extend_from_slice(step.logits));

        let owned = OwnedPipeline::new(file.clone()).unwrap();
        // Moved twice, into a thread and back, between two blocks.
        let run = move |mut owned: OwnedPipeline, pcm: Vec<i16>| {
            let mut logits = Vec::new();
            owned.push(&pcm, |step| logits.extend_from_slice(step.logits));
            (owned, logits)
        };
        let (first, rest) = pcm.split_at(7_001);
        let (first, rest) = (first.to_vec(), rest.to_vec());
        let (owned, mut found) =
            std::thread::spawn(move || run(owned, first)).join().expect("no panic");
        let (owned, more) = run(owned, rest);
        found.extend(more);
        assert!(!expected.is_empty());
        assert_eq!(found, expected);
        assert_eq!(owned.file(), file.as_slice());
    }

    #[test]
    fn rejects_truncated_files_and_names_the_path() {
        let file = file();
        assert!(OwnedPipeline::new(file[..file.len() / 2].to_vec()).is_err());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("half.wkl");
        std::fs::write(&path, &file[..20]).unwrap();
        let error = OwnedPipeline::open(&path).err().unwrap();
        assert!(
            matches!(&error, crate::Error::InvalidModel { path: named, .. } if *named == path),
            "{error}"
        );
    }
}
