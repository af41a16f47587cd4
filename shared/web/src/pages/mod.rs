//! The pages that a person sees in the browser. Other modules decide the outcome.

mod accent;
mod look;
mod notice;
mod page;
mod reader;
mod refusal;
#[cfg(test)]
mod tests;
mod words;

pub use look::respond;
pub use notice::Notice;
pub use page::Page;
pub use reader::Reader;
pub(crate) use refusal::log;
pub use refusal::{refuse, refuse_prefetch};
