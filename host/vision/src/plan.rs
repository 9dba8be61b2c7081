//! Memory plan: offsets of a network's tensors in its arena. Tensors with overlapping lifetimes get
//! disjoint ranges; all others may share memory.
//!
//! Each tensor gets the lowest offset that is free during its lifetime. Two orders are tried, and
//! the better plan is used: largest first (greedy by size, Pisarchyk and Lee, "Efficient Memory
//! Management for Deep Neural Net Inference", 2020, section 5.2), or in order of creation, which
//! suits chains.

use wakeling_shared::model::{ImageModel, ImageOp, Tensor};

/// Alignment of offsets in bytes, for processors that load words.
const ALIGNMENT: usize = 8;

/// Size and lifetime of a tensor.
#[derive(Clone, Copy, Debug)]
pub struct Lifetime {
    /// Size in bytes.
    pub bytes: usize,
    /// Layer that writes it, counted from 1; 0 for the input.
    pub born: usize,
    /// Last layer that reads it; at least `born`.
    pub dies: usize,
}

impl Lifetime {
    fn meets(&self, other: &Self) -> bool {
        self.born <= other.dies && other.born <= self.dies
    }
}

/// Returns the offset of each tensor, and the size of the arena in bytes.
///
/// ```
/// use wakeling_vision::plan::{Lifetime, plan};
///
/// // A chain of three layers: each reads the tensor that the one before wrote.
/// let tensor = |bytes, born| Lifetime { bytes, born, dies: born + 1 };
/// let (offsets, arena) = plan(&[tensor(64, 0), tensor(128, 1), tensor(64, 2)]);
/// assert_eq!(arena, 192); // the first and the third are never needed at once
/// assert_eq!(offsets[0], offsets[2]);
/// ```
pub fn plan(tensors: &[Lifetime]) -> (Vec<usize>, usize) {
    let as_they_come: Vec<usize> = (0..tensors.len()).collect();
    let mut largest_first = as_they_come.clone();
    largest_first.sort_by_key(|&t| std::cmp::Reverse(tensors[t].bytes));
    let (first, second) = (in_order(tensors, largest_first), in_order(tensors, as_they_come));
    if first.1 <= second.1 { first } else { second }
}

/// Assigns arena offsets to all tensors of a network over images.
pub fn place(model: &mut ImageModel<'_>) {
    let layers = model.layers.len();
    let last_read = |tensor: usize| {
        let reads = model.layers.iter().enumerate().filter(|(_, layer)| {
            let other = match layer.op {
                ImageOp::Add { other, .. } => Some(other),
                _ => None,
            };
            usize::from(layer.input) == tensor || other.is_some_and(|o| usize::from(o) == tensor)
        });
        reads.map(|(at, _)| at + 1).next_back().unwrap_or(layers)
    };
    let lifetimes: Vec<Lifetime> = model
        .tensors()
        .iter()
        .enumerate()
        .map(|(tensor, Tensor { shape, .. })| Lifetime {
            bytes: shape.bytes(),
            born: tensor,
            dies: last_read(tensor).max(tensor),
        })
        .collect();
    let (offsets, _) = plan(&lifetimes);
    model.offset = offsets[0] as u32;
    for (layer, &offset) in model.layers.iter_mut().zip(&offsets[1..]) {
        layer.offset = offset as u32;
    }
}

/// Places tensors in the given order.
fn in_order(tensors: &[Lifetime], order: Vec<usize>) -> (Vec<usize>, usize) {
    let mut offsets = vec![0; tensors.len()];
    let mut placed: Vec<usize> = Vec::new();
    for tensor in order {
        let meets = |other: &&usize| tensors[**other].meets(&tensors[tensor]);
        let mut taken: Vec<(usize, usize)> = placed
            .iter()
            .filter(meets)
            .map(|&other| (offsets[other], offsets[other] + tensors[other].bytes))
            .collect();
        taken.sort_unstable();
        let mut offset = 0;
        for (start, end) in taken {
            if offset + tensors[tensor].bytes <= start {
                break;
            }
            offset = offset.max(end.next_multiple_of(ALIGNMENT));
        }
        offsets[tensor] = offset;
        placed.push(tensor);
    }
    let ends = offsets.iter().zip(tensors).map(|(offset, tensor)| offset + tensor.bytes);
    let bytes = ends.max().unwrap_or(0);
    (offsets, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(bytes: usize, born: usize, dies: usize) -> Lifetime {
        Lifetime { bytes, born, dies }
    }

    #[test]
    fn a_chain_takes_its_largest_pair() {
        let chain = [tensor(96, 0, 1), tensor(40, 1, 2), tensor(160, 2, 3), tensor(16, 3, 3)];
        let (offsets, bytes) = plan(&chain);
        assert_eq!(bytes, 200);
        assert_eq!(offsets, [0, 160, 0, 160]);
    }

    #[test]
    fn live_tensors_do_not_overlap() {
        let mut state = 1u32;
        let mut random = |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) % below
        };
        for _ in 0..200 {
            let tensors: Vec<Lifetime> = (0..12)
                .map(|born| tensor(1 + random(300) as usize, born, born + random(5) as usize))
                .collect();
            let (offsets, bytes) = plan(&tensors);
            for (a, x) in tensors.iter().enumerate() {
                assert!(offsets[a] + x.bytes <= bytes && offsets[a] % ALIGNMENT == 0);
                for (b, y) in tensors.iter().enumerate().skip(a + 1) {
                    let apart =
                        offsets[a] + x.bytes <= offsets[b] || offsets[b] + y.bytes <= offsets[a];
                    assert!(apart || !x.meets(y), "{tensors:?} {offsets:?}");
                }
            }
        }
    }
}
