//! Converts HTML into Markdown with its text, headings, lists and links, so that all later steps read one format.
//!
//! `html5gum` splits the page into tags and text as browsers do. One pass writes them without building a tree, so that
//! deep nesting cannot overflow the stack, and the time is linear in the length of the page. Broken HTML gives some
//! text, never an error.

use std::collections::HashSet;

use html5gum::{StartTag, State, Token, Tokenizer};

use crate::markdown_writer::{ConvertedPage, MarkdownWriter};
use crate::open_elements::{OpenElements, SVG};

/// The passes over a page in which elements are found whose end tags are missing. Each may show others.
const MAX_PASSES: usize = 4;

#[must_use]
pub fn to_markdown(html: &str) -> ConvertedPage {
    let mut shown = HashSet::new();
    for _ in 1..MAX_PASSES {
        let (page, unclosed) = convert(html, |tag| shown.contains(&tag));
        if unclosed.is_empty() {
            return page;
        }
        shown.extend(unclosed);
    }
    convert(html, |_| true).0
}

/// Converts a page. The elements of the start tags for whose number in the page `is_shown` says yes are not hidden. Also gives
/// the numbers of those that are hidden and whose end tags are missing: they would hide the rest of the page.
fn convert(html: &str, is_shown: impl Fn(usize) -> bool) -> (ConvertedPage, Vec<usize>) {
    let mut writer = MarkdownWriter::default();
    let mut open = OpenElements::default();
    let mut tokens = Tokenizer::new(html);
    let mut tag_number = 0;
    while let Some(Ok(token)) = tokens.next() {
        match token {
            Token::StartTag(tag) => {
                tag_number += 1;
                let name = String::from_utf8_lossy(&tag.name);
                // In SVG, `/>` ends an element, and the content of a script is parsed like that of any other element.
                let in_svg = open.count(SVG) > 0;
                if tag.self_closing && (in_svg || name == SVG) {
                    continue;
                }
                let state = content_state(&name).filter(|_| !in_svg);
                if let Some(state) = state {
                    tokens.set_state(state);
                }
                // The content of a script is no text of the page, whether it ends or not.
                if state.is_some() || !is_shown(tag_number) {
                    open.start(&name, tag_number, is_hidden(&tag));
                }
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
    let unclosed = open.finish();
    (writer.finish(), unclosed.into_iter().filter(|tag| !is_shown(*tag)).collect())
}

/// Whether an element's own attributes keep it from being seen or read out.
fn is_hidden(tag: &StartTag<()>) -> bool {
    let attribute =
        |name: &str| tag.attributes.get(name.as_bytes()).map(|value| String::from_utf8_lossy(value));
    let is_styled_away = |style: &str| {
        let style: String = style.to_ascii_lowercase().split_ascii_whitespace().collect();
        style.contains("display:none") || style.contains("visibility:hidden")
    };
    attribute("hidden").is_some_and(|value| !value.eq_ignore_ascii_case("until-found"))
        || attribute("aria-hidden").is_some_and(|value| value.eq_ignore_ascii_case("true"))
        || attribute("style").is_some_and(|style| is_styled_away(&style))
}

/// The tokenizer's state for the content of an element that holds text but no elements; `None` for all other elements.
fn content_state(name: &str) -> Option<State> {
    match name {
        "title" | "textarea" => Some(State::RcData),
        "script" => Some(State::ScriptData),
        "style" | "xmp" | "iframe" | "noembed" | "noframes" => Some(State::RawText),
        "plaintext" => Some(State::PlainText),
        _ => None,
    }
}
