//! Builds the pages of `web/` and writes the table of files that the crate embeds.
//!
//! npm works on a copy in `OUT_DIR`, so that a build of the program leaves the folder of the sources alone.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

type Result<T> = std::result::Result<T, String>;

/// The folder with a build that was made elsewhere.
const DIST: &str = "WICARA_WEB_DIST";

/// Entries of `web/` that are no part of a build: what npm installs and writes, and the tests.
const NO_SOURCES: [&str; 3] = ["node_modules", "dist", "tests"];

/// Files without which the server would have routes to nothing.
const NEEDED: [&str; 4] = ["index.html", "demo.html", "widget.js", "favicon.svg"];

/// Text is compressed where that saves at least this share: one eighth.
const LEAST_SAVING: usize = 8;

/// Compresses the files that it is given for gzip and brotli, which Node has built in: each gets a `.gz` and a `.br` in the
/// folder that it is given first.
const COMPRESS: &str = r#"
const [, out, dist, ...files] = process.argv;
const { readFileSync, writeFileSync, mkdirSync } = require("node:fs");
const { dirname, join } = require("node:path");
const { gzipSync, brotliCompressSync } = require("node:zlib");
for (const file of files) {
  const bytes = readFileSync(join(dist, file));
  mkdirSync(dirname(join(out, file)), { recursive: true });
  writeFileSync(join(out, `${file}.gz`), gzipSync(bytes, { level: 9 }));
  writeFileSync(join(out, `${file}.br`), brotliCompressSync(bytes));
}
"#;

const INSTALL_NPM: &str = "\
npm was not found, which builds the web pages: install Node.js 20.19 or newer with npm (Debian, Ubuntu: apt-get install \
nodejs npm; macOS: brew install node; elsewhere: https://nodejs.org), name a folder with pages that were built elsewhere \
in WICARA_WEB_DIST, or build a server without pages with --no-default-features";

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={DIST}");
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("cargo::error={}", error.replace('\n', " "));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    let table = out.join("files.rs");
    if env::var_os("CARGO_FEATURE_WEB").is_none() {
        return write(&table, b"static EMBEDDED: &[File] = &[];");
    }
    // Held to the end of the process: a second build in this folder waits.
    let lock = File::create(out.join("lock")).map_err(|error| format!("{}: {error}", out.display()))?;
    lock.lock().map_err(|error| format!("the lock of {}: {error}", out.display()))?;

    let dist = match env::var_os(DIST).filter(|folder| !folder.is_empty()) {
        Some(folder) => built_elsewhere(&PathBuf::from(folder))?,
        None => build(&out)?,
    };
    let files = files(&dist, &|_| true)?;
    for needed in NEEDED {
        if !files.contains_key(needed) {
            return Err(format!("the pages in {} lack {needed}", dist.display()));
        }
    }
    let packed = compress(&out, &dist, &files)?;
    write(&table, render(&dist, &packed, &files)?.as_bytes())
}

fn built_elsewhere(folder: &Path) -> Result<PathBuf> {
    // Cargo runs this in the crate's folder; people name a folder from where they are, mostly the workspace's.
    let folder = if folder.is_absolute() { folder.to_owned() } else { Path::new("../..").join(folder) };
    println!("cargo::rerun-if-changed={}", folder.display());
    folder.canonicalize().map_err(|error| format!("{DIST}: {}: {error}", folder.display()))
}

/// Runs npm on a copy of the sources where they have changed since the last time. Returns the folder of the result.
fn build(out: &Path) -> Result<PathBuf> {
    let web = Path::new("../../web");
    if !web.join("package.json").is_file() {
        return Err("there is no web/package.json: the sources are not whole".to_owned());
    }
    let sources = files(web, &is_source)?;
    // Not web/ itself: cargo looks at all that is below a folder, and npm installs there.
    for entry in entries(web)?.into_iter().filter(|entry| is_source(entry)) {
        println!("cargo::rerun-if-changed={}", web.join(entry).display());
    }

    let copy = out.join("web");
    let dist = copy.join("dist");
    let stamp = out.join("built");
    let state = hash_of(&sources).to_string();
    if dist.is_dir() && fs::read_to_string(&stamp).is_ok_and(|built| built == state) {
        return Ok(dist);
    }
    // Written last, so that it tells of a whole build.
    remove(&stamp)?;
    for (path, bytes) in files(&copy, &is_source).unwrap_or_default() {
        if sources.get(&path) != Some(&bytes) {
            remove(&copy.join(path))?;
        }
    }
    for (path, bytes) in &sources {
        if !copy.join(path).exists() {
            write(&copy.join(path), bytes)?;
        }
    }
    let installed = out.join("installed");
    let lock = sources.get("package-lock.json").ok_or("there is no web/package-lock.json")?;
    if fs::read(&installed).ok().as_ref() != Some(lock) {
        remove(&installed)?;
        // All that builds the pages is there for development alone, which NODE_ENV=production would leave out.
        npm(&copy, &["ci", "--include=dev", "--no-audit", "--no-fund", "--prefer-offline"])?;
        write(&installed, lock)?;
    }
    npm(&copy, &["run", "build"])?;
    write(&stamp, state.as_bytes())?;
    Ok(dist)
}

