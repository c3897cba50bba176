//! TLS: the certificates that are trusted, and those that are not.

use super::Bench;
use crate::support::event::{Stream, apart, event, named};
use crate::support::function::target;
use crate::support::proxy::{Fault, Proxy};
use crate::support::services;
use bytes::Bytes;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::time::Duration;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{ServerConfig, crypto::ring};

/// An authority of a test's own.
fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
}

/// A server's side with a certificate of this authority for this name.
fn server(authority: &CertifiedIssuer<'static, KeyPair>, name: &str) -> ServerConfig {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, authority).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    ServerConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap()
}

fn one() -> Bytes {
    event(&[Stream::of("mytable").upsert(&apart(1), "1", "one")])
}

#[tokio::test]
async fn a_certificate_of_a_trusted_authority_is_accepted() {
    let Some(url) = services::opensearch() else { return };
    let (other, own) = (authority(), authority());
    for (host, with_user) in [("127.0.0.1", false), ("localhost", true)] {
        let Some(Bench { sync, index, proxy: _proxy, folder }) = Bench::bulk("tls", |_| Fault::None).await else {
            return;
        };
        let tls = Proxy::behind_tls(&url, server(&own, host), |_| Fault::None).await;
        // Several certificates in one file, as `global-bundle.pem` has them.
        let bundle = folder.path("bundle.pem");
        std::fs::write(&bundle, format!("# certificates\n{}{}", other.pem(), own.pem())).unwrap();
        let user = if with_user { "u:p@" } else { "" };
        let address = tls.url.replace("//127.0.0.1", &format!("//{user}{host}"));
        let function = sync.with("TIDELOCK_TARGET", &target(&address)).with("TIDELOCK_TARGET_CA_FILE", &bundle).start();
        function.succeed(one()).await;
        assert_eq!(index.get("1").await.unwrap().fields, named(1, "one"));
        assert!(tls.seen().iter().all(|seen| seen.header("authorization").is_some() == with_user));
    }
}

#[tokio::test]
async fn any_other_certificate_is_refused_and_the_record_reported() {
    let Some(url) = services::opensearch() else { return };
    let (own, other) = (authority(), authority());
    for (trusted, name) in [
        // The public authorities, which did not sign it; another authority; the right one, for another name.
        (None, "127.0.0.1"),
        (Some(&other), "127.0.0.1"),
        (Some(&own), "elsewhere.example"),
    ] {
        let Some(Bench { sync, index, proxy: _proxy, folder }) = Bench::bulk("tls", |_| Fault::None).await else {
            return;
        };
        let tls = Proxy::behind_tls(&url, server(&own, name), |_| Fault::None).await;
        let bundle = folder.path("bundle.pem");
        std::fs::write(&bundle, trusted.map_or_else(String::new, |authority| authority.pem())).unwrap();
        let sync = sync.with("TIDELOCK_TARGET", &target(&tls.url)).timeout(Duration::from_secs(1));
        let file = if trusted.is_some() { bundle } else { String::new() };
        let function = sync.with("TIDELOCK_TARGET_CA_FILE", &file).start();
        assert_eq!(function.answer(one()).await, Some(apart(1)), "{name}");
        let failure = &function.metrics().await["Failures"]["unreachable"]["example"];
        let text = failure.as_str().unwrap();
        assert!(text.contains("TLS") && text.to_lowercase().contains("certificate"), "{text}");
        assert_eq!((tls.seen().len(), index.documents().await.len()), (0, 0));
    }
}
