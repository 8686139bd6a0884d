//! The cost of wildcards: the unchanged objects that they evict.

use super::target::Target;

/// The paths of the unchanged live objects, each of which costs 1 or nothing to evict.
pub(super) struct LivePaths<'a> {
    /// Sorted.
    paths: &'a [String],
    /// For each path, the cost of all paths before it; at the end, the cost of all paths.
    costs_before: Vec<usize>,
}

impl<'a> LivePaths<'a> {
    /// Takes sorted paths and, for each of them, whether its eviction costs anything.
    pub(super) fn new(paths: &'a [String], costs: impl Iterator<Item = bool>) -> Self {
        let mut costs_before = Vec::with_capacity(paths.len() + 1);
        let mut total = 0;
        costs_before.push(total);
        for costs in costs {
            total += usize::from(costs);
            costs_before.push(total);
        }
        Self { paths, costs_before }
    }

    /// Returns for each target, in their sorted order, where it would stand among the paths.
    pub(super) fn positions(&self, targets: &[Target<'_>]) -> Vec<usize> {
        let mut position = 0;
        let mut positions = Vec::with_capacity(targets.len());
        for target in targets {
            let rest = self.paths[position..].iter();
            position += rest.take_while(|path| path.as_str() < target.path).count();
            positions.push(position);
        }
        positions
    }

    /// Returns the cost of evicting everything that starts with `prefix`.
    ///
    /// `position` is where something that starts with `prefix` would stand among the paths. Most prefixes have few
    /// paths, so looking outwards from there is a third of the work of searching all paths.
    pub(super) fn collateral(&self, prefix: &str, position: usize) -> usize {
        let (before, after) = self.paths.split_at(position);
        let back = leading(before.len(), |index| before[before.len() - 1 - index].starts_with(prefix));
        let onward = leading(after.len(), |index| after[index].starts_with(prefix));
        self.costs_before[position + onward] - self.costs_before[position - back]
    }
}

/// Returns how many of the indices below `len` satisfy `is_in`, which must hold for the first ones and for no others.
///
/// This is an exponential search: it takes longer the larger the answer is, not the larger `len` is.
fn leading(len: usize, is_in: impl Fn(usize) -> bool) -> usize {
    let mut bound = 1;
    while bound <= len && is_in(bound - 1) {
        bound *= 2;
    }
    let (mut least, mut most) = (bound / 2, len.min(bound - 1));
    while least < most {
        let middle = least.midpoint(most);
        if is_in(middle) {
            least = middle + 1;
        } else {
            most = middle;
        }
    }
    least
}

#[cfg(test)]
mod tests {
    use super::leading;

    #[test]
    fn every_leading_index_is_found() {
        for len in 0..40 {
            for count in 0..=len {
                assert_eq!(leading(len, |index| index < count), count, "{count} of {len}");
            }
        }
    }
}
