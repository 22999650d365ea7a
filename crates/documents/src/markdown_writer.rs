//! Writes the tags and the text of an HTML page as Markdown.

use std::ops::{Range, RangeInclusive};

use html5gum::StartTag;
use wicara_guide::markdown::escape_into;

#[derive(Debug, Default)]
pub struct ConvertedPage {
    /// The content of the first `<title>`, as Markdown.
    pub title: Option<String>,
    pub markdown: String,
}

#[derive(Default)]
pub struct MarkdownWriter {
    out: String,
    title: Option<String>,
    /// The `<title>` that the current text belongs to.
    in_title: Option<Title>,
    in_pre: bool,
    link: Option<Link>,
    heading: Option<Heading>,
    /// Where the last cell of the current row starts in `out`.
    cell_start: Option<usize>,
    table: Option<Table>,
    /// White space was read but not written: it is only written before another word on the same line.
    pending_space: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Title {
    First,
    /// Its text is dropped.
    Another,
}

/// The open link. Its brackets are inserted when it ends, as a link without text gets none.
struct Link {
    /// Where its text starts in `out`.
    start: usize,
    href: String,
}

/// The open heading.
struct Heading {
    /// Where its `#` marks start in `out`.
    marks_start: usize,
    text_start: usize,
    id: Option<String>,
}

/// The open table, the outermost one.
struct Table {
    /// Where its text starts in `out`.
    start: usize,
    rows: Vec<Row>,
    /// How many tables are open.
    depth: usize,
    /// Whether another table is in it: then it is no table of Markdown.
    is_nested: bool,
}

#[derive(Default)]
struct Row {
    /// In `out`.
    cells: Vec<Range<usize>>,
    is_head: bool,
}

/// A table with more columns is a layout, and filled up to its longest row it could become very large.
const COLUMNS: RangeInclusive<usize> = 2..=20;

/// What separates two blocks, lines and so on in Markdown.
const PARAGRAPH: &str = "\n\n";
const LINE: &str = "\n";
const BREAK: &str = "  \n";
const ITEM: &str = "- ";
const CELL: &str = " | ";

impl MarkdownWriter {
    pub fn text(&mut self, text: &str) {
        match self.in_title {
            Some(Title::First) => self.title.get_or_insert_default().push_str(text),
            Some(Title::Another) => {}
            None if self.in_pre => {
                for (number, line) in text.split('\n').enumerate() {
                    if number > 0 && !self.at_line_start() {
                        self.out.push_str(BREAK);
                    }
                    self.words(line);
                }
            }
            None => self.words(text),
        }
    }

    /// Writes text with its white space collapsed and its Markdown escaped.
    fn words(&mut self, text: &str) {
        let is_space = |c: char| c.is_ascii_whitespace();
        self.pending_space |= text.starts_with(is_space);
        if text.trim().is_empty() {
            self.pending_space |= !text.is_empty();
            return;
        }
        for word in text.split_ascii_whitespace() {
            let at_line_start = self.at_line_start();
            if self.pending_space && !at_line_start {
                self.out.push(' ');
            }
            if at_line_start && starts_block(word) {
                self.out.push('\\');
            }
            escape_into(&mut self.out, &with_entities(word));
            self.pending_space = true;
        }
        self.pending_space = text.ends_with(is_space);
    }

    pub fn start_tag(&mut self, name: &str, tag: &StartTag<()>) {
        let attribute = |name: &str| {
            tag.attributes.get(name.as_bytes()).map(|value| String::from_utf8_lossy(value).into_owned())
        };
        match name {
            "title" => {
                self.in_title = Some(if self.title.is_none() { Title::First } else { Title::Another });
            }
            "br" => self.line_break(),
            "a" => {
                self.end_link();
                if let Some(href) = attribute("href") {
                    self.link = Some(Link { start: self.out.len(), href });
                }
            }
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => {
                self.end_heading();
                self.separate(PARAGRAPH);
                let (marks_start, level) = (self.out.len(), usize::from(name.as_bytes()[1] - b'0'));
                self.write_line_prefix(&("#".repeat(level) + " "));
                self.heading = Some(Heading { marks_start, text_start: self.out.len(), id: attribute("id") });
            }
            _ => {
                // A block before any text of the heading is within it, as in `<h1><div>`. One after the text means that
                // the page left the heading open.
                let Some(separator) = separator(name) else { return };
                if self.heading.as_ref().is_some_and(|heading| heading.text_start < self.out.len()) {
                    self.end_heading();
                }
                if self.heading.is_none() {
                    self.start_block(name, separator);
                }
            }
        }
    }

    /// Starts a new line for a block, with the marks of a list item.
    fn start_block(&mut self, name: &str, separator: &str) {
        match name {
            "td" | "th" => return self.start_cell(name == "th"),
            "tr" => self.start_row(),
            "table" => return self.start_table(separator),
            "pre" => self.in_pre = true,
            "li" => self.drop_empty_item(),
            _ => {}
        }
        self.separate(separator);
        if name == "li" {
            self.write_line_prefix(ITEM);
        }
    }

