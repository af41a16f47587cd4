//! Sealing: authenticated encryption of what must not be readable, nor movable, in a table or a
//! cookie.
//!
//! A sealed value is `version ‖ length of key id ‖ key id ‖ nonce ‖ ciphertext and tag`,
//! AES-256-GCM with a random 96-bit nonce. What the value *is* (its purpose, table, app and
//! subject) is authenticated along with it and not stored, so a value that is copied to another
//! row, attribute, table or app does not open. Keys are found by their id: any number may read, one
//! writes. Rotate the writing key before it has sealed 2³² values (GCM's bound for random nonces).

use std::collections::BTreeMap;
use std::fmt;

use base64::prelude::{BASE64_STANDARD, Engine};
use jiff::Timestamp;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hmac};
use serde::{Deserialize, Serialize};
use threads_graph::AppId;
use zeroize::Zeroizing;

const VERSION: u8 = 1;
const MAX_KEY_ID: usize = 32;

/// What a sealed value is for. A value sealed for one purpose does not open for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The long-lived access token of a grant.
    AccessToken,
    /// The token that the current one replaced.
    PreviousToken,
    /// A short-lived token that still has to become a long-lived one.
    PendingToken,
    /// The state of a connect flow, in the browser's cookie.
    Flow,
}

impl Purpose {
    fn as_str(self) -> &'static str {
        match self {
            Self::AccessToken => "access_token",
            Self::PreviousToken => "previous_token",
            Self::PendingToken => "pending_token",
            Self::Flow => "flow",
        }
    }
}

/// Where a sealed value belongs.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// What it is for.
    pub purpose: Purpose,
    /// The table that it lies in; empty for a cookie.
    pub table: &'a str,
    /// The app that it belongs to.
    pub app_id: &'a AppId,
    /// Whose it is: a Threads user id; empty for a cookie.
    pub subject: &'a str,
}

impl Context<'_> {
    /// Each part is preceded by its length, so that no two contexts give the same bytes.
    fn associated_data(&self, key_id: &str) -> Vec<u8> {
        let parts = [self.purpose.as_str(), self.table, self.app_id.as_str(), self.subject, key_id];
        let mut data = vec![VERSION];
        for part in parts {
            data.extend_from_slice(&(part.len() as u64).to_be_bytes());
            data.extend_from_slice(part.as_bytes());
        }
        data
    }
}

/// Why a value was not sealed or did not open. Says nothing of the value itself.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SealError {
    /// It was cut, or is no sealed value at all.
    #[error("is not a sealed value")]
    Malformed,
    /// It names a key that the keyring does not hold.
    #[error("is sealed with a key that is not in the keyring")]
    UnknownKey,
    /// It was altered, moved from elsewhere, or sealed with another key of the same name.
    #[error("does not open: it was altered, or belongs elsewhere")]
    Refused,
    /// The system has no randomness to give.
    #[error("could not be sealed: the system's random number generator failed")]
    NoRandomness,
}

/// The keys that seal and open: one that writes, all that read, and one that names the deleted.
///
/// In Secrets Manager:
/// `{"writing":"2026-11","keys":{"2026-11":"<32 bytes, base64>"},"tombstone":"<32 bytes, base64>"}`.
/// Other fields are a later version's, and ignored.
pub struct Keyring {
    writing: String,
    keys: BTreeMap<String, LessSafeKey>,
    tombstone: hmac::Key,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring")
            .field("writing", &self.writing)
            .field("keys", &self.keys.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// What is wrong with a keyring's text. Never holds a part of it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeyringError {
    /// No JSON of the expected shape.
    #[error(
        "expected {{\"writing\":KEY_ID,\"keys\":{{KEY_ID:BASE64_OF_32_BYTES,…}},\"tombstone\":BASE64_OF_32_BYTES}}"
    )]
    Shape,
    /// A key that is not 32 bytes of base64, or whose id is empty or over 32 bytes.
    #[error("a key is not 32 bytes in base64, or its id is not 1 to {MAX_KEY_ID} bytes long")]
    Key,
    /// The writing key is not among the keys, or one that is named is not.
    #[error("\"writing\" names a key that \"keys\" does not hold")]
    Writing,
    /// There is a key of this id already.
    #[error("there is a key of this id already")]
    Known,
}

#[derive(Deserialize, Serialize)]
struct KeyringText {
    writing: String,
    keys: BTreeMap<String, Zeroizing<String>>,
    tombstone: Zeroizing<String>,
    /// A later version's: not understood here, and kept by a change.
    #[serde(flatten)]
    rest: serde_json::Map<String, serde_json::Value>,
}

