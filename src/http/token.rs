//! `POST /api/token`: the password grant (RFC 6749 4.3).

use std::collections::BTreeMap;

use actix_web::http::header;
use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::accounts::Services;
use crate::accounts::sign_in::{AccessToken, Attempt, sign_in};
use crate::domain::email::Email;
use crate::domain::password::Password;
use crate::http::body;
use crate::http::problem::{Kind, OAuthErrorBody, Problem};
use crate::http::request_log::Caller;

/// A resource owner's credentials.
#[derive(Deserialize, ToSchema)]
#[expect(dead_code, reason = "describes the body in the API document; parse() reads it parameter by parameter")]
pub(crate) struct TokenRequest {
    /// `password`; may be left out.
    #[schema(example = "password")]
    grant_type: Option<String>,
    /// The email address.
    #[schema(example = "a@example.com")]
    username: String,
    /// The password.
    #[schema(example = "correct horse battery staple", format = Password)]
    password: String,
    /// Ignored.
    scope: Option<String>,
    /// Ignored.
    client_id: Option<String>,
    /// Ignored.
    client_secret: Option<String>,
}

/// RFC 6749 5.1.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenResponse {
    /// A JWT (RFC 9068), to be sent as `Authorization: Bearer ...`.
    access_token: String,
    /// Always `bearer`.
    #[schema(example = "bearer")]
    token_type: &'static str,
    /// Seconds, exactly `exp - iat` of the token.
    #[schema(example = 1800)]
    expires_in: i64,
}

impl From<AccessToken> for TokenResponse {
    fn from(issued: AccessToken) -> Self {
        Self { access_token: issued.token, token_type: "bearer", expires_in: issued.expires_in }
    }
}

/// Sign in
#[utoipa::path(
    post, path = "/api/token", operation_id = "sign_in", tag = "accounts",
    request_body(content = TokenRequest, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "Signed in", body = TokenResponse),
        (status = 400, description = "A parameter is missing, empty or repeated, or another grant type", body = OAuthErrorBody),
        (status = 401, description = "Incorrect email or password", body = OAuthErrorBody),
        (status = 408, description = "The body took longer than ten seconds", body = OAuthErrorBody),
        (status = 413, description = "Over 16 KiB", body = OAuthErrorBody),
        (status = 415, description = "Not a form", body = OAuthErrorBody),
        (status = 503, description = "Overloaded, or the database is away; see Retry-After", body = OAuthErrorBody),
    )
)]
pub(crate) async fn post(
    services: web::Data<Services>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    issue(&services, &request, payload).await.map_err(Problem::on_token_endpoint)
}

async fn issue(services: &Services, request: &HttpRequest, payload: web::Payload) -> Result<HttpResponse, Problem> {
    let attempt = parse(body::form(request, payload).await?)?;
    let issued = sign_in(services, attempt).await?;
    request.extensions_mut().insert(Caller(issued.subject));
    Ok(HttpResponse::Ok()
        .insert_header((header::PRAGMA, header::HeaderValue::from_static("no-cache")))
        .json(TokenResponse::from(issued)))
}

/// Reads the grant. An absent `grant_type` counts as `password`: clients of form-based predecessors leave it out.
fn parse(mut form: BTreeMap<String, String>) -> Result<Attempt, Kind> {
    if form.remove("grant_type").is_some_and(|grant| !["", "password"].contains(&grant.as_str())) {
        return Err(Kind::UnsupportedGrantType);
    }
    let username = present(&mut form, "username")?;
    let password = present(&mut form, "password")?;
    Ok(Attempt { email: Email::parse(&username).ok(), password: Password::parse(password).ok() })
}

/// RFC 6749 3.2: a parameter without a value counts as left out.
fn present(form: &mut BTreeMap<String, String>, name: &str) -> Result<String, Kind> {
    form.remove(name)
        .filter(|value| !value.is_empty())
        .ok_or_else(|| Kind::InvalidRequest(format!("the parameter {name} is missing")))
}
