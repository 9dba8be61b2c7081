//! The processes that train together, over MPI.
//!
//! Each holds the whole network and works on its own clips; after every update's gradients were
//! computed they are summed over all processes, so that all take the same step and hold the same
//! weights. The first process alone writes. Without the feature `mpi`, and where the program was not
//! started by `mpirun` or `srun`, there is one process and nothing is sent.

/// Which of how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rank {
    /// This one, from 0.
    pub index: usize,
    /// All of them.
    pub count: usize,
}

impl Rank {
    /// The only one.
    pub const ONLY: Self = Self { index: 0, count: 1 };

    /// Whether it is this one's turn to do piece `number` of what is shared out.
    pub fn takes(self, number: usize) -> bool {
        number % self.count == self.index
    }
}

/// This process and the others.
pub struct Peers {
    #[cfg(feature = "mpi")]
    joined: Option<Joined>,
}

#[cfg(feature = "mpi")]
struct Joined {
    world: mpi::topology::SimpleCommunicator,
    /// Leaves MPI when dropped, so it goes last.
    _universe: mpi::environment::Universe,
}

/// Where Open MPI, MPICH and Slurm tell the processes they start how many they are.
const SIZES: [&str; 3] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"];

/// How many processes this one was started together with, itself included.
fn started_together() -> usize {
    let size = |name: &&str| std::env::var(name).ok()?.parse().ok();
    SIZES.iter().filter_map(size).max().unwrap_or(1)
}

impl Peers {
    /// One process that works alone.
    pub fn alone() -> Self {
        Self {
            #[cfg(feature = "mpi")]
            joined: None,
        }
    }
}

#[cfg(not(feature = "mpi"))]
impl Peers {
    /// Works alone: this program was built without MPI.
    ///
    /// # Errors
    /// [`Error::Usage`](crate::Error::Usage) if it was started as one of several all the same: each
    /// would train the same network, and all would write the same files.
    pub fn join() -> crate::Result<Self> {
        let most = started_together();
        if most > 1 {
            return Err(crate::Error::usage(
                format!("started as one of {most} processes, but built without MPI"),
                "build it with `cargo build --release -p wakeling --features mpi`",
            ));
        }
        Ok(Self::alone())
    }

    /// Which process this is.
    pub fn rank(&self) -> Rank {
        Rank::ONLY
    }

    /// Sums element by element over all processes.
    pub fn sum<T: Sum>(&self, _values: &mut [T]) {}

    /// Everyone's values, which must be equally many, in the order of the processes.
    pub fn gather<T: Sum>(&self, values: &[T]) -> Vec<T> {
        values.to_vec()
    }

    /// Waits for all.
    pub fn wait(&self) {}

    /// Ends the other processes too, which would wait for this one for ever.
    pub fn stop(&self, _code: u8) {}
}

#[cfg(feature = "mpi")]
impl Peers {
    /// Joins those that were started together.
    ///
    /// # Errors
    /// [`Error::Usage`](crate::Error::Usage) if MPI was begun before.
    pub fn join() -> crate::Result<Self> {
        use mpi::traits::Communicator;
        // A program that was started by itself leaves MPI alone.
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

    /// Which process this is.
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

    /// Everyone's values, which must be equally many, in the order of the processes.
    pub fn gather<T: Sum>(&self, values: &[T]) -> Vec<T> {
        use mpi::traits::CommunicatorCollectives;
        let mut all = vec![T::default(); values.len() * self.rank().count];
        match &self.joined {
            Some(joined) => joined.world.all_gather_into(values, &mut all[..]),
            None => all.copy_from_slice(values),
        }
        all
    }

    /// Waits for all.
    pub fn wait(&self) {
        use mpi::traits::CommunicatorCollectives;
        if let Some(joined) = &self.joined {
            joined.world.barrier();
        }
    }

    /// Ends the other processes too, which would wait for this one for ever.
    pub fn stop(&self, code: u8) {
        use mpi::traits::Communicator;
        if let Some(joined) = &self.joined {
            joined.world.abort(i32::from(code));
        }
    }
}

/// Numbers that are sent.
#[cfg(not(feature = "mpi"))]
pub trait Sum: Copy + Default {}
/// Numbers that are sent.
#[cfg(feature = "mpi")]
pub trait Sum: Copy + Default + mpi::traits::Equivalence {}

impl Sum for f32 {}
impl Sum for f64 {}
impl Sum for u64 {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alone_nothing_changes() {
        let peers = Peers::alone();
        assert_eq!(peers.rank(), Rank::ONLY);
        let mut values = [1.5f32, 2.0];
        peers.sum(&mut values);
        assert_eq!(values, [1.5, 2.0]);
        assert_eq!(peers.gather(&[3u64, 4]), [3, 4]);
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
