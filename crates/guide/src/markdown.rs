//! Parses Markdown for the documents bot and the guide's pages alike, so that the bot's links name headings that the pages
//! have.

use std::collections::HashMap;
use std::ops::Range;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// A document's events with their byte ranges in the source. Every heading gets an id that is unique in the document.
#[must_use]
pub fn events(markdown: &str) -> Vec<(Event<'_>, Range<usize>)> {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_HEADING_ATTRIBUTES
        | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS;
    let mut events: Vec<_> = Parser::new_ext(markdown, options).into_offset_iter().collect();
    let mut slugs = Slugs::default();
    let mut heading = None;
    let mut text = String::new();
    for index in 0..events.len() {
        match &events[index].0 {
            Event::Start(Tag::Heading { .. }) => heading = Some(index),
            Event::End(TagEnd::Heading(_)) => {
                let start = heading.take().expect("a heading starts before it ends");
                if let Event::Start(Tag::Heading { id, .. }) = &mut events[start].0 {
                    let wanted = id.take().map_or_else(|| slug(&text), |id| id.to_string());
                    *id = Some(slugs.unique(wanted).into());
                }
                text.clear();
            }
            event if heading.is_some() => text.push_str(shown(event)),
            _ => {}
        }
    }
    events
}

/// The text that an event shows.
#[must_use]
pub fn shown<'a>(event: &'a Event<'_>) -> &'a str {
    match event {
        Event::Text(text) | Event::Code(text) => text,
        Event::SoftBreak | Event::HardBreak => " ",
        _ => "",
    }
}

/// The text of some Markdown, without its markup.
#[must_use]
pub fn plain(markdown: &str) -> String {
    let mut text = String::new();
    for (event, _) in events(markdown) {
        text.push_str(shown(&event));
        if matches!(event, Event::End(end) if is_block(end)) {
            text.push('\n');
        }
    }
    text.trim().to_owned()
}

/// A page's title: its first heading of level 1, else the title in its front matter, else `named`, else its first heading of
/// another level.
#[must_use]
pub fn title(markdown: &str, mut named: Option<String>) -> Option<String> {
    let mut first = None;
    let (mut in_front, mut in_heading) = (false, None);
    let mut text = String::new();
    for (event, _) in events(markdown) {
        match event {
            Event::Start(Tag::MetadataBlock(_)) => in_front = true,
            Event::End(TagEnd::MetadataBlock(_)) => in_front = false,
            Event::Start(Tag::Heading { level, .. }) => in_heading = Some(level as usize),
            Event::End(TagEnd::Heading(_)) => {
                let heading = std::mem::take(&mut text).trim().to_owned();
                match in_heading.take() {
                    Some(1) if !heading.is_empty() => return Some(heading),
                    _ => first = first.or(Some(heading).filter(|heading| !heading.is_empty())),
                }
            }
            Event::Text(line) if in_front => {
                let title = line.lines().find_map(|line| line.strip_prefix("title:"));
                named = title.map(|title| title.trim().trim_matches(['"', '\'']).to_owned()).or(named);
            }
            event if in_heading.is_some() => text.push_str(shown(&event)),
            _ => {}
        }
    }
    named.filter(|title| !title.is_empty()).or(first)
}

/// Whether the end of an element separates words: not so within emphasis or links.
#[must_use]
pub fn is_block(end: TagEnd) -> bool {
    !matches!(end, TagEnd::Emphasis | TagEnd::Strong | TagEnd::Strikethrough | TagEnd::Link | TagEnd::Image)
}

/// Escapes plain text for Markdown. Entities such as `&amp;` are not escaped.
pub fn escape_into(out: &mut String, text: &str) {
    let mut before = ' ';
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let inside_word = before.is_alphanumeric() && rest.peek().is_some_and(|next| next.is_alphanumeric());
        match c {
            '<' => out.push_str("&lt;"),
            '_' if inside_word => out.push(c),
            '*' | '_' | '`' | '[' | ']' | '\\' => out.extend(['\\', c]),
            '#' if out.is_empty() || out.ends_with('\n') => out.push_str("\\#"),
            _ => out.push(c),
        }
        before = c;
    }
}

/// A heading's id: small letters and digits, spaces as hyphens, other signs left out.
fn slug(heading: &str) -> String {
    let mut slug = String::with_capacity(heading.len());
    for c in heading.trim().chars() {
        match c {
            '-' | '_' => slug.push(c),
            _ if c.is_alphanumeric() => slug.extend(c.to_lowercase()),
            _ if c.is_whitespace() => slug.push('-'),
            _ => {}
        }
    }
    if slug.is_empty() { "section".to_owned() } else { slug }
}

/// The ids of a document's headings so far, each with the last number that was appended to it.
#[derive(Default)]
struct Slugs(HashMap<String, usize>);

impl Slugs {
    fn unique(&mut self, wanted: String) -> String {
        let Some(mut number) = self.0.get(&wanted).copied() else {
            self.0.insert(wanted.clone(), 0);
            return wanted;
        };
        let slug = loop {
            number += 1;
            let slug = format!("{wanted}-{number}");
            if !self.0.contains_key(&slug) {
                break slug;
            }
        };
        self.0.insert(slug.clone(), 0);
        self.0.insert(wanted, number);
        slug
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(markdown: &str) -> Vec<String> {
        let ids = events(markdown).into_iter().filter_map(|(event, _)| match event {
            Event::Start(Tag::Heading { id, .. }) => Some(id.unwrap().to_string()),
            _ => None,
        });
        ids.collect()
    }

    #[test]
    fn every_heading_of_a_page_has_its_own_id() {
        let page = "# Start `wicara`!\n## Key\n## Key\n## Key-1\n## ?\n## Own {#key}\n";
        assert_eq!(ids(page), ["start-wicara", "key", "key-1", "key-1-1", "section", "key-2"]);
    }

    #[test]
    fn escaped_text_shows_as_it_was() {
        for text in ["a *b* _c_ [d](e) `f` \\ g_h <i>", "# no heading", "1 < 2"] {
            let mut markdown = String::new();
            escape_into(&mut markdown, text);
            assert_eq!(plain(&markdown), text, "{markdown}");
        }
    }
}
