/// A language that the guide is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Language {
    English,
    Indonesian,
}

impl Language {
    pub const ALL: [Language; 2] = [Language::English, Language::Indonesian];

    /// The value for HTML's `lang` attribute (BCP 47).
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

    /// The name of the language in that language.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Language::English => "English",
            Language::Indonesian => "Bahasa Indonesia",
        }
    }
}