impl Keyring {
    /// Reads a keyring from the text of its secret.
    ///
    /// # Errors
    /// When the text is not the JSON shown at [`Keyring`].
    pub fn from_json(text: &str) -> Result<Self, KeyringError> {
        let text: KeyringText = serde_json::from_str(text).map_err(|_| KeyringError::Shape)?;
        let mut keys = BTreeMap::new();
        for (id, encoded) in text.keys {
            if id.is_empty() || id.len() > MAX_KEY_ID {
                return Err(KeyringError::Key);
            }
            let key = UnboundKey::new(&AES_256_GCM, &*key_bytes(&encoded)?).map_err(|_| KeyringError::Key)?;
            keys.insert(id, LessSafeKey::new(key));
        }
        if !keys.contains_key(&text.writing) {
            return Err(KeyringError::Writing);
        }
        let tombstone = hmac::Key::new(hmac::HMAC_SHA256, &*key_bytes(&text.tombstone)?);
        Ok(Self { writing: text.writing, keys, tombstone })
    }

    /// The text of a new keyring with one fresh key, named `key_id`.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn generate(key_id: &str) -> Result<Zeroizing<String>, SealError> {
        let (key, tombstone) = (random_key()?, random_key()?);
        Ok(Zeroizing::new(
            serde_json::json!({"writing": key_id, "keys": {key_id: *key}, "tombstone": *tombstone})
                .to_string(),
        ))
    }

    /// Seals `plaintext` with the writing key for the place that `context` names.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn seal(&self, context: &Context<'_>, plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
        let key = self.keys.get(&self.writing).ok_or(SealError::UnknownKey)?;
        let nonce: [u8; NONCE_LEN] = random()?;
        let mut body = Zeroizing::new(plaintext.to_vec());
        let tag = key
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(context.associated_data(&self.writing)),
                &mut body,
            )
            .map_err(|_| SealError::Malformed)?;
        let id_length = u8::try_from(self.writing.len()).map_err(|_| SealError::Malformed)?;
        let mut sealed = vec![VERSION, id_length];
        sealed.extend_from_slice(self.writing.as_bytes());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&body);
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// Opens a value that was sealed for the place that `context` names.
    ///
    /// # Errors
    /// When the value is malformed, altered, moved, or sealed with a key that the keyring does not
    /// hold.
    pub fn open(&self, context: &Context<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (key_id, nonce, ciphertext) = split(sealed).ok_or(SealError::Malformed)?;
        let key = self.keys.get(key_id).ok_or(SealError::UnknownKey)?;
        let mut body = Zeroizing::new(ciphertext.to_vec());
        let length = key
            .open_in_place(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(context.associated_data(key_id)),
                &mut body,
            )
            .map_err(|_| SealError::Refused)?
            .len();
        body.truncate(length);
        Ok(body)
    }

    /// The id of the key that seals.
    #[must_use]
    pub fn writing(&self) -> &str {
        &self.writing
    }

    /// The ids of all keys.
    pub fn key_ids(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().map(String::as_str)
    }

    /// The name under which a deleted user is remembered: a keyed hash, which tells nobody without
    /// the keyring who it was.
    #[must_use]
    pub fn tombstone(&self, app_id: &AppId, user_id: &threads_graph::UserId) -> String {
        let tag = hmac::sign(&self.tombstone, format!("{app_id}/{user_id}").as_bytes());
        base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(tag)
    }

    /// The code by which a session is completed that was finished with this state: the same
    /// whenever the browser that has the state's cookie comes back. Nobody can guess it without the
    /// keyring, though the state is in an address.
    #[must_use]
    pub fn completion_code(&self, app_id: &AppId, session_id: &str, state: &str) -> String {
        let tag = hmac::sign(&self.tombstone, format!("completion/{app_id}/{session_id}/{state}").as_bytes());
        base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(tag)
    }

    /// The code of a deletion: 32 hexadecimal digits, the same for the same request, which nobody
    /// can guess.
    #[must_use]
    pub fn confirmation_code(
        &self,
        app_id: &AppId,
        user_id: &threads_graph::UserId,
        requested_at: Timestamp,
    ) -> String {
        let request = format!("deletion/{app_id}/{user_id}/{}", requested_at.as_second());
        let tag = hmac::sign(&self.tombstone, request.as_bytes());
        let half = tag.as_ref().first_chunk().copied().unwrap_or_default();
        format!("{:032x}", u128::from_be_bytes(half))
    }
}

/// The id of the key that a value is sealed with, if it is a sealed value.
#[must_use]
pub fn key_id(sealed: &[u8]) -> Option<&str> {
    split(sealed).map(|(key_id, ..)| key_id)
}

