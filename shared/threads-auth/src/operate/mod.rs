//! Operators' commands, on a whole table or on one account.

pub(crate) mod delete_person;
pub(crate) mod due_load;
pub(crate) mod import;
pub(crate) mod inspections;
pub(crate) mod keys_in_use;
pub(crate) mod personal_data;
pub(crate) mod refresh_now;
pub(crate) mod replace;
pub(crate) mod reseal;
pub(crate) mod restore;

pub use delete_person::PersonDeleted;
pub use due_load::DueLoad;
pub use import::{Import, ImportError, Imported};
pub use inspections::Inspections;
pub use personal_data::{PersonalData, PersonalDataError, Record};
pub use replace::{Comparison, Loss, Replaced, RestoreError, Spoilt, Verdict};
pub use reseal::{ResealError, ResealReport, Unopened};
pub use restore::{Left, RestoreReport};
