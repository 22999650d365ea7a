//! Takes the tags of site generators out of Markdown: Jekyll and Hugo (`{% … %}`, `{{< … >}}`), MkDocs (`!!! note`),
//! Docusaurus and VitePress (`:::tip`, `import … from`), kramdown (`{: .note}`), GitHub (`[!NOTE]`).

/// Inline tags by how they begin and end.
const TAGS: [(&str, &str); 4] = [("{%", "%}"), ("{{", "}}"), ("{:", "}"), ("[!", "]")];
/// Lines that stand for a table of contents.
const CONTENTS: [&str; 3] = ["[toc]", "[[toc]]", "[[_toc_]]"];
/// What begins the line above an indented block.
const ADMONITIONS: [&str; 3] = ["!!! ", "??? ", "???+ "];
/// The indentation of such a block.
const INDENTATION: &str = "    ";

/// The text without tags. Code stays as it is.
#[must_use]
pub fn without(markdown: &str) -> String {
    let mut out = String::with_capacity(markdown.len());
    let mut fence: Option<String> = None;
    let mut in_admonition = false;
    for line in markdown.split_inclusive('\n') {
        let line = match line.strip_prefix(INDENTATION) {
            Some(inner) if in_admonition => inner,
            _ => {
                in_admonition &= line.trim().is_empty();
                line
            }
        };
        let trimmed = line.trim();
        if let Some(mark) = &fence {
            if trimmed.starts_with(mark.as_str()) && trimmed.trim_start_matches(&mark[..1]).is_empty() {
                fence = None;
            }
            out.push_str(line);
        } else if let Some(mark) = fence_mark(trimmed) {
            fence = Some(mark);
            out.push_str(line);
        } else if ADMONITIONS.iter().any(|mark| line.starts_with(mark)) {
            in_admonition = true;
            out.push('\n');
        } else if is_tag_line(line, trimmed) {
            out.push('\n');
        } else if line.starts_with(INDENTATION) {
            out.push_str(line);
        } else {
            without_inline_tags(line, &mut out);
        }
    }
    out
}

fn fence_mark(line: &str) -> Option<String> {
    let first = line.chars().next().filter(|first| matches!(first, '`' | '~'))?;
    let length = line.chars().take_while(|c| *c == first).count();
    (length >= 3).then(|| first.to_string().repeat(length))
}

fn is_tag_line(line: &str, trimmed: &str) -> bool {
    let is_import = (line.starts_with("import ")
        && (trimmed.contains(" from ") || trimmed.contains(['\'', '"'])))
        && trimmed.trim_end_matches(';').ends_with(['\'', '"']);
    trimmed.starts_with(":::") || is_import || CONTENTS.iter().any(|tag| trimmed.eq_ignore_ascii_case(tag))
}

/// Writes a line without the tags in it, which end in the same line. Those within code stay.
fn without_inline_tags(line: &str, out: &mut String) {
    let mut rest = line;
    while let Some(at) = rest.find(['`', '{', '[']) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let kept = if from.starts_with('`') {
            let ticks = from.len() - from.trim_start_matches('`').len();
            let mark = &from[..ticks];
            from[ticks..].find(mark).map_or(ticks, |end| 2 * ticks + end)
        } else if let Some(length) = tag_length(from) {
            rest = &from[length..];
            continue;
        } else {
            1
        };
        out.push_str(&from[..kept]);
        rest = &from[kept..];
    }
    out.push_str(rest);
}

/// The length of the tag that a text begins with.
fn tag_length(text: &str) -> Option<usize> {
    let (start, end) = TAGS.iter().find(|(start, _)| text.starts_with(start))?;
    let length = start.len() + text[start.len()..].find(end)? + end.len();
    // A picture is `![…]`, and `[!NOTE]` a word in capitals.
    let is_note = |tag: &str| tag[2..tag.len() - 1].chars().all(|c| c.is_ascii_uppercase());
    (*start != "[!" || is_note(&text[..length])).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_of_site_generators_are_not_text() {
        for (written, read) in [
            ("a {% include x.html %}b", "a b"),
            ("{{< youtube id >}}\nText", "\nText"),
            ("{{% notice %}}a{{% /notice %}}", "a"),
            ("Version {{ site.version }}.", "Version ."),
            (":::tip Title\nText\n:::\n", "\nText\n\n"),
            ("!!! note \"Title\"\n    Text\n\n    more\n\nEnd", "\nText\n\nmore\n\nEnd"),
            ("import Tabs from '@theme/Tabs';\nText", "\nText"),
            ("Text\n{: .note}\n", "Text\n\n"),
            ("> [!NOTE]\n> Text", "> \n> Text"),
            ("[TOC]\n# A", "\n# A"),
        ] {
            assert_eq!(without(written), read, "{written}");
        }
    }

    #[test]
    fn code_and_text_stay() {
        for text in [
            "Write `{{question}}` and ``{% x %}``.",
            "```\n{% raw %}\n:::\n```\n",
            "    {{ code }}\n",
            "![Alt](a.png) [link](b) {#id} {x}",
            "An import from abroad.",
            "[!not a note] {{ open",
        ] {
            assert_eq!(without(text), text);
        }
    }
}
