//! The app, and a client's proof of being it.

use crate::graph_error::GraphError;
use crate::mint;
use crate::params::Params;

/// The one app that the sandbox has.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) id: String,
    pub(crate) secret: String,
    /// Empty: any.
    pub(crate) redirect_uris: Vec<String>,
}

impl App {
    pub(crate) fn has_secret(&self, presented: &str) -> bool {
        // Hashes, so that the comparison's time does not show how much of the secret was right.
        mint::hash(presented) == mint::hash(&self.secret)
    }

    pub(crate) fn check(&self, params: &Params) -> Result<(), GraphError> {
        if params.text("client_id") != self.id {
            return Err(GraphError::wrong_app());
        }
        if !self.has_secret(params.text("client_secret")) {
            return Err(GraphError::wrong_secret());
        }
        Ok(())
    }

    /// The app token that is issued.
    pub(crate) fn token(&self) -> String {
        mint::app_token(&self.id, &self.secret)
    }

    /// Returns true if it is an app token: the issued one, or the one of id and secret.
    pub(crate) fn has_token(&self, presented: &str) -> bool {
        let made = format!("TH|{}|{}", self.id, self.secret);
        [self.token(), made].iter().any(|token| mint::hash(token) == mint::hash(presented))
    }
}
