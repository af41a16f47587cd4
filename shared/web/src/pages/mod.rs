//! The pages that a person sees in the browser. Other modules decide the outcome.

mod look;
mod notice;
mod page;
mod refusal;
#[cfg(test)]
mod tests;
mod words;

pub use look::respond;
pub use notice::Notice;
pub use page::Page;
pub(crate) use refusal::log;
pub use refusal::{refuse, refuse_prefetch};
