//! Where documents and what they link to are found on the web.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// All but what RFC 3986 calls unreserved.
const IN_FRAGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const IN_PATH: &AsciiSet = &IN_FRAGMENT.remove(b'/');
/// What would end an address that stands in Markdown; the rest, escapes too, stays as its author wrote it.
const IN_LINK: &AsciiSet = &IN_PATH
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

/// The web address under which a set of documents stands, if it stands under any.
#[derive(Debug, Clone)]
pub struct Addresses {
    base: Option<String>,
}

impl Addresses {
    /// `base` empty: the documents are not on the web.
    #[must_use]
    pub fn new(base: &str) -> Self {
        let base = base.trim_end_matches('/');
        Self { base: (!base.is_empty()).then(|| base.to_owned()) }
    }

    /// A document's own address. `path` has slashes, whatever the system.
    #[must_use]
    pub fn page(&self, path: &str, fragment: Option<&str>) -> Option<String> {
        let mut url = format!("{}/{}", self.base.as_ref()?, encode(path, IN_PATH));
        if let Some(fragment) = fragment {
            url.push('#');
            url.push_str(&encode(fragment, IN_FRAGMENT));
        }
        Some(url)
    }

    /// Where a link in a document leads. `None`: nowhere that a reader elsewhere could follow.
    #[must_use]
    pub fn resolve(&self, path: &str, link: &str) -> Option<String> {
        if let Some((scheme, _)) = link.split_once(':')
            && !scheme.contains(['/', '#', '?'])
        {
            let followed = ["http", "https", "mailto", "tel"].iter().any(|s| scheme.eq_ignore_ascii_case(s));
            return followed.then(|| tidy(link));
        }
        if link.starts_with('/') {
            return None;
        }
        if link.starts_with(['#', '?']) {
            return Some(self.page(path, None)? + &tidy(link));
        }
        let mut folders: Vec<&str> = path.split('/').collect();
        folders.pop();
        let (target, rest) = link.split_at(link.find(['#', '?']).unwrap_or(link.len()));
        for part in target.split('/') {
            match part {
                "" | "." => {}
                ".." => drop(folders.pop()?),
                _ => folders.push(part),
            }
        }
        Some(format!("{}/{}{}", self.base.as_ref()?, tidy(&folders.join("/")), tidy(rest)))
    }
}

/// An address that its author wrote, as it may stand in Markdown.
fn tidy(url: &str) -> String {
    encode(url, IN_LINK)
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
    fn documents_that_are_not_on_the_web_keep_their_outside_links_only() {
        let addresses = Addresses::new("");
        assert_eq!(addresses.page("a.md", Some("b")), None);
        assert_eq!(addresses.resolve("a.md", "b.md"), None);
        assert_eq!(addresses.resolve("a.md", "https://x.org/").as_deref(), Some("https://x.org/"));
    }
}
