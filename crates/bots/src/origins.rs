//! `origins`: the sites whose pages may talk with a bot.

use reqwest::Url;

/// As browsers send them: lower case, no default port, no slash at the end. The error begins with the key.
pub fn read(origins: &[String]) -> Result<Vec<String>, String> {
    let origin = |text: &String| {
        Url::parse(text)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"))
            .filter(|url| url.path() == "/" && url.query().is_none() && url.fragment().is_none())
            .filter(|url| url.username().is_empty() && url.password().is_none())
            .map(|url| url.origin().ascii_serialization())
            .ok_or_else(|| {
                format!(
                    "origins: found {text:?}, expected http:// or https://, a host and no path: \
                     \"https://www.example.org\""
                )
            })
    };
    origins.iter().map(origin).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_written_as_browsers_send_them() {
        let read = |text: &str| read(&[text.to_owned()]).map(|origins| origins.join(" "));
        for (text, expected) in [
            ("https://Shop.example:443/", "https://shop.example"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(expected));
        }
        for text in ["", "*", "shop.example", "https://shop.example/chat", "https://a@shop.example", "null"] {
            assert!(
                read(text).unwrap_err().starts_with(&format!("origins: found {text:?}, expected")),
                "{text}"
            );
        }
    }
}
