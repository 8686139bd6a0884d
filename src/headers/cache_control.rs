//! The meaning of a Cache-Control value.

/// An immutable object keeps its contents for at least a day.
///
/// Retention counts in days, and a shorter `max-age` is what files get that change under their names. Files that are
/// named after their contents usually get a year.
const SHORT_SECONDS: u64 = 86_400;

/// The directives of one or several Cache-Control values that bear on how long caches keep an object.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Directives {
    immutable: bool,
    public: bool,
    private: bool,
    /// `no-cache` or `no-store`.
    uncached: bool,
    max_age: Ages,
    s_maxage: Ages,
}

/// The smallest and the largest value of a directive, in seconds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Ages(Option<(u64, u64)>);

impl Directives {
    pub(super) fn parse(value: &str) -> Self {
        let mut directives = Self::default();
        for directive in split_unquoted(value) {
            let (name, argument) = directive.split_once('=').unwrap_or((directive, ""));
            let (name, argument) = (name.trim(), argument.trim().trim_matches('"'));
            let is = |known: &str| name.eq_ignore_ascii_case(known);
            if is("immutable") && !directive.contains('=') {
                directives.immutable = true;
            } else if is("public") {
                directives.public = true;
            } else if is("private") {
                directives.private = true;
            } else if is("no-cache") || is("no-store") {
                directives.uncached = true;
            } else if is("max-age") {
                directives.max_age.add(argument);
            } else if is("s-maxage") {
                directives.s_maxage.add(argument);
            }
        }
        directives
    }

    /// Returns the directives of both values, joined to one.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            immutable: self.immutable || other.immutable,
            public: self.public || other.public,
            private: self.private || other.private,
            uncached: self.uncached || other.uncached,
            max_age: self.max_age.and(other.max_age),
            s_maxage: self.s_maxage.and(other.s_maxage),
        }
    }

    /// Whether the object is promised never to change (RFC 8246), and nothing says otherwise.
    pub(super) fn is_immutable(self) -> bool {
        self.immutable && !self.denies_immutable()
    }

    /// Whether no cache can do what all directives say.
    pub(super) fn contradict(self) -> bool {
        (self.immutable && self.denies_immutable())
            || (self.public && self.private)
            || (self.uncached && (self.max_age.is_positive() || self.s_maxage.is_positive()))
            || self.max_age.differ()
            || self.s_maxage.differ()
    }

    /// Whether these directives have a part in a contradiction of all directives, among which they are.
    pub(super) fn contradict_in(self, all: Self) -> bool {
        let is_aged = |directives: Self| directives.max_age.is_positive() || directives.s_maxage.is_positive();
        (self.immutable && all.denies_immutable())
            || (all.immutable && self.denies_immutable())
            || (self.public && all.private)
            || (all.public && self.private)
            || (self.uncached && is_aged(all))
            || (all.uncached && is_aged(self))
            || (all.max_age.differ() && self.max_age.0.is_some())
            || (all.s_maxage.differ() && self.s_maxage.0.is_some())
    }

    fn denies_immutable(self) -> bool {
        self.uncached || self.max_age.0.is_some_and(|(shortest, _)| shortest < SHORT_SECONDS)
    }
}

impl Ages {
    /// Adds a number of seconds. A value that is not a number counts as 0: caches are encouraged to regard such a response as
    /// stale (RFC 9111, section 4.2.1).
    fn add(&mut self, argument: &str) {
        let is_number = !argument.is_empty() && argument.bytes().all(|byte| byte.is_ascii_digit());
        // A number that is too large counts as a very large one (RFC 9111, section 1.2.2).
        let seconds = if is_number { argument.parse().unwrap_or(u64::MAX) } else { 0 };
        *self = self.and(Self(Some((seconds, seconds))));
    }

    fn and(self, other: Self) -> Self {
        Self(match (self.0, other.0) {
            (Some((shortest, longest)), Some((short, long))) => Some((shortest.min(short), longest.max(long))),
            (one, other) => one.or(other),
        })
    }

    fn is_positive(self) -> bool {
        self.0.is_some_and(|(_, longest)| longest > 0)
    }

    fn differ(self) -> bool {
        self.0.is_some_and(|(shortest, longest)| shortest != longest)
    }
}

/// Splits a value at the commas that are not within a quoted string (RFC 9110, section 5.6.4).
fn split_unquoted(value: &str) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    value.split(move |character| {
        let was_escaped = std::mem::take(&mut is_escaped);
        match character {
            '"' if !was_escaped => is_quoted = !is_quoted,
            '\\' if is_quoted => is_escaped = !was_escaped,
            ',' if !is_quoted => return true,
            _ => (),
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn immutable_must_be_a_whole_directive() {
        for value in ["immutable", "public, max-age=31536000, Immutable", "a,immutable ,b"] {
            assert!(Directives::parse(value).is_immutable(), "{value}");
        }
        for value in [
            "public, max-age=31536000",
            "x-immutable",
            "immutable=0",
            "",
            "no-cache=\"a, immutable\"",
            "community=\"a, immutable, \\\" b, immutable, c\", max-age=31536000",
        ] {
            assert!(!Directives::parse(value).is_immutable(), "{value}");
        }
    }

    #[test]
    fn a_value_that_contradicts_immutable_is_not_immutable() {
        for value in [
            "immutable, max-age=0",
            "immutable, MAX-AGE=3600",
            "public, max-age=86399, immutable",
            "max-age=\"60\", immutable",
            "max-age=soon, immutable",
            "max-age=-1, immutable",
            "max-age, immutable",
            "max-age = 60 , immutable",
            "max-age=31536000s, immutable",
            "max-age=31536000, immutable, max-age=0",
            "max-age=31536000, immutable, community=\"a, b\", no-cache",
            "no-cache, immutable",
            "immutable, No-Store",
            "no-cache=\"Set-Cookie\", immutable",
            "public, max-age=31536000, immutable, public, max-age=3600, must-revalidate",
        ] {
            let directives = Directives::parse(value);
            assert!(!directives.is_immutable() && directives.contradict(), "{value}");
        }
        for value in [
            "public, max-age=86400, immutable",
            "max-age=99999999999999999999999, immutable",
            "private, max-age=31536000, immutable",
            "max-age=31536000, s-maxage=60, immutable, must-revalidate",
            "Public, Max-Age=\"31536000\", Immutable, immutable",
            "max-age=31536000, immutable, community=\"a, max-age=1, no-store\"",
        ] {
            let directives = Directives::parse(value);
            assert!(directives.is_immutable() && !directives.contradict(), "{value}");
        }
    }

    #[test]
    fn only_directives_that_exclude_each_other_contradict() {
        for value in ["public, private", "no-store, max-age=60", "no-cache, s-maxage=1", "max-age=1, max-age=2"] {
            assert!(Directives::parse(value).contradict(), "{value}");
        }
        for value in [
            "",
            "public, public, max-age=60, max-age=60",
            // Netlify documentation, "Custom headers": the example of a header with several values.
            "max-age=0, no-cache, no-store, must-revalidate",
            "public, max-age=0, s-maxage=86400, must-revalidate",
            "no-store, private",
        ] {
            assert!(!Directives::parse(value).contradict(), "{value}");
        }
    }

    #[test]
    fn values_are_joined_as_their_texts_are() {
        let values = ["public", "max-age=60", "immutable", "no-store, s-maxage=0", "max-age=1", "private, s-maxage=9"];
        for one in values {
            for other in values {
                let joined = Directives::parse(&format!("{one}, {other}"));
                assert_eq!(Directives::parse(one).and(Directives::parse(other)), joined, "{one}, {other}");
            }
        }
    }
}
