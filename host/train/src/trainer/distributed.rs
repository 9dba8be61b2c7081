//! Process group of a distributed training run, over MPI.
//!
//! Each process holds the whole network and works on its own clips. In every training step, the
//! gradients are summed over all processes, so all take the same step and hold the same weights.
//! Only the first process writes files. Without the feature `mpi`, or without `mpirun` or `srun`,
//! there is one process and no communication.

#[cfg(not(feature = "mpi"))]
use crate::Error;
use crate::Result;

/// Rank and world size of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rank {
    /// Rank of this process, from 0.
    pub index: usize,
    /// World size: the number of processes.
    pub count: usize,
}

impl Rank {
    /// Rank of a process that runs alone.
    pub const ONLY: Self = Self { index: 0, count: 1 };

    /// Returns `true` if item `number` of shared work belongs to this process.
    pub fn takes(self, number: usize) -> bool {
        number % self.count == self.index
    }
}

/// Process group.
pub struct ProcessGroup {
    #[cfg(feature = "mpi")]
    joined: Option<Joined>,
}

#[cfg(feature = "mpi")]
struct Joined {
    world: mpi::topology::SimpleCommunicator,
    /// MPI session. It ends when dropped, so this field comes last.
    _universe: mpi::environment::Universe,
}

/// Environment variables with the number of processes, as set by Open MPI, MPICH and Slurm.
const SIZES: [&str; 3] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"];

/// Returns the number of processes that were started together, including this one.
fn started_together() -> usize {
    let size = |name: &&str| std::env::var(name).ok()?.parse().ok();
    SIZES.iter().filter_map(size).max().unwrap_or(1)
}

impl ProcessGroup {
    /// Creates a group with this process alone.
    pub fn alone() -> Self {
        Self {
            #[cfg(feature = "mpi")]
            joined: None,
        }
    }
}

#[cfg(not(feature = "mpi"))]
impl ProcessGroup {
    /// Creates a group with this process alone, because the program was built without MPI.
    ///
    /// # Errors
    /// [`Error::WithoutMpi`] if it was nevertheless started as one of several: each
    /// would train the same network, and all would write the same files.
    pub fn join() -> Result<Self> {
        let most = started_together();
        if most > 1 {
            return Err(Error::WithoutMpi { processes: most });
        }
        Ok(Self::alone())
    }

    /// Returns the rank of this process.
    pub fn rank(&self) -> Rank {
        Rank::ONLY
    }

    /// Sums element by element over all processes.
    pub fn sum<T: Sum>(&self, _values: &mut [T]) {}

    /// Gathers the values of all processes, in the order of ranks. All must pass the same number of
    /// values.
    pub fn gather<T: Sum>(&self, values: &[T]) -> Vec<T> {
        values.to_vec()
    }

    /// Waits until all processes have called it.
    pub fn wait(&self) {}

    /// Ends the other processes too, which would otherwise wait forever.
    pub fn stop(&self, _code: u8) {}
}

#[cfg(feature = "mpi")]
impl ProcessGroup {
    /// Joins the processes that were started together.
    ///
    /// # Errors
    /// [`Error::Core`] if MPI was initialized before.
    pub fn join() -> Result<Self> {
        use mpi::traits::Communicator;
        // A program that was started by itself does not initialize MPI.
        if started_together() < 2 {
            return Ok(Self::alone());
        }
        let Some((universe, _)) = mpi::initialize_with_threading(mpi::Threading::Funneled) else {
            return Err(crate::Error::defect("MPI was begun twice in one process"));
        };
        let world = universe.world();
        if world.size() < 2 {
            return Ok(Self::alone());
        }
        Ok(Self { joined: Some(Joined { world, _universe: universe }) })
    }

    /// Returns the rank of this process.
    pub fn rank(&self) -> Rank {
        use mpi::traits::Communicator;
        self.joined.as_ref().map_or(Rank::ONLY, |joined| Rank {
            index: joined.world.rank() as usize,
            count: joined.world.size() as usize,
        })
    }

    /// Sums element by element over all processes.
    pub fn sum<T: Sum>(&self, values: &mut [T]) {
        use mpi::traits::CommunicatorCollectives;
        if let Some(joined) = &self.joined {
            let own = values.to_vec();
            joined.world.all_reduce_into(&own[..], values, mpi::collective::SystemOperation::sum());
        }
    }

    /// Gathers the values of all processes, in the order of ranks. All must pass the same number of
    /// values.
    pub fn gather<T: Sum>(&self, values: &[T]) -> Vec<T> {
        use mpi::traits::CommunicatorCollectives;
        let mut all = vec![T::default(); values.len() * self.rank().count];
        match &self.joined {
            Some(joined) => joined.world.all_gather_into(values, &mut all[..]),
            None => all.copy_from_slice(values),
        }
        all
    }

    /// Waits until all processes have called it.
    pub fn wait(&self) {
        use mpi::traits::CommunicatorCollectives;
        if let Some(joined) = &self.joined {
            joined.world.barrier();
        }
    }

    /// Ends the other processes too, which would otherwise wait forever.
    pub fn stop(&self, code: u8) {
        use mpi::traits::Communicator;
        if let Some(joined) = &self.joined {
            joined.world.abort(i32::from(code));
        }
    }
}

/// Number type that can be communicated.
#[cfg(not(feature = "mpi"))]
pub trait Sum: Copy + Default {}
/// Number type that can be communicated.
#[cfg(feature = "mpi")]
pub trait Sum: Copy + Default + mpi::traits::Equivalence {}

impl Sum for f32 {}
impl Sum for f64 {}
impl Sum for u64 {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_process_group_changes_nothing() {
        let group = ProcessGroup::alone();
        assert_eq!(group.rank(), Rank::ONLY);
        let mut values = [1.5f32, 2.0];
        group.sum(&mut values);
        assert_eq!(values, [1.5, 2.0]);
        assert_eq!(group.gather(&[3u64, 4]), [3, 4]);
    }

    #[test]
    fn every_piece_is_taken_once() {
        for count in 1..5 {
            for number in 0..20 {
                let takers = (0..count).filter(|&index| Rank { index, count }.takes(number));
                assert_eq!(takers.count(), 1);
            }
        }
    }
}