fn is_source(entry: &str) -> bool {
    !NO_SOURCES.contains(&entry) && !entry.starts_with('.')
}

/// Fails with what npm says.
fn npm(folder: &Path, arguments: &[&str]) -> Result<()> {
    let mut npm = Command::new("npm");
    // Told that it is in CI, npm colours nothing and asks nothing.
    npm.args(arguments).current_dir(folder).env("CI", "1").env("NO_COLOR", "1").stdin(Stdio::null());
    match npm.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!(
            "npm {} ({}): {}{}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(INSTALL_NPM.to_owned()),
        Err(error) => Err(format!("npm cannot be started: {error}")),
    }
}

/// Compresses what is worth it, and returns the folder with the results. Without Node, as it may be where the pages were
/// built elsewhere, nothing is compressed.
fn compress(out: &Path, dist: &Path, files: &BTreeMap<String, Vec<u8>>) -> Result<PathBuf> {
    let packed = out.join("packed");
    if packed.exists() {
        fs::remove_dir_all(&packed).map_err(|error| format!("{}: {error}", packed.display()))?;
    }
    let mut node = Command::new("node");
    node.arg("--eval").arg(COMPRESS).arg("--").arg(&packed).arg(dist).args(files.keys());
    match node.output() {
        Ok(output) if output.status.success() => Ok(packed),
        Ok(output) => Err(format!("node: {}", String::from_utf8_lossy(&output.stderr))),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("cargo::warning=node was not found: the pages are embedded without being compressed");
            Ok(packed)
        }
        Err(error) => Err(format!("node cannot be started: {error}")),
    }
}

/// The table as Rust.
fn render(dist: &Path, packed: &Path, files: &BTreeMap<String, Vec<u8>>) -> Result<String> {
    let mut table = "static EMBEDDED: &[File] = &[\n".to_owned();
    for (path, bytes) in files {
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        let packed = |ending: &str| {
            let file = packed.join(format!("{path}.{ending}"));
            match fs::metadata(&file) {
                Ok(data) if data.len() as usize + bytes.len() / LEAST_SAVING <= bytes.len() => {
                    format!("Some(include_bytes!({}))", quoted(&file))
                }
                _ => "None".to_owned(),
            }
        };
        let (gzip, brotli) = (packed("gz"), packed("br"));
        writeln!(
            table,
            "File {{ path: {path:?}, hash: {}, plain: include_bytes!({}), gzip: {gzip}, brotli: {brotli} }},",
            hasher.finish(),
            quoted(&dist.join(path)),
        )
        .map_err(|error| error.to_string())?;
    }
    table.push_str("];\n");
    Ok(table)
}

fn quoted(path: &Path) -> String {
    format!("{:?}", path.display().to_string())
}

fn hash_of(sources: &BTreeMap<String, Vec<u8>>) -> u64 {
    let mut hasher = DefaultHasher::new();
    sources.hash(&mut hasher);
    hasher.finish()
}

/// All files below a folder, but for those in entries of it that are not `wanted`, by their path with slashes.
fn files(folder: &Path, wanted: &dyn Fn(&str) -> bool) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut found = BTreeMap::new();
    for name in entries(folder)?.into_iter().filter(|name| wanted(name)) {
        let path = folder.join(&name);
        if path.is_dir() {
            let below = files(&path, &|_| true)?;
            found.extend(below.into_iter().map(|(below, bytes)| (format!("{name}/{below}"), bytes)));
        } else {
            let bytes = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            found.insert(name, bytes);
        }
    }
    Ok(found)
}

fn entries(folder: &Path) -> Result<Vec<String>> {
    let names = fs::read_dir(folder).and_then(|entries| {
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    });
    names.map_err(|error| format!("{}: {error}", folder.display()))
}

fn write(file: &Path, bytes: &[u8]) -> Result<()> {
    let folder = file.parent().unwrap_or(file);
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(file, bytes))
        .map_err(|error| format!("{}: {error}", file.display()))
}

fn remove(file: &Path) -> Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(format!("{}: {error}", file.display())),
        _ => Ok(()),
    }
}
