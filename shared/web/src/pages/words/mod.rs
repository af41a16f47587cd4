//! The words of pages: a file for each language, with one value of [`Words`], so that the compiler
//! finds what a language lacks. Owns no words itself.

/// The title of a page, the event that it reports, and the reader's next step.
macro_rules! text {
    ($title:literal, $what:literal, $next:literal $(,)?) => {
        Text(concat!($title, "\n", $what, "\n", $next))
    };
}

mod arabic;
mod english;
mod french;
mod german;
mod indonesian;
mod japanese;
mod korean;
mod portuguese;
mod spanish;
mod table;
mod thai;
mod traditional_chinese;

use threads_auth::Language;

pub(super) use table::Words;

/// Returns the words of a language.
pub(super) fn of(language: Language) -> &'static Words {
    match language {
        Language::English => &english::ENGLISH,
        Language::Portuguese => &portuguese::PORTUGUESE,
        Language::Spanish => &spanish::SPANISH,
        Language::Arabic => &arabic::ARABIC,
        Language::German => &german::GERMAN,
        Language::French => &french::FRENCH,
        Language::Indonesian => &indonesian::INDONESIAN,
        Language::Japanese => &japanese::JAPANESE,
        Language::TraditionalChinese => &traditional_chinese::TRADITIONAL_CHINESE,
        Language::Korean => &korean::KOREAN,
        Language::Thai => &thai::THAI,
    }
}
