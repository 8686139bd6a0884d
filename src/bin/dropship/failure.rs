//! Why a command has failed, with its exit code.

use std::fmt::Display;

use dropship::error::Error;

/// A command that has failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The arguments are wrong, or do not fit to the stack.
    #[error("{0}")]
    Usage(String),
    /// Something on this machine.
    #[error("{0}")]
    Local(String),
    /// The archive or the deployment was refused or has failed, with the function's error type.
    #[error("{message}")]
    Refused { error_type: String, message: String },
    #[error("{0}")]
    Aws(#[from] Error),
}

impl Failure {
    pub fn local(error: impl Display) -> Self {
        Self::Local(error.to_string())
    }

    pub fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Local(_) | Self::Refused { .. } | Self::Aws(_) => 1,
        }
    }

    pub fn error_type(&self) -> &str {
        match self {
            Self::Usage(_) => "Usage",
            Self::Local(_) => "Local",
            Self::Refused { error_type, .. } => error_type,
            Self::Aws(error) => error.kind(),
        }
    }
}
