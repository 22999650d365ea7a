//! `wicara serve`

use std::io;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;
use wicara_platform::{Clock, Random};

use super::Failure;
use super::output::{self, try_say};
use crate::app::{App, Signals};
use crate::config::Config;

pub(super) const EXAMPLES: &str = "\
Examples:
  wicara serve
  wicara serve --config /etc/wicara.toml
  WICARA_SERVER__LISTEN=0.0.0.0:8080 wicara serve

Ctrl-C or SIGTERM stops it once running requests are answered, at most server.drain_seconds and two seconds later.";

/// How long a start waits until its welcome is written. A reader that takes longer gets it later.
const WELCOME: Duration = Duration::from_secs(1);

pub(super) async fn run(config: Config) -> Result<(), Failure> {
    let bot = config.bots.iter().find(|bot| bot.default).map(|bot| bot.id.clone());
    // Before anything is served: from its first answer on, a stop that is asked for is a clean one.
    let mut signals = Signals::take().map_err(Failure::Failed)?;
    let app = tokio::select! {
        app = App::start(config, Clock::System, Random::System) => app.map_err(Failure::Failed)?,
        () = signals.wait() => {
            tracing::info!("stopped before it was ready");
            return Ok(());
        }
    };
    let generated = matches!(app.administrator, Some((_, Some(_))));
    greet(welcome(&app, bot.as_deref() == Some(GUIDE)), generated).await;
    app.run(signals).await.map_err(Failure::Failed)
}

/// The id that the built-in list of bots gives the guide.
const GUIDE: &str = "guide";

/// Says where the server is, and on the first start how to go on.
fn welcome(app: &App, guide: bool) -> String {
    let base = &app.base;
    let mut ready = format!("Wicara is ready at {base}\n");
    if let Some(url) = app.metrics_url() {
        ready += &format!("Metrics for Prometheus at {url}\n");
    }
    let Some((email, generated)) = &app.administrator else { return ready };
    let (heading, password) = match generated {
        Some(password) => ("The first administrator, shown only now:", password.as_str()),
        None => ("The first administrator:", "as in auth.admin_password"),
    };
    let question = if guide { "What is Wicara?" } else { "Hello!" };
    format!(
        "{ready}
{heading}
  e-mail    {email}
  password  {password}

Ask a question:
  curl -s {base}/api/questions -H 'Content-Type: application/json' -d '{{\"message\": \"{question}\"}}'

The guide: {base}/guide    The API: {base}/docs
"
    )
}

/// Writes the welcome, which holds a password that is shown only now, if it was `generated`. In a thread of its own, so
/// that a stopped terminal or a pipe that nobody reads holds up neither the server nor its end.
async fn greet(welcome: String, generated: bool) {
    let (done, written) = oneshot::channel();
    let greeting = std::thread::Builder::new().name("welcome".into()).spawn(move || {
        if let Err(error) = output::write(&welcome) {
            turned_away(&welcome, generated, &error);
        }
        let _ = done.send(());
    });
    match greeting {
        Ok(_) if timeout(WELCOME, written).await.is_err() => {
            tracing::warn!("stdout is not read: what the start says waits there for its reader");
        }
        Ok(_) => {}
        Err(error) => tracing::error!(%error, "{UNSHOWN}"),
    }
}

const UNSHOWN: &str = "the welcome could be written nowhere: if this was the first start, set the first \
                       administrator's password with `wicara user password`";

/// stdout did not take the welcome. What stands in it is in the log as well, except for a generated password: that one
/// must not be lost, and never be in the log, so that stderr gets the whole text as it is.
fn turned_away(welcome: &str, generated: bool, error: &io::Error) {
    tracing::warn!(%error, "stdout cannot be written");
    if generated {
        let instead =
            format!("wicara: stdout cannot be written ({error}), so its text stands here:\n\n{welcome}");
        if let Err(error) = try_say(&instead) {
            tracing::error!(%error, "{UNSHOWN}");
        }
    }
}
