//! HTML as Markdown: its text, headings, lists and links, so that every document goes one way from here on.
//!
//! `html5gum` splits the page into tags and text as browsers do. No tree is made of them: one pass writes each as it comes,
//! so that no nesting is too deep and no page takes more than a time in proportion to its length. Broken HTML gives some
//! text, never an error.

use html5gum::{StartTag, State, Token, Tokenizer};

use wicara_guide::markdown::escape_into;

use crate::open_elements::{OpenElements, SVG};

#[derive(Debug, Default)]
pub struct Page {
    /// What `<title>` says, as Markdown.
    pub title: Option<String>,
    pub markdown: String,
}

#[must_use]
pub fn to_markdown(html: &str) -> Page {
    let mut writer = Writer::default();
    let mut open = OpenElements::default();
    let mut tokens = Tokenizer::new(html);
    while let Some(Ok(token)) = tokens.next() {
        match token {
            Token::StartTag(tag) => {
                let name = String::from_utf8_lossy(&tag.name);
                // In SVG, `/>` ends an element and scripts are tags and text like all else.
                let in_svg = open.count(SVG) > 0;
                if tag.self_closing && (in_svg || name == SVG) {
                    continue;
                }
                if let (false, Some(state)) = (in_svg, content_state(&name)) {
                    tokens.set_state(state);
                }
                open.start(&name);
                if !open.is_hidden() {
                    writer.start_tag(&name, &tag);
                }
            }
            Token::EndTag(tag) => {
                let name = String::from_utf8_lossy(&tag.name);
                open.end(&name);
                if !open.is_hidden() {
                    writer.end_tag(&name);
                }
            }
            Token::String(text) if !open.is_hidden() => writer.text(&String::from_utf8_lossy(&text)),
            _ => {}
        }
    }
    writer.finish()
}

/// How the content of an element is read that may hold text alone.
fn content_state(name: &str) -> Option<State> {
    match name {
        "title" | "textarea" => Some(State::RcData),
        "script" => Some(State::ScriptData),
        "style" | "xmp" | "iframe" | "noembed" | "noframes" => Some(State::RawText),
        "plaintext" => Some(State::PlainText),
        _ => None,
    }
}

#[derive(Default)]
struct Writer {
    out: String,
    title: Option<String>,
    /// Whether the text is that of a `<title>`, and of which.
    in_title: Option<Title>,
    in_pre: bool,
    link: Option<Link>,
    heading: Option<Heading>,
    /// Where the text of the last cell of this row starts.
    cell: Option<usize>,
    /// White space stands before the next word.
    space: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Title {
    First,
    Another,
}

struct Link {
    /// Where its text starts.
    start: usize,
    href: String,
}

struct Heading {
    /// Where its `#` marks start, and where its text does.
    mark: usize,
    start: usize,
    id: Option<String>,
}

const PARAGRAPH: &str = "\n\n";
const LINE: &str = "\n";
const BREAK: &str = "  \n";
const ITEM: &str = "- ";
const CELL: &str = " | ";

impl Writer {
    fn text(&mut self, text: &str) {
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

    fn words(&mut self, text: &str) {
        let is_space = |c: char| c.is_ascii_whitespace();
        self.space |= text.starts_with(is_space);
        if text.trim().is_empty() {
            self.space |= !text.is_empty();
            return;
        }
        for word in text.split_ascii_whitespace() {
            let at_line_start = self.at_line_start();
            if self.space && !at_line_start {
                self.out.push(' ');
            }
            if at_line_start && starts_block(word) {
                self.out.push('\\');
            }
            escape_into(&mut self.out, &with_entities(word));
            self.space = true;
        }
        self.space = text.ends_with(is_space);
    }

    fn start_tag(&mut self, name: &str, tag: &StartTag<()>) {
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
                self.start(PARAGRAPH);
                let (mark, level) = (self.out.len(), usize::from(name.as_bytes()[1] - b'0'));
                self.mark(&("#".repeat(level) + " "));
                self.heading = Some(Heading { mark, start: self.out.len(), id: attribute("id") });
            }
            _ => {
                // A block may stand around a heading's text, as in `<h1><div>`; after it, the heading was not closed.
                let Some(separator) = separator(name) else { return };
                if self.heading.as_ref().is_some_and(|heading| heading.start < self.out.len()) {
                    self.end_heading();
                }
                if self.heading.is_none() {
                    self.start_block(name, separator);
                }
            }
        }
    }

    fn start_block(&mut self, name: &str, separator: &str) {
        match name {
            "td" | "th" => return self.start_cell(),
            "tr" | "table" => self.cell = None,
            "pre" => self.in_pre = true,
            "li" => self.drop_empty_item(),
            _ => {}
        }
        self.start(separator);
        if name == "li" {
            self.mark(ITEM);
        }
    }

