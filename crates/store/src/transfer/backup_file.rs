//! The file of a backup: gzip of lines of JSON, the same for both engines, written and read as a stream.
//!
//! ```text
//! {"format":"wicara backup","version":1,"schema":3}
//! {"table":"users","key":1,"columns":[["id","int"],["email","text"],…]}
//! [1,"ada@example.org",…]
//! {"rows":1,"sum":"…"}
//! …
//! {"end":"wicara backup","tables":10}
//! ```
//!
//! `schema` is the version of the migrations whose tables these are: a restore makes those tables, writes the rows, and
//! then runs the later migrations. A sum is of the rows' lines (`lines.rs`); gzip has one of the whole file.

use std::fs::{File, OpenOptions, Permissions, hard_link, remove_file, rename};
use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};

use super::database::{PAGE_BYTES, PAGE_ROWS};
use super::lines::{TableSum, line, values};
use super::tables::Table;
use crate::engine::migrations::newest_version;
use crate::engine::{Error, Result, Value};

const FORMAT: &str = "wicara backup";
/// The newest version of the format, which this program writes; it reads all.
const VERSION: u32 = 1;
/// Longer rows are taken for damage. A message has at most 64 MiB, which quotes in JSON within JSON may double twice.
const MAX_ROW: u64 = 1 << 28;
/// The same of lines that are no rows.
const MAX_DESCRIPTION: u64 = 1 << 16;
/// Little work for each byte: the backup shares its machine with the server.
const LEVEL: u32 = 3;

#[derive(Serialize, Deserialize)]
struct Header {
    format: String,
    version: u32,
    schema: i32,
}

#[derive(Serialize, Deserialize)]
struct TableEnd {
    rows: u64,
    sum: String,
}

#[derive(Serialize, Deserialize)]
struct End {
    end: String,
    tables: usize,
}

/// Writes a backup to a file beside the one that it becomes when it is complete.
pub struct BackupWriter {
    lines: GzEncoder<BufWriter<File>>,
    path: PathBuf,
    part: PathBuf,
    tables: usize,
    is_finished: bool,
}

impl BackupWriter {
    /// `path` must not exist. `schema`: the version of the tables that follow.
    pub fn create(path: &Path, schema: i32) -> Result<Self> {
        let part = path.with_added_extension("part");
        let failed = |error: io::Error| Error::Setup(format!("cannot write {}: {error}", part.display()));
        if path.try_exists().map_err(failed)? {
            return Err(already_exists(path));
        }
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&part);
        let file = file.map_err(failed)?;
        if file.try_lock().is_err() {
            return Err(Error::Setup(format!("another backup is writing {}", part.display())));
        }
        // What an interrupted backup left.
        file.set_len(0).and_then(|()| file.set_permissions(Permissions::from_mode(0o600))).map_err(failed)?;
        let lines = GzEncoder::new(BufWriter::new(file), Compression::new(LEVEL));
        let mut writer = Self { lines, path: path.to_owned(), part, tables: 0, is_finished: false };
        writer.json(&Header { format: FORMAT.into(), version: VERSION, schema })?;
        Ok(writer)
    }

    fn failed(&self, error: &io::Error) -> Error {
        Error::Setup(format!("cannot write {}: {error}", self.part.display()))
    }

    fn line(&mut self, line: &str) -> Result<()> {
        let written = self.lines.write_all(line.as_bytes()).and_then(|()| self.lines.write_all(b"\n"));
        written.map_err(|error| self.failed(&error))
    }

    fn json(&mut self, value: &impl Serialize) -> Result<()> {
        let line = serde_json::to_string(value).map_err(|error| self.failed(&error.into()))?;
        self.line(&line)
    }

    pub fn begin_table(&mut self, table: &Table) -> Result<TableSum> {
        self.tables += 1;
        self.json(table)?;
        Ok(TableSum::new(&table.name))
    }

    /// Writes rows and adds them to the sum.
    pub fn rows(&mut self, sum: &mut TableSum, rows: &[Vec<Value>]) -> Result<()> {
        for row in rows {
            let line = line(row);
            sum.add(&line);
            self.line(&line)?;
        }
        Ok(())
    }

    pub fn end_table(&mut self, sum: &TableSum) -> Result<()> {
        self.json(&TableEnd { rows: sum.rows, sum: sum.checksum() })
    }

    /// Completes the file; when this returns, it is on the disk under its name.
    pub fn finish(mut self) -> Result<()> {
        self.json(&End { end: FORMAT.into(), tables: self.tables })?;
        let synced = self.lines.try_finish().and_then(|()| {
            let file = self.lines.get_mut();
            file.flush()?;
            file.get_ref().sync_all()?;
            publish(&self.part, &self.path)?;
            self.is_finished = true;
            // The name is in the folder.
            let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
        });
        synced.map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => already_exists(&self.path),
            _ => self.failed(&error),
        })
    }
}

