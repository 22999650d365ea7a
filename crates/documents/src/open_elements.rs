//! Tells which parts of an HTML page are hidden, by a stack of the open elements instead of a tree of the page.

pub const SVG: &str = "svg";
const TEMPLATE: &str = "template";

/// Elements whose content is not text of the document.
const HIDDEN: [&str; 9] =
    ["script", "style", "iframe", "noembed", "noframes", "noscript", "nav", SVG, TEMPLATE];

/// Elements that may contain hidden ones and whose end tag is required: their end tag also ends hidden elements that
/// the page left open.
const CONTAINERS: [&str; 19] = [
    "html",
    "body",
    "div",
    "section",
    "article",
    "main",
    "header",
    "footer",
    "aside",
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

/// The open elements that are in `HIDDEN` or `CONTAINERS`; all others do not matter.
#[derive(Default)]
pub struct OpenElements {
    /// Indexes into `HIDDEN` and `CONTAINERS`, one after the other; outermost first.
    stack: Vec<usize>,
    /// The number of each on the stack, so that an end tag without a start tag needs no search of the stack.
    counts: [usize; HIDDEN.len() + CONTAINERS.len()],
    hidden_count: usize,
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
        self.hidden_count > 0
    }

    pub fn start(&mut self, name: &str) {
        let Some(index) = self.index_outside_templates(name) else { return };
        self.stack.push(index);
        self.counts[index] += 1;
        self.hidden_count += usize::from(index < HIDDEN.len());
    }

    pub fn end(&mut self, name: &str) {
        let Some(index) = self.index_outside_templates(name).filter(|index| self.counts[*index] > 0) else {
            return;
        };
        while let Some(ended) = self.stack.pop() {
            self.counts[ended] -= 1;
            self.hidden_count -= usize::from(ended < HIDDEN.len());
            if ended == index {
                break;
            }
        }
    }

    /// `None` for elements that do not matter, and for all within a template except templates: a template is a document
    /// of its own, and no end tag in it ends an element around it.
    fn index_outside_templates(&self, name: &str) -> Option<usize> {
        let in_template = self.count(TEMPLATE) > 0;
        Self::index(name).filter(|_| !in_template || name == TEMPLATE)
    }
}
