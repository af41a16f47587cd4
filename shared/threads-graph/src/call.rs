//! The calls to Meta, by name.

use crate::names;

names! {
    /// Which call it was.
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
        /// A call of [`ThreadsClient`](crate::ThreadsClient).
        Other => "other",
    }
}