/// Gives a complete file its name. A file that has the name already is kept, also one that was made a moment ago: a
/// link never replaces a file, a rename does.
fn publish(part: &Path, path: &Path) -> io::Result<()> {
    match hard_link(part, path) {
        Ok(()) => remove_file(part),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(error),
        // The file system has no hard links.
        Err(_) if !path.try_exists()? => rename(part, path),
        Err(_) => Err(ErrorKind::AlreadyExists.into()),
    }
}

impl Drop for BackupWriter {
    fn drop(&mut self) {
        if !self.is_finished {
            let _ = remove_file(&self.part);
        }
    }
}

/// Reads a backup from its beginning to its end, and checks each sum that it comes to.
pub struct BackupReader {
    lines: BufReader<GzDecoder<BufReader<File>>>,
    path: String,
    line: String,
    /// The version of the schema whose tables the file has.
    pub schema: i32,
    tables: usize,
    /// The table that is being read, and the sum of the rows that were.
    table: Option<(Table, TableSum)>,
}

impl BackupReader {
    pub fn open(path: &Path) -> Result<Self> {
        let shown = path.display().to_string();
        let file = File::open(path).map_err(|error| Error::Setup(format!("cannot open {shown}: {error}")))?;
        let lines = BufReader::new(GzDecoder::new(BufReader::new(file)));
        let mut reader = Self { lines, path: shown, line: String::new(), schema: 0, tables: 0, table: None };
        let header = reader
            .next_line(MAX_DESCRIPTION)
            .ok()
            .and_then(|()| serde_json::from_str::<Header>(&reader.line).ok());
        let header = header.filter(|header| header.format == FORMAT);
        let header = header.ok_or_else(|| reader.refused("is no backup of wicara"))?;
        if header.version > VERSION {
            return Err(reader.refused(&format!(
                "is a backup of format {}, and this version of wicara reads formats up to {VERSION}: restore it with \
                 the newer wicara that made it",
                header.version
            )));
        }
        if header.schema > newest_version() {
            return Err(reader.refused(&format!(
                "is a backup of schema version {}, and this version of wicara knows only up to {}: restore it with \
                 the newer wicara that made it",
                header.schema,
                newest_version()
            )));
        }
        if header.schema < 1 {
            return Err(reader.damaged());
        }
        reader.schema = header.schema;
        Ok(reader)
    }

    fn refused(&self, why: &str) -> Error {
        Error::Setup(format!("{} {why}", self.path))
    }

    fn damaged(&self) -> Error {
        self.refused("is damaged: restore another backup")
    }