    /// A cell whose text is one paragraph, with or without tags for it, stands in one line with the next.
    fn start_cell(&mut self) {
        if let Some(cell) = self.cell {
            let text = self.out.get(cell..).unwrap_or_default().trim();
            if text.is_empty() || text.contains(PARAGRAPH) {
                self.start(LINE);
            } else {
                self.out.truncate(self.out.trim_end().len());
                self.out.push_str(CELL);
                self.space = false;
            }
        }
        self.cell = Some(self.out.len());
    }

    fn end_tag(&mut self, name: &str) {
        match name {
            "title" => self.in_title = None,
            // As browsers have it.
            "br" => self.line_break(),
            "a" => self.end_link(),
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => self.end_heading(),
            "td" | "th" => {}
            _ => {
                let Some(separator) = separator(name) else { return };
                match name {
                    "pre" => self.in_pre = false,
                    "tr" | "table" => self.cell = None,
                    "li" | "ul" | "ol" | "menu" => self.drop_empty_item(),
                    _ => {}
                }
                if self.heading.is_some() {
                    self.space = true;
                } else {
                    self.start(separator);
                }
            }
        }
    }

    fn line_break(&mut self) {
        if self.heading.is_some() {
            self.space = true;
        } else {
            self.start(BREAK);
        }
    }

    fn end_link(&mut self) {
        let Some(Link { start, href }) = self.link.take() else { return };
        let text = self.out.get(start..).unwrap_or_default();
        let (lead, text) = (text.len() - text.trim_start().len(), text.trim());
        if text.is_empty() || text.contains('\n') {
            return;
        }
        let end = start + lead + text.len();
        let href =
            href.trim().replace(['<', '>', '\n', '\r'], "").replace('\\', "\\\\").replace('&', "&amp;");
        self.out.insert_str(end, &format!("](<{href}>)"));
        self.out.insert(start + lead, '[');
    }

    fn end_heading(&mut self) {
        let Some(Heading { mark, start, id }) = self.heading.take() else { return };
        if self.link.as_ref().is_some_and(|link| link.start >= start) {
            self.end_link();
        }
        let plain = |id: &String| id.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_'));
        if self.out.len() <= start {
            self.out.truncate(mark);
        } else if let Some(id) = id.filter(|id| !id.is_empty() && plain(id)) {
            self.out.push_str(" {#");
            self.out.push_str(&id);
            self.out.push('}');
        }
        self.start(PARAGRAPH);
    }

    /// Starts a new line or paragraph, unless one has just started.
    fn start(&mut self, separator: &str) {
        self.space = false;
        let out = &self.out;
        if out.is_empty() || [PARAGRAPH, ITEM, CELL].iter().any(|start| out.ends_with(start)) {
            return;
        }
        if separator != PARAGRAPH && out.ends_with('\n') {
            return;
        }
        let in_empty_link = self.is_link_empty();
        if separator == PARAGRAPH {
            self.out.truncate(self.out.trim_end().len());
        }
        self.out.push_str(separator);
        self.move_link(in_empty_link);
    }

    /// Writes what a line begins with.
    fn mark(&mut self, mark: &str) {
        let in_empty_link = self.is_link_empty();
        self.out.push_str(mark);
        self.move_link(in_empty_link);
    }

    fn drop_empty_item(&mut self) {
        if let Some(rest) = self.out.strip_suffix(ITEM) {
            let in_empty_link = self.is_link_empty();
            self.out.truncate(rest.len());
            self.move_link(in_empty_link);
        }
    }

    fn is_link_empty(&self) -> bool {
        let text = self.link.as_ref().map(|link| self.out.get(link.start..).unwrap_or_default());
        text.is_some_and(|text| text.trim_start().is_empty())
    }

    /// A link's text begins after the marks of the block that it begins with.
    fn move_link(&mut self, is_empty: bool) {
        if let Some(link) = self.link.as_mut().filter(|_| is_empty) {
            link.start = self.out.len();
        }
    }

    fn at_line_start(&self) -> bool {
        self.out.is_empty() || self.out.ends_with(['\n', ' '])
    }

    fn finish(mut self) -> Page {
        // Nothing ended the link: the rest of the page is not its text.
        self.link = None;
        self.end_heading();
        self.drop_empty_item();
        let title = self.title.unwrap_or_default();
        let mut markdown = String::new();
        escape_into(
            &mut markdown,
            &with_entities(&title.split_ascii_whitespace().collect::<Vec<_>>().join(" ")),
        );
        Page {
            title: Some(markdown).filter(|title| !title.is_empty()),
            markdown: self.out.trim_end().to_owned(),
        }
    }
}

/// How a block is set apart from the text before and after it; `None` for elements within a line.
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

/// Writes `&` as an entity, so that the text begins none, and no-break spaces so that they can be seen.
fn with_entities(text: &str) -> String {
    text.replace('\0', "").replace('&', "&amp;").replace('\u{a0}', "&nbsp;")
}
