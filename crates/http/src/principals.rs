//! Extractors that prove who calls. The order of a handler's arguments is the order of errors, so that a body is read
//! only after its sender was let in.

use std::net::IpAddr;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use wicara_model::Caller;
use wicara_service::{AnonymousAccess, Asker, Credentials, Error, Monitor, Reader, Writer};

use crate::access_log::AccessLog;
use crate::address::ClientAddress;
use crate::credentials::{credentials, key_only};
use crate::error::Failure::{self, ChatbotApi};
use crate::request_memory::RequestMemory;
use crate::{Http, origin, own_hosts};

/// The right to an operation of the Chatbot API: where that is open, callers without credentials have it too.
pub struct AllowAnonymous<T>(pub T);

impl FromRequestParts<Http> for Reader {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, http: &Http) -> Result<Self, Failure> {
        reader(parts, http, AnonymousAccess::Never).await
    }
}

impl FromRequestParts<Http> for AllowAnonymous<Reader> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, http: &Http) -> Result<Self, Failure> {
        reader(parts, http, if_chatbot_api_open(parts, http)).await.map(AllowAnonymous)
    }
}

impl FromRequestParts<Http> for Writer {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, http: &Http) -> Result<Self, Failure> {
        writer(parts, http, AnonymousAccess::Never).await
    }
}

impl FromRequestParts<Http> for AllowAnonymous<Writer> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, http: &Http) -> Result<Self, Failure> {
        writer(parts, http, if_chatbot_api_open(parts, http)).await.map(AllowAnonymous)
    }
}

/// A reader whose request changes something of its own, and nothing that others see. Where a cookie says who calls, it has
/// to come from an allowed page, like a write.
pub struct MarkingReader(pub Reader);

impl FromRequestParts<Http> for MarkingReader {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, http: &Http) -> Result<Self, Failure> {
        http.service.check_write_capacity().map_err(ChatbotApi)?;
        let reader = reader(parts, http, AnonymousAccess::Never).await?;
        check_origin(&reader, parts, http)?;
        Ok(Self(reader))
    }
}

/// A person who calls by a cookie from an allowed page, and changes something of its own: its credentials. Programs are
/// refused.
pub struct SignedIn(pub Credentials);

impl FromRequestParts<Http> for SignedIn {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, http: &Http) -> Result<Self, Failure> {
        let MarkingReader(reader) = MarkingReader::from_request_parts(parts, http).await?;
        match reader.caller() {
            Caller::Person(_) => Ok(Self(credentials(&parts.headers))),
            _ => Err(ChatbotApi(Error::Forbidden)),
        }
    }
}

/// Who logs out: its credentials. Somebody without a session may too, since a browser may withhold the cookie from a request
/// of another site (SameSite) and still obey the response that clears it; a page of that site may not.
pub struct LoggingOut(pub Credentials);

impl FromRequestParts<Http> for LoggingOut {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, http: &Http) -> Result<Self, Failure> {
        let credentials = credentials(&parts.headers);
        caller(parts, http, &credentials).await?;
        // A key wins over a cookie, and has no session to end.
        if credentials.key.is_none() {
            origin::check_write(&parts.headers, &http.settings)?;
        }
        Ok(Self(credentials))
    }
}

/// Cookies are ignored: pages of all origins may ask, and a browser would send its user's cookie with their requests.
impl FromRequestParts<Http> for Asker {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, http: &Http) -> Result<Self, Failure> {
        let caller = caller(parts, http, &key_only(&parts.headers)).await?;
        Ok(http.service.asker(caller, origin::foreign(&parts.headers, &http.settings)))
    }
}

/// An asker whose question is within the limits of writes in progress and, without a key, of its address.
pub struct AdmittedAsker(pub Asker);

impl FromRequestParts<Http> for AdmittedAsker {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, http: &Http) -> Result<Self, Failure> {
        http.service.check_write_capacity().map_err(ChatbotApi)?;
        let asker = Asker::from_request_parts(parts, http).await?;
        if matches!(asker.caller(), Caller::Visitor) {
            let address = ClientAddress::of(parts).network();
            http.service.question_admit_from(address).map_err(ChatbotApi)?;
        }
        Ok(Self(asker))
    }
}

impl FromRequestParts<Http> for Monitor {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, http: &Http) -> Result<Self, Failure> {
        let caller = caller(parts, http, &credentials(&parts.headers)).await?;
        http.service.monitor(&caller).map_err(ChatbotApi)
    }
}

/// The address of a login that is within the address' limit.
pub struct LoginAddress(pub IpAddr);

impl FromRequestParts<Http> for LoginAddress {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, http: &Http) -> Result<Self, Failure> {
        let address = ClientAddress::of(parts).network();
        http.service.login_admit_from(address).map_err(ChatbotApi)?;
        Ok(Self(address))
    }
}

fn if_chatbot_api_open(parts: &Parts, http: &Http) -> AnonymousAccess {
    let by_own_name = http.settings.anonymous_anywhere || http.own_hosts.are_called(parts);
    AnonymousAccess::IfChatbotApiOpen { by_own_name }
}

async fn reader(parts: &Parts, http: &Http, anonymous: AnonymousAccess) -> Result<Reader, Failure> {
    let caller = caller(parts, http, &credentials(&parts.headers)).await?;
    let reader = http.service.reader(caller, anonymous);
    if let Err(Error::Forbidden) = reader {
        // Only the name that was called can be the reason: every account and every key may read.
        own_hosts::CHATBOT_API.warn_once(parts);
    }
    reader.map_err(ChatbotApi)
}

async fn writer(parts: &Parts, http: &Http, anonymous: AnonymousAccess) -> Result<Writer, Failure> {
    http.service.check_write_capacity().map_err(ChatbotApi)?;
    let reader = reader(parts, http, anonymous).await?;
    check_origin(&reader, parts, http)?;
    http.service.writer(reader).map_err(ChatbotApi)
}

fn check_origin(reader: &Reader, parts: &Parts, http: &Http) -> Result<(), Failure> {
    let by_cookie = matches!(reader.caller(), Caller::Person(_));
    if by_cookie { origin::check_write(&parts.headers, &http.settings) } else { Ok(()) }
}

/// The caller. From now on its memory counts for callers with credentials, unless it is a visitor, and the request's
/// line in the log names it.
async fn caller(parts: &Parts, http: &Http, credentials: &Credentials) -> Result<Caller, Failure> {
    let caller = http.service.caller_get(credentials).await.map_err(ChatbotApi)?;
    if !matches!(caller, Caller::Visitor) {
        RequestMemory::set_authenticated(&parts.extensions);
    }
    AccessLog::of(&parts.extensions).caller(&caller);
    Ok(caller)
}