    fn next_line(&mut self, max: u64) -> Result<()> {
        self.line.clear();
        match self.lines.by_ref().take(max).read_line(&mut self.line) {
            Ok(_) if self.line.ends_with('\n') => Ok(()),
            Ok(read) if read as u64 == max => Err(self.damaged()),
            Ok(_) => Err(self.ends_early()),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(self.ends_early()),
            Err(error) if matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::InvalidInput) => {
                Err(self.damaged())
            }
            Err(error) => Err(Error::Setup(format!("cannot read {}: {error}", self.path))),
        }
    }

    fn ends_early(&self) -> Error {
        self.refused("ends too early: it was cut off, restore another backup")
    }

    /// The next table; `None` at the end of the file. The rows of the one before must be read.
    pub fn next_table(&mut self) -> Result<Option<Table>> {
        self.next_line(MAX_DESCRIPTION)?;
        if let Ok(table) = serde_json::from_str::<Table>(&self.line) {
            if !table.is_sound() {
                return Err(self.damaged());
            }
            self.tables += 1;
            self.table = Some((table.clone(), TableSum::new(&table.name)));
            return Ok(Some(table));
        }
        let end = serde_json::from_str::<End>(&self.line).map_err(|_| self.damaged())?;
        if end.end != FORMAT || end.tables != self.tables {
            return Err(self.damaged());
        }
        // Reading on to the end compares gzip's own sum.
        match self.lines.fill_buf() {
            Ok([]) => {}
            _ => return Err(self.damaged()),
        }
        match self.lines.get_mut().get_mut().fill_buf() {
            Ok([]) => Ok(None),
            _ => Err(self.damaged()),
        }
    }

    /// The next rows of the table; `None` after the last one, where the table's sum is right.
    pub fn rows(&mut self) -> Result<Option<Vec<Vec<Value>>>> {
        let Some((table, mut sum)) = self.table.take() else { return Ok(None) };
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while rows.len() < PAGE_ROWS && bytes < PAGE_BYTES {
            self.next_line(MAX_ROW)?;
            let line = self.line.trim_end_matches('\n');
            if !line.starts_with('[') {
                let end = serde_json::from_str::<TableEnd>(line).map_err(|_| self.damaged())?;
                if end.rows != sum.rows || end.sum != sum.checksum() {
                    return Err(self.damaged());
                }
                return Ok(Some(rows).filter(|rows| !rows.is_empty()));
            }
            sum.add(line);
            bytes += line.len();
            rows.push(values(line, &table, table.columns.len()).map_err(|_| self.damaged())?);
        }
        self.table = Some((table, sum));
        Ok(Some(rows))
    }

    /// Reads the whole file: its tables with their sums.
    pub fn check(mut self, mut seen: impl FnMut(&str, u64)) -> Result<Vec<(Table, TableSum)>> {
        let mut found = Vec::new();
        while let Some(table) = self.next_table()? {
            let mut sum = TableSum::new(&table.name);
            while let Some(rows) = self.rows()? {
                rows.iter().for_each(|row| sum.add(&line(row)));
                seen(&table.name, sum.rows);
            }
            found.push((table, sum));
        }
        Ok(found)
    }
}

fn already_exists(path: &Path) -> Error {
    Error::Setup(format!("{} exists already: name another file, or remove it", path.display()))
}

#[cfg(test)]
mod tests {
    use super::super::tables::ColumnType;
    use super::*;

    /// A file of these lines.
    fn packed(path: &Path, lines: &[&str]) {
        let mut file = GzEncoder::new(File::create(path).unwrap(), Compression::fast());
        for line in lines {
            file.write_all(format!("{line}\n").as_bytes()).unwrap();
        }
        file.finish().unwrap();
    }

    fn refused(path: &Path) -> String {
        let read = BackupReader::open(path).and_then(|reader| reader.check(|_, _| {}));
        read.map(|_| ()).unwrap_err().to_string()
    }

    fn table() -> Table {
        let columns = vec![("id".to_owned(), ColumnType::Int), ("email".to_owned(), ColumnType::Text)];
        Table { name: "users".into(), key: 1, columns }
    }

