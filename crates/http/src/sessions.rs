//! `/api/auth`: logging in and out by a cookie session, and who the caller is.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{HeaderValue, SET_COOKIE};
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wicara_model::Caller;
use wicara_service::{Error, Reader, Service};

use crate::access_log::AccessLog;
use crate::body::Body;
use crate::contract::Done;
use crate::contract::errors::{Refused, ValidationFailure};
use crate::contract::sessions::{LoggedIn, LoginRequest, Me};
use crate::credentials::{SESSION_COOKIE, credentials};
use crate::error::Failure::{self, ChatbotApi};
use crate::principals::LoginAddress;
use crate::{CookieSameSite, Http, Settings, json_body, origin};

pub fn routes() -> OpenApiRouter<Http> {
    OpenApiRouter::new().routes(routes!(login)).routes(routes!(logout)).routes(routes!(me))
}

/// Log in
///
/// Sets the session cookie. Pages call with `credentials: "include"`.
#[utoipa::path(
    post,
    path = "/api/auth/login",
    operation_id = "login",
    tag = "Sessions",
    request_body = LoginRequest,
    responses(
        (status = 200, description = "Who it is", body = LoggedIn, headers(("Set-Cookie" = String))),
        (status = 400, description = "Bad input", body = ValidationFailure),
        (status = 429, description = "Too many logins from this address, or too many that failed for this account",
            body = Refused, headers(("Retry-After" = u64)))
    ),
    security(())
)]
async fn login(
    State(service): State<Arc<Service>>,
    State(settings): State<Arc<Settings>>,
    LoginAddress(address): LoginAddress,
    log: AccessLog,
    body: Body,
) -> Result<Response, Failure> {
    let LoginRequest { email, password } = body.parse(ChatbotApi, |input, _| LoginRequest::read(input))?;
    let login = service.login(&email, password, address).await.map_err(ChatbotApi)?;
    log.caller(&Caller::Person(login.person.clone()));
    let mut response = json_body::ok(&LoggedIn::new(&login.person));
    response.headers_mut().insert(SET_COOKIE, cookie(&login.token, login.lifetime, &settings));
    Ok(response)
}

/// Log out
///
/// Ends the cookie's session, if there is one, and clears the cookie. Of several cookies all sessions end.
#[utoipa::path(
    post,
    path = "/api/auth/logout",
    operation_id = "logout",
    tag = "Sessions",
    responses((status = 200, description = "There is no session any more", body = Done,
        headers(("Set-Cookie" = String)))),
    security(())
)]
async fn logout(
    State(service): State<Arc<Service>>,
    State(settings): State<Arc<Settings>>,
    log: AccessLog,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let credentials = credentials(&headers);
    log.caller(&service.caller_get(&credentials).await.map_err(ChatbotApi)?);
    if credentials.key.is_some() {
        // A key wins over a cookie, and has no session to end.
        return Ok(json_body::ok(&Done::new()));
    }
    // Also without a cookie: a browser may withhold it from a request of another site (SameSite) and still obey the
    // response that clears it.
    origin::check_write(&headers, &settings)?;
    for session in &credentials.sessions {
        service.logout(session).await.map_err(ChatbotApi)?;
    }
    let mut response = json_body::ok(&Done::new());
    response.headers_mut().insert(SET_COOKIE, cookie("", Duration::ZERO, &settings));
    Ok(response)
}

/// Show who calls
#[utoipa::path(
    get,
    path = "/api/auth/me",
    operation_id = "me",
    tag = "Sessions",
    responses((status = 200, description = "The person or the program", body = Me))
)]
async fn me(reader: Reader) -> Result<Response, Failure> {
    let me = Me::new(reader.caller()).ok_or(ChatbotApi(Error::Unauthenticated))?;
    Ok(json_body::ok(&me))
}

/// The `Set-Cookie` value of a session; a lifetime of zero deletes the cookie.
fn cookie(token: &str, lifetime: Duration, settings: &Settings) -> HeaderValue {
    let same_site = match settings.cookie_same_site {
        CookieSameSite::Lax => "Lax",
        CookieSameSite::None => "None",
    };
    let mut cookie = String::new();
    let _ = write!(
        cookie,
        "{SESSION_COOKIE}={token}; Path=/; HttpOnly; Max-Age={}; SameSite={same_site}",
        lifetime.as_secs()
    );
    if settings.public_url.as_ref().is_some_and(|url| url.starts_with("https://")) {
        cookie.push_str("; Secure");
    }
    HeaderValue::try_from(cookie).expect("a token is hexadecimal")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_is_secure_behind_https() {
        let mut settings = Settings {
            public_url: None,
            allowed_origins: Vec::new(),
            anonymous_anywhere: false,
            trusted_proxies: Vec::new(),
            cookie_same_site: CookieSameSite::Lax,
            body_bytes: 1024,
            body_budget_bytes: usize::MAX,
            answer_budget_bytes: usize::MAX,
            body_time: std::time::Duration::MAX,
        };
        assert_eq!(
            cookie("t1", Duration::from_secs(3600), &settings),
            "wicara_session=t1; Path=/; HttpOnly; Max-Age=3600; SameSite=Lax"
        );
        settings.public_url = Some("https://wicara.example".into());
        settings.cookie_same_site = CookieSameSite::None;
        assert_eq!(
            cookie("", Duration::ZERO, &settings),
            "wicara_session=; Path=/; HttpOnly; Max-Age=0; SameSite=None; Secure"
        );
    }
}
