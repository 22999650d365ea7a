//! HTML as Markdown: its text, headings, lists and links, so that every document goes one way from here on.
//!
//! Entities stay as they are, since Markdown knows the same ones. Broken HTML gives some text, never an error.

use wicara_guide::markdown::escape_into;

#[derive(Debug, Default)]
pub struct Page {
    /// What `<title>` says, as Markdown.
    pub title: Option<String>,
    pub markdown: String,
}

#[must_use]
pub fn to_markdown(html: &str) -> Page {
    let mut writer = Writer::default();
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        writer.text(&rest[..start]);
        rest = &rest[start..];
        if let Some(comment) = rest.strip_prefix("<!--") {
            rest = after(comment, "-->");
        } else if rest.starts_with("<!") || rest.starts_with("<?") {
            rest = after(rest, ">");
        } else if let Some((tag, end)) = Tag::parse(rest) {
            rest = &rest[end..];
            if !tag.closes && HIDDEN.contains(&tag.name.as_str()) {
                rest = after_element(rest, &tag.name);
            } else {
                writer.tag(&tag);
            }
        } else {
            writer.text("<");
            rest = &rest[1..];
        }
    }
    writer.text(rest);
    writer.finish()
}

/// Elements whose content is not the document's text.
const HIDDEN: [&str; 6] = ["script", "style", "template", "noscript", "svg", "nav"];

struct Tag {
    name: String,
    closes: bool,
    href: Option<String>,
    id: Option<String>,
}

impl Tag {
    /// The tag at the beginning of `html` and the place after it. One that never ends takes the rest.
    fn parse(html: &str) -> Option<(Self, usize)> {
        let closes = html.starts_with("</");
        let name_start = if closes { 2 } else { 1 };
        let name_end = html[name_start..]
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '-')
            .map_or(html.len(), |length| name_start + length);
        let name = html[name_start..name_end].to_ascii_lowercase();
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return None;
        }
        let mut tag = Self { name, closes, href: None, id: None };
        let mut place = name_end;
        loop {
            let left = &html[place..];
            let trimmed = left.trim_start_matches(|c: char| c.is_whitespace() || c == '/');
            place += left.len() - trimmed.len();
            if trimmed.is_empty() {
                return Some((tag, html.len()));
            }
            if trimmed.starts_with('>') {
                return Some((tag, place + 1));
            }
            let (name, value, length) = attribute(trimmed);
            match name.to_ascii_lowercase().as_str() {
                "href" => tag.href = Some(value.trim().to_owned()),
                "id" => tag.id = Some(value.to_owned()),
                _ => {}
            }
            place += length;
        }
    }
}

/// The attribute at the beginning of `text`: its name, its value and its length.
fn attribute(text: &str) -> (&str, &str, usize) {
    let name_end = text
        .char_indices()
        .find(|&(at, c)| c.is_whitespace() || matches!(c, '>' | '/') || (c == '=' && at > 0))
        .map_or(text.len(), |(at, _)| at);
    let name = &text[..name_end];
    let left = text[name_end..].trim_start();
    let Some(value) = left.strip_prefix('=').map(str::trim_start) else {
        return (name, "", name_end);
    };
    let value_start = text.len() - value.len();
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
    let (value, end) = match quote {
        Some(quote) => {
            let inner = &value[1..];
            let length = inner.find(quote).unwrap_or(inner.len());
            (&inner[..length], (value_start + length + 2).min(text.len()))
        }
        None => {
            let length = value.find(|c: char| c.is_whitespace() || c == '>').unwrap_or(value.len());
            (&value[..length], value_start + length)
        }
    };
    (name, value, end)
}

fn after<'a>(text: &'a str, mark: &str) -> &'a str {
    text.find(mark).map_or("", |at| &text[at + mark.len()..])
}

/// What follows the end tag of an element; elements of the same name inside it are counted.
fn after_element<'a>(mut html: &'a str, name: &str) -> &'a str {
    if matches!(name, "script" | "style") {
        return after_code(html, name);
    }
    let mut depth = 1;
    while let Some(start) = html.find('<') {
        html = &html[start..];
        let Some((tag, end)) = Tag::parse(html) else {
            html = &html[1..];
            continue;
        };
        html = &html[end..];
        if tag.name == name {
            depth = if tag.closes { depth - 1 } else { depth + 1 };
        }
        if depth == 0 {
            return html;
        }
    }
    ""
}

/// What follows the end tag of an element whose content is no HTML.
fn after_code<'a>(html: &'a str, name: &str) -> &'a str {
    let mut ends = html.match_indices("</").map(|(at, _)| &html[at + 2..]);
    let end = ends.find(|end| end.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)));
    end.map_or("", |end| after(end, ">"))
}

#[derive(Default)]
struct Writer {
    out: String,
    title: Option<String>,
    in_title: bool,
    in_pre: bool,
    /// The open link: where its text starts, and where it leads.
    link: Option<(usize, String)>,
    heading_id: Option<String>,
    /// White space stands before the next word.
    space: bool,
}

impl Writer {
    fn text(&mut self, text: &str) {
        if self.in_title {
            escape_into(self.title.get_or_insert_default(), text);
            return;
        }
        if self.in_pre {
            for (number, line) in text.split('\n').enumerate() {
                if number > 0 && !self.at_line_start() {
                    self.out.push_str("  \n");
                }
                self.words(line);
            }
        } else {
            self.words(text);
        }
    }

