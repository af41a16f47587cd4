//! The reasons for which a stack does not start.

use std::path::PathBuf;

/// Why a stack did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StackError {
    /// The port is taken.
    #[error("port {port} cannot be used; choose another with --port, or --port 0 for a free one")]
    Port {
        /// The port.
        port: u16,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// The data folder cannot be written.
    #[error("the data folder {path} cannot be used; choose another with --data-dir, or --ephemeral for none")]
    DataDir {
        /// The folder.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// The file for events cannot be written.
    #[error("the file for events, {path}, cannot be written; choose another with --json-events")]
    EventsFile {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// Another stack uses the data folder.
    #[error(
        "the data folder {path} is in use by another process; stop it, or choose another folder with --data-dir"
    )]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// A file in the data folder is not what it should be.
    #[error("{path} is damaged or not ours; move it away to start afresh without what it holds")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Something else.
    #[error("the stack did not start")]
    Other(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<anyhow::Error> for StackError {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error.into())
    }
}

impl StackError {
    /// For a part that cannot use what it finds in `file`, if it has one.
    pub(crate) fn damaged(file: Option<PathBuf>, error: anyhow::Error) -> Self {
        match file {
            Some(path) => Self::Damaged {
                path,
                source: error.into(),
            },
            None => Self::Other(error.into()),
        }
    }
}