/// A change of a keyring's text. Functions read the secret again within `SECRETS_TTL_SECONDS`, each
/// at its own time, so a new key is [added](KeyringChange::Add) first, and
/// [writes](KeyringChange::Write) only when all of them can read it.
#[derive(Clone, Copy, Debug)]
pub enum KeyringChange<'a> {
    /// A fresh key of this id, which reads and does not write yet.
    Add(&'a str),
    /// The key that seals from now on.
    Write(&'a str),
    /// A key goes. Whatever it seals is lost.
    Remove(&'a str),
}

/// The text of a keyring after a change.
///
/// # Errors
/// When the text is no keyring, or would be none afterwards: an id that is there already or is not,
/// or the writing key's removal.
pub fn change_keyring(text: &str, change: KeyringChange<'_>) -> Result<Zeroizing<String>, KeyringError> {
    Keyring::from_json(text)?;
    let mut keyring: KeyringText = serde_json::from_str(text).map_err(|_| KeyringError::Shape)?;
    match change {
        KeyringChange::Add(id) => {
            let key = random_key().map_err(|_| KeyringError::Key)?;
            if keyring.keys.insert(id.to_owned(), key).is_some() {
                return Err(KeyringError::Known);
            }
        }
        KeyringChange::Write(id) => id.clone_into(&mut keyring.writing),
        KeyringChange::Remove(id) => {
            keyring.keys.remove(id).ok_or(KeyringError::Writing)?;
        }
    }
    let text = Zeroizing::new(serde_json::to_string(&keyring).map_err(|_| KeyringError::Shape)?);
    Keyring::from_json(&text)?;
    Ok(text)
}

/// The SHA-256 of a text that is a secret, as URL-safe text: how a spent state, a completion code
/// and a confirmation code are remembered, so that a table holds nothing that a request could be
/// made of.
#[must_use]
pub fn hash(secret: &str) -> String {
    base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, secret.as_bytes()))
}

/// `N` random bytes.
///
/// # Errors
/// When the system has none to give.
pub fn random<const N: usize>() -> Result<[u8; N], SealError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| SealError::NoRandomness)?;
    Ok(bytes)
}

/// `N` random bytes as URL-safe text: the form of every identifier and one-time value that we make.
///
/// # Errors
/// When the system has no randomness to give.
pub fn random_text<const N: usize>() -> Result<String, SealError> {
    Ok(base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(random::<N>()?))
}

fn random_key() -> Result<Zeroizing<String>, SealError> {
    Ok(Zeroizing::new(BASE64_STANDARD.encode(*Zeroizing::new(random::<32>()?))))
}

fn key_bytes(encoded: &str) -> Result<Zeroizing<[u8; 32]>, KeyringError> {
    let bytes = Zeroizing::new(BASE64_STANDARD.decode(encoded).map_err(|_| KeyringError::Key)?);
    Ok(Zeroizing::new(bytes.as_slice().try_into().map_err(|_| KeyringError::Key)?))
}

