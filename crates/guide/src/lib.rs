//! The guide: Wicara's own manual, built into the binary from the Markdown files in `knowledge/`.

mod language;
pub mod markdown;
pub mod render;

use std::sync::LazyLock;

use rust_embed::RustEmbed;

pub use language::Language;

/// Files are named `<language>/<number>-<slug>.md`. The number gives the reading order and is the same for a page and
/// its translation.
#[derive(RustEmbed)]
#[folder = "../../knowledge"]
struct Files;

#[derive(Debug)]
pub struct Page {
    /// The page's name in its address, unique across languages.
    pub slug: String,
    pub language: Language,
    /// The page's position in the reading order, with leading zeros.
    pub number: String,
    pub title: String,
    pub markdown: String,
}

impl Page {
    /// The same page in the other language.
    #[must_use]
    pub fn translation(&self) -> Option<&'static Page> {
        pages().iter().find(|page| page.number == self.number && page.language != self.language)
    }
}

static PAGES: LazyLock<Vec<Page>> = LazyLock::new(|| {
    let mut names: Vec<_> = Files::iter().collect();
    names.sort();
    names.iter().filter_map(|name| load(name)).collect()
});

/// All pages, one language after the other, each in reading order.
#[must_use]
pub fn pages() -> &'static [Page] {
    &PAGES
}

#[must_use]
pub fn page(slug: &str) -> Option<&'static Page> {
    pages().iter().find(|page| page.slug == slug)
}

fn load(name: &str) -> Option<Page> {
    let (folder, file) = name.split_once('/')?;
    let language = Language::ALL.into_iter().find(|language| language.code() == folder)?;
    let (number, slug) = file.strip_suffix(".md")?.split_once('-')?;
    let markdown = String::from_utf8(Files::get(name)?.data.into_owned()).ok()?;
    let title = markdown::title(&markdown, None)?;
    Some(Page { slug: slug.to_owned(), language, number: number.to_owned(), title, markdown })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use pulldown_cmark::{Event, Tag};

    use super::markdown::events;
    use super::*;

    #[test]
    fn every_file_is_a_page_with_a_name_of_its_own_and_a_translation() {
        assert!(pages().len() >= 2);
        assert_eq!(pages().len(), Files::iter().count());
        let slugs: HashSet<_> = pages().iter().map(|page| &page.slug).collect();
        assert_eq!(slugs.len(), pages().len());
        for page in pages() {
            let translation =
                page.translation().unwrap_or_else(|| panic!("{} has no translation", page.slug));
            assert_eq!(headings(page).len(), headings(translation).len(), "{}", page.slug);
        }
    }

    #[test]
    fn every_link_inside_the_guide_leads_to_a_heading_that_is_there() {
        for from in pages() {
            for (event, _) in events(&from.markdown) {
                let Event::Start(Tag::Link { dest_url, .. }) = event else { continue };
                if dest_url.contains(':') {
                    continue;
                }
                let (slug, heading) = dest_url.split_once('#').unwrap_or((&dest_url, ""));
                let to = if slug.is_empty() { Some(from) } else { page(slug) };
                let to = to.unwrap_or_else(|| panic!("{} links to {dest_url}", from.slug));
                assert_eq!(to.language, from.language, "{} links to {dest_url}", from.slug);
                let found = heading.is_empty() || headings(to).iter().any(|id| id == heading);
                assert!(found, "{} links to {dest_url}", from.slug);
            }
        }
    }

    fn headings(page: &Page) -> Vec<String> {
        let ids = events(&page.markdown).into_iter().filter_map(|(event, _)| match event {
            Event::Start(Tag::Heading { id, .. }) => id.map(|id| id.to_string()),
            _ => None,
        });
        ids.collect()
    }
}
