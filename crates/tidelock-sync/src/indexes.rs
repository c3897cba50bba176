//! What manages indices: the function's own settings, pipeline and connections to OpenSearch.

use crate::app::read_settings;
use crate::authentication::Authentication;
use crate::check::read_pipeline;
use crate::targets::{OpenSearchTransport, transport};
use tidelock_core::pipeline::Pipeline;
use tidelock_core::settings::{PipelineSource, Settings, TargetAddress};
use tidelock_core::target::Namespaces;
use tidelock_lambda::{Environment, Fatal};
use tidelock_opensearch::admin::Admin;

/// The pipeline, and the OpenSearch that its routes lead to.
pub struct IndexAdmin {
    /// What the routes and indices are.
    pub pipeline: Pipeline,
    /// What there is.
    pub admin: Admin<OpenSearchTransport>,
}

impl IndexAdmin {
    /// Makes it from the environment that the function has.
    ///
    /// # Errors
    /// When settings are wrong (all problems at once), or the target is no OpenSearch.
    pub fn start(environment: &Environment) -> Result<Self, Fatal> {
        let settings = read_settings(environment)?;
        let pipeline = read_pipeline(settings.pipeline.as_ref(), None, &settings.target)?.within(Namespaces::Single);
        let TargetAddress::OpenSearch(endpoint) = &settings.target else {
            let problem = "TIDELOCK_TARGET: indices are OpenSearch's; give opensearch+https://HOST[:PORT]";
            return Err(Fatal::new("Tidelock.Settings", problem));
        };
        let authentication = Authentication::new(&settings, environment);
        let admin = Admin::new(transport(&settings, endpoint, &authentication, environment)?);
        Ok(Self { pipeline, admin })
    }

    /// The pipeline alone, where there is no target to be asked: as a path or a text, as the setting has it.
    ///
    /// # Errors
    /// When it cannot be read, or is wrong (all problems at once).
    pub fn pipeline(environment: &Environment) -> Result<Pipeline, Fatal> {
        let variables = [
            ("TIDELOCK_TARGET", "stdout:"),
            ("TIDELOCK_PIPELINE", environment.get("TIDELOCK_PIPELINE").unwrap_or_default()),
        ];
        let variables = variables.into_iter().filter(|(_, value)| !value.is_empty());
        let settings = Settings::read(variables.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let settings = settings.map_err(|problems| Fatal::new("Tidelock.Settings", problems.to_string()))?;
        let source: Option<&PipelineSource> = settings.pipeline.as_ref();
        Ok(read_pipeline(source, None, &settings.target)?.within(Namespaces::Single))
    }
}
