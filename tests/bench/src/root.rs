//! The root of the stub's certificate, which a build of its own trusts (`tests/bench/rustc`).

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// The root's name. An executable that trusts it contains this text.
pub(crate) const NAME: &str = "threads-auth benchmark root";

/// Returns true if an executable trusts the root.
pub(crate) fn is_trusted_by(executable: &[u8]) -> bool {
    executable.windows(NAME.len()).any(|part| part == NAME.as_bytes())
}

fn params() -> Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, NAME);
    params.distinguished_name = name;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Ok(params)
}

/// Writes a root into `folder`, unless there is one: `root.der`, and `root.key` for the stub.
pub(crate) fn create(folder: &Path) -> Result<()> {
    if folder.join("root.der").exists() {
        return Ok(());
    }
    fs::create_dir_all(folder)?;
    let key = KeyPair::generate()?;
    let root = params()?.self_signed(&key)?;
    let mut options = OpenOptions::new();
    let mut file =
        options.write(true).create(true).truncate(true).mode(0o600).open(folder.join("root.key"))?;
    file.write_all(&key.serialize_der())?;
    fs::write(folder.join("root.der"), root.der())?;
    Ok(())
}

/// Returns the stub's configuration, with a certificate by the root in `folder`.
pub(crate) fn server(folder: &Path) -> Result<Arc<ServerConfig>> {
    let key = fs::read(folder.join("root.key")).context("there is no root; `tests/bench/run` makes one")?;
    let issuer = Issuer::new(params()?, KeyPair::try_from(key)?);
    let own = KeyPair::generate()?;
    let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()])?.signed_by(&own, &issuer)?;
    let own = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(own.serialize_der()));
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], own)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
