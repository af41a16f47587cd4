//! libFuzzer over one target, whose name is in `FUZZ_TARGET`. `tests/fuzz/run` builds and runs it.
#![no_main]

use std::sync::LazyLock;

use fuzz::Target;

#[expect(clippy::disallowed_methods, clippy::expect_used, reason = "the start of a program")]
static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").expect("FUZZ_TARGET has to name a target");
    fuzz::target(&name).expect("there is no target of this name")
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| (TARGET.run)(data));
