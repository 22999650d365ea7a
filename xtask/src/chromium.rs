//! The browser that the tests open pages in.

use std::env;
use std::path::PathBuf;
use std::process::Command;

/// What to do where there is none.
pub const INSTALL: &str = "\
The tests need Chromium or Google Chrome, in which they open pages; install it with

  Debian           sudo apt-get install chromium
  Ubuntu           sudo snap install chromium
  Fedora, RHEL     sudo dnf install chromium
  Arch             sudo pacman -S chromium
  Alpine           sudo apk add chromium
  macOS            brew install --cask chromium

and run this again. It needs no display.";

const PROGRAMS: [&str; 7] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "/snap/bin/chromium",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];

/// The first of them that runs.
#[must_use]
pub fn find() -> Option<&'static str> {
    PROGRAMS.into_iter().find(|program| {
        // Some systems have a script by this name that only says where to get the browser.
        Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
    })
}

/// Where it is.
#[must_use]
pub fn path() -> Option<PathBuf> {
    let program = find()?;
    let folders = env::var_os("PATH").unwrap_or_default();
    // A path stays as it is.
    env::split_paths(&folders).map(|folder| folder.join(program)).find(|path| path.is_file())
}
