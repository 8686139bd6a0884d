//! The effects of a file's rules on each header.

use std::collections::BTreeMap;

use super::bits::Bits;
use super::field::HeaderField;
use super::value::Value;

/// The effects of the rules on one header.
#[derive(Clone, Debug)]
pub(super) struct Effects {
    pub(super) field: HeaderField,
    /// The rules that remove the header as it is before them, and those that give it a value.
    removed_by: Bits,
    set_by: Bits,
    values: BTreeMap<usize, Value>,
}

/// The effect on a header of the rules that match a file.
pub(super) enum Effect<'e> {
    None,
    Removed,
    /// The rules whose values count, with these.
    Set(Vec<(usize, &'e Value)>),
}

impl Effects {
    pub(super) fn new(field: HeaderField, rule_count: usize) -> Self {
        let none = || Bits::none(rule_count);
        Self { field, removed_by: none(), set_by: none(), values: BTreeMap::new() }
    }

    pub(super) fn remove(&mut self, rule: usize) {
        self.removed_by.insert(rule);
    }

    pub(super) fn set(&mut self, rule: usize, value: Value) {
        self.set_by.insert(rule);
        self.values.insert(rule, value);
    }

    /// Returns the effect of rules on the header, with at most `max_values` values.
    ///
    /// Only the values from the last rule on that removes the header count, and where a header has a single value, only
    /// the last one.
    pub(super) fn of(&self, rules: &Bits, max_values: usize) -> Effect<'_> {
        let removed = rules.last_common(&self.removed_by);
        let last = rules.last_common(&self.set_by);
        match (last, removed) {
            (None, None) => Effect::None,
            (None, Some(_)) => Effect::Removed,
            (Some(last), Some(removed)) if last < removed => Effect::Removed,
            (Some(last), removed) => {
                let from = if self.field.is_single() { last } else { removed.unwrap_or(0) };
                let setting = rules.common(&self.set_by, from).take(max_values);
                Effect::Set(setting.filter_map(|rule| Some((rule, self.values.get(&rule)?))).collect())
            }
        }
    }
}
