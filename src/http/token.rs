//! `POST /api/token` and `POST /oauth2/token`: the password grant (RFC 6749 4.3) and the refresh token (RFC 6749 6).

use std::collections::BTreeMap;

use actix_web::http::header;
use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::accounts::Services;
use crate::accounts::attempts::{Attempt, Username};
use crate::accounts::open_session::Grant;
use crate::accounts::renew::renew;
use crate::accounts::sign_in::sign_in;
use crate::domain::network::Network;
use crate::domain::password::Password;
use crate::domain::session::Client;
use crate::http::body;
use crate::http::problem::{Kind, OAuthErrorBody, Problem};
use crate::http::rate_limit::{Action, ClientAddress, RateLimits};
use crate::http::request_log::Caller;

/// A grant: a person's credentials (RFC 6749 4.3.2), or a refresh token (RFC 6749 6).
#[derive(Deserialize, ToSchema)]
#[expect(dead_code, reason = "describes the body in the API document; parse() reads it parameter by parameter")]
pub(crate) struct TokenRequest {
    /// `password` or `refresh_token`; at `/api/token` it may be left out for the first.
    #[schema(example = "password")]
    grant_type: Option<String>,
    /// The email address; with `password`.
    #[schema(example = "a@example.com")]
    username: Option<String>,
    /// The password; with `password`.
    #[schema(example = "correct horse battery staple", format = Password)]
    password: Option<String>,
    /// The refresh token of the last answer; with `refresh_token`.
    refresh_token: Option<String>,
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
    /// For the next grant; it replaces the one that was presented. Absent while the database takes no writes.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
}

impl From<Grant> for TokenResponse {
    fn from(Grant { access, refresh_token }: Grant) -> Self {
        Self { access_token: access.token, token_type: "bearer", expires_in: access.expires_in, refresh_token }
    }
}

/// Sign in, or stay signed in
#[utoipa::path(
    post, path = "/api/token", operation_id = "sign_in", tag = "accounts",
    request_body(content = TokenRequest, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "Signed in", body = TokenResponse),
        (status = 400, description = "A parameter is missing, empty or repeated, another grant type, or a refresh token that is not valid any more", body = OAuthErrorBody),
        (status = 401, description = "Incorrect email or password", body = OAuthErrorBody),
        (status = 408, description = "The body took longer than ten seconds", body = OAuthErrorBody),
        (status = 413, description = "Over 16 KiB", body = OAuthErrorBody),
        (status = 415, description = "Not a form", body = OAuthErrorBody),
        (status = 429, description = "Too many attempts for this account or from this client; see Retry-After", body = OAuthErrorBody),
        (status = 503, description = "Overloaded, or the database is away; see Retry-After", body = OAuthErrorBody),
    )
)]
pub(crate) async fn post(
    services: web::Data<Services>,
    limits: web::Data<RateLimits>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    answer(&services, &limits, &request, payload, Manner::Lenient).await.map_err(Problem::on_token_endpoint)
}

/// Sign in, or stay signed in, by the letter of RFC 6749
///
/// As `/api/token`, but bad credentials are 400 `invalid_grant` and `grant_type` is required.
#[utoipa::path(
    post, path = "/oauth2/token", operation_id = "oauth2_token", tag = "OAuth 2.0",
    request_body(content = TokenRequest, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "Signed in", body = TokenResponse),
        (status = 400, description = "RFC 6749 5.2: `error` says why", body = OAuthErrorBody),
        (status = 408, description = "The body took longer than ten seconds", body = OAuthErrorBody),
        (status = 413, description = "Over 16 KiB", body = OAuthErrorBody),
        (status = 415, description = "Not a form", body = OAuthErrorBody),
        (status = 429, description = "Too many attempts for this account or from this client; see Retry-After", body = OAuthErrorBody),
        (status = 503, description = "Overloaded, or the database is away; see Retry-After", body = OAuthErrorBody),
    )
)]
pub(crate) async fn post_strict(
    services: web::Data<Services>,
    limits: web::Data<RateLimits>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    answer(&services, &limits, &request, payload, Manner::Strict).await.map_err(|problem| match problem.kind() {
        // RFC 6749 5.2: 401 is for clients that failed to authenticate themselves, and there are none here.
        Kind::BadCredentials => Problem::from(Kind::BadOwnerCredentials).on_token_endpoint(),
        _ => problem.on_token_endpoint(),
    })
}

/// How closely an endpoint follows RFC 6749.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// As clients of form-based predecessors expect: without `grant_type` it counts as `password`.
    Lenient,
    /// To the letter.
    Strict,
}

/// What a client asks for.
enum Asked {
    SignIn { username: Username, password: Option<Password> },
    Renewal(Zeroizing<String>),
}

async fn answer(
    services: &Services,
    limits: &RateLimits,
    request: &HttpRequest,
    payload: web::Payload,
    manner: Manner,
) -> Result<HttpResponse, Problem> {
    let grant = match parse(body::form(request, payload).await?, manner)? {
        Asked::SignIn { username, password } => {
            let address = ClientAddress::of(request);
            limits.take(Action::SignIn, address)?;
            let attempt = Attempt { username, password, network: Network::from(address) };
            sign_in(services, attempt, client(request)).await?
        }
        Asked::Renewal(token) => renew(services, &token).await?,
    };
    request.extensions_mut().insert(Caller(grant.access.subject));
    Ok(HttpResponse::Ok()
        .insert_header((header::PRAGMA, header::HeaderValue::from_static("no-cache")))
        .json(TokenResponse::from(grant)))
}

/// What a client says of itself.
fn client(request: &HttpRequest) -> Client {
    let user_agent = request.headers().get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    Client::new(user_agent.unwrap_or_default(), ClientAddress::of(request).to_string())
}

fn parse(mut form: BTreeMap<String, String>, manner: Manner) -> Result<Asked, Kind> {
    match form.remove("grant_type").as_deref() {
        Some("password") => sign_in_of(form),
        Some("refresh_token") => Ok(Asked::Renewal(Zeroizing::new(present(&mut form, "refresh_token")?))),
        None | Some("") if manner == Manner::Lenient => sign_in_of(form),
        None | Some("") => Err(Kind::InvalidRequest("the parameter grant_type is missing".to_owned())),
        Some(_) => Err(Kind::UnsupportedGrantType),
    }
}

fn sign_in_of(mut form: BTreeMap<String, String>) -> Result<Asked, Kind> {
    let username = present(&mut form, "username")?;
    let password = present(&mut form, "password")?;
    Ok(Asked::SignIn { username: Username::parse(username), password: Password::parse(password).ok() })
}

/// RFC 6749 3.2: a parameter without a value counts as left out.
pub(crate) fn present(form: &mut BTreeMap<String, String>, name: &str) -> Result<String, Kind> {
    form.remove(name)
        .filter(|value| !value.is_empty())
        .ok_or_else(|| Kind::InvalidRequest(format!("the parameter {name} is missing")))
}
