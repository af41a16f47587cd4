//! The development page.

use maud::{Markup, html};

use crate::dev::Dashboard;

/// The page that shows `dashboard`.
pub(crate) fn render(dashboard: &Dashboard) -> Markup {
    html! { h1 { "Threads Auth" } @for grant in &dashboard.grants { p { (grant.user_id) " " (grant.status) } } }
}
