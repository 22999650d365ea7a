//! What `wicara serve` prints on stdout when it is ready: URLs, and on the first start the administrator's password.

use std::io;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use wicara_http as http;

use super::output::{self, try_say};
use crate::app::App;

/// How long a start waits until the welcome is written. A reader that is slower gets it later.
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);

/// The id that the built-in list of bots gives the guide.
const GUIDE_ID: &str = "guide";

const UNSHOWN: &str = "the welcome could be written nowhere: if this was the first start, set the first \
                       administrator's password with `wicara user password`";

/// The URLs of the server, and after the first start how to sign in and ask a first question.
pub(super) fn text(app: &App, default_bot: Option<&str>) -> String {
    let base = &app.base;
    let mut ready = format!("Wicara is ready at {base}\n");
    if http::has_pages() {
        ready += &format!("Try it out at {base}/demo, answer people in the console at {base}/\n");
    }
    if let Some(url) = app.metrics_url() {
        ready += &format!("Metrics for Prometheus at {url}\n");
    }
    ready += &format!("Conversations are kept in {}\n", app.database);
    let Some(administrator) = &app.first_administrator else { return ready };
    let email = &administrator.email;
    let (heading, password) = match &administrator.generated_password {
        Some(password) => ("The first administrator, shown only now:", password.as_str()),
        None => ("The first administrator:", "as in auth.admin_password"),
    };
    let question = if default_bot == Some(GUIDE_ID) { "What is Wicara?" } else { "Hello!" };
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

/// Writes the welcome to stdout, from a thread of its own: a stopped terminal or a pipe that nobody reads would otherwise
/// block the start of the server, and its stop.
///
/// `has_secret`: the text holds a generated password, which is shown only now.
pub(super) async fn print(welcome: String, has_secret: bool) {
    let (done, written) = oneshot::channel();
    let thread = std::thread::Builder::new().name("welcome".into()).spawn(move || {
        if let Err(error) = output::write(&welcome) {
            print_to_stderr(&welcome, has_secret, &error);
        }
        let _ = done.send(());
    });
    match thread {
        Ok(_) if timeout(WRITE_TIMEOUT, written).await.is_err() => {
            tracing::warn!("stdout is not read: what the start says waits there for its reader");
        }
        Ok(_) => {}
        Err(error) => tracing::error!(%error, "{UNSHOWN}"),
    }
}

/// For a stdout that cannot be written. The log has the contents of the welcome except for a generated password, which must
/// neither be lost nor get into the log: with one, the whole text goes to stderr as it is.
fn print_to_stderr(welcome: &str, has_secret: bool, error: &io::Error) {
    tracing::warn!(%error, "stdout cannot be written");
    if has_secret {
        let instead =
            format!("wicara: stdout cannot be written ({error}), so its text stands here:\n\n{welcome}");
        if let Err(error) = try_say(&instead) {
            tracing::error!(%error, "{UNSHOWN}");
        }
    }
}
