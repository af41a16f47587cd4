//! The keyring in its secret: created once, read, and replaced only if it is unchanged.

use anyhow::{Context, Result};
use aws_sdk_secretsmanager::Client;
use jiff::Timestamp;
use threads_auth_model::seal::Keyring;
use zeroize::Zeroizing;

use crate::operate::secrets::{self, put, value};
use crate::operate::target::StackHandle;
use crate::shell::exit::later;

/// The request token of a keyring's creation. It is the same for everyone, so Secrets Manager
/// refuses a second creation.
const FIRST: &str = "threads-auth-the-first-keyring-of-a-stack";

/// Creates the keyring of a stack that has none.
pub(super) async fn make(stack: &StackHandle, client: &Client) -> Result<bool> {
    let id = &stack.service.config().keyring_secret_id;
    if let Some(value) = value(client, id).await? {
        Keyring::from_json(&value.text).with_context(|| {
            format!("the secret {id} holds something other than a keyring; it is left as it is")
        })?;
        return Ok(false);
    }
    let text = Keyring::generate(&key_id(stack.now()))?;
    put(client, id, &text, Some(FIRST)).await?;
    Ok(true)
}

/// The keyring as it was read.
pub(super) struct StoredKeyring {
    pub(super) text: Zeroizing<String>,
    pub(super) keyring: Keyring,
    /// The id of the secret's version that holds it, and its creation time.
    version: String,
    pub(super) made_at: Timestamp,
}

impl StoredKeyring {
    pub(super) async fn read(stack: &StackHandle) -> Result<Self> {
        let id = &stack.service.config().keyring_secret_id;
        let value = value(&stack.secrets_manager(), id).await?;
        let value = value.with_context(|| {
            format!("the secret {id} has no keyring yet; `threads-auth configure` creates it")
        })?;
        let keyring =
            Keyring::from_json(&value.text).with_context(|| format!("the secret {id} is malformed"))?;
        Ok(Self { text: value.text, keyring, version: value.version, made_at: value.made_at })
    }

    /// Replaces it by `text`, if it is still the stack's keyring. Otherwise one of two concurrent
    /// writers would remove a key that the other seals with.
    pub(super) async fn replace(self, stack: &StackHandle, text: &str) -> Result<()> {
        make_current(stack, Some(&self.version), text).await
    }
}

/// Makes `text` the stack's keyring, if the current version of the secret is still `version`, or if
/// there is none.
pub(super) async fn make_current(stack: &StackHandle, version: Option<&str>, text: &str) -> Result<()> {
    let (client, id) = (stack.secrets_manager(), &stack.service.config().keyring_secret_id);
    if !secrets::replace(&client, id, version, text).await? {
        return later(
            "somebody else changed the keyring at the same moment, and it is as they left it: look at `keyring show`, and try again",
        );
    }
    Ok(())
}

/// Returns the id of a key that is created at `now`.
fn key_id(now: Timestamp) -> String {
    now.strftime("%Y-%m-%d").to_string()
}

/// Returns the id of a new key: the day of `now`, with a number if that is taken.
pub(super) fn free_id(keyring: &Keyring, now: Timestamp) -> String {
    let day = key_id(now);
    let is_free = |id: &String| keyring.key_ids().all(|known| known != id);
    let more = (2_u32..).map(|n| format!("{day}.{n}"));
    std::iter::once(day.clone()).chain(more).find(is_free).unwrap_or(day)
}