    fn start_table(&mut self, separator: &str) {
        self.cell_start = None;
        self.separate(separator);
        match &mut self.table {
            Some(table) => {
                table.depth += 1;
                table.is_nested = true;
            }
            None => {
                let start = self.out.len();
                self.table = Some(Table { start, rows: Vec::new(), depth: 1, is_nested: false });
            }
        }
    }

    fn start_row(&mut self) {
        self.end_cell();
        if let Some(table) = &mut self.table {
            table.rows.push(Row { cells: Vec::new(), is_head: true });
        }
    }

    /// Continues the line of the cell before if that cell is a single paragraph, else starts a new line.
    fn start_cell(&mut self, is_head: bool) {
        let before = self.cell_start;
        self.end_cell();
        if let Some(cell_start) = before {
            let text = self.out.get(cell_start..).unwrap_or_default().trim();
            if text.is_empty() || text.contains(PARAGRAPH) {
                self.separate(LINE);
            } else {
                self.out.truncate(self.out.trim_end().len());
                self.out.push_str(CELL);
                self.pending_space = false;
            }
        } else {
            self.separate(LINE);
        }
        self.cell_start = Some(self.out.len());
        let start = self.out.len();
        if let Some(table) = &mut self.table {
            if table.rows.is_empty() {
                table.rows.push(Row { cells: Vec::new(), is_head: true });
            }
            let row = table.rows.last_mut().expect("a row was pushed");
            row.is_head &= is_head;
            row.cells.push(start..start);
        }
    }

    fn end_cell(&mut self) {
        let end = self.out.trim_end().len();
        if self.cell_start.take().is_some()
            && let Some(cell) = self.table.as_mut().and_then(|table| table.rows.last_mut()?.cells.last_mut())
        {
            cell.end = end.max(cell.start);
        }
    }

    /// Writes the table in Markdown's form, with a head, if each of its cells is a line of text.
    fn end_table(&mut self) {
        self.end_cell();
        let Some(table) = &mut self.table else { return };
        table.depth -= 1;
        if table.depth > 0 {
            return;
        }
        let Some(Table { start, rows, is_nested, .. }) = self.table.take() else { return };
        if is_nested || self.link.as_ref().is_some_and(|link| link.start >= start) {
            return;
        }
        let cell = |range: &Range<usize>| {
            let text = self.out.get(range.clone())?.trim();
            let is_block = text.contains(PARAGRAPH) || text.starts_with(ITEM) || text.contains("\n- ");
            let line = text.split_ascii_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
            (!is_block).then_some(line)
        };
        let rows: Vec<&Row> = rows.iter().filter(|row| !row.cells.is_empty()).collect();
        let texts: Option<Vec<Vec<String>>> =
            rows.iter().map(|row| row.cells.iter().map(cell).collect()).collect();
        let Some(mut texts) = texts else { return };
        let columns = texts.iter().map(Vec::len).max().unwrap_or(0);
        if !COLUMNS.contains(&columns) || texts.len() < 2 {
            return;
        }
        if !rows[0].is_head {
            texts.insert(0, Vec::new());
        }
        let mut markdown = String::new();
        for (number, mut row) in texts.into_iter().enumerate() {
            row.resize(columns, String::new());
            markdown.push_str(&format!("| {} |\n", row.join(CELL)));
            if number == 0 {
                markdown.push_str(&format!("|{}\n", " --- |".repeat(columns)));
            }
        }
        self.out.truncate(start);
        self.out.push_str(markdown.trim_end());
    }

    pub fn end_tag(&mut self, name: &str) {
        match name {
            "title" => self.in_title = None,
            // Browsers take `</br>` for `<br>`.
            "br" => self.line_break(),
            "a" => self.end_link(),
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => self.end_heading(),
            "td" | "th" => {}
            _ => {
                let Some(separator) = separator(name) else { return };
                match name {
                    "pre" => self.in_pre = false,
                    "tr" => self.end_cell(),
                    "table" => self.end_table(),
                    "li" | "ul" | "ol" | "menu" => self.drop_empty_item(),
                    _ => {}
                }
                if self.heading.is_some() {
                    self.pending_space = true;
                } else {
                    self.separate(separator);
                }
            }
        }
    }

    fn line_break(&mut self) {
        if self.heading.is_some() {
            self.pending_space = true;
        } else {
            self.separate(BREAK);
        }
    }

