//! `cargo xtask dist`: an archive to install from, with the program, its unit for systemd, licences and checksums.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::setup::{cargo, progress};

/// The files of the archive beside the program and the licences of others.
const FILES: [&str; 5] =
    ["README.md", "CHANGELOG.md", "LICENSE", "wicara.default.toml", "packaging/wicara.service"];
/// How the names of files with a licence begin, in capitals.
const LICENCE_NAMES: [&str; 5] = ["LICENSE", "LICENCE", "COPYING", "NOTICE", "UNLICENSE"];

pub fn run() -> Result<ExitCode> {
    let built = cargo().args(["build", "--release", "--locked"]).status()?;
    ensure!(built.success(), "cargo build: {built}");
    let host = host()?;
    let metadata = metadata(&host)?;
    let packages = metadata["packages"].as_array().context("cargo metadata has no packages")?;
    let version = packages.iter().find(|package| package["name"] == "wicara");
    let version = version.and_then(|package| package["version"].as_str()).context("wicara has no version")?;

    let dist = Path::new("target/dist");
    let name = format!("wicara-{version}-{host}");
    let folder = dist.join(&name);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    fs::copy("target/release/wicara", folder.join("wicara"))?;
    for file in FILES.map(Path::new) {
        let to = folder.join(file.file_name().context("a file has a name")?);
        fs::copy(file, to).with_context(|| file.display().to_string())?;
    }
    fs::write(folder.join("THIRD-PARTY-LICENSES.txt"), licences(&metadata)?)?;

    let archive = format!("{name}.tar.gz");
    // Everything that would differ from run to run is left out: owner, order, times of the archive.
    let packed = Command::new("tar")
        .args(["--create", "--gzip", "--owner=0", "--group=0", "--numeric-owner", "--file", &archive, &name])
        .current_dir(dist)
        .status()
        .context("tar cannot be started")?;
    ensure!(packed.success(), "tar: {packed}");
    check(&dist.join(&archive), &name)?;
    let sum = Sha256::digest(fs::read(dist.join(&archive))?);
    let sum = sum.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    fs::write(dist.join("SHA256SUMS"), format!("{sum}  {archive}\n"))?;
    println!("{}\n{}", dist.join(&archive).display(), dist.join("SHA256SUMS").display());
    Ok(ExitCode::SUCCESS)
}

/// The target triple of this machine.
fn host() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("rustc cannot be started")?;
    let text = String::from_utf8(output.stdout)?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not say its host")?.to_owned())
}

fn metadata(host: &str) -> Result<Value> {
    let output = cargo()
        .args(["metadata", "--format-version", "1", "--locked", "--filter-platform", host])
        .output()?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Unpacks the archive and starts the program in it.
fn check(archive: &Path, name: &str) -> Result<()> {
    let folder = PathBuf::from("target/dist/check");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let unpacked = Command::new("tar")
        .args(["--extract", "--file"])
        .arg(archive)
        .arg("--directory")
        .arg(&folder)
        .status()?;
    ensure!(unpacked.success(), "tar: {unpacked}");
    let output = Command::new(folder.join(name).join("wicara")).arg("--version").output()?;
    ensure!(output.status.success(), "the program in the archive does not start");
    progress(String::from_utf8_lossy(&output.stdout).trim_end());
    fs::remove_dir_all(folder)?;
    Ok(())
}

/// The licences of all packages that are in the program, each text once with the packages that it is of.
fn licences(metadata: &Value) -> Result<String> {
    let in_program = packages_in_program(metadata)?;
    let packages = metadata["packages"].as_array().context("cargo metadata has no packages")?;
    let mut texts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut summary = String::new();
    for package in packages {
        let text_of = |field: &str| package[field].as_str().unwrap_or_default();
        // Without a source it is one of the project's own.
        if package["source"].is_null() || !in_program.contains(text_of("id")) {
            continue;
        }
        let name = format!("{} {}", text_of("name"), text_of("version"));
        writeln!(summary, "{name}: {}", text_of("license"))?;
        let manifest = Path::new(text_of("manifest_path"));
        for text in licence_files(manifest.parent().context("a manifest is in a folder")?)? {
            texts.entry(text).or_default().insert(name.clone());
        }
    }
    let mut all = format!("The program contains these packages:\n\n{summary}");
    for (text, packages) in texts {
        let packages: Vec<_> = packages.into_iter().collect();
        write!(all, "\n{}\n{}\n\n{}\n", "-".repeat(80), packages.join(", "), text.trim_end())?;
    }
    Ok(all)
}

/// The texts of licences in a folder and the folders in it, where packages keep foreign code.
fn licence_files(folder: &Path) -> Result<Vec<String>> {
    let mut texts = Vec::new();
    let mut folders = vec![folder.to_owned()];
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            folders.push(entry.path());
        }
    }
    for entry in folders.iter().flat_map(fs::read_dir).flatten() {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_uppercase();
        if entry.file_type()?.is_file() && LICENCE_NAMES.iter().any(|begin| name.starts_with(begin)) {
            texts.push(String::from_utf8_lossy(&fs::read(entry.path())?).into_owned());
        }
    }
    Ok(texts)
}

/// The ids of the packages that the program is linked from: not those of its tests and build scripts.
fn packages_in_program(metadata: &Value) -> Result<BTreeSet<String>> {
    let nodes = metadata["resolve"]["nodes"].as_array().context("cargo metadata has no graph")?;
    let packages = metadata["packages"].as_array().context("cargo metadata has no packages")?;
    let program = packages.iter().find(|package| package["name"] == "wicara").context("no wicara")?;
    let mut waiting = vec![program["id"].as_str().context("a package has an id")?];
    let mut found = BTreeSet::new();
    while let Some(id) = waiting.pop() {
        if !found.insert(id.to_owned()) {
            continue;
        }
        let node = nodes.iter().find(|node| node["id"] == id).context("the graph is whole")?;
        for dependency in node["deps"].as_array().into_iter().flatten() {
            let kinds = dependency["dep_kinds"].as_array();
            let is_linked = kinds.into_iter().flatten().any(|kind| kind["kind"].is_null());
            if let Some(id) = dependency["pkg"].as_str().filter(|_| is_linked) {
                waiting.push(id);
            }
        }
    }
    Ok(found)
}
