//! A pipeline's file checked for a target, as functions check it when they start.

use std::path::Path;
use tidelock_core::encode::Format;
use tidelock_core::pipeline::{Checked, Pipeline, Problem, Refusal, Severity};
use tidelock_core::settings::{PipelineSource, TargetAddress};
use tidelock_lambda::Fatal;

/// Checks the bytes of a file; what the target refuses is wrong with it, too. Nothing is connected to.
#[must_use]
pub fn check(bytes: &[u8], target: Option<&TargetAddress>) -> Checked {
    let mut checked = Checked::of_bytes(bytes);
    if let (Some(pipeline), Some(target)) = (checked.pipeline(), target) {
        let refusals = refusals(pipeline, target);
        checked.refuse(refusals);
    }
    checked
}

/// What a kind of target refuses of a pipeline.
fn refusals(pipeline: &Pipeline, target: &TargetAddress) -> Vec<Refusal> {
    let mut refusals = match target {
        TargetAddress::MongoDb(_) => {
            let refused = [pipeline.unwritable(Format::Bson), pipeline.of_opensearch_alone()].concat();
            refused.into_iter().chain(pipeline.of_indexes()).collect()
        }
        TargetAddress::OpenSearch(_) => [pipeline.unwritable(Format::Json), pipeline.of_mongodb_alone()].concat(),
        _ => [pipeline.unwritable(Format::Json), pipeline.of_mongodb_alone(), pipeline.of_opensearch_alone()].concat(),
    };
    match target {
        #[cfg(feature = "opensearch")]
        TargetAddress::OpenSearch(_) => refusals.extend(tidelock_opensearch::refusals(pipeline)),
        #[cfg(feature = "mongodb")]
        TargetAddress::MongoDb(uri) => refusals.extend(tidelock_mongodb::MongoDbConfig::refusals(uri, pipeline)),
        _ => {}
    }
    refusals
}

/// Reads the pipeline of a function; `fetched` is the text of a parameter, where it is one.
///
/// # Errors
/// What `tidelock check` says of it.
pub(crate) fn read_pipeline(
    source: Option<&PipelineSource>,
    fetched: Option<String>,
    target: &TargetAddress,
) -> Result<Pipeline, Fatal> {
    let problem = |text: String| Fatal::new("Tidelock.Settings", format!("TIDELOCK_PIPELINE: {text}"));
    let (bytes, file) = match source {
        None => return Ok(Pipeline::default()),
        Some(PipelineSource::Text(text)) => (text.clone().into_bytes(), String::new()),
        Some(PipelineSource::Parameter(name)) => match fetched {
            Some(text) => (text.into_bytes(), format!("ssm:{name}:")),
            None => return Err(problem(format!("`ssm:{name}` is read by functions alone; give a file with its text"))),
        },
        Some(PipelineSource::Path(path)) => {
            let bytes = std::fs::read(path).map_err(|error| problem(format!("`{path}` cannot be read: {error}")))?;
            let name = Path::new(path).file_name().map_or(path.clone(), |name| name.to_string_lossy().into_owned());
            (bytes, format!("{name}:"))
        }
    };
    let checked = check(&bytes, Some(target));
    let told = |problems: &[&Problem]| -> String {
        problems.iter().map(|problem| format!("{file}{problem}")).collect::<Vec<_>>().join("; ")
    };
    let warnings: Vec<&Problem> =
        checked.problems().iter().filter(|problem| problem.severity == Severity::Warning).collect();
    if !warnings.is_empty() {
        tracing::warn!("TIDELOCK_PIPELINE: {}", told(&warnings));
    }
    checked.usable().map_err(|problems| problem(told(&problems.iter().collect::<Vec<_>>())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidelock_core::settings::target_address;

    #[test]
    fn each_kind_of_target_refuses_its_own() {
        let text = "version: 1\nroutes:\n  - {from: a, to: Shop.orders, shard_key: [b]}\n  - {from: b}\n";
        for (target, expected) in [
            #[cfg(feature = "mongodb")]
            ("mongodb://h", &["4:12: routes[1].from: items go to collections"][..]),
            #[cfg(feature = "mongodb")]
            ("mongodb://h/db", &[]),
            #[cfg(feature = "opensearch")]
            (
                "opensearch+http://h",
                &[
                    "3:19: routes[0].to: `Shop.orders` cannot be an index: it must be lower case",
                    "3:43: routes[0].shard_key: is for MongoDB",
                ],
            ),
            ("stdout:", &["3:43: routes[0].shard_key: is for MongoDB alone"]),
        ] {
            let checked = check(text.as_bytes(), Some(&target_address(target).expect(target)));
            let told: Vec<String> = checked.problems().iter().map(ToString::to_string).collect();
            let agree = told.len() == expected.len() && told.iter().zip(expected).all(|(a, b)| a.starts_with(b));
            assert!(agree, "{target}: {told:?}");
        }
    }

    #[test]
    fn functions_name_the_file() {
        let target = TargetAddress::Stdout;
        let read = |source| read_pipeline(Some(&source), None, &target).expect_err("refused").message;
        let text = PipelineSource::Text("version: 1\nroutes: [{form: a}, {from: b, to: ''}]".to_owned());
        assert_eq!(
            read(text),
            "TIDELOCK_PIPELINE: 2:11: routes[0].form: a route has no such field; did you mean `from`?; \
             2:35: routes[1].to: must not be empty"
        );
        let path = std::env::temp_dir().join(format!("tidelock-check-{}.yaml", std::process::id()));
        std::fs::write(&path, "version: 2\n").expect("a file");
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let told = read(PipelineSource::Path(path.display().to_string()));
        std::fs::remove_file(&path).expect("a file");
        let expected =
            format!("TIDELOCK_PIPELINE: {name}:1:1: routes: is missing; {name}:1:10: version: version 2 is not known");
        assert!(told.starts_with(&expected), "{told}");
    }
}
