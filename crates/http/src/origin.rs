//! Which pages may act with a person's cookie (CSRF): a browser sends the cookie whatever page caused the request.

use axum::http::HeaderMap;
use axum::http::header::{HOST, HeaderName, HeaderValue, ORIGIN};

use crate::Settings;
use crate::error::Failure;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Characters of an origin that are logged: a client may send one of any length.
const LOGGED: usize = 253;

/// Refuses a write with a cookie from any other page than [`may_write`] lets.
///
/// Behind a proxy that does not forward `Host`, the server's own pages look like any other. So the log names the page's
/// origin and the server's, and the error says what to set.
pub fn check_write(headers: &HeaderMap, settings: &Settings) -> Result<(), Failure> {
    if may_write(headers, settings) {
        return Ok(());
    }
    let page = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok());
    let Some(page) = page.filter(|page| page.starts_with("http://") || page.starts_with("https://")) else {
        return Err(Failure::ForeignPage { hint: None });
    };
    let (own, hint) = match &settings.public_url {
        Some(url) => {
            (url.clone(), "The page's origin is neither server.public_url nor one of server.allowed_origins.")
        }
        None => {
            let host = headers.get(HOST).and_then(|host| host.to_str().ok());
            let hint = "The page's origin is not the server's own. Behind a proxy, set server.public_url to the \
                        address that browsers use; a page of another site has to be in server.allowed_origins.";
            (format!("http://{}", host.unwrap_or_default()), hint)
        }
    };
    tracing::warn!(
        page = &page[..page.len().min(LOGGED)],
        own,
        "a write with a cookie was refused, since its page has another origin than the server. If the page is yours, \
         set server.public_url to the address that browsers use, or add the page's origin to server.allowed_origins"
    );
    Err(Failure::ForeignPage { hint: Some(hint) })
}

/// The origin of the page of another site that a request comes from: what `Origin` says, unless that is the server's own.
/// Several of them, or one that is no text, are of no site.
#[must_use]
pub fn foreign(headers: &HeaderMap, settings: &Settings) -> Option<String> {
    let mut origins = headers.get_all(ORIGIN).iter();
    let origin = match (origins.next()?.to_str(), origins.next()) {
        (Ok(origin), None) => origin,
        _ => "",
    };
    (!is_ours(origin, headers, settings)).then(|| origin.to_owned())
}

/// Whether a write with a cookie comes from a page of this server, a page of an allowed origin, or no page.
#[must_use]
pub(super) fn may_write(headers: &HeaderMap, settings: &Settings) -> bool {
    let mut origins = headers.get_all(ORIGIN).iter();
    match (origins.next(), origins.next()) {
        (Some(origin), None) => origin
            .to_str()
            .is_ok_and(|origin| is_ours(origin, headers, settings) || is_allowed(origin, settings)),
        (Some(_), Some(_)) => false,
        (None, _) => match headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes) {
            Some(site) => site == b"same-origin" || site == b"none",
            None => true,
        },
    }
}

/// Our origin is the public URL; without one, the host that the browser called.
fn is_ours(origin: &str, headers: &HeaderMap, settings: &Settings) -> bool {
    match &settings.public_url {
        Some(ours) => origin.eq_ignore_ascii_case(ours),
        None => {
            let host = headers.get(HOST).and_then(|host| host.to_str().ok());
            let from = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            matches!((host, from), (Some(host), Some(from)) if from.eq_ignore_ascii_case(host))
        }
    }
}

fn is_allowed(origin: &str, settings: &Settings) -> bool {
    settings.allowed_origins.iter().any(|allowed| origin.eq_ignore_ascii_case(allowed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CookieSameSite;

    fn allowed(public_url: Option<&str>, headers: &[(&'static str, &'static str)]) -> bool {
        let settings = Settings {
            public_url: public_url.map(Into::into),
            allowed_origins: vec!["https://console.example".into()],
            anonymous_anywhere: false,
            trusted_proxies: Vec::new(),
            cookie_same_site: CookieSameSite::Lax,
            body_bytes: 1024,
            body_budget_bytes: usize::MAX,
            answer_budget_bytes: usize::MAX,
            body_time: std::time::Duration::MAX,
        };
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        may_write(&headers, &settings)
    }

    #[test]
    fn a_page_has_to_be_ours_or_allowed() {
        let host = ("host", "127.0.0.1:3333");
        for (origin, expected) in [
            ("http://127.0.0.1:3333", true),
            ("https://127.0.0.1:3333", true),
            ("https://console.example", true),
            ("https://CONSOLE.example", true),
            ("http://127.0.0.1:3334", false),
            ("http://127.0.0.1", false),
            ("https://console.example.evil.example", false),
            ("http://console.example", false),
            ("127.0.0.1:3333", false),
            ("null", false),
            ("", false),
        ] {
            assert_eq!(allowed(None, &[host, ("origin", origin)]), expected, "{origin}");
        }
    }

    #[test]
    fn a_public_url_is_the_only_own_origin() {
        let host = ("host", "wicara.example");
        let public = Some("https://wicara.example");
        assert!(allowed(public, &[host, ("origin", "https://wicara.example")]));
        assert!(!allowed(public, &[host, ("origin", "http://wicara.example")]));
        assert!(!allowed(public, &[("host", "other.example"), ("origin", "https://other.example")]));
    }

    #[test]
    fn without_an_origin_the_browser_says_which_site_it_was() {
        for (site, expected) in
            [("same-origin", true), ("none", true), ("same-site", false), ("cross-site", false), ("", false)]
        {
            assert_eq!(allowed(None, &[("sec-fetch-site", site)]), expected, "{site}");
        }
        assert!(allowed(None, &[]));
    }

    #[test]
    fn an_origin_counts_more_than_the_site() {
        let site = ("sec-fetch-site", "same-origin");
        assert!(!allowed(None, &[("host", "a"), ("origin", "http://b"), site]));
        assert!(!allowed(None, &[("host", "a"), ("origin", "http://a"), ("origin", "http://b")]));
    }
}