    fn rows() -> Vec<Vec<Value>> {
        (0..2100).map(|id| vec![Value::Int(id), Value::Text(format!("{id} text"))]).collect()
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let mut writer = BackupWriter::create(&path, 3).unwrap();
        let mut sum = writer.begin_table(&table()).unwrap();
        writer.rows(&mut sum, &rows()).unwrap();
        writer.end_table(&sum).unwrap();
        assert!(!path.exists(), "before it is complete");
        writer.finish().unwrap();

        assert_eq!(BackupReader::open(&path).unwrap().check(|_, _| {}).unwrap(), [(table(), sum)]);
        let mut reader = BackupReader::open(&path).unwrap();
        assert_eq!((reader.schema, reader.next_table().unwrap()), (3, Some(table())));
        let mut found = Vec::new();
        while let Some(rows) = reader.rows().unwrap() {
            assert!(rows.len() < 2100, "in pages");
            found.extend(rows);
        }
        assert_eq!(found, rows());
        assert_eq!(reader.next_table().unwrap(), None);

        // Every end and every damage is noticed.
        let whole = std::fs::read(&path).unwrap();
        for place in (0..whole.len()).step_by(whole.len() / 40) {
            std::fs::write(&path, &whole[..place]).unwrap();
            refused(&path);
            let mut wrong = whole.clone();
            wrong[place] = !wrong[place];
            std::fs::write(&path, wrong).unwrap();
            // The time, compression and system in gzip's header, and the bits that fill its last byte, mean nothing.
            assert!((4..10).contains(&place) || place == whole.len() - 9 || !refused(&path).is_empty());
        }
        std::fs::write(&path, [&whole[..], b"more"].concat()).unwrap();
        assert!(refused(&path).contains("is damaged"));
    }

    #[test]
    fn an_unfinished_file_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let writer = BackupWriter::create(&path, 3).unwrap();
        let told = BackupWriter::create(&path, 3).err().unwrap().to_string();
        assert!(told.contains("another backup is writing"), "{told}");
        drop(writer);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_that_was_made_meanwhile_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let writer = BackupWriter::create(&path, 3).unwrap();
        std::fs::write(&path, "another's").unwrap();
        let told = writer.finish().unwrap_err().to_string();
        assert!(told.contains("a exists already"), "{told}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "another's");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_line_without_end_is_not_read_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let header = r#"{"format":"wicara backup","version":1,"schema":3}"#;
        let long = "x".repeat(1 << 20);
        for (lines, limit) in [(&[&*long][..], MAX_DESCRIPTION), (&[header, &long], MAX_DESCRIPTION)] {
            packed(&path, lines);
            refused(&path);
            let mut reader = match BackupReader::open(&path) {
                Ok(reader) => reader,
                Err(_) => continue,
            };
            reader.next_table().unwrap_err();
            assert!(reader.line.len() as u64 <= limit);
        }
    }

    #[test]
    fn newer_and_wrong_files_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let header = r#"{"format":"wicara backup","version":1,"schema":3}"#;
        let end = r#"{"end":"wicara backup","tables":0}"#;
        packed(&path, &[header, end]);
        assert_eq!(BackupReader::open(&path).unwrap().check(|_, _| {}).unwrap(), []);
        for (lines, expected) in [
            (
                &[r#"{"format":"wicara backup","version":2,"schema":3,"more":1}"#, end][..],
                "backup of format 2",
            ),
            (&[r#"{"format":"wicara backup","version":1,"schema":999}"#, end], "of schema version 999"),
            (&[r#"{"format":"another","version":1,"schema":3}"#, end], "is no backup of wicara"),
            (&[header], "ends too early"),
            (&[header, r#"{"end":"wicara backup","tables":1}"#], "is damaged"),
            (&[header, end, end], "is damaged"),
            (&[header, r#"{"table":"a\"; DROP TABLE users","key":1,"columns":[["a","int"]]}"#], "is damaged"),
            (&[header, r#"{"table":"a","key":2,"columns":[["a","int"]]}"#], "is damaged"),
            (
                &[
                    header,
                    r#"{"table":"a","key":1,"columns":[["a","int"]]}"#,
                    "[1]",
                    r#"{"rows":2,"sum":""}"#,
                ],
                "is damaged",
            ),
            (&[header, r#"{"table":"a","key":1,"columns":[["a","int"]]}"#, r#"["x"]"#], "is damaged"),
        ] {
            packed(&path, lines);
            let told = refused(&path);
            assert!(told.contains(expected) && told.contains(path.to_str().unwrap()), "{told}");
        }
        std::fs::write(&path, header).unwrap();
        assert!(refused(&path).contains("is no backup of wicara"));
        assert!(refused(folder.path()).contains("is no backup of wicara"));
    }
}
