//! The value of `--inspection`.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use threads_sandbox::Inspection;

/// Every inspection by its name.
pub(super) fn inspections() -> impl TypedValueParser<Value = Inspection> {
    PossibleValuesParser::new(Inspection::ALL.map(Inspection::as_str)).try_map(|text| text.parse())
}
