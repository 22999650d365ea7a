//! Cuts documents into passages: each is about as long as an answer and belongs to one heading.

use std::ops::Range;

use pulldown_cmark::{Event, LinkType, Tag, TagEnd};
use wicara_guide::Language;
use wicara_guide::markdown::{escape_into, events, is_block, plain, prose, shown, title};

use crate::address::Addresses;
use crate::folder::{Format, SourceFile};
use crate::html;
use crate::language::detect;
use crate::site_tags;
use crate::tables::is_separator;

/// A section longer than this becomes several passages, cut between paragraphs.
const PASSAGE_BYTES: usize = 2_000;
/// A single paragraph, list or table longer than this is cut at the end of a line or a word.
const BLOCK_BYTES: usize = 8_000;

/// The headings that a section without text of its own shows.
const MAX_SUBHEADINGS: usize = 20;
/// The first line of a plain text is its title only if it is no longer.
const MAX_TEXT_TITLE_BYTES: usize = 80;

/// A document, cut into passages.
#[derive(Debug)]
pub struct Page {
    /// Relative to the folder, with `/`. A page of the guide has its slug.
    pub path: String,
    pub title: String,
    /// `None` if it cannot be told.
    pub language: Option<Language>,
    pub passages: Vec<Passage>,
    /// The operator's weight of the page, see [`crate::Settings::weights`].
    pub weight: f32,
}

/// The index of a page, and of a passage within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PassageRef {
    pub page: usize,
    pub passage: usize,
}

#[derive(Debug, Default, Clone)]
pub struct Passage {
    /// The headings above it, outermost first, without the page's title.
    pub headings: Vec<String>,
    /// The id of its heading; `None` before the page's first heading.
    pub fragment: Option<String>,
    /// The text that an answer shows. Its links are absolute.
    pub markdown: String,
    /// The text that is searched, without markup.
    pub text: String,
    pub links: Vec<Link>,
    /// Words that the author of the section names for the search alone: `<!-- words: … -->`.
    pub words: String,
}

/// Begins a comment with words for the search.
const WORDS_COMMENT: &str = "<!-- words:";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub title: String,
    pub url: String,
}

/// Cuts a document into passages. Without a `language`, it is told from the text.
#[must_use]
pub fn page(file: SourceFile, language: Option<Language>, addresses: &Addresses) -> Page {
    let (fallback_title, markdown) = match file.format {
        Format::Markdown => (None, site_tags::without(&file.text)),
        Format::Html => {
            let page = html::to_markdown(&file.text);
            (page.title.map(|title| plain(&title)), page.markdown)
        }
        Format::Text => (text_title(&file.text), markdown_from_text(&file.text)),
    };
    let title = title(&markdown, fallback_title).unwrap_or_else(|| title_from_path(&file.path));
    let mut splitter = Splitter::new(&markdown, &file.path, addresses);
    splitter.run();
    let mut passages = splitter.passages;
    for passage in &mut passages {
        if passage.headings.first() == Some(&title) {
            passage.headings.remove(0);
        }
    }
    let passages = with_subheadings(passages, &file.path, addresses);
    let language = language.or_else(|| detect(&prose(&markdown)));
    Page { path: file.path, title, language, passages, weight: 1.0 }
}

/// Gives the sections that have no text of their own the headings below them as text. Those without such are left out, and
/// so is the page's own heading.
fn with_subheadings(mut passages: Vec<Passage>, path: &str, addresses: &Addresses) -> Vec<Passage> {
    for at in 0..passages.len() {
        if passages[at].markdown.is_empty() {
            passages[at].markdown = subheadings(&passages[at..], path, addresses);
        }
    }
    passages.retain(|passage| !passage.markdown.is_empty());
    passages
}

/// The headings right below that of the first passage, as a list of links.
fn subheadings(passages: &[Passage], path: &str, addresses: &Addresses) -> String {
    let above = &passages[0].headings;
    let is_below = |other: &&Passage| {
        !above.is_empty() && other.headings.len() > above.len() && other.headings.starts_with(above)
    };
    let below = passages[1..].iter().take_while(is_below);
    let mut sections: Vec<&Passage> =
        below.filter(|section| section.headings.len() == above.len() + 1).collect();
    sections.dedup_by_key(|section| &section.fragment);
    let items = sections.into_iter().take(MAX_SUBHEADINGS).map(|section| {
        let mut title = String::new();
        escape_into(&mut title, section.headings.last().expect("it is below another"));
        match addresses.page(path, section.fragment.as_deref()) {
            Some(url) => format!("- [{title}]({url})"),
            None => format!("- {title}"),
        }
    });
    items.collect::<Vec<_>>().join("\n")
}

