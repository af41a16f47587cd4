//! Sealing: authenticated encryption of values in a table or a cookie. A sealed value can be
//! neither read nor moved elsewhere.
//!
//! A sealed value is `format ‖ length of key id ‖ key id ‖ nonce ‖ ciphertext and tag`, AES-256-GCM
//! with a random 96-bit nonce. Its context (purpose, place, app and subject) is authenticated with
//! it but not stored, so a value that is copied to another row, attribute, place or app does not
//! open. Keys are found by their id: all keys of the keyring open values, one seals them. Rotate
//! the sealing key before it has sealed 2³² values (GCM's bound for random nonces).
//!
//! There are two [formats](Format), and both open. The keyring states which one is written, because
//! functions that only know the first may still run when the second is introduced.

use std::collections::BTreeMap;
use std::fmt;

use base64::prelude::{BASE64_STANDARD, Engine};
use jiff::Timestamp;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hkdf, hmac};
use serde::{Deserialize, Serialize};
use threads_graph::AppId;
use zeroize::Zeroizing;

const MAX_KEY_ID: usize = 32;

/// The format of a sealed value, which is its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Format {
    /// Sealed with the keyring's key itself. The place is the name of the table.
    First = 1,
    /// Sealed with a key for its purpose, derived with HKDF-SHA256 from the keyring's key. The
    /// place is the id of the keyring, so that a restored table can have another name.
    Second = 2,
}

impl Format {
    fn of(byte: u8) -> Option<Self> {
        [Self::First, Self::Second].into_iter().find(|format| *format as u8 == byte)
    }
}

/// The purpose of a sealed value. A value that was sealed for one purpose does not open for
/// another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The long-lived access token of a grant.
    AccessToken,
    /// The token that the current one replaced.
    PreviousToken,
    /// A short-lived token whose long-lived exchange is pending.
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

/// The context that a sealed value is bound to.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The purpose.
    pub purpose: Purpose,
    /// The name of its table; empty for a cookie. Only [`Format::First`] is bound to it.
    pub table: &'a str,
    /// The app that it belongs to.
    pub app_id: &'a AppId,
    /// The Threads user id of its owner; empty for a cookie.
    pub subject: &'a str,
}

impl Context<'_> {
    /// Encodes the context. Each part is preceded by its length, so that no two contexts give the
    /// same bytes.
    fn associated_data(&self, format: Format, place: &str, key_id: &str) -> Vec<u8> {
        let parts = [self.purpose.as_str(), place, self.app_id.as_str(), self.subject, key_id];
        let mut data = vec![format as u8];
        for part in parts {
            data.extend_from_slice(&(part.len() as u64).to_be_bytes());
            data.extend_from_slice(part.as_bytes());
        }
        data
    }
}

/// The reason why a value could not be sealed or opened. Never contains a part of the value.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum SealError {
    /// It was truncated, or is not a sealed value.
    #[error("is not a sealed value")]
    Malformed,
    /// It names a key that the keyring does not hold.
    #[error("is sealed with a key that is not in the keyring")]
    UnknownKey,
    /// It was altered, moved from elsewhere, or sealed with another key of the same id.
    #[error("does not open: it was altered, or belongs elsewhere")]
    Refused,
    /// The system's random number generator failed.
    #[error("could not be sealed: the system's random number generator failed")]
    NoRandomness,
}

/// The keys that seal and open values, and the key that hashes the ids of deleted users.
///
/// In Secrets Manager: `{"writing":"2026-11","keys":{"2026-11":"<32 bytes,
/// base64>"},"tombstone":"<32 bytes, base64>"}`, after an [upgrade](KeyringChange::Identify) also
/// `"id":"<random>","table":"<the table's name at that time>"`, then `"format":2`. Other fields
/// belong to a later version, and are ignored.
pub struct Keyring {
    writing: String,
    keys: BTreeMap<String, Key>,
    tombstone: hmac::Key,
    format: Format,
    /// The place of [`Format::Second`].
    id: Option<String>,
    /// The place of [`Format::First`], even if the table has another name now.
    table: Option<String>,
}

