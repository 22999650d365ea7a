/// A language that the guide is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Language {
    English,
    Indonesian,
}

impl Language {
    pub const ALL: [Language; 2] = [Language::English, Language::Indonesian];

    /// As HTML's `lang` has it.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Language::English => "en",
            Language::Indonesian => "id",
        }
    }

    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Language::English => Language::Indonesian,
            Language::Indonesian => Language::English,
        }
    }

    /// What the language calls itself.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Language::English => "English",
            Language::Indonesian => "Bahasa Indonesia",
        }
    }
}
