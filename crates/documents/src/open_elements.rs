//! Tells which parts of an HTML page are hidden, by a stack of the open elements instead of a tree of the page.

pub const SVG: &str = "svg";
const TEMPLATE: &str = "template";

/// Elements whose content is not text of the document.
const HIDDEN: [&str; 11] =
    ["script", "style", "iframe", "noembed", "noframes", "noscript", "nav", "footer", "aside", SVG, TEMPLATE];

/// Elements that may contain hidden ones and whose end tag is required: their end tag also ends hidden elements that
/// the page left open.
const CONTAINERS: [&str; 17] = [
    "html",
    "body",
    "div",
    "section",
    "article",
    "main",
    "header",
    "form",
    "details",
    "figure",
    "fieldset",
    "blockquote",
    "table",
    "ul",
    "ol",
    "dl",
    "center",
];

/// Elements without content.
const VOID: [&str; 13] =
    ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"];

/// Elements that end where another of their kind starts.
const ENDED_BY_NEXT: [&str; 9] = ["p", "li", "dt", "dd", "tr", "td", "th", "option", "optgroup"];

/// What a menu or a picture has not: where such an element was swallowed, the end tag of a hidden one is missing.
const CONTENT: [&str; 10] = ["h1", "h2", "h3", "h4", "h5", "h6", "p", "main", "article", "table"];

/// An open element that is in `HIDDEN` or `CONTAINERS`.
struct Open {
    /// Into `HIDDEN` and `CONTAINERS`, one after the other.
    index: usize,
    /// The number of its start tag in the page.
    tag: usize,
    /// Whether it has elements of `CONTENT`; told of hidden ones only.
    has_content: bool,
}

/// An element that its own attributes hide.
struct HiddenByAttribute {
    name: String,
    tag: usize,
    /// How many elements of this name are open in it, itself included.
    depth: usize,
    has_content: bool,
}

/// The open elements that are in `HIDDEN` or `CONTAINERS`, and the one that an attribute hides; all others do not matter.
#[derive(Default)]
pub struct OpenElements {
    /// Outermost first.
    stack: Vec<Open>,
    /// The number of each on the stack, so that an end tag without a start tag needs no search of the stack.
    counts: [usize; HIDDEN.len() + CONTAINERS.len()],
    /// The places of hidden elements on the stack.
    hidden: Vec<usize>,
    by_attribute: Option<HiddenByAttribute>,
    /// The start tags of the hidden elements whose end tags are missing, as far as it shows.
    unclosed: Vec<usize>,
}

impl OpenElements {
    fn index(name: &str) -> Option<usize> {
        HIDDEN.iter().chain(&CONTAINERS).position(|known| *known == name)
    }

    /// The number of open elements with this name.
    pub fn count(&self, name: &str) -> usize {
        Self::index(name).map_or(0, |index| self.counts[index])
    }

    pub fn is_hidden(&self) -> bool {
        !self.hidden.is_empty() || self.by_attribute.is_some()
    }

    /// A start tag, the one with this number in the page. `hides`: by an attribute of its own.
    pub fn start(&mut self, name: &str, tag: usize, hides: bool) {
        let is_content = CONTENT.contains(&name);
        if is_content && let Some(innermost) = self.hidden.last() {
            self.stack[*innermost].has_content = true;
        }
        match &mut self.by_attribute {
            Some(hidden) if hidden.name == name => {
                if ENDED_BY_NEXT.contains(&name) {
                    self.by_attribute = None;
                } else {
                    hidden.depth += 1;
                }
            }
            // Browsers end a paragraph where another block starts.
            Some(hidden) if hidden.name == "p" && (is_content || CONTAINERS.contains(&name)) => {
                self.by_attribute = None;
            }
            Some(hidden) => hidden.has_content |= is_content,
            None if hides && !VOID.contains(&name) => {
                self.by_attribute =
                    Some(HiddenByAttribute { name: name.to_owned(), tag, depth: 1, has_content: false });
            }
            None => {}
        }
        let Some(index) = self.index_outside_templates(name) else { return };
        self.stack.push(Open { index, tag, has_content: false });
        self.counts[index] += 1;
        if index < HIDDEN.len() {
            self.hidden.push(self.stack.len() - 1);
        }
    }

    pub fn end(&mut self, name: &str) {
        if let Some(hidden) = self.by_attribute.as_mut().filter(|hidden| hidden.name == name) {
            hidden.depth -= 1;
            if hidden.depth == 0 {
                self.by_attribute = None;
            }
        }
        let Some(index) = self.index_outside_templates(name).filter(|index| self.counts[*index] > 0) else {
            return;
        };
        while let Some(ended) = self.stack.pop() {
            self.counts[ended.index] -= 1;
            if ended.index < HIDDEN.len() {
                self.hidden.pop();
            }
            if ended.index == index {
                break;
            }
            if ended.index < HIDDEN.len() && ended.has_content {
                self.unclosed.push(ended.tag);
            }
        }
    }

    /// The end of the page: the numbers of the start tags whose elements hide what they should not.
    pub fn finish(mut self) -> Vec<usize> {
        let open = self.stack.into_iter().filter(|open| open.index < HIDDEN.len()).map(|open| open.tag);
        self.unclosed.extend(open);
        self.unclosed.extend(self.by_attribute.filter(|hidden| hidden.has_content).map(|hidden| hidden.tag));
        self.unclosed
    }

    /// `None` for elements that do not matter, and for all within a template except templates: a template is a document
    /// of its own, and no end tag in it ends an element around it.
    fn index_outside_templates(&self, name: &str) -> Option<usize> {
        let in_template = self.count(TEMPLATE) > 0;
        Self::index(name).filter(|_| !in_template || name == TEMPLATE)
    }
}
