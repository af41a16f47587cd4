//! The authorize dialog: the person's decision, and the redirect back.
//!
//! It redirects only to an address that passed every check of [`Ask`]. All failures before that end
//! here, as they do at Meta.

use jiff::Timestamp;
use url::form_urlencoded;

use crate::app::App;
use crate::ask::{Ask, Refusal};
use crate::options::NewAccount;
use crate::page;
use crate::params::Params;
use crate::reply::Reply;
use crate::world::World;

/// The query of a denial in Meta's sample. It carries no state.
const DENIAL: &str =
    "error=access_denied&error_reason=user_denied&error_description=The+user+denied+your+request";

/// `GET /oauth/authorize`: the consent page, or with one of the sandbox's shortcuts the redirect at
/// once.
pub(crate) fn dialog(world: &mut World, app: &App, now: Timestamp, params: &Params) -> Reply {
    let ask = match Ask::read(app, params) {
        Ok(ask) => ask,
        Err(refusal) => return refusal.into(),
    };
    // Meta documents it as required, and works without it.
    if params.get("response_type").is_some_and(|response_type| response_type != "code") {
        return Refusal::ResponseType.into();
    }
    if params.text("auto_deny") == "1" {
        return ask.deny();
    }
    match params.get("auto_approve") {
        Some(user_id) => ask.allow(world, now, user_id).unwrap_or_else(Reply::from),
        None => page::consent(&ask, &world.accounts()),
    }
}

/// `POST /oauth/consent`: the consent page's form. Everything is checked again, since anyone may
/// post it.
pub(crate) fn consent(world: &mut World, app: &App, now: Timestamp, params: &Params) -> Reply {
    decide(world, app, now, params).unwrap_or_else(Reply::from)
}

fn decide(world: &mut World, app: &App, now: Timestamp, params: &Params) -> Result<Reply, Refusal> {
    let ask = Ask::read(app, params)?;
    match params.text("action") {
        "deny" => Ok(ask.deny()),
        "allow" => {
            let username = params.text("username").trim();
            let username = username.strip_prefix('@').unwrap_or(username);
            // A filled-in name counts even if the radio button beside it is not selected: without a
            // script, typing cannot select it.
            if username.is_empty() {
                return ask.allow(world, now, params.text("user_id"));
            }
            let new = NewAccount { username: username.to_owned(), ..NewAccount::default() };
            new.check().map_err(|_| Refusal::BadUsername)?;
            let (account, _) = world.ensure_account(new);
            ask.allow(world, now, &account.user_id)
        }
        _ => Err(Refusal::NoAction),
    }
}

impl Ask {
    fn allow(&self, world: &mut World, now: Timestamp, user_id: &str) -> Result<Reply, Refusal> {
        let account = world.account(user_id).ok_or(Refusal::NoSuchAccount)?;
        if account.tester_pending {
            return Err(Refusal::TesterPending);
        }
        let code =
            world.authorize(now, user_id, &self.redirect_uri, &self.scope()).ok_or(Refusal::NoSuchAccount)?;
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("code", &code);
        if let Some(state) = &self.state {
            query.append_pair("state", state);
        }
        // The ending is Meta's: a fragment never reaches a server, but it does reach a person who
        // copies the address.
        let ending = world.switches().redirect.text();
        Ok(Reply::redirect(&format!("{}{ending}", self.with_query(&query.finish()))).about(user_id))
    }

    fn deny(&self) -> Reply {
        Reply::redirect(&self.with_query(DENIAL))
    }

    fn with_query(&self, query: &str) -> String {
        let joint = if self.redirect_uri.contains('?') { '&' } else { '?' };
        format!("{}{joint}{query}", self.redirect_uri)
    }
}