/// A key in the form that each format uses.
struct Key {
    whole: LessSafeKey,
    root: hkdf::Prk,
}

impl Key {
    fn new(bytes: &[u8; 32]) -> Result<Self, KeyringError> {
        let whole = UnboundKey::new(&AES_256_GCM, bytes).map_err(|_| KeyringError::Key)?;
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(bytes);
        Ok(Self { whole: LessSafeKey::new(whole), root })
    }

    fn for_purpose(&self, format: Format, purpose: Purpose) -> Option<LessSafeKey> {
        match format {
            Format::First => Some(self.whole.clone()),
            Format::Second => {
                let info = [purpose.as_str().as_bytes()];
                let key = self.root.expand(&info, &AES_256_GCM).ok()?;
                Some(LessSafeKey::new(key.into()))
            }
        }
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring")
            .field("writing", &self.writing)
            .field("format", &self.format)
            .field("keys", &self.keys.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// The error of a keyring's text. Never contains a part of it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeyringError {
    /// The text is not JSON of the expected shape.
    #[error(
        "expected {{\"writing\":KEY_ID,\"keys\":{{KEY_ID:BASE64_OF_32_BYTES,…}},\"tombstone\":BASE64_OF_32_BYTES}}"
    )]
    Shape,
    /// A key is not 32 bytes of base64, or its id is empty or longer than 32 bytes.
    #[error("a key is not 32 bytes in base64, or its id is not 1 to {MAX_KEY_ID} bytes long")]
    Key,
    /// The key that is named for sealing, removal or copying does not exist.
    #[error("\"writing\" names a key that \"keys\" does not hold")]
    Writing,
    /// A key with this id already exists.
    #[error("the keyring already has a key with this id")]
    Known,
    /// The second format needs an id of the keyring, which is missing or empty.
    #[error("\"format\" is 2, but the keyring has no \"id\"")]
    Id,
}

#[derive(Deserialize, Serialize)]
struct KeyringText {
    writing: String,
    keys: BTreeMap<String, Zeroizing<String>>,
    tombstone: Zeroizing<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    format: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    table: Option<String>,
    /// Fields of a later version, which a change keeps.
    #[serde(flatten)]
    rest: serde_json::Map<String, serde_json::Value>,
}

impl Keyring {
    /// Reads a keyring from the text of its secret.
    ///
    /// # Errors
    /// Returns [`KeyringError`] if the text is not the JSON shown at [`Keyring`].
    pub fn from_json(text: &str) -> Result<Self, KeyringError> {
        let text: KeyringText = serde_json::from_str(text).map_err(|_| KeyringError::Shape)?;
        let mut keys = BTreeMap::new();
        for (id, encoded) in text.keys {
            if id.is_empty() || id.len() > MAX_KEY_ID {
                return Err(KeyringError::Key);
            }
            keys.insert(id, Key::new(&*key_bytes(&encoded)?)?);
        }
        if !keys.contains_key(&text.writing) {
            return Err(KeyringError::Writing);
        }
        let tombstone = hmac::Key::new(hmac::HMAC_SHA256, &*key_bytes(&text.tombstone)?);
        // A later version's format is unknown here. That version can read the newest format known
        // here.
        let format =
            if text.format.is_some_and(|format| format >= 2) { Format::Second } else { Format::First };
        let id = text.id.filter(|id| !id.is_empty());
        if format == Format::Second && id.is_none() {
            return Err(KeyringError::Id);
        }
        Ok(Self { writing: text.writing, keys, tombstone, format, id, table: text.table })
    }

    /// Returns the text of a new keyring with one fresh key, named `key_id`.
    ///
    /// # Errors
    /// Returns [`SealError::NoRandomness`] if the system's random number generator fails.
    pub fn generate(key_id: &str) -> Result<Zeroizing<String>, SealError> {
        let (key, tombstone) = (random_key()?, random_key()?);
        Ok(Zeroizing::new(
            serde_json::json!({"writing": key_id, "keys": {key_id: *key}, "tombstone": *tombstone})
                .to_string(),
        ))
    }