fn title_from_path(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    stem.replace(['-', '_'], " ")
}

/// The first line of a plain text, if it is short and stands alone.
fn text_title(text: &str) -> Option<String> {
    let mut lines = text.trim_start().lines().map(str::trim);
    let first = lines.next().filter(|line| line.len() <= MAX_TEXT_TITLE_BYTES && !line.ends_with('.'))?;
    lines.next().is_some_and(str::is_empty).then(|| first.to_owned())
}

/// Plain text as Markdown: keeps paragraphs and lists, and escapes everything else that Markdown would take for markup.
fn markdown_from_text(text: &str) -> String {
    let mut markdown = String::with_capacity(text.len());
    for line in text.lines() {
        escape_into(&mut markdown, line.trim());
        markdown.push('\n');
    }
    markdown
}

/// Walks through the events of a page. A passage ends at each heading, and before a block that would make it longer
/// than [`PASSAGE_BYTES`].
struct Splitter<'a> {
    source: &'a str,
    path: &'a str,
    addresses: &'a Addresses,
    passages: Vec<Passage>,
    /// The headings above the current position, outermost first, with their levels.
    headings: Vec<(usize, String)>,
    /// The id of the last heading.
    fragment: Option<String>,
    /// The passage that blocks are being added to.
    current: Passage,
    /// The block that the walk is inside of.
    block: Block,
}

/// A paragraph, list, table or other element at the top level of the document.
#[derive(Default)]
struct Block {
    text: String,
    links: Vec<Link>,
    /// Ranges of the source with the text that replaces them, in rising order, without overlaps.
    replacements: Vec<(Range<usize>, String)>,
    /// The links and images that have not ended, outermost first.
    open_links: Vec<OpenLink>,
}

/// A link or image whose end has not been reached.
struct OpenLink {
    source_range: Range<usize>,
    /// Where its own text begins in the text of the block.
    text_start: usize,
    /// `None` if a reader cannot follow it: then its text alone is shown.
    url: Option<String>,
}

