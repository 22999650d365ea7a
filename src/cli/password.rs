//! Reads a password: from `WICARA_PASSWORD`, else typed twice on the terminal.

use std::io::{self, IsTerminal};

use wicara_model::terminal::visible_line;

use super::Failure;
use crate::config;

const VARIABLE: &str = "WICARA_PASSWORD";

/// The password for the person with this e-mail.
pub(super) fn read(email: &str) -> Result<String, Failure> {
    if let Some(password) = config::secret(VARIABLE).map_err(|error| Failure::usage(error.to_string()))? {
        return Ok(password);
    }
    if !io::stdin().is_terminal() {
        return Err(Failure::usage(format!(
            "there is no terminal to type the password for {email} at: put it into {VARIABLE}"
        )));
    }
    let ask = |prompt: String| {
        rpassword::prompt_password(prompt).map_err(|error| {
            Failure::failed(format!("no password could be read ({error}): put it into {VARIABLE}"))
        })
    };
    let password = ask(format!("Password for {}: ", visible_line(email)))?;
    if ask("Once more: ".to_owned())? == password {
        Ok(password)
    } else {
        Err(Failure::failed("the two passwords differ, nothing was changed: try again"))
    }
}