    fn end_link(&mut self) {
        let Some(Link { start, href }) = self.link.take() else { return };
        let text = self.out.get(start..).unwrap_or_default();
        let (leading_spaces, text) = (text.len() - text.trim_start().len(), text.trim());
        if text.is_empty() || text.contains('\n') {
            return;
        }
        let end = start + leading_spaces + text.len();
        let href =
            href.trim().replace(['<', '>', '\n', '\r'], "").replace('\\', "\\\\").replace('&', "&amp;");
        self.out.insert_str(end, &format!("](<{href}>)"));
        self.out.insert(start + leading_spaces, '[');
    }

    fn end_heading(&mut self) {
        let Some(Heading { marks_start, text_start, id }) = self.heading.take() else { return };
        if self.link.as_ref().is_some_and(|link| link.start >= text_start) {
            self.end_link();
        }
        let is_plain = |id: &String| id.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_'));
        if self.out.len() <= text_start {
            self.out.truncate(marks_start);
        } else if let Some(id) = id.filter(|id| !id.is_empty() && is_plain(id)) {
            self.out.push_str(" {#");
            self.out.push_str(&id);
            self.out.push('}');
        }
        self.separate(PARAGRAPH);
    }

    /// Starts a new line or paragraph, unless one has just started.
    fn separate(&mut self, separator: &str) {
        self.pending_space = false;
        let out = &self.out;
        if out.is_empty() || [PARAGRAPH, ITEM, CELL].iter().any(|start| out.ends_with(start)) {
            return;
        }
        if separator != PARAGRAPH && out.ends_with('\n') {
            return;
        }
        let link_was_empty = self.is_link_empty();
        if separator == PARAGRAPH {
            self.out.truncate(self.out.trim_end().len());
        }
        self.out.push_str(separator);
        self.restart_link(link_was_empty);
    }

    /// Writes the marks of a heading or list item.
    fn write_line_prefix(&mut self, marks: &str) {
        let link_was_empty = self.is_link_empty();
        self.out.push_str(marks);
        self.restart_link(link_was_empty);
    }

    fn drop_empty_item(&mut self) {
        if let Some(before) = self.out.strip_suffix(ITEM) {
            let link_was_empty = self.is_link_empty();
            self.out.truncate(before.len());
            self.restart_link(link_was_empty);
        }
    }

    fn is_link_empty(&self) -> bool {
        let text = self.link.as_ref().map(|link| self.out.get(link.start..).unwrap_or_default());
        text.is_some_and(|text| text.trim_start().is_empty())
    }

    /// Moves the start of a link without text behind the marks just written, which are not part of its text.
    fn restart_link(&mut self, was_empty: bool) {
        if let Some(link) = self.link.as_mut().filter(|_| was_empty) {
            link.start = self.out.len();
        }
    }

    fn at_line_start(&self) -> bool {
        self.out.is_empty() || self.out.ends_with(['\n', ' '])
    }

    pub fn finish(mut self) -> ConvertedPage {
        // A link that the page left open would contain the rest of the page, so it gets no brackets.
        self.link = None;
        self.end_heading();
        self.drop_empty_item();
        if let Some(table) = &mut self.table {
            table.depth = 1;
            self.end_table();
        }
        let title = self.title.unwrap_or_default();
        let mut markdown = String::new();
        escape_into(
            &mut markdown,
            &with_entities(&title.split_ascii_whitespace().collect::<Vec<_>>().join(" ")),
        );
        ConvertedPage {
            title: Some(markdown).filter(|title| !title.is_empty()),
            markdown: self.out.trim_end().to_owned(),
        }
    }
}

/// The separator before and after a block; `None` for inline elements.
fn separator(name: &str) -> Option<&'static str> {
    match name {
        "tr" | "td" | "th" | "li" | "dt" | "dd" | "option" => Some(LINE),
        "p" | "div" | "section" | "article" | "main" | "header" | "footer" | "aside" | "nav" | "ul"
        | "ol" | "dl" | "menu" | "table" | "caption" | "blockquote" | "figure" | "figcaption" | "form"
        | "fieldset" | "legend" | "details" | "summary" | "dialog" | "address" | "hgroup" | "center"
        | "hr" | "pre" | "xmp" | "textarea" | "select" | "body" | "head" => Some(PARAGRAPH),
        _ => None,
    }
}

/// Whether Markdown would take a line that begins with this word for a heading, a quote, a rule or a list.
fn starts_block(word: &str) -> bool {
    match word.chars().next() {
        Some('>' | '#' | '~') => true,
        Some(first @ ('-' | '+' | '=')) => word.chars().all(|c| c == first),
        _ => false,
    }
}

/// Writes `&` as an entity where the text would form one, so that it is read as it is written.
fn with_entities(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['&', '\0']) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        rest = &from[1..];
        if from.starts_with('&') {
            let name = rest.strip_prefix('#').unwrap_or(rest);
            let length = name.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(name.len());
            let forms_entity = length > 0 && name[length..].starts_with(';');
            out.push_str(if forms_entity { "&amp;" } else { "&" });
        }
    }
    out.push_str(rest);
    out
}
