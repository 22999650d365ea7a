//! `wicara serve`

use wicara_platform::{Clock, Random};

use super::{Failure, welcome};
use crate::app::App;
use crate::config::Config;
use crate::signals::Signals;

pub(super) const EXAMPLES: &str = "\
Examples:
  wicara serve
  wicara serve --config /etc/wicara.toml
  WICARA_SERVER__LISTEN=0.0.0.0:8080 wicara serve

Ctrl-C or SIGTERM stops it once running requests are answered, at most server.drain_seconds and two seconds later.";

pub(super) async fn run(config: Config) -> Result<(), Failure> {
    let default_bot = config.bots.iter().find(|bot| bot.default).map(|bot| bot.id.clone());
    // Before the first request is answered: from then on a signal has to lead to an orderly stop.
    let mut signals = Signals::install().map_err(Failure::Failed)?;
    let app = tokio::select! {
        app = App::start(config, Clock::System, Random::System) => app.map_err(Failure::Failed)?,
        () = signals.wait() => {
            tracing::info!("stopped before it was ready");
            return Ok(());
        }
    };
    let has_secret = app.first_administrator.as_ref().is_some_and(|first| first.generated_password.is_some());
    welcome::print(welcome::text(&app, default_bot.as_deref()), has_secret).await;
    app.run(signals).await.map_err(Failure::Failed)
}