impl<'a> Splitter<'a> {
    fn new(source: &'a str, path: &'a str, addresses: &'a Addresses) -> Self {
        Self {
            source,
            path,
            addresses,
            passages: Vec::new(),
            headings: Vec::new(),
            fragment: None,
            current: Passage::default(),
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
                            self.headings.retain(|(above, _)| *above < *level as usize);
                            self.headings.push((*level as usize, String::new()));
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
                            let (_, heading) = self.headings.last_mut().expect("a heading was entered");
                            self.block.text.trim().clone_into(heading);
                        }
                        TagEnd::HtmlBlock if self.source[range.clone()].starts_with(WORDS_COMMENT) => {
                            let comment = self.source[range].trim().trim_end_matches("-->");
                            self.current.words.push_str(&comment[WORDS_COMMENT.len().min(comment.len())..]);
                        }
                        TagEnd::HtmlBlock => {
                            let inner = html::to_markdown(&self.source[range]).markdown;
                            self.add(&inner, &plain(&inner));
                        }
                        _ => self.add_block(range),
                    }
                }
                // An entity is shown as the sign that it stands for.
                Event::Text(sign) if self.source[range.clone()].starts_with('&') && range.len() > 1 => {
                    let mut shown = String::new();
                    escape_into(&mut shown, &sign);
                    self.block.text.push_str(&sign);
                    self.block.replacements.push((range, shown));
                }
                Event::InlineHtml(_) => self.block.replacements.push((range, String::new())),
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
                self.open_link(range, url);
            }
            // An image without an address that a reader can reach is replaced by its alternative text.
            Tag::Image { dest_url, .. } => {
                let url = self.addresses.resolve(self.path, dest_url);
                self.open_link(range, url);
            }
            _ => {}
        }
    }

    fn open_link(&mut self, source_range: Range<usize>, url: Option<String>) {
        self.block.open_links.push(OpenLink { source_range, text_start: self.block.text.len(), url });
    }

    fn leave(&mut self, end: TagEnd) {
        let block = &mut self.block;
        if matches!(end, TagEnd::Link | TagEnd::Image)
            && let Some(OpenLink { source_range, text_start, url }) = block.open_links.pop()
        {
            let title = block.text[text_start..].trim().to_owned();
            let mut shown = String::new();
            escape_into(&mut shown, &title);
            if let Some(url) = url {
                let prefix = if end == TagEnd::Image { "!" } else { "" };
                shown = format!("{prefix}[{shown}]({url})");
                if end == TagEnd::Link && !title.is_empty() {
                    block.links.push(Link { title, url });
                }
            }
            // The link is replaced as a whole, so replacements inside it would overlap.
            while block.replacements.last().is_some_and(|(inner, _)| inner.start >= source_range.start) {
                block.replacements.pop();
            }
            block.replacements.push((source_range, shown));
        }
        if is_block(end) {
            block.text.push('\n');
        }
    }

    fn add_block(&mut self, range: Range<usize>) {
        let block = std::mem::take(&mut self.block);
        // The indentation belongs to the block: that of indented code makes it code.
        let line_start = self.source[..range.start].rfind('\n').map_or(0, |at| at + 1);
        let start =
            if self.source[line_start..range.start].trim().is_empty() { line_start } else { range.start };
        let mut markdown = String::with_capacity(range.len());
        let mut copied_to = start;
        for (replaced, shown) in &block.replacements {
            markdown.push_str(&self.source[copied_to..replaced.start]);
            markdown.push_str(shown);
            copied_to = replaced.end;
        }
        markdown.push_str(&self.source[copied_to..range.end]);
        self.add(markdown.trim_end(), block.text.trim());
        self.current.links.extend(block.links);
    }

    /// Adds a block to the current passage, or to a new one where that would be too long.
    fn add(&mut self, markdown: &str, text: &str) {
        if markdown.len() > BLOCK_BYTES {
            // The parts of a table have its head each.
            let head = table_head(markdown);
            let mut remaining = markdown;
            while !remaining.is_empty() {
                let (first, others) = remaining.split_at(split_position(remaining));
                let is_continued = remaining.len() < markdown.len();
                let part = format!("{}{}", if is_continued { head } else { "" }, first.trim_end());
                self.close();
                self.current.text = plain(&part);
                self.current.markdown = part;
                remaining = others;
            }
            return;
        }
        if !self.current.markdown.is_empty() && self.current.markdown.len() + markdown.len() > PASSAGE_BYTES {
            self.close();
        }
        for (existing, added) in [(&mut self.current.markdown, markdown), (&mut self.current.text, text)] {
            if !existing.is_empty() && !added.is_empty() {
                existing.push_str("\n\n");
            }
            existing.push_str(added);
        }
    }

    /// Finishes the current passage. One without a letter or digit is dropped, unless it is the first below its heading: then
    /// its text is empty.
    fn close(&mut self) {
        let mut passage = std::mem::take(&mut self.current);
        let has_text = passage.text.chars().any(char::is_alphanumeric);
        let is_first = self.passages.last().is_none_or(|last| last.fragment != self.fragment);
        if !has_text {
            (passage.markdown, passage.text) = (String::new(), String::new());
        }
        if has_text || (is_first && !self.headings.is_empty()) {
            passage.headings = self.headings.iter().map(|(_, heading)| heading.clone()).collect();
            passage.fragment.clone_from(&self.fragment);
            self.passages.push(passage);
        }
    }
}

/// The head of a table with the line below it; empty for all else.
fn table_head(markdown: &str) -> &str {
    let ends = markdown.match_indices('\n').map(|(at, _)| at + 1);
    let mut ends = ends.take(2);
    match (ends.next(), ends.next()) {
        (Some(first), Some(second)) if is_separator(markdown[first..second].trim()) => &markdown[..second],
        _ => "",
    }
}

/// Where to cut an overlong block: after the last line or word that fits, else between two characters.
fn split_position(text: &str) -> usize {
    if text.len() <= BLOCK_BYTES {
        return text.len();
    }
    let end = text.floor_char_boundary(BLOCK_BYTES);
    let fitting = &text[..end];
    fitting.rfind('\n').or_else(|| fitting.rfind(' ')).map_or(end, |at| at + 1)
}
