//! The web addresses of documents and of the links in them.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Everything except the unreserved characters of RFC 3986.
const ENCODED_IN_FRAGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const ENCODED_IN_PATH: &AsciiSet = &ENCODED_IN_FRAGMENT.remove(b'/');
/// Characters that would end an address within Markdown, such as brackets and spaces. All others stay as the author
/// wrote them, `%` too: it begins an escape.
const ENCODED_IN_LINK: &AsciiSet = &ENCODED_IN_PATH
    .remove(b':')
    .remove(b'?')
    .remove(b'#')
    .remove(b'@')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b'%');

/// Resolves addresses against the one under which the documents are served, if they are.
#[derive(Debug, Clone)]
pub struct Addresses {
    base: Option<String>,
    /// In place of the extension of a document, if set.
    suffix: Option<String>,
}

/// The extensions of documents.
const DOCUMENTS: [&str; 5] = [".md", ".markdown", ".html", ".htm", ".txt"];
/// The names of documents that are served at the address of their folder, where a suffix is `/`.
const FOLDER_PAGES: [&str; 3] = ["index", "readme", "_index"];

impl Addresses {
    /// An empty `base` means that the documents are not served on the web.
    #[must_use]
    pub fn new(base: &str) -> Self {
        let base = base.trim_end_matches('/');
        Self { base: (!base.is_empty()).then(|| base.to_owned()), suffix: None }
    }

    /// Writes `suffix` in place of the documents' extensions, as site generators do.
    #[must_use]
    pub fn with_suffix(self, suffix: Option<String>) -> Self {
        Self { suffix, ..self }
    }

    /// The path at which the document at `path` is served.
    fn served<'a>(&self, path: &'a str) -> Cow<'a, str> {
        let is_document =
            |path: &str| DOCUMENTS.iter().find_map(|extension| path.strip_suffix(extension)).map(str::len);
        let (Some(suffix), Some(end)) = (&self.suffix, is_document(&path.to_ascii_lowercase())) else {
            return Cow::Borrowed(path);
        };
        let stem = &path[..end];
        let (folder, name) = stem.rsplit_once('/').map_or(("", stem), |(folder, name)| (folder, name));
        if suffix == "/" && FOLDER_PAGES.contains(&name.to_ascii_lowercase().as_str()) {
            return Cow::Owned(if folder.is_empty() { String::new() } else { format!("{folder}/") });
        }
        Cow::Owned(format!("{stem}{suffix}"))
    }

    /// The address of a document; `None` if it is not on the web. `path` is relative to the base.
    #[must_use]
    pub fn page(&self, path: &str, fragment: Option<&str>) -> Option<String> {
        let mut url = format!("{}/{}", self.base.as_ref()?, encode(&self.served(path), ENCODED_IN_PATH));
        if let Some(fragment) = fragment {
            url.push('#');
            url.push_str(&encode(fragment, ENCODED_IN_FRAGMENT));
        }
        Some(url)
    }

    /// The absolute address of `link`, as the document at `path` has it. `None` if a reader cannot follow it: schemes
    /// other than those of the web, mail and telephone; a path from the root of a site or above the base; any relative
    /// link while the documents are not on the web.
    #[must_use]
    pub fn resolve(&self, path: &str, link: &str) -> Option<String> {
        if let Some((scheme, _)) = link.split_once(':')
            && !scheme.contains(['/', '#', '?'])
        {
            let is_allowed =
                ["http", "https", "mailto", "tel"].iter().any(|s| scheme.eq_ignore_ascii_case(s));
            return is_allowed.then(|| encode_link(link));
        }
        if link.starts_with('/') {
            return None;
        }
        if link.starts_with(['#', '?']) {
            return Some(self.page(path, None)? + &encode_link(link));
        }
        let mut folders: Vec<&str> = path.split('/').collect();
        folders.pop();
        let (target, suffix) = link.split_at(link.find(['#', '?']).unwrap_or(link.len()));
        for segment in target.split('/') {
            match segment {
                "" | "." => {}
                ".." => drop(folders.pop()?),
                _ => folders.push(segment),
            }
        }
        Some(format!(
            "{}/{}{}",
            self.base.as_ref()?,
            encode_link(&self.served(&folders.join("/"))),
            encode_link(suffix)
        ))
    }
}

/// Makes an address safe to stand in Markdown.
fn encode_link(url: &str) -> String {
    encode(url, ENCODED_IN_LINK)
}

fn encode(text: &str, encoded: &'static AsciiSet) -> String {
    utf8_percent_encode(text, encoded).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_to_where_it_led_in_its_document() {
        let addresses = Addresses::new("https://example.org/docs/");
        for (link, url) in [
            ("fees.md#children", "https://example.org/docs/id/fees.md#children"),
            ("../map%20b.html", "https://example.org/docs/map%20b.html"),
            (
                "a b/é~\"<`[x]|^{}\\.md",
                "https://example.org/docs/id/a%20b/%C3%A9~%22%3C%60%5Bx%5D%7C%5E%7B%7D%5C.md",
            ),
            ("x?y!$&'*+,;=@:#z", "https://example.org/docs/id/x?y!$&'*+,;=@:#z"),
            ("#top", "https://example.org/docs/id/a%20b.md#top"),
            ("https://example.net/?a=1&b=(2)", "https://example.net/?a=1&b=%282%29"),
            ("mailto:office@example.org", "mailto:office@example.org"),
        ] {
            assert_eq!(addresses.resolve("id/a b.md", link).as_deref(), Some(url), "{link}");
        }
        for link in ["../../secret", "/root", "javascript:alert(1)"] {
            assert_eq!(addresses.resolve("id/a.md", link), None, "{link}");
        }
    }

    #[test]
    fn a_suffix_takes_the_place_of_the_extension() {
        let addresses =
            |suffix: &str| Addresses::new("https://example.org/docs").with_suffix(Some(suffix.to_owned()));
        for (suffix, path, url) in [
            (".html", "id/fees.md", "https://example.org/docs/id/fees.html#a"),
            ("/", "id/fees.md", "https://example.org/docs/id/fees/#a"),
            ("/", "id/index.md", "https://example.org/docs/id/#a"),
            ("/", "README.md", "https://example.org/docs/#a"),
            ("", "fees.HTML", "https://example.org/docs/fees#a"),
        ] {
            assert_eq!(addresses(suffix).page(path, Some("a")).as_deref(), Some(url), "{suffix} {path}");
        }
        let link = |to: &str| addresses("/").resolve("id/a.md", to);
        assert_eq!(link("b.md#c").as_deref(), Some("https://example.org/docs/id/b/#c"));
        assert_eq!(link("map.png").as_deref(), Some("https://example.org/docs/id/map.png"));
    }

    #[test]
    fn documents_that_are_not_on_the_web_keep_their_outside_links_only() {
        let addresses = Addresses::new("");
        assert_eq!(addresses.page("a.md", Some("b")), None);
        assert_eq!(addresses.resolve("a.md", "b.md"), None);
        assert_eq!(addresses.resolve("a.md", "https://x.org/").as_deref(), Some("https://x.org/"));
    }
}
