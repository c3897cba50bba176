//! A certificate authority of the benchmark's own, and TLS for its stub.

use std::io;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::function::Result;
use crate::http::Accept;

/// An authority in PEM and the configuration of a server for `localhost` that it vouches for.
pub(crate) struct Authority {
    pub(crate) pem: String,
    server: Arc<ServerConfig>,
}

impl Authority {
    pub(crate) fn new() -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "tidelock-bench");
        let key = KeyPair::generate()?;
        let authority = params.self_signed(&key)?;
        let pem = authority.pem();
        let issuer = Issuer::new(params, key);
        let server_key = KeyPair::generate()?;
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificate = CertificateParams::new(names)?.signed_by(&server_key, &issuer)?;
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(server_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)?;
        Ok(Self { pem, server: Arc::new(server) })
    }

    /// Streams of a server with TLS.
    pub(crate) fn accept(&self) -> Accept {
        let server = Arc::clone(&self.server);
        Box::new(move |socket| {
            let session = ServerConnection::new(Arc::clone(&server)).map_err(io::Error::other)?;
            Ok(Box::new(StreamOwned::new(session, socket)))
        })
    }
}
