//! Documents cut into passages, each about as long as an answer and each under its heading.

use std::ops::Range;

use pulldown_cmark::{Event, LinkType, Tag, TagEnd};
use wicara_guide::Language;
use wicara_guide::markdown::{escape_into, events, is_block, plain, shown, title};

use crate::address::Addresses;
use crate::folder::{File, Format};
use crate::html;
use crate::language::detect;

/// A section longer than this becomes several passages, cut between paragraphs.
const PASSAGE_BYTES: usize = 2_000;
/// A single paragraph, list or table longer than this is cut wherever a line ends.
const BLOCK_BYTES: usize = 8_000;

#[derive(Debug)]
pub struct Page {
    /// Where it stands among the documents, with slashes.
    pub path: String,
    pub title: String,
    pub language: Option<Language>,
    pub passages: Vec<Passage>,
}

#[derive(Debug, Default, Clone)]
pub struct Passage {
    /// The headings that it stands under, outermost first, without the page's title.
    pub headings: Vec<String>,
    /// The id of its heading; `None` before the first one.
    pub fragment: Option<String>,
    /// As it is shown; links in it lead where they led in the document.
    pub markdown: String,
    /// As it is searched.
    pub text: String,
    pub links: Vec<Link>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub title: String,
    pub url: String,
}

#[must_use]
pub fn page(file: File, language: Option<Language>, addresses: &Addresses) -> Page {
    let (named, markdown) = match file.format {
        Format::Markdown => (None, file.text),
        Format::Html => {
            let page = html::to_markdown(&file.text);
            (page.title.map(|title| plain(&title)), page.markdown)
        }
        Format::Text => (None, from_text(&file.text)),
    };
    let title = title(&markdown, named).unwrap_or_else(|| from_path(&file.path));
    let mut splitter = Splitter::new(&markdown, &file.path, addresses);
    splitter.run();
    let mut passages = splitter.passages;
    for passage in &mut passages {
        if passage.headings.first() == Some(&title) {
            passage.headings.remove(0);
        }
    }
    let language = language.or_else(|| detect(&plain(&markdown)));
    Page { path: file.path, title, language, passages }
}

fn from_path(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    stem.replace(['-', '_'], " ")
}

/// Plain text as Markdown: its paragraphs and lists stay, nothing else becomes markup.
fn from_text(text: &str) -> String {
    let mut markdown = String::with_capacity(text.len());
    for line in text.lines() {
        escape_into(&mut markdown, line.trim());
        markdown.push('\n');
    }
    markdown
}

struct Splitter<'a> {
    source: &'a str,
    path: &'a str,
    addresses: &'a Addresses,
    passages: Vec<Passage>,
    /// The headings that what comes next stands under, with their levels.
    trail: Vec<(usize, String)>,
    fragment: Option<String>,
    /// The passage that grows.
    open: Passage,
    block: Block,
}

/// A paragraph, list, table or another element of the first level.
#[derive(Default)]
struct Block {
    text: String,
    links: Vec<Link>,
    /// What stands in the source and what is shown in its place.
    edits: Vec<(Range<usize>, String)>,
    /// The links that are open: where each stands, where its text begins, where it leads.
    inside: Vec<(Range<usize>, usize, Option<String>)>,
}

impl<'a> Splitter<'a> {
    fn new(source: &'a str, path: &'a str, addresses: &'a Addresses) -> Self {
        Self {
            source,
            path,
            addresses,
            passages: Vec::new(),
            trail: Vec::new(),
            fragment: None,
            open: Passage::default(),
            block: Block::default(),
        }
    }

    fn run(&mut self) {
        let mut depth = 0;
        let mut skipped = false;
        for (event, range) in events(self.source) {
            match event {
                Event::Start(tag) => {
                    if depth == 0 {
                        self.block = Block::default();
                        skipped = matches!(tag, Tag::MetadataBlock(_));
                        if let Tag::Heading { level, id, .. } = &tag {
                            self.close();
                            self.trail.retain(|(above, _)| *above < *level as usize);
                            self.trail.push((*level as usize, String::new()));
                            self.fragment = id.as_ref().map(ToString::to_string);
                        }
                    }
                    depth += 1;
                    self.enter(&tag, range);
                }
                Event::End(end) => {
                    depth -= 1;
                    self.leave(end);
                    match end {
                        _ if depth > 0 || skipped => {}
                        TagEnd::Heading(_) => {
                            let (_, heading) = self.trail.last_mut().expect("a heading was entered");
                            self.block.text.trim().clone_into(heading);
                        }
                        TagEnd::HtmlBlock => {
                            let inner = html::to_markdown(&self.source[range]).markdown;
                            self.add(&inner, &plain(&inner));
                        }
                        _ => self.add_block(range),
                    }
                }
                Event::InlineHtml(_) => self.block.edits.push((range, String::new())),
                event => self.block.text.push_str(shown(&event)),
            }
        }
        self.close();
    }

