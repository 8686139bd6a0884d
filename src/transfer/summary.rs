//! How transfers end.

use crate::error::Error;

/// Why a transfer was not completed.
#[derive(Debug)]
pub(super) enum Incomplete {
    /// It did not start, or was given up, because the deadline is near or another transfer failed.
    Stopped,
    Failed(Error),
}

impl From<Error> for Incomplete {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// How a group of transfers ended.
#[derive(Debug, Default)]
pub(super) struct Summary {
    /// How many transfers did not start or were given up.
    pub(super) stopped: usize,
    /// The first failure.
    pub(super) error: Option<Error>,
}

impl Summary {
    /// Returns the summary of `transfers` that all ended for one reason.
    pub(super) fn of(reason: Incomplete, transfers: usize) -> Self {
        match reason {
            Incomplete::Stopped => Self { stopped: transfers, error: None },
            Incomplete::Failed(error) => Self { stopped: 0, error: Some(error) },
        }
    }

    /// Combines two summaries. The first failure is kept; another one is only logged.
    pub(super) fn and(self, other: Self) -> Self {
        if let (Some(_), Some(error)) = (&self.error, &other.error) {
            tracing::warn!("another transfer failed: {error}");
        }
        Self { stopped: self.stopped + other.stopped, error: self.error.or(other.error) }
    }
}

impl From<Result<(), Incomplete>> for Summary {
    fn from(result: Result<(), Incomplete>) -> Self {
        result.map_or_else(|reason| Self::of(reason, 1), |()| Self::default())
    }
}
