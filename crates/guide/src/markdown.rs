//! Reads Markdown. The documents bot and the guide's HTML pages share it, so that a link of the bot to a heading has
//! the id that the heading has on the page.

use std::collections::HashMap;
use std::ops::Range;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// The events of a document with their ranges in the source. Every heading has an id, unique in the document.
#[must_use]
pub fn events(markdown: &str) -> Vec<(Event<'_>, Range<usize>)> {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_HEADING_ATTRIBUTES
        | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS
        | Options::ENABLE_PLUSES_DELIMITED_METADATA_BLOCKS;
    let mut events: Vec<_> = Parser::new_ext(markdown, options).into_offset_iter().collect();
    let mut slugs = Slugs::default();
    let mut heading_start = None;
    let mut heading_text = String::new();
    for position in 0..events.len() {
        match &events[position].0 {
            Event::Start(Tag::Heading { .. }) => heading_start = Some(position),
            Event::End(TagEnd::Heading(_)) => {
                let start = heading_start.take().expect("a heading starts before it ends");
                if let Event::Start(Tag::Heading { id, .. }) = &mut events[start].0 {
                    let wanted = id.take().map_or_else(|| slug(&heading_text), |id| id.to_string());
                    *id = Some(slugs.unique(wanted).into());
                }
                heading_text.clear();
            }
            event if heading_start.is_some() => heading_text.push_str(shown(event)),
            _ => {}
        }
    }
    events
}

/// The text that an event adds to the page, without markup; a line break counts as a space.
#[must_use]
pub fn shown<'a>(event: &'a Event<'_>) -> &'a str {
    match event {
        Event::Text(text) | Event::Code(text) => text,
        Event::SoftBreak | Event::HardBreak => " ",
        _ => "",
    }
}

/// Markdown as plain text, one block a line.
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

/// As [`plain`], without blocks of code, whose words are of no language that people speak.
#[must_use]
pub fn prose(markdown: &str) -> String {
    let mut text = String::new();
    let mut in_code = false;
    for (event, _) in events(markdown) {
        match event {
            Event::Start(Tag::CodeBlock(_)) => in_code = true,
            Event::End(TagEnd::CodeBlock) => in_code = false,
            _ if !in_code => {
                text.push_str(shown(&event));
                if matches!(event, Event::End(end) if is_block(end)) {
                    text.push('\n');
                }
            }
            _ => {}
        }
    }
    text
}

/// The title of a page: its first heading of level 1, else `title` in its front matter, else `fallback`, else its first
/// heading of any level.
#[must_use]
pub fn title(markdown: &str, fallback: Option<String>) -> Option<String> {
    let mut front_matter_title = None;
    let mut first_heading = None;
    let (mut in_front_matter, mut heading_level) = (false, None);
    let mut text = String::new();
    for (event, _) in events(markdown) {
        match event {
            Event::Start(Tag::MetadataBlock(_)) => in_front_matter = true,
            Event::End(TagEnd::MetadataBlock(_)) => in_front_matter = false,
            Event::Start(Tag::Heading { level, .. }) => heading_level = Some(level as usize),
            Event::End(TagEnd::Heading(_)) => {
                let heading = std::mem::take(&mut text).trim().to_owned();
                match heading_level.take() {
                    Some(1) if !heading.is_empty() => return Some(heading),
                    _ if heading.is_empty() => {}
                    _ => first_heading = first_heading.or(Some(heading)),
                }
            }
            Event::Text(line) if in_front_matter => {
                // `title: …` between `---`, `title = "…"` between `+++`.
                let title = line
                    .lines()
                    .find_map(|line| line.strip_prefix("title")?.trim_start().strip_prefix([':', '=']));
                let title = title.map(|title| title.trim().trim_matches(['"', '\'']).to_owned());
                front_matter_title = title.or(front_matter_title);
            }
            event if heading_level.is_some() => text.push_str(shown(&event)),
            _ => {}
        }
    }
    front_matter_title.or(fallback).filter(|title| !title.is_empty()).or(first_heading)
}

/// Whether an element ends a word: blocks do, inline elements such as emphasis do not.
#[must_use]
pub fn is_block(end: TagEnd) -> bool {
    !matches!(end, TagEnd::Emphasis | TagEnd::Strong | TagEnd::Strikethrough | TagEnd::Link | TagEnd::Image)
}

/// Writes plain text with the characters escaped that Markdown would take for markup. Entities such as `&amp;` stay
/// entities.
pub fn escape_into(out: &mut String, text: &str) {
    let mut before = ' ';
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        let inside_word =
            before.is_alphanumeric() && characters.peek().is_some_and(|next| next.is_alphanumeric());
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

/// The id of a heading: its letters and digits in lower case, with hyphens for spaces and without other characters.
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

/// The ids used on a page so far, each with the last number that was appended to make it unique.
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
