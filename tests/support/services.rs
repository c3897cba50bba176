//! The servers and functions that tests are told of.

use std::io::Write as _;
use std::path::{Path, PathBuf};

/// A variable's value, or `None` with a loud note. Where services are required, its absence is a failure.
#[expect(clippy::disallowed_methods, reason = "the one place where the tests read what they are told")]
fn told(variable: &str) -> Option<String> {
    let value = std::env::var(variable).ok().filter(|value| !value.is_empty());
    if value.is_none() {
        let required = std::env::var("TIDELOCK_REQUIRE_SERVICES").is_ok_and(|value| value == "1");
        assert!(!required, "TIDELOCK_REQUIRE_SERVICES=1, but {variable} is not set");
        // Written to the stream itself, because the test harness keeps what `eprintln!` writes to itself.
        let note = format!("\n*** SKIPPED: set {variable} to run this test (`make services-up`) ***\n");
        std::io::stderr().write_all(note.as_bytes()).unwrap();
    }
    value
}

/// OpenSearch's URL, without a slash at its end.
pub(crate) fn opensearch() -> Option<String> {
    told("TIDELOCK_TEST_OPENSEARCH").map(|url| url.trim_end_matches('/').to_owned())
}

/// The connection string of a FerretDB without a login.
pub(crate) fn ferretdb() -> Option<String> {
    told("TIDELOCK_TEST_FERRETDB")
}

/// The connection string of a FerretDB with TLS and the user `tester`, and the file of certificates that it is trusted by.
pub(crate) fn ferretdb_tls() -> Option<(String, String)> {
    told("TIDELOCK_TEST_FERRETDB_TLS").zip(told("TIDELOCK_TEST_FERRETDB_CA"))
}

/// SecantusDB's connection string.
pub(crate) fn secantusdb() -> Option<String> {
    told("TIDELOCK_TEST_SECANTUSDB")
}

/// DynamoDB's URL.
pub(crate) fn dynamodb() -> Option<String> {
    told("TIDELOCK_TEST_DYNAMODB")
}

/// The URL of the other AWS services.
pub(crate) fn aws() -> Option<String> {
    told("TIDELOCK_TEST_AWS").map(|url| url.trim_end_matches('/').to_owned())
}

/// A function's built bootstrap.
pub(crate) fn bootstrap(function: &str) -> Option<PathBuf> {
    let path = Path::new(&told("TIDELOCK_TEST_BOOTSTRAPS")?).join(function).join("bootstrap");
    assert!(path.is_file(), "{} is not there: build the function first (scripts/build.sh)", path.display());
    Some(path)
}
