//! What the tasks need of the machine: found, or installed where we may.

use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use xtask::chromium;
use xtask::nchan::{self, Nchan};
use xtask::postgres::Programs;

const INSTALL_POSTGRES: &str = "\
The tests need the PostgreSQL server programs and its module auto_explain (tested with 15). None were found; install
them with

  Debian, Ubuntu   sudo apt-get install postgresql
  Fedora, RHEL     sudo dnf install postgresql-server postgresql-contrib
  Arch             sudo pacman -S postgresql
  Alpine           sudo apk add postgresql postgresql-contrib
  macOS            brew install postgresql@17

and run this again. No server needs to run: the tests start one of their own.";

const INSTALL_POSTGRES_CLIENTS: &str = "\
The benchmarks need PostgreSQL's programs psql and pgbench, which are missing beside its server; install them with

  Debian, Ubuntu   sudo apt-get install postgresql
  Fedora, RHEL     sudo dnf install postgresql postgresql-contrib
  Arch             sudo pacman -S postgresql
  Alpine           sudo apk add postgresql postgresql-contrib

and run this again.";

const INSTALL_PGBOUNCER: &str = "\
The tests need PgBouncer, which they put before their databases; install it with

  Debian, Ubuntu   sudo apt-get install pgbouncer
  Fedora, RHEL     sudo dnf install pgbouncer
  Arch             sudo pacman -S pgbouncer
  Alpine           sudo apk add pgbouncer
  macOS            brew install pgbouncer

and run this again. It need not run as a service.";

const INSTALL_WRK: &str = "\
The benchmarks need the load generator wrk; install it with

  Debian, Ubuntu   sudo apt-get install wrk
  Arch             sudo pacman -S wrk
  Alpine           sudo apk add wrk
  elsewhere        from its source, https://github.com/wg/wrk

and run this again.";

const INSTALL_PYTHON: &str = "\
This needs Python 3.11 or newer with its modules venv and ensurepip. `python3` is none; install it with

  Debian, Ubuntu   sudo apt-get install python3-venv
  Fedora, RHEL     sudo dnf install python3
  Arch             sudo pacman -S python
  Alpine           sudo apk add python3
  macOS            brew install python3

and run this again.";

const INSTALL_NODE: &str = "\
The web pages are built and tested with Node.js 20.19 or newer and npm. `node` is none, or there is no `npm`; install both
with

  Debian 13        sudo apt-get install nodejs npm
  Fedora, RHEL     sudo dnf install nodejs npm
  Arch             sudo pacman -S nodejs npm
  Alpine           sudo apk add nodejs npm
  macOS            brew install node
  elsewhere        from https://nodejs.org

and run this again.";

pub fn progress(what: &str) {
    eprintln!("xtask: {what}");
}

/// Cargo as from the shell. Some build scripts watch what `cargo run` tells us about this package, and everything
/// that depends on them would be built anew.
pub fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in env::vars_os() {
        let about_us = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
        if name.to_str().is_some_and(about_us) {
            cargo.env_remove(name);
        }
    }
    cargo
}

pub fn postgres() -> Result<Programs> {
    if let Some(programs) = Programs::find() {
        return Ok(programs);
    }
    ensure!(may_install(), INSTALL_POSTGRES);
    progress("no PostgreSQL found: installing it with apt-get");
    without_a_system_cluster(|| apt_get_install("postgresql"))?;
    Programs::find().context("PostgreSQL was installed, yet its programs are not where they are expected")
}

/// Makes sure of psql and pgbench, which some systems keep in packages of their own.
pub fn postgres_clients() -> Result<()> {
    let programs = postgres()?;
    let complete = ["psql", "pgbench"].iter().all(|name| programs.other(name).is_some());
    ensure!(complete, INSTALL_POSTGRES_CLIENTS);
    Ok(())
}

/// Makes sure of PgBouncer, before which the tests put their databases.
pub fn pgbouncer() -> Result<()> {
    // Debian keeps it where only root looks.
    let found = || {
        ["pgbouncer", "/usr/sbin/pgbouncer"]
            .iter()
            .any(|program| Command::new(program).arg("--version").output().is_ok())
    };
    if !found() {
        ensure!(may_install(), INSTALL_PGBOUNCER);
        progress("no PgBouncer found: installing it with apt-get");
        apt_get_install("pgbouncer")?;
        ensure!(found(), INSTALL_PGBOUNCER);
    }
    Ok(())
}

/// Makes sure of the browser that the tests open pages in.
pub fn chromium() -> Result<()> {
    if chromium::find().is_none() {
        ensure!(may_install(), chromium::INSTALL);
        progress("no Chromium found: installing it with apt-get");
        // Ubuntu has it as a snap only, and no package to install.
        apt_get_install("chromium").context(chromium::INSTALL)?;
        ensure!(chromium::find().is_some(), chromium::INSTALL);
    }
    Ok(())
}

