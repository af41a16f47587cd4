//! The Threads side's paths. Meta accepts each with or without a version before it and a slash
//! after it, and its clients send all four forms.

use crate::call::SandboxCall;
use crate::params::Params;

/// The endpoint that a path of the Threads side leads to, and its name in that path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    pub(crate) endpoint: Endpoint,
    /// The path without its optional parts: of a person's profile, `me` or the person's id.
    pub(crate) name: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Dialog,
    /// Of codes, and of the app's own id and secret.
    Tokens,
    LongLived,
    Refresh,
    DebugToken,
    Profile,
}

impl<'a> Target<'a> {
    /// Reads a path as it came. It is compared exactly, so that a path which belongs to another
    /// rule never matches here, however it is spelled.
    pub(crate) fn find(path: &'a str) -> Option<Self> {
        let path = path.strip_prefix('/')?;
        let path = path.strip_suffix('/').unwrap_or(path);
        let name = match path.split_once('/') {
            Some((version, rest)) if is_version(version) => rest,
            _ => path,
        };
        let endpoint = match name {
            "oauth/authorize" => Endpoint::Dialog,
            "oauth/access_token" => Endpoint::Tokens,
            "access_token" => Endpoint::LongLived,
            "refresh_access_token" => Endpoint::Refresh,
            "debug_token" => Endpoint::DebugToken,
            "me" => Endpoint::Profile,
            id if is_number(id) => Endpoint::Profile,
            _ => return None,
        };
        Some(Self { endpoint, name })
    }
}

impl Endpoint {
    /// Meta's operation. At one path the grant type distinguishes two operations. The method does
    /// not: people exchange codes by GET as well.
    pub(crate) fn call(self, params: &Params) -> SandboxCall {
        match self {
            Self::Dialog => SandboxCall::Authorize,
            Self::Tokens if params.text("grant_type") == "client_credentials" => SandboxCall::AppToken,
            Self::Tokens => SandboxCall::ExchangeCode,
            Self::LongLived => SandboxCall::ExchangeLongLived,
            Self::Refresh => SandboxCall::Refresh,
            Self::DebugToken => SandboxCall::DebugToken,
            Self::Profile => SandboxCall::Me,
        }
    }
}

/// `v1.0` and the like.
fn is_version(text: &str) -> bool {
    text.strip_prefix('v')
        .and_then(|text| text.split_once('.'))
        .is_some_and(|(major, minor)| is_number(major) && is_number(minor))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_is_taken_in_four_spellings() {
        for (name, endpoint) in [
            ("oauth/authorize", Endpoint::Dialog),
            ("oauth/access_token", Endpoint::Tokens),
            ("access_token", Endpoint::LongLived),
            ("refresh_access_token", Endpoint::Refresh),
            ("debug_token", Endpoint::DebugToken),
            ("me", Endpoint::Profile),
            ("17841405793187218", Endpoint::Profile),
        ] {
            for path in
                [format!("/{name}"), format!("/{name}/"), format!("/v1.0/{name}"), format!("/v23.10/{name}/")]
            {
                assert_eq!(Target::find(&path), Some(Target { endpoint, name }), "{path}");
            }
        }
    }

    #[test]
    fn what_is_only_like_a_path_is_refused() {
        for path in [
            "",
            "/",
            "//",
            "me",
            "//me",
            "/me//",
            "/v1.0",
            "/v1.0/",
            "/v1.0//",
            "/v1.0//me",
            "/v1.0/v1.0/me",
            "/v1/me",
            "/v1./me",
            "/v.0/me",
            "/vx.y/me",
            "/V1.0/me",
            "/v1.0.0/me",
            "/1.0/me",
            "/ME",
            "/m%65",
            "/%76%31.0/me",
            "/me/threads",
            "/v1.0/17841405793187218/threads",
            "/-1",
            "/+1",
            "/1.5",
            "/\u{661}",
            "/access_token/me",
            "/oauth",
            "/oauth/",
            "/oauth//access_token",
            "/oauth/me",
            "/oauth/consent",
            "/v1.0/oauth/consent",
            "/control",
            "/control/",
            "/control/me",
            "/control/v1.0/me",
            "/v1.0/control",
            "/v1.0/control/state",
            "/v1.0/../control/state",
            "/control/../me",
            "/./me",
        ] {
            assert_eq!(Target::find(path), None, "{path}");
        }
    }
}
