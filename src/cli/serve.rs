//! `wicara serve`

use crate::app::{App, Signals};
use crate::config::Config;
use crate::model::{Clock, Random};

use super::Failure;

pub(super) const EXAMPLES: &str = "\
Examples:
  wicara serve
  wicara serve --config /etc/wicara.toml
  WICARA_SERVER__LISTEN=0.0.0.0:8080 wicara serve

Ctrl-C or SIGTERM stops it once running requests are answered, at most server.drain_seconds later.";

pub(super) async fn run(config: Config) -> Result<(), Failure> {
    let bot = config.bots.iter().find(|bot| bot.default).map(|bot| bot.id.clone());
    let app = App::start(config, Clock::System, Random::System).await.map_err(Failure::Failed)?;
    // Before anybody is told that it is ready, and may stop it.
    let signals = Signals::take().map_err(Failure::Failed)?;
    welcome(&app, bot.as_deref() == Some(GUIDE));
    app.run(signals).await.map_err(Failure::Failed)
}

/// The id that the built-in list of bots gives the guide.
const GUIDE: &str = "guide";

/// Says where the server is, and on the first start how to go on.
fn welcome(app: &App, guide: bool) {
    println!("Wicara is ready at {}", app.base);
    if let Some(url) = app.metrics_url() {
        println!("Metrics for Prometheus at {url}");
    }
    let Some((email, generated)) = &app.administrator else { return };
    let (heading, password) = match generated {
        Some(password) => ("The first administrator, shown only now:", password.as_str()),
        None => ("The first administrator:", "as in auth.admin_password"),
    };
    let question = if guide { "What is Wicara?" } else { "Hello!" };
    println!(
        "
{heading}
  e-mail    {email}
  password  {password}

Ask a question:
  curl -s {base}/api/questions -H 'Content-Type: application/json' -d '{{\"message\": \"{question}\"}}'

The guide: {base}/guide    The API: {base}/docs",
        base = app.base
    );
}