    /// Seals `plaintext` with the sealing key for the given `context`.
    ///
    /// # Errors
    /// Returns [`SealError::NoRandomness`] if the system's random number generator fails.
    pub fn seal(&self, context: &Context<'_>, plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
        let (key, associated) =
            self.lock(self.format, context, &self.writing).ok_or(SealError::UnknownKey)?;
        let nonce: [u8; NONCE_LEN] = random()?;
        let mut body = Zeroizing::new(plaintext.to_vec());
        let nonce_once = Nonce::assume_unique_for_key(nonce);
        let tag = key
            .seal_in_place_separate_tag(nonce_once, Aad::from(associated), &mut body)
            .map_err(|_| SealError::Malformed)?;
        let id_length = u8::try_from(self.writing.len()).map_err(|_| SealError::Malformed)?;
        let mut sealed = vec![self.format as u8, id_length];
        sealed.extend_from_slice(self.writing.as_bytes());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&body);
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// Opens a value that was sealed for the given `context`.
    ///
    /// # Errors
    /// - Returns [`SealError::Malformed`] if the value is not a sealed value.
    /// - Returns [`SealError::UnknownKey`] if the keyring does not hold its key.
    /// - Returns [`SealError::Refused`] if the value was altered, or belongs elsewhere.
    pub fn open(&self, context: &Context<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let Sealed { format, key_id, nonce, ciphertext } = Sealed::of(sealed).ok_or(SealError::Malformed)?;
        let (key, associated) = self.lock(format, context, key_id).ok_or(SealError::UnknownKey)?;
        let mut body = Zeroizing::new(ciphertext.to_vec());
        let length = key
            .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(associated), &mut body)
            .map_err(|_| SealError::Refused)?
            .len();
        body.truncate(length);
        Ok(body)
    }

    /// Returns true if `sealed` has the key and the format that the keyring seals with now.
    #[must_use]
    pub fn seals_like(&self, sealed: &[u8]) -> bool {
        Sealed::of(sealed).is_some_and(|it| it.format == self.format && it.key_id == self.writing)
    }

    /// Returns the key `key_id` for a value of the context, and the data that is authenticated with
    /// it. A keyring without an id is older than every value of the second format.
    fn lock(&self, format: Format, context: &Context<'_>, key_id: &str) -> Option<(LessSafeKey, Vec<u8>)> {
        let place = match (format, &self.table) {
            (Format::Second, _) => self.id.as_deref()?,
            (Format::First, Some(table)) if !context.table.is_empty() => table,
            (Format::First, _) => context.table,
        };
        let key = self.keys.get(key_id)?.for_purpose(format, context.purpose)?;
        Some((key, context.associated_data(format, place, key_id)))
    }

    /// Returns the id of the key that seals.
    #[must_use]
    pub fn writing(&self) -> &str {
        &self.writing
    }

    /// Returns the format of new values.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// Returns the id of the keyring, which values of the second format are bound to.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Returns the ids of all keys.
    pub fn key_ids(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().map(String::as_str)
    }

    /// Returns the name of a deleted user's tombstone: a keyed hash, which does not identify the
    /// user without the keyring.
    #[must_use]
    pub fn tombstone(&self, app_id: &AppId, user_id: &threads_graph::UserId) -> String {
        let tag = hmac::sign(&self.tombstone, format!("{app_id}/{user_id}").as_bytes());
        base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(tag)
    }

    /// Returns the completion code of a session whose connect had this state. The browser that has
    /// the state's cookie gets the same code each time. Nobody can guess it without the keyring,
    /// although the state is in a URL.
    #[must_use]
    pub fn completion_code(&self, app_id: &AppId, session_id: &str, state: &str) -> String {
        let tag = hmac::sign(&self.tombstone, format!("completion/{app_id}/{session_id}/{state}").as_bytes());
        base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(tag)
    }

    /// Returns the confirmation code of a deletion: 32 hexadecimal digits, the same for the same
    /// request, and not guessable.
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

