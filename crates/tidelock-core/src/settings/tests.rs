//! What the environment says, and what is wrong with it.

use super::*;

fn read(pairs: &[(&str, &str)]) -> Result<Settings, Problems> {
    Settings::read(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

#[test]
fn all_problems_at_once() {
    let problems = read(&[
        ("TIDELOCK_TARGT", "stdout:"),
        ("TIDELOCK_TARGET_AUTH", "magic"),
        ("TIDELOCK_BULK_BYTES", "1"),
        ("TIDELOCK_IN_FLIGHT", "many"),
        ("TIDELOCK_BULK_GZIP", "yes"),
        ("TIDELOCK_DEAD_LETTERS", "my-queue"),
        ("TIDELOCK_SOURCE", "mysql://user:hush@h"),
        ("TIDELOCK_FENCE_DAYS", "1"),
        ("TIDELOCK_GUARDS", "off"),
        ("OTHER", "x"),
        ("TIDELOCK_TEST_OPENSEARCH", "http://127.0.0.1:9201"),
    ])
    .expect_err("invalid")
    .0;
    assert_eq!(problems.len(), 10, "{problems:#?}");
    assert!(!problems.join(" ").contains("hush"), "{problems:#?}");
    assert!(problems[0].contains("did you mean TIDELOCK_TARGET?"), "{}", problems[0]);
    assert!(problems.iter().any(|p| p.contains("TIDELOCK_TARGET is not set")));
}

#[test]
fn what_keeps_the_promise_is_on_unless_told_otherwise() {
    let plain = read(&[("TIDELOCK_TARGET", "stdout:")]).expect("valid");
    assert_eq!((plain.guards, plain.fence_days, plain.source), (Guards::Full, 15, None));
    let told = read(&[
        ("TIDELOCK_TARGET", "stdout:"),
        ("TIDELOCK_GUARDS", "no-fences"),
        ("TIDELOCK_FENCE_DAYS", "30"),
        ("TIDELOCK_SOURCE", "dynamodb:"),
    ]);
    let told = told.expect("valid");
    let expected = (Guards::NoFences, 30, Some(SourceAddress::DynamoDb));
    assert_eq!((told.guards, told.fence_days, told.source), expected);
}

#[test]
fn a_source_of_mongodb_has_secret_and_certificates_of_its_own() {
    let with = |source: &str| {
        read(&[
            ("TIDELOCK_TARGET", "stdout:"),
            ("TIDELOCK_SOURCE", source),
            ("TIDELOCK_SOURCE_SECRET", "cluster/reader"),
            ("TIDELOCK_SOURCE_CA_FILE", "global-bundle.pem"),
        ])
    };
    for uri in ["mongodb://user:hush@h/db", "mongodb+srv://user:hush@h"] {
        let settings = with(uri).expect("valid");
        assert_eq!(settings.source, Some(SourceAddress::MongoDb(Secret::new(uri))));
        assert_eq!(settings.source_secret.as_deref(), Some("cluster/reader"));
        assert_eq!(settings.source_ca_file.as_deref(), Some("global-bundle.pem"));
        assert_eq!((&settings.secret, &settings.ca_file), (&None, &None), "the target's are its own");
        assert!(!format!("{settings:?}").contains("hush"));
    }
    for source in ["", "dynamodb:"] {
        let problems = with(source).expect_err("they would be passed over").0;
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].starts_with("TIDELOCK_SOURCE_SECRET: "), "{problems:?}");
        assert!(problems[1].starts_with("TIDELOCK_SOURCE_CA_FILE: "), "{problems:?}");
    }
    assert_eq!(with("mongo://user:hush@h").expect_err("unknown").0.len(), 1, "they may be for what was meant");
}

#[test]
fn secrets_are_never_shown() {
    for target in ["opensearch+http://me:hunter2@h:1", "mongodb://me:hunter2@h/db"] {
        let settings = read(&[("TIDELOCK_TARGET", target)]).expect("valid");
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
    let problems = read(&[("TIDELOCK_TARGET", "opensearch+http://me:hunter2@h:1/x?y")]).expect_err("invalid");
    assert!(!problems.to_string().contains("hunter2"));
}

#[test]
fn auth_must_fit_the_target() {
    for (target, auth, fits) in [
        ("opensearch+https://h", "sigv4", true),
        ("opensearch+https://h", "basic", false),
        ("opensearch+https://a:b@h", "basic", true),
        ("opensearch+https://h", "apikey", false),
        ("opensearch+https://h", "mongodb-aws", false),
        ("mongodb://h/db", "mongodb-aws", true),
        ("mongodb://h/db", "sigv4", false),
        ("stdout:", "basic", false),
        ("stdout:", "none", true),
    ] {
        assert_eq!(
            read(&[("TIDELOCK_TARGET", target), ("TIDELOCK_TARGET_AUTH", auth)]).is_ok(),
            fits,
            "{target} {auth}"
        );
    }
}
