//! `/api/auth`: logging in and out by a cookie session, and who the caller is.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header::{HeaderValue, SET_COOKIE};
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wicara_model::Caller;
use wicara_service::{Error, Reader, Service};

use crate::access_log::AccessLog;
use crate::body::{AnyBody, Body};
use crate::contract::Done;
use crate::contract::errors::{Refused, ValidationFailure};
use crate::contract::sessions::{LoggedIn, LoginRequest, Logout, Me, PasswordChange};
use crate::credentials::SESSION_COOKIE;
use crate::error::Failure::{self, ChatbotApi};
use crate::principals::{LoggingOut, LoginAddress, SignedIn};
use crate::{CookieSameSite, Http, Settings, json_body};

pub fn routes() -> OpenApiRouter<Http> {
    OpenApiRouter::new()
        .routes(routes!(login))
        .routes(routes!(logout))
        .routes(routes!(me))
        .routes(routes!(password_change))
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
/// Ends the cookie's session, if there is one, and clears the cookie. Of several cookies all sessions end. With
/// `everywhere` all sessions of the person end, those of other browsers too.
#[utoipa::path(
    post,
    path = "/api/auth/logout",
    operation_id = "logout",
    tag = "Sessions",
    request_body = Logout,
    responses(
        (status = 200, description = "There is no session any more", body = Done,
            headers(("Set-Cookie" = String))),
        (status = 400, description = "Bad input", body = ValidationFailure)
    ),
    security(())
)]
async fn logout(
    State(service): State<Arc<Service>>,
    State(settings): State<Arc<Settings>>,
    LoggingOut(credentials): LoggingOut,
    AnyBody(body): AnyBody,
) -> Result<Response, Failure> {
    let Logout { everywhere } = body.parse(ChatbotApi, |input, _| Logout::read(input))?;
    if credentials.key.is_some() {
        return Ok(json_body::ok(&Done::new()));
    }
    if everywhere {
        service.logout_everywhere(&credentials).await.map_err(ChatbotApi)?;
    }
    for session in &credentials.sessions {
        service.logout(session).await.map_err(ChatbotApi)?;
    }
    let mut response = json_body::ok(&Done::new());
    response.headers_mut().insert(SET_COOKIE, cookie("", Duration::ZERO, &settings));
    Ok(response)
}

/// Change one's own password
///
/// For people, by the cookie. Ends the person's other sessions.
#[utoipa::path(
    post,
    path = "/api/auth/password",
    operation_id = "password_change",
    tag = "Sessions",
    request_body = PasswordChange,
    responses(
        (status = 200, description = "The new password counts", body = Done),
        (status = 400, description = "Bad input; the rule `password`: `old` is not the person's password",
            body = ValidationFailure),
        (status = 429, description = "Too many logins from this address, or too many that failed for this account",
            body = Refused, headers(("Retry-After" = u64)))
    )
)]
async fn password_change(
    State(service): State<Arc<Service>>,
    SignedIn(credentials): SignedIn,
    LoginAddress(address): LoginAddress,
    body: Body,
) -> Result<Response, Failure> {
    let PasswordChange { old, new } = body.parse(ChatbotApi, |input, _| PasswordChange::read(input))?;
    service.password_change(&credentials, old, new, address).await.map_err(ChatbotApi)?;
    Ok(json_body::ok(&Done::new()))
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