/// Returns the id of the key that a value is sealed with, if it is a sealed value.
#[must_use]
pub fn key_id(sealed: &[u8]) -> Option<&str> {
    Sealed::of(sealed).map(|sealed| sealed.key_id)
}

/// A change of a keyring's text. Functions read the secret again within `SECRETS_TTL_SECONDS`, each
/// at its own time. A new key is therefore [added](KeyringChange::Add) first, and
/// [seals](KeyringChange::Write) only when all functions can open its values.
#[derive(Clone, Copy)]
pub enum KeyringChange<'a> {
    /// Adds a fresh key with this id, which does not seal yet.
    Add(&'a str),
    /// Copies the key with this id from the text of another keyring. It does not seal yet.
    Take(&'a str, &'a str),
    /// Seals with this key from now on.
    Write(&'a str),
    /// Removes a key. All values that are sealed with it are lost.
    Remove(&'a str),
    /// Gives the keyring an id, and stores the name of the table to which all values sealed so far
    /// are bound. The keyring can then open the second format. An existing id and name stay.
    Identify(&'a str),
    /// Writes the second format from now on.
    Upgrade,
}

/// Omits the other keyring's text.
impl fmt::Debug for KeyringChange<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add(id) => write!(f, "Add({id:?})"),
            Self::Take(id, _) => write!(f, "Take({id:?})"),
            Self::Write(id) => write!(f, "Write({id:?})"),
            Self::Remove(id) => write!(f, "Remove({id:?})"),
            Self::Identify(table) => write!(f, "Identify({table:?})"),
            Self::Upgrade => f.write_str("Upgrade"),
        }
    }
}

/// Returns the text of a keyring after a change.
///
/// # Errors
/// Returns [`KeyringError`] if the text is not a valid keyring, or would not be one afterwards: an
/// id that already exists or does not, the removal of the sealing key, or an upgrade of a keyring
/// without an id.
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
        KeyringChange::Take(id, other) => {
            let mut other: KeyringText = serde_json::from_str(other).map_err(|_| KeyringError::Shape)?;
            let key = other.keys.remove(id).ok_or(KeyringError::Writing)?;
            if keyring.keys.insert(id.to_owned(), key).is_some() {
                return Err(KeyringError::Known);
            }
        }
        KeyringChange::Write(id) => id.clone_into(&mut keyring.writing),
        KeyringChange::Remove(id) => {
            keyring.keys.remove(id).ok_or(KeyringError::Writing)?;
        }
        KeyringChange::Identify(table) if keyring.id.is_none() => {
            keyring.id = Some(random_text::<16>().map_err(|_| KeyringError::Id)?);
            // All values were sealed under the name that the keyring has, if it has lost its id.
            keyring.table.get_or_insert_with(|| table.to_owned());
        }
        KeyringChange::Identify(_) => {}
        KeyringChange::Upgrade => keyring.format = Some(Format::Second as u32),
    }
    let text = Zeroizing::new(serde_json::to_string(&keyring).map_err(|_| KeyringError::Shape)?);
    Keyring::from_json(&text)?;
    Ok(text)
}

/// Returns the SHA-256 of a secret text, as URL-safe base64. Spent states, completion codes and
/// confirmation codes are stored in this form, so that nobody who reads a table can use them.
#[must_use]
pub fn hash(secret: &str) -> String {
    base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, secret.as_bytes()))
}

/// Returns `N` random bytes.
///
/// # Errors
/// Returns [`SealError::NoRandomness`] if the system's random number generator fails.
pub fn random<const N: usize>() -> Result<[u8; N], SealError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| SealError::NoRandomness)?;
    Ok(bytes)
}

/// Returns `N` random bytes as URL-safe base64: the form of every id and one-time value that we
/// create.
///
/// # Errors
/// Returns [`SealError::NoRandomness`] if the system's random number generator fails.
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

/// The parts of a sealed value.
struct Sealed<'a> {
    format: Format,
    key_id: &'a str,
    nonce: [u8; NONCE_LEN],
    ciphertext: &'a [u8],
}

