//! Requests that are signed as the emulators of `threads-auth dev` ask for.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;

/// The credentials that sign, and their scope.
pub(crate) struct Signer<'a> {
    pub(crate) access_key_id: &'a str,
    pub(crate) secret_access_key: &'a str,
    pub(crate) region: &'a str,
    pub(crate) service: &'a str,
}

impl Signer<'_> {
    /// The headers that a `POST` of `body` needs besides `headers`.
    pub(crate) fn sign(&self, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<(String, String)> {
        let identity =
            Credentials::new(self.access_key_id, self.secret_access_key, None, None, "test").into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(self.region)
            .name(self.service)
            .time(SystemTime::try_from(devstack::Clock::system().now()).unwrap())
            .settings(SigningSettings::default())
            .build()
            .unwrap()
            .into();
        let request =
            SignableRequest::new("POST", url, headers.iter().copied(), SignableBody::Bytes(body)).unwrap();
        let (signed, _) = sign(request, &params).unwrap().into_parts();
        signed.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}
