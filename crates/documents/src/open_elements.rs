//! Which part of an HTML page is hidden, told from the elements that are open, without a tree of them.

pub const SVG: &str = "svg";
const TEMPLATE: &str = "template";

/// Elements whose content is not the document's text.
const HIDDEN: [&str; 9] =
    ["script", "style", "iframe", "noembed", "noframes", "noscript", "nav", SVG, TEMPLATE];

/// Elements that may contain hidden ones and whose end tag is required: it also ends hidden elements that were left open.
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

/// The open elements of the two lists above, outermost first.
#[derive(Default)]
pub struct OpenElements {
    stack: Vec<usize>,
    /// How many of each are on the stack, so that an end tag without an element costs no search.
    counts: [usize; HIDDEN.len() + CONTAINERS.len()],
    hidden: usize,
}

impl OpenElements {
    fn index(name: &str) -> Option<usize> {
        HIDDEN.iter().chain(&CONTAINERS).position(|known| *known == name)
    }

    pub fn count(&self, name: &str) -> usize {
        Self::index(name).map_or(0, |index| self.counts[index])
    }

    pub fn is_hidden(&self) -> bool {
        self.hidden > 0
    }

    pub fn start(&mut self, name: &str) {
        let Some(index) = self.index_outside_templates(name) else { return };
        self.stack.push(index);
        self.counts[index] += 1;
        self.hidden += usize::from(index < HIDDEN.len());
    }

    pub fn end(&mut self, name: &str) {
        let Some(index) = self.index_outside_templates(name).filter(|index| self.counts[*index] > 0) else {
            return;
        };
        while let Some(ended) = self.stack.pop() {
            self.counts[ended] -= 1;
            self.hidden -= usize::from(ended < HIDDEN.len());
            if ended == index {
                break;
            }
        }
    }

    /// A template is a document of its own: no end tag in it closes an element around it.
    fn index_outside_templates(&self, name: &str) -> Option<usize> {
        let inside = self.count(TEMPLATE) > 0;
        Self::index(name).filter(|_| !inside || name == TEMPLATE)
    }
}