impl<'a> Sealed<'a> {
    fn of(sealed: &'a [u8]) -> Option<Self> {
        let ([format, id_length], rest) = sealed.split_first_chunk()?;
        let (key_id, rest) = rest.split_at_checked(usize::from(*id_length))?;
        let (nonce, ciphertext) = rest.split_first_chunk()?;
        let (format, key_id) = (Format::of(*format)?, std::str::from_utf8(key_id).ok()?);
        Some(Self { format, key_id, nonce: *nonce, ciphertext })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(writing: &str, ids: &[&str]) -> serde_json::Value {
        let key = |n: usize| BASE64_STANDARD.encode([u8::try_from(n).unwrap(); 32]);
        let keys: BTreeMap<_, _> = ids.iter().enumerate().map(|(n, id)| (*id, key(n))).collect();
        serde_json::json!({"writing": writing, "keys": keys, "tombstone": key(99)})
    }

    fn keyring(writing: &str, ids: &[&str]) -> Keyring {
        Keyring::from_json(&text(writing, ids).to_string()).unwrap()
    }

    /// The same keys after an upgrade, with the keyring id `id`.
    fn upgraded(writing: &str, ids: &[&str], id: &str) -> Keyring {
        let mut text = text(writing, ids);
        (text["id"], text["table"], text["format"]) = (id.into(), "grants".into(), 2.into());
        Keyring::from_json(&text.to_string()).unwrap()
    }

    fn app() -> AppId {
        "1234567890".parse().unwrap()
    }

    const PURPOSES: [Purpose; 4] =
        [Purpose::AccessToken, Purpose::PreviousToken, Purpose::PendingToken, Purpose::Flow];

    #[test]
    fn opens_only_where_it_belongs() {
        // The longer id has the same digits as the app's and the user's together, split elsewhere.
        let (app, other, longer) = (app(), "999".parse().unwrap(), "12345678904".parse().unwrap());
        for ring in [keyring("a", &["a"]), upgraded("a", &["a"], "stable")] {
            let here =
                Context { purpose: Purpose::AccessToken, table: "grants", app_id: &app, subject: "42" };
            let sealed = ring.seal(&here, b"token").unwrap();
            assert_eq!(ring.open(&here, &sealed).unwrap().as_slice(), b"token");
            assert_ne!(ring.seal(&here, b"token").unwrap(), sealed, "a nonce is used once");
            for elsewhere in [
                Context { purpose: Purpose::PreviousToken, ..here },
                Context { app_id: &other, ..here },
                Context { subject: "43", ..here },
                Context { table: "grants4", subject: "2", ..here },
                Context { app_id: &longer, subject: "2", ..here },
            ] {
                assert_eq!(ring.open(&elsewhere, &sealed), Err(SealError::Refused), "{elsewhere:?}");
            }
        }
    }

    #[test]
    fn a_value_of_the_first_format_is_bound_to_its_table() {
        let (ring, app) = (keyring("a", &["a"]), app());
        let here = Context { purpose: Purpose::AccessToken, table: "grants", app_id: &app, subject: "42" };
        let sealed = ring.seal(&here, b"token").unwrap();
        let elsewhere = Context { table: "grants2", ..here };
        assert_eq!(ring.open(&elsewhere, &sealed), Err(SealError::Refused));
        // A keyring that stores the table's name opens the value under any other name, but still
        // not a value of another table.
        let remembers = upgraded("a", &["a"], "stable");
        assert_eq!(remembers.open(&elsewhere, &sealed).unwrap().as_slice(), b"token");
        let foreign = ring.seal(&elsewhere, b"token").unwrap();
        for context in [here, elsewhere] {
            assert_eq!(remembers.open(&context, &foreign), Err(SealError::Refused));
        }
    }

    #[test]
    fn a_value_of_the_second_format_is_bound_to_the_keyring_and_not_to_a_table() {
        let (ring, app) = (upgraded("a", &["a"], "stable"), app());
        let here = Context { purpose: Purpose::AccessToken, table: "grants", app_id: &app, subject: "42" };
        let sealed = ring.seal(&here, b"token").unwrap();
        let restored = Context { table: "grants-restored", ..here };
        assert_eq!(ring.open(&restored, &sealed).unwrap().as_slice(), b"token");
        for id in ["another", "stabl", "grants"] {
            assert_eq!(upgraded("a", &["a"], id).open(&here, &sealed), Err(SealError::Refused), "{id}");
        }
        // A reader that does not know the id yet should read the keyring again.
        assert_eq!(keyring("a", &["a"]).open(&here, &sealed), Err(SealError::UnknownKey));
        // Changing the format byte alone does not turn one format into the other.
        for ring in [&ring, &keyring("a", &["a"])] {
            let mut sealed = ring.seal(&here, b"token").unwrap();
            sealed[0] ^= 3;
            assert_eq!(upgraded("a", &["a"], "stable").open(&here, &sealed), Err(SealError::Refused));
        }
    }

    /// The same derivation, written from RFC 5869 without the code under test.
    #[test]
    fn each_purpose_of_the_second_format_has_a_key_of_its_own() {
        let (ring, app) = (upgraded("a", &["a"], "stable"), app());
        let mac = |key: &[u8], data: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data);
        let root = mac(&[0; 32], &[0; 32]);
        let mut opened = Vec::new();
        for purpose in PURPOSES {
            let context = Context { purpose, table: "grants", app_id: &app, subject: "42" };
            let sealed = ring.seal(&context, b"token").unwrap();
            let mut associated = vec![2];
            for part in [purpose.as_str(), "stable", "1234567890", "42", "a"] {
                associated.extend((part.len() as u64).to_be_bytes());
                associated.extend(part.bytes());
            }
            for (n, other) in PURPOSES.into_iter().enumerate() {
                let key = mac(root.as_ref(), &[other.as_str().as_bytes(), &[1]].concat());
                let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_ref()).unwrap());
                let nonce = Nonce::try_assume_unique_for_key(&sealed[3..15]).unwrap();
                let mut body = sealed[15..].to_vec();
                if key.open_in_place(nonce, Aad::from(&associated), &mut body).is_ok() {
                    opened.push((purpose, n));
                }
            }
        }
        assert_eq!(opened, PURPOSES.into_iter().zip(0..).collect::<Vec<_>>());
    }

    #[test]
    fn refuses_every_flipped_bit_and_every_cut() {
        let (app, mut flips) = (app(), 0);
        let rings = [keyring("key", &["key", "kex"]), upgraded("key", &["key", "kex"], "stable")];
        for (ring, purpose) in rings.iter().flat_map(|ring| PURPOSES.map(|purpose| (ring, purpose))) {
            let context = Context { purpose, table: "grants", app_id: &app, subject: "1" };
            let sealed = ring.seal(&context, b"a token of some length").unwrap();
            for bit in 0..sealed.len() * 8 {
                let mut flipped = sealed.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(rings.iter().all(|ring| ring.open(&context, &flipped).is_err()), "bit {bit}");
                flips += 1;
            }
            for length in 0..sealed.len() {
                assert!(ring.open(&context, &sealed[..length]).is_err(), "cut at {length}");
            }
        }
        println!("sealed values: {flips} flipped bits in both formats, 0 opened");
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
        // A copied key opens the values that the other keyring sealed.
        let sealed = ring.seal(&context, b"token").unwrap();
        let taken = Keyring::from_json(&change_keyring(&first, KeyringChange::Take("k2", &added)).unwrap());
        assert_eq!(taken.unwrap().open(&context, &sealed).unwrap().as_slice(), b"token");
        // A change keeps the fields of a later version.
        let later = first.replacen('{', "{\"later\":[1],", 1);
        for change in [KeyringChange::Add("k2"), KeyringChange::Write("k1")] {
            let changed = change_keyring(&later, change).unwrap();
            let changed: serde_json::Value = serde_json::from_str(&changed).unwrap();
            assert_eq!(changed["later"], serde_json::json!([1]), "{change:?}");
        }
        // The tombstones of deleted users keep their names.
        let user = "42".parse().unwrap();
        let before = Keyring::from_json(&first).unwrap().tombstone(&app, &user);
        assert_eq!(ring.tombstone(&app, &user), before);
        for (text, change, error) in [
            (&first, KeyringChange::Add("k1"), KeyringError::Known),
            (&first, KeyringChange::Write("k2"), KeyringError::Writing),
            (&first, KeyringChange::Remove("k1"), KeyringError::Writing),
            (&first, KeyringChange::Remove("k9"), KeyringError::Writing),
            (&first, KeyringChange::Add(""), KeyringError::Key),
            (&first, KeyringChange::Take("k1", &added), KeyringError::Known),
            (&first, KeyringChange::Take("k9", &added), KeyringError::Writing),
            (&first, KeyringChange::Take("k2", "{}"), KeyringError::Shape),
        ] {
            assert_eq!(change_keyring(text, change).unwrap_err(), error, "{change:?}");
        }
        assert_eq!(change_keyring("{}", KeyringChange::Add("k")).unwrap_err(), KeyringError::Shape);
    }

    #[test]
    fn a_keyring_opens_the_second_format_before_it_writes_it() {
        let (first, app) = (Keyring::generate("k1").unwrap(), app());
        let ring = |text: &str| Keyring::from_json(text).unwrap();
        assert_eq!(change_keyring(&first, KeyringChange::Upgrade).unwrap_err(), KeyringError::Id);
        let learned = change_keyring(&first, KeyringChange::Identify("grants")).unwrap();
        let again = change_keyring(&learned, KeyringChange::Identify("grants-restored")).unwrap();
        assert_eq!(again, learned);
        // A keyring that has lost its id goes on opening what it has sealed.
        let idless = {
            let mut text: serde_json::Value = serde_json::from_str(&learned).unwrap();
            text.as_object_mut().unwrap().remove("id");
            change_keyring(&text.to_string(), KeyringChange::Identify("grants-restored")).unwrap()
        };
        assert!(idless.contains(r#""table":"grants""#));
        let writes = change_keyring(&learned, KeyringChange::Upgrade).unwrap();
        let [first, learned, writes] = [&first, &learned, &writes].map(|text| ring(text));
        let formats = [&first, &learned, &writes].map(Keyring::format);
        assert_eq!(formats, [Format::First, Format::First, Format::Second]);
        assert_eq!((first.id(), learned.id().map(str::len)), (None, Some(22)));
        assert_eq!(learned.id(), writes.id());
        for purpose in PURPOSES {
            let table = if purpose == Purpose::Flow { "" } else { "grants" };
            let context = Context { purpose, table, app_id: &app, subject: "1" };
            let seal = |ring: &Keyring| ring.seal(&context, b"token").unwrap();
            // A reader without the upgrade opens everything that is written before it.
            for sealed in [seal(&first), seal(&learned)] {
                for reader in [&first, &learned, &writes] {
                    assert_eq!(reader.open(&context, &sealed).unwrap().as_slice(), b"token");
                }
                assert!(learned.seals_like(&sealed) && !writes.seals_like(&sealed));
            }
            let sealed = seal(&writes);
            assert_eq!(learned.open(&context, &sealed).unwrap().as_slice(), b"token");
            assert!(writes.seals_like(&sealed) && !learned.seals_like(&sealed));
            assert_eq!(key_id(&sealed), Some("k1"));
        }
        // Tombstones keep their names, and deletions their confirmation codes.
        let user = "42".parse().unwrap();
        let names = [&first, &learned, &writes].map(|ring| {
            (ring.tombstone(&app, &user), ring.confirmation_code(&app, &user, Timestamp::UNIX_EPOCH))
        });
        assert!(names.iter().all(|name| *name == names[0]));
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
            good.replacen('{', "{\"format\":2,", 1),
            good.replacen('{', "{\"format\":2,\"id\":\"\",", 1),
        ] {
            let error = Keyring::from_json(&bad).unwrap_err();
            assert!(!format!("{error} {error:?}").contains(secret));
        }
    }
}