    fn words(&mut self, text: &str) {
        self.space |= text.starts_with(char::is_whitespace);
        for word in text.split_whitespace() {
            if self.space && !self.at_line_start() {
                self.out.push(' ');
            }
            escape_into(&mut self.out, word);
            self.space = true;
        }
        if !text.is_empty() {
            self.space = text.ends_with(char::is_whitespace);
        }
    }

    fn tag(&mut self, tag: &Tag) {
        match tag.name.as_str() {
            "title" => self.in_title = !tag.closes && self.title.is_none(),
            "pre" => {
                self.start("\n\n");
                self.in_pre = !tag.closes;
            }
            "a" => self.anchor(tag),
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => self.heading(tag),
            "li" if !tag.closes => {
                self.start("\n");
                self.out.push_str("- ");
            }
            "br" => self.start("  \n"),
            "tr" | "li" | "dt" | "dd" => self.start("\n"),
            "td" | "th" if !tag.closes && !self.at_line_start() => self.out.push_str(" | "),
            "p" | "div" | "section" | "article" | "main" | "header" | "footer" | "aside" | "ul" | "ol"
            | "dl" | "table" | "blockquote" | "figure" | "figcaption" | "form" | "details" | "summary"
            | "hr" | "body" | "head" => self.start("\n\n"),
            _ => {}
        }
    }

    fn anchor(&mut self, tag: &Tag) {
        if let Some((start, href)) = self.link.take() {
            let text = &self.out[start..];
            if !text.trim().is_empty() && !text.contains('\n') {
                let lead = text.len() - text.trim_start().len();
                self.out.insert(start + lead, '[');
                self.out.push_str("](<");
                self.out.extend(href.chars().filter(|c| !matches!(c, '<' | '>' | '\n' | '\r')));
                self.out.push_str(">)");
            }
        }
        if let (false, Some(href)) = (tag.closes, &tag.href) {
            self.link = Some((self.out.len(), href.clone()));
        }
    }

    fn heading(&mut self, tag: &Tag) {
        if tag.closes {
            let plain = |id: &String| id.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_'));
            if let Some(id) = self.heading_id.take().filter(|id| !id.is_empty() && plain(id)) {
                self.out.push_str(" {#");
                self.out.push_str(&id);
                self.out.push('}');
            }
            self.start("\n\n");
        } else {
            self.start("\n\n");
            let level = usize::from(tag.name.as_bytes()[1] - b'0');
            self.out.extend(std::iter::repeat_n('#', level));
            self.out.push(' ');
            self.heading_id.clone_from(&tag.id);
        }
    }

    /// Starts a new line or paragraph, unless one has just started.
    fn start(&mut self, mark: &str) {
        self.space = false;
        let out = &mut self.out;
        if out.is_empty() || out.ends_with("\n\n") || out.ends_with("- ") || out.ends_with("# ") {
            return;
        }
        if mark == "\n\n" {
            out.truncate(out.trim_end().len());
        } else if out.ends_with('\n') {
            return;
        }
        out.push_str(mark);
    }

    fn at_line_start(&self) -> bool {
        self.out.is_empty() || self.out.ends_with(['\n', ' '])
    }

    fn finish(self) -> Page {
        let title = self.title.filter(|title| !title.trim().is_empty());
        Page { title, markdown: self.out.trim_end().to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_keeps_its_headings_text_lists_and_links() {
        let page = to_markdown(
            "<!DOCTYPE html><html><head><title>Kantor &amp; Jam</title><style>p { x: '<p>' }</style></head>\n\
             <body><nav><a href='/'>Home</a></nav><h1 id=\"jam\">Jam <em>Buka</em></h1><!-- <p>no</p> -->\n\
             <p>Senin_1 *s.d.*\n Jumat, <a href=\"peta.html?a=1&amp;b=2\">lihat peta</a>.<br>Tutup: Minggu</p>\n\
             <ul><li>Satu<li>Dua</ul><table><tr><td>A<td>B</tr></table>\n\
             <script>if (a < b) document.write('<p>no</p>')</script><pre>x\n  y</pre> 1 < 2</body>",
        );
        assert_eq!(page.title.as_deref(), Some("Kantor &amp; Jam"));
        assert_eq!(
            page.markdown,
            "# Jam Buka {#jam}\n\nSenin_1 \\*s.d.\\* Jumat, [lihat peta](<peta.html?a=1&amp;b=2>).  \n\
             Tutup: Minggu\n\n- Satu\n- Dua\n\nA | B\n\nx  \ny\n\n1 &lt; 2"
        );
    }

    #[test]
    fn broken_html_gives_what_text_there_is() {
        for (html, text) in [
            ("a < b", "a &lt; b"),
            ("a <p", "a"),
            ("a <p class='x", "a"),
            ("<a href=x>b", "b"),
            ("a</", "a&lt;/"),
            ("<!-- x", ""),
            ("<script>x", ""),
            ("<p =>é", "é"),
        ] {
            assert_eq!(to_markdown(html).markdown.trim(), text, "{html}");
        }
    }
}
