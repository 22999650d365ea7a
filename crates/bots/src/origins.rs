//! Origins of web pages, as the configuration names them.

use reqwest::Url;

/// An origin as browsers send it: lower case, no default port, no slash at the end. `None` for what is none, such as an
/// address with a path.
#[must_use]
pub fn origin(text: &str) -> Option<String> {
    Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"))
        .filter(|url| url.path() == "/" && url.query().is_none() && url.fragment().is_none())
        .filter(|url| url.username().is_empty() && url.password().is_none())
        .map(|url| url.origin().ascii_serialization())
}

/// The sites whose pages may talk with a bot. The error begins with the key; it does not show the text, which may hold a
/// password where it is none.
pub fn read(origins: &[String]) -> Result<Vec<String>, String> {
    let read = |(place, text): (usize, &String)| {
        origin(text).ok_or_else(|| {
            format!(
                "origins: number {} is none: expected http:// or https://, a host and no path, \
                 \"https://www.example.org\"",
                place + 1
            )
        })
    };
    origins.iter().enumerate().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_written_as_browsers_send_them() {
        for (text, expected) in [
            ("https://Shop.example:443/", Some("https://shop.example")),
            ("http://127.0.0.1:8080", Some("http://127.0.0.1:8080")),
            ("", None),
            ("*", None),
            ("null", None),
            ("shop.example", None),
            ("ftp://shop.example", None),
            ("https://shop.example/chat", None),
            ("https://a:hush@shop.example", None),
        ] {
            assert_eq!(origin(text).as_deref(), expected, "{text}");
        }
        let wrong = read(&["https://shop.example".into(), "https://a:hush@shop.example".into()]).unwrap_err();
        assert!(
            wrong.starts_with("origins: number 2 is none: expected") && !wrong.contains("hush"),
            "{wrong}"
        );
    }
}
