#![doc = include_str!("../README.md")]

mod client;
mod credentials;
mod error;
mod event;
mod http;
mod ids;
mod secret;
mod tokens;
mod types;
mod webhook;
mod words;

pub use client::{Client, Users};
pub use error::{Error, ReconnectBody, ReconnectNeeded, Refused, Unavailable};
pub use event::{Change, Event, EventAccount, InvalidOrder, Order};
pub use http::SetupError;
pub use ids::{InvalidId, SessionId, UserId};
pub use secret::AccessToken;
pub use tokens::Tokens;
pub use types::{
    Account, AccountPage, ConnectedAccount, Disconnected, NewSession, Session, SessionProgress, VendedToken,
};
pub use webhook::{Delivery, DeliveryError, InvalidWebhookSecret, TOLERANCE, Webhook};
pub use words::{
    AccountStatus, Cause, ConnectedStatus, Deadline, ErrorCode, FailureClass, ScopesSource, SessionReason,
    SessionStatus,
};
