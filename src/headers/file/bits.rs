//! Sets of rules.

/// A set of rules, by their numbers in the file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Bits(Vec<u64>);

/// The words of a set that are not zero, with their places.
#[derive(Clone, Debug, Default)]
pub(super) struct SparseBits(Vec<(usize, u64)>);

impl Bits {
    pub(super) fn none(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)])
    }

    pub(super) fn insert(&mut self, number: usize) {
        self.0[number / 64] |= bit(number);
    }

    pub(super) fn remove(&mut self, number: usize) {
        self.0[number / 64] &= !bit(number);
    }

    pub(super) fn contains(&self, number: usize) -> bool {
        self.0[number / 64] & bit(number) != 0
    }

    pub(super) fn words(&self) -> &[u64] {
        &self.0
    }

    pub(super) fn words_mut(&mut self) -> &mut [u64] {
        &mut self.0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    pub(super) fn unite(&mut self, other: &Self) {
        for (word, other) in self.0.iter_mut().zip(&other.0) {
            *word |= other;
        }
    }

    /// Returns the numbers in this set, in ascending order.
    pub(super) fn numbers(&self) -> impl Iterator<Item = usize> {
        self.0.iter().enumerate().flat_map(|(place, &word)| bits_of(word).map(move |bit| place * 64 + bit))
    }

    /// Returns the numbers in both sets from one on, in ascending order.
    pub(super) fn common<'a>(&'a self, other: &'a Self, from: usize) -> impl Iterator<Item = usize> + 'a {
        let words = self.0.iter().zip(&other.0).enumerate().skip(from / 64);
        words.flat_map(move |(place, (one, other))| {
            let before = if place == from / 64 { bit(from) - 1 } else { 0 };
            bits_of(one & other & !before).map(move |bit| place * 64 + bit)
        })
    }

    /// Returns the largest number in both sets.
    pub(super) fn last_common(&self, other: &Self) -> Option<usize> {
        let mut words = self.0.iter().zip(&other.0).enumerate().rev();
        let (place, word) =
            words.find_map(|(place, (one, other))| Some((place, one & other)).filter(|it| it.1 != 0))?;
        Some(place * 64 + 63 - word.leading_zeros() as usize)
    }
}

impl SparseBits {
    /// Adds a number that is not smaller than those in the set.
    pub(super) fn push(&mut self, number: usize) {
        match self.0.last_mut() {
            Some((place, word)) if *place == number / 64 => *word |= bit(number),
            _ => self.0.push((number / 64, bit(number))),
        }
    }

    pub(super) fn words(&self) -> &[(usize, u64)] {
        &self.0
    }
}

/// Returns the positions of the ones in a word, in ascending order.
fn bits_of(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let lowest = (word != 0).then(|| word.trailing_zeros() as usize)?;
        word &= word - 1;
        Some(lowest)
    })
}

fn bit(number: usize) -> u64 {
    1 << (number % 64)
}
