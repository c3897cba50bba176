//! A target looked at with a function's own settings, never written to.

use crate::app::{App, now_ms, read_settings};
use crate::authentication::Authentication;
use crate::explain::Manner;
use std::path::Path;
use std::time::{Duration, Instant};
use tidelock_core::settings::TargetAddress;
use tidelock_core::shadow::{Comparison, compare};
use tidelock_core::target::{Call, Operation, Store as _};
use tidelock_lambda::{Environment, Fatal};

/// How long a look may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Compares what events would write with what the target holds.
pub struct Shadow {
    app: App,
    manner: Manner,
}

impl Shadow {
    /// With the settings of the environment; `pipeline` is the file of another pipeline than TIDELOCK_PIPELINE.
    ///
    /// # Errors
    /// When settings are wrong, the target does not answer, or there is nothing in it to look at.
    pub async fn start(environment: &Environment, pipeline: Option<&str>) -> Result<Self, Fatal> {
        let given = pipeline.map(|path| ("TIDELOCK_PIPELINE", path));
        let all = environment.iter().chain(given).map(|(name, value)| (name.to_owned(), value.to_owned()));
        let environment: Environment = all.collect();
        let settings = read_settings(&environment)?;
        let refused = |problem: String| Fatal::new("Tidelock.Settings", format!("TIDELOCK_TARGET: {problem}"));
        match &settings.target {
            TargetAddress::Stdout => return Err(refused("standard output holds nothing to compare with".to_owned())),
            // To open it would be to create it.
            TargetAddress::Sqlite(path) if !Path::new(path).is_file() => {
                return Err(refused(format!("there is no file `{path}`")));
            }
            _ => {}
        }
        let authentication = Authentication::new(&settings, &environment);
        let app = App::with(&settings, &authentication, &environment).await?;
        let manner = Manner::of(&settings, &app.pipeline)?;
        let ping = app.target.ping(Instant::now() + PATIENCE).await;
        ping.map_err(|failure| Fatal::new("Tidelock.Target", format!("{failure}; {}", failure.cause.action())))?;
        Ok(Self { app, manner })
    }

    /// Compares an event; what differs is looked at once more after `settle`.
    ///
    /// # Errors
    /// When it is no event: as the function's own.
    pub async fn compare(&self, payload: &[u8], settle: Duration) -> Result<Comparison, Fatal> {
        let App { target, pipeline, source, .. } = &self.app;
        let check = |operation: &Operation<'_>| self.manner.sent(operation).map(drop);
        let call = || Call { deadline: Instant::now() + PATIENCE, now_ms: now_ms(), truth: false };
        let settle = tokio::time::sleep(settle);
        let compared = compare(target, payload, pipeline, source.is_some(), check, call, settle).await;
        compared.map_err(|error| Fatal::new("Tidelock.Event", error.message))
    }
}