    fn enter(&mut self, tag: &Tag<'_>, range: Range<usize>) {
        match tag {
            Tag::Link { link_type, dest_url, .. } => {
                let written = match link_type {
                    LinkType::Email => format!("mailto:{dest_url}"),
                    _ => dest_url.to_string(),
                };
                let url = self.addresses.resolve(self.path, &written);
                self.block.inside.push((range, self.block.text.len(), url));
            }
            // A picture is shown where it can be reached, else by the words that stand for it.
            Tag::Image { dest_url, .. } => {
                let url = self.addresses.resolve(self.path, dest_url);
                self.block.inside.push((range, self.block.text.len(), url));
            }
            _ => {}
        }
    }

    fn leave(&mut self, end: TagEnd) {
        let block = &mut self.block;
        if matches!(end, TagEnd::Link | TagEnd::Image)
            && let Some((range, start, url)) = block.inside.pop()
        {
            let title = block.text[start..].trim().to_owned();
            let mut shown = String::new();
            escape_into(&mut shown, &title);
            if let Some(url) = url {
                let mark = if end == TagEnd::Image { "!" } else { "" };
                shown = format!("{mark}[{shown}]({url})");
                if end == TagEnd::Link && !title.is_empty() {
                    block.links.push(Link { title, url });
                }
            }
            // What was edited inside is replaced as a whole.
            while block.edits.last().is_some_and(|(inner, _)| inner.start >= range.start) {
                block.edits.pop();
            }
            block.edits.push((range, shown));
        }
        if is_block(end) {
            block.text.push('\n');
        }
    }

    fn add_block(&mut self, range: Range<usize>) {
        let block = std::mem::take(&mut self.block);
        // An indented block's own indentation belongs to it.
        let line = self.source[..range.start].rfind('\n').map_or(0, |at| at + 1);
        let start = if self.source[line..range.start].trim().is_empty() { line } else { range.start };
        let mut markdown = String::with_capacity(range.len());
        let mut from = start;
        for (place, shown) in &block.edits {
            markdown.push_str(&self.source[from..place.start]);
            markdown.push_str(shown);
            from = place.end;
        }
        markdown.push_str(&self.source[from..range.end]);
        self.add(markdown.trim_end(), block.text.trim());
        self.open.links.extend(block.links);
    }

    fn add(&mut self, markdown: &str, text: &str) {
        if markdown.len() > BLOCK_BYTES {
            let mut rest = markdown;
            while !rest.is_empty() {
                let (piece, left) = rest.split_at(cut(rest));
                self.close();
                self.open.markdown = piece.trim_end().to_owned();
                self.open.text = plain(piece);
                rest = left;
            }
            return;
        }
        if !self.open.markdown.is_empty() && self.open.markdown.len() + markdown.len() > PASSAGE_BYTES {
            self.close();
        }
        for (all, more) in [(&mut self.open.markdown, markdown), (&mut self.open.text, text)] {
            if !all.is_empty() && !more.is_empty() {
                all.push_str("\n\n");
            }
            all.push_str(more);
        }
    }

    /// Ends the passage that grows; one that has nothing to say is dropped.
    fn close(&mut self) {
        let mut passage = std::mem::take(&mut self.open);
        if passage.text.chars().any(char::is_alphanumeric) {
            passage.headings = self.trail.iter().map(|(_, heading)| heading.clone()).collect();
            passage.fragment.clone_from(&self.fragment);
            self.passages.push(passage);
        }
    }
}

/// Where to cut an overlong block: at the end of a line or a word where there is one, else between characters.
fn cut(text: &str) -> usize {
    if text.len() <= BLOCK_BYTES {
        return text.len();
    }
    let end = text.floor_char_boundary(BLOCK_BYTES);
    let part = &text[..end];
    part.rfind('\n').or_else(|| part.rfind(' ')).map_or(end, |at| at + 1)
}
