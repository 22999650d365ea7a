//! Renders the guide's pages as HTML.

use std::fmt::Write;

use pulldown_cmark::Event;

use crate::{Language, Page, markdown, pages};

/// The list of all pages, as it is reached at `/guide`.
#[must_use]
pub fn index() -> String {
    let mut body = String::from("<h1>Wicara</h1>\n");
    for language in Language::ALL {
        let (code, name) = (language.code(), language.name());
        let _ = write!(body, "<section lang=\"{code}\">\n<h2 id=\"{code}\">{name}</h2>\n<ul>\n");
        for page in pages().iter().filter(|page| page.language == language) {
            let _ = writeln!(body, "<li><a href=\"guide/{}\">{}</a></li>", page.slug, escape(&page.title));
        }
        body.push_str("</ul>\n</section>\n");
    }
    document(Language::English, "Wicara", "guide/style.css", &body)
}

/// The answer for a page that does not exist, below `/guide/`.
#[must_use]
pub fn unknown_page() -> String {
    let body = "<h1>No such page</h1>\n<p>The guide has no page of this name. \
                <a href=\"../guide\">All pages</a></p>\n\
                <p lang=\"id\">Panduan ini tidak punya halaman dengan nama itu. \
                <a href=\"../guide#id\">Semua halaman</a></p>\n";
    document(Language::English, "No such page", "style.css", body)
}

/// A page, as it is reached at `/guide/{slug}`: links to other pages are relative.
#[must_use]
pub fn page(page: &Page) -> String {
    let code = page.language.code();
    let all = match page.language {
        Language::English => "All pages",
        Language::Indonesian => "Semua halaman",
    };
    let mut body = format!("<nav><a href=\"../guide#{code}\">{all}</a>");
    if let Some(other) = page.translation() {
        let (code, name) = (other.language.code(), other.language.name());
        let slug = &other.slug;
        let _ = write!(body, " <a href=\"{slug}\" lang=\"{code}\" hreflang=\"{code}\">{name}</a>");
    }
    body.push_str("</nav>\n<main>\n");
    let events = markdown::events(&page.markdown).into_iter().map(|(event, _)| event);
    let shown = events.filter(|event| !matches!(event, Event::Html(_) | Event::InlineHtml(_)));
    pulldown_cmark::html::push_html(&mut body, shown);
    body.push_str("</main>\n");
    document(page.language, &page.title, "style.css", &body)
}

/// `style`: the relative URL of [`STYLE`]. It is a file of its own, since the page's policy forbids inline styles.
fn document(language: Language, title: &str, style: &str, body: &str) -> String {
    let (code, title) = (language.code(), escape(title));
    format!(
        "<!DOCTYPE html>\n<html lang=\"{code}\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<link rel=\"stylesheet\" href=\"{style}\">\n</head>\n<body>\n{body}</body>\n</html>\n"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

/// The style sheet of all pages.
pub const STYLE: &str = "
:root { color-scheme: light dark; --line: #8884; }
body { font: 1rem/1.6 system-ui, sans-serif; max-width: 44rem; margin: 0 auto; padding: 1rem; }
h1, h2, h3 { line-height: 1.25; margin: 1.8em 0 .6em; scroll-margin-top: 1rem; }
h1 { font-size: 1.8rem; margin-top: .8em; }
:target { background: #fc03; }
nav { display: flex; flex-wrap: wrap; gap: 1rem; justify-content: space-between; }
code { font-size: .9em; overflow-wrap: anywhere; }
pre { overflow-x: auto; padding: .8rem; border: 1px solid var(--line); border-radius: .4rem; }
pre code { overflow-wrap: normal; }
table { display: block; overflow-x: auto; border-collapse: collapse; }
th, td { padding: .3rem .6rem; border: 1px solid var(--line); text-align: left; vertical-align: top; }
";
