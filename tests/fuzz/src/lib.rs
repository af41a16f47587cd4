//! The fuzz targets: one for each format that comes from outside.
//!
//! A target takes bytes, hands them to the parser, and asserts properties of the result: what is
//! accepted is within the documented limits and means the same to an independent parser, what is
//! ambiguous is refused, what is written is read back, and no error repeats a secret. A panic is a
//! finding. `tests/fuzz/run` runs a target under libFuzzer, and `tests/replay.rs` the corpora and
//! some hundred variations of each in `cargo test`.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a panic is the finding")]

pub mod variation;

mod loopback;
mod text;

/// The modules that files of the command line expect at the root of their crate.
mod shell {
    pub(crate) mod exit {
        /// Returns the error of a wrong input.
        pub(crate) fn usage<T>(text: impl Into<String>) -> anyhow::Result<T> {
            Err(anyhow::Error::msg(text.into()))
        }
    }
}

/// One format, and the properties of its parser.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, and that of its folder of the corpus.
    pub name: &'static str,
    /// Parses the bytes, and asserts the properties.
    pub run: fn(&[u8]),
}

macro_rules! targets {
    ($($name:ident,)*) => {
        $(mod $name;)*

        /// All targets.
        pub const TARGETS: &[Target] = &[$(Target { name: stringify!($name), run: $name::run },)*];
    };
}

targets! {
    callback,
    controls,
    cookies,
    env_file,
    events,
    graph,
    import,
    requests,
    return_to,
    rows,
    secrets,
    sigv4,
    signed_request,
    values,
    webhook,
}

/// Returns the target of this name.
#[must_use]
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().copied().find(|target| target.name == name)
}
