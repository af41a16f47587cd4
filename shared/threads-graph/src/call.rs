//! The calls to Meta, by name.

use crate::names;

names! {
    /// A call to Meta.
    #[non_exhaustive]
    pub enum Call {
        /// [`Graph::exchange_code`](crate::Graph::exchange_code).
        ExchangeCode => "exchange_code",
        /// [`Graph::exchange_long_lived`](crate::Graph::exchange_long_lived).
        ExchangeLongLived => "exchange_long_lived",
        /// [`Graph::refresh`](crate::Graph::refresh).
        Refresh => "refresh",
        /// [`Graph::me`](crate::Graph::me).
        Me => "me",
        /// [`Graph::debug_token`](crate::Graph::debug_token).
        DebugToken => "debug_token",
        /// [`Graph::app_token`](crate::Graph::app_token).
        AppToken => "app_token",
        /// [`Graph::authorization_page`](crate::Graph::authorization_page).
        AuthorizationPage => "authorization_page",
        /// [`Graph::get`](crate::Graph::get), [`post`](crate::Graph::post) or
        /// [`delete`](crate::Graph::delete) with a path.
        Other => "other",
    }
}