/// Makes sure of Node.js and npm, which build the web pages.
pub fn node() -> Result<()> {
    const FITS: &str = "const [major, minor] = process.versions.node.split('.').map(Number); \
                        process.exit(major > 20 || (major === 20 && minor >= 19) ? 0 : 1)";
    let runs = |program: &str, arguments: &[&str]| {
        Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
    };
    let found = || runs("node", &["--eval", FITS]) && runs("npm", &["--version"]);
    if !found() {
        ensure!(may_install(), INSTALL_NODE);
        progress("no Node.js with npm found: installing them with apt-get");
        apt_get_install("nodejs")?;
        apt_get_install("npm")?;
        ensure!(found(), INSTALL_NODE);
    }
    Ok(())
}

pub fn wrk() -> Result<()> {
    // Without arguments it says how it is used, and fails.
    let found = || Command::new("wrk").output().is_ok();
    if !found() {
        ensure!(may_install(), INSTALL_WRK);
        progress("no wrk found: installing it with apt-get");
        apt_get_install("wrk")?;
        ensure!(found(), INSTALL_WRK);
    }
    Ok(())
}

/// Installs nchan where we may; elsewhere the benchmark goes without it.
pub fn nchan() {
    if Nchan::find().is_some() {
        return;
    }
    let install = || {
        ensure!(may_install(), "only root may install it, on Debian and its kin");
        progress("no nchan found: installing it with apt-get");
        without_services(|| apt_get_install(nchan::PACKAGE))
    };
    if let Err(error) = install() {
        progress(&format!("goes on without nchan: {error:#}"));
    }
}

/// Where the programs of these Python packages are, installed if they are not there in the versions that are asked for.
///
/// `requirements` lists everything that is to be installed, each with its hashes.
pub fn python_programs(name: &str, requirements: &Path) -> Result<PathBuf> {
    let environment = env::current_dir()?.join("target/tools").join(name);
    // Its programs name their folder, so that they do not run in another one.
    let wanted = format!("# {}\n{}", environment.display(), fs::read_to_string(requirements)?);
    // Written last, so that it tells of a whole installation.
    let installed = environment.join("installed.txt");
    if fs::read_to_string(&installed).ok().as_ref() != Some(&wanted) {
        progress(&format!("installing {name}"));
        let python = python()?;
        let made = Command::new(python).args(["-m", "venv", "--clear"]).arg(&environment).status()?;
        ensure!(made.success(), "{python} -m venv: {made}");
        let mut pip = Command::new(environment.join("bin/pip"));
        pip.args([
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-compile",
            "--only-binary",
            ":all:",
        ]);
        let done = pip.args(["--no-deps", "--require-hashes", "-r"]).arg(requirements).status()?;
        ensure!(done.success(), "pip install: {done}");
        fs::write(installed, wanted)?;
    }
    Ok(environment.join("bin"))
}

/// A Python that can make an environment to install into.
fn python() -> Result<&'static str> {
    const PYTHON: &str = "python3";
    const FITS: &str = "import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))";
    let fits =
        || Command::new(PYTHON).args(["-c", FITS]).output().is_ok_and(|output| output.status.success());
    if !fits() {
        ensure!(may_install(), INSTALL_PYTHON);
        progress("no Python with venv found: installing it with apt-get");
        apt_get_install("python3-venv")?;
        ensure!(fits(), INSTALL_PYTHON);
    }
    Ok(PYTHON)
}

/// On Debian and its kin, as root.
fn may_install() -> bool {
    let root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
    root && Path::new("/usr/bin/apt-get").exists()
}

fn apt_get_install(package: &str) -> Result<()> {
    for arguments in [&["update"][..], &["install", "-y", "--no-install-recommends", package]] {
        let mut apt_get = Command::new("apt-get");
        let status = apt_get.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").status()?;
        ensure!(status.success(), "apt-get {}: {status}", arguments.join(" "));
    }
    Ok(())
}

/// Debian's package creates a cluster and starts it, unless it is told not to.
fn without_a_system_cluster(install: impl FnOnce() -> Result<()>) -> Result<()> {
    let folder = Path::new("/etc/postgresql-common/createcluster.d");
    let file = folder.join("wicara-test.conf");
    fs::create_dir_all(folder)?;
    fs::write(&file, "create_main_cluster = false\n")?;
    let installed = install();
    fs::remove_file(&file)?;
    installed
}

/// Debian's packages start their services, unless a script says that they may not.
fn without_services(install: impl FnOnce() -> Result<()>) -> Result<()> {
    let script = Path::new("/usr/sbin/policy-rc.d");
    if script.exists() {
        return install();
    }
    fs::write(script, "#!/bin/sh\nexit 101\n")?;
    fs::set_permissions(script, Permissions::from_mode(0o755))?;
    let installed = install();
    fs::remove_file(script)?;
    installed
}