fn split(sealed: &[u8]) -> Option<(&str, [u8; NONCE_LEN], &[u8])> {
    let ([version, id_length], rest) = sealed.split_first_chunk()?;
    if *version != VERSION {
        return None;
    }
    let (key_id, rest) = rest.split_at_checked(usize::from(*id_length))?;
    let (nonce, ciphertext) = rest.split_first_chunk()?;
    Some((std::str::from_utf8(key_id).ok()?, *nonce, ciphertext))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyring(writing: &str, ids: &[&str]) -> Keyring {
        let key = |n: usize| BASE64_STANDARD.encode([u8::try_from(n).unwrap(); 32]);
        let keys: BTreeMap<_, _> = ids.iter().enumerate().map(|(n, id)| (*id, key(n))).collect();
        Keyring::from_json(
            &serde_json::json!({"writing": writing, "keys": keys, "tombstone": key(99)}).to_string(),
        )
        .unwrap()
    }

    fn app() -> AppId {
        "1234567890".parse().unwrap()
    }

    #[test]
    fn opens_only_where_it_belongs() {
        let (ring, app, other) = (keyring("a", &["a"]), app(), "999".parse().unwrap());
        let here = Context { purpose: Purpose::AccessToken, table: "grants", app_id: &app, subject: "42" };
        let sealed = ring.seal(&here, b"token").unwrap();
        assert_eq!(ring.open(&here, &sealed).unwrap().as_slice(), b"token");
        for elsewhere in [
            Context { purpose: Purpose::PreviousToken, ..here },
            Context { table: "grants2", ..here },
            Context { app_id: &other, ..here },
            Context { subject: "43", ..here },
            Context { table: "grants4", subject: "2", ..here },
        ] {
            assert_eq!(ring.open(&elsewhere, &sealed), Err(SealError::Refused), "{elsewhere:?}");
        }
    }

    #[test]
    fn refuses_every_flipped_bit_and_every_cut() {
        let (ring, app) = (keyring("key", &["key", "kex"]), app());
        let context = Context { purpose: Purpose::AccessToken, table: "t", app_id: &app, subject: "1" };
        let sealed = ring.seal(&context, b"a token of some length").unwrap();
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(ring.open(&context, &flipped).is_err(), "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert!(ring.open(&context, &sealed[..length]).is_err(), "cut at {length}");
        }
    }

    #[test]
    fn a_rotated_keyring_still_reads_what_the_old_key_wrote() {
        let app = app();
        let context = Context { purpose: Purpose::AccessToken, table: "t", app_id: &app, subject: "1" };
        let sealed = keyring("old", &["old"]).seal(&context, b"token").unwrap();
        let rotated = keyring("new", &["old", "new"]);
        assert_eq!(rotated.open(&context, &sealed).unwrap().as_slice(), b"token");
        let without = keyring("new", &["new"]);
        assert_eq!(without.open(&context, &sealed), Err(SealError::UnknownKey));
        assert!(rotated.seal(&context, b"token").unwrap()[2..].starts_with(b"new"));
    }

    #[test]
    fn a_keyring_changes_one_step_at_a_time() {
        let first = Keyring::generate("k1").unwrap();
        let added = change_keyring(&first, KeyringChange::Add("k2")).unwrap();
        let ring = Keyring::from_json(&added).unwrap();
        assert_eq!((ring.writing(), ring.key_ids().collect::<Vec<_>>()), ("k1", vec!["k1", "k2"]));
        let written = change_keyring(&added, KeyringChange::Write("k2")).unwrap();
        assert_eq!(Keyring::from_json(&written).unwrap().writing(), "k2");
        let removed = change_keyring(&written, KeyringChange::Remove("k1")).unwrap();
        let (ring, app) = (Keyring::from_json(&removed).unwrap(), app());
        assert_eq!(ring.key_ids().collect::<Vec<_>>(), ["k2"]);
        let context = Context { purpose: Purpose::AccessToken, table: "t", app_id: &app, subject: "1" };
        assert_eq!(key_id(&ring.seal(&context, b"token").unwrap()), Some("k2"));
        // What a later version keeps beside the keys stays.
        let later = first.replacen('{', "{\"later\":[1],", 1);
        for change in [KeyringChange::Add("k2"), KeyringChange::Write("k1")] {
            let changed = change_keyring(&later, change).unwrap();
            let changed: serde_json::Value = serde_json::from_str(&changed).unwrap();
            assert_eq!(changed["later"], serde_json::json!([1]), "{change:?}");
        }
        // The deleted keep their names.
        let user = "42".parse().unwrap();
        let before = Keyring::from_json(&first).unwrap().tombstone(&app, &user);
        assert_eq!(ring.tombstone(&app, &user), before);
        for (text, change, error) in [
            (&first, KeyringChange::Add("k1"), KeyringError::Known),
            (&first, KeyringChange::Write("k2"), KeyringError::Writing),
            (&first, KeyringChange::Remove("k1"), KeyringError::Writing),
            (&first, KeyringChange::Remove("k9"), KeyringError::Writing),
            (&first, KeyringChange::Add(""), KeyringError::Key),
        ] {
            assert_eq!(change_keyring(text, change).unwrap_err(), error, "{change:?}");
        }
        assert_eq!(change_keyring("{}", KeyringChange::Add("k")).unwrap_err(), KeyringError::Shape);
    }

    #[test]
    fn a_bad_keyring_is_refused_without_showing_it() {
        let good = Keyring::generate("k1").unwrap();
        assert!(Keyring::from_json(&good).is_ok());
        let secret = "c2VjcmV0c2VjcmV0";
        for bad in [
            "not json".to_owned(),
            "{}".to_owned(),
            good.replace("\"writing\":\"k1\"", "\"writing\":\"k2\""),
            format!("{{\"writing\":\"k\",\"keys\":{{\"k\":\"{secret}\"}},\"tombstone\":\"{secret}\"}}"),
            good.replace("k1", &"k".repeat(33)),
        ] {
            let error = Keyring::from_json(&bad).unwrap_err();
            assert!(!format!("{error} {error:?}").contains(secret));
        }
    }
}
