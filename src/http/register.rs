//! `POST /api/register`.

use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use utoipa::ToSchema;

use crate::accounts::{Services, register};
use crate::domain::email::Email;
use crate::domain::password::{Password, PasswordRules};
use crate::domain::user::User;
use crate::http::body;
use crate::http::problem::{FieldError, Kind, Problem, ProblemBody};
use crate::http::rate_limit::{Action, ClientAddress, RateLimits};
use crate::http::request_log::Caller;

/// Who wants an account.
#[derive(Deserialize, ToSchema)]
#[expect(dead_code, reason = "describes the body in the API document; parse() reads it field by field")]
pub(crate) struct RegisterBody {
    /// An email address; kept as given, compared without regard to case.
    #[schema(example = "a@example.com", max_length = 254)]
    email: String,
    /// 8 characters to 1024 bytes, of any composition.
    #[schema(example = "correct horse battery staple", min_length = 8, format = Password)]
    password: String,
}

/// An account, as its owner sees it.
#[derive(Serialize, ToSchema)]
pub(crate) struct UserView<'a> {
    /// Stable and never reused.
    #[schema(example = 1)]
    id: i64,
    /// As given at registration.
    #[schema(example = "a@example.com")]
    email: &'a str,
}

impl<'a> From<&'a User> for UserView<'a> {
    fn from(user: &'a User) -> Self {
        Self { id: user.id.0, email: &user.email }
    }
}

/// Create an account
#[utoipa::path(
    post, path = "/api/register", operation_id = "register", tag = "accounts", request_body = RegisterBody,
    responses(
        (status = 201, description = "Created, and durable", body = UserView),
        (status = 400, description = "The body is not one unambiguous JSON object", body = ProblemBody, content_type = "application/problem+json"),
        (status = 408, description = "The body took longer than ten seconds", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "The address has an account", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "Over 16 KiB", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "Not application/json", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A field is missing or does not do; `errors` says which and why", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many from this client; see Retry-After", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Overloaded, or the database is away; see Retry-After", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn post(
    services: web::Data<Services>,
    limits: web::Data<RateLimits>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let (email, password) = parse(body::json_object(&request, payload).await?, services.rules())?;
    limits.take(Action::Register, ClientAddress::of(&request))?;
    let user = register::register(&services, email, password).await?;
    request.extensions_mut().insert(Caller(user.id));
    Ok(HttpResponse::Created().json(UserView::from(&user)))
}

/// Takes the two fields that count; all others are ignored and never bound (C-23). Tells all mistakes at once.
fn parse(mut fields: BTreeMap<String, Value>, rules: PasswordRules) -> Result<(Email, Password), Kind> {
    let email = text(&mut fields, "email").and_then(|raw| Email::parse(&raw).map_err(|error| error.to_string()));
    let password = text(&mut fields, "password").and_then(|raw| {
        let password = Password::parse(raw).map_err(|error| error.to_string())?;
        rules.check(&password).map_err(|error| error.to_string())?;
        Ok(password)
    });
    match (email, password) {
        (Ok(email), Ok(password)) => Ok((email, password)),
        (email, password) => {
            let errors = [("email", email.err()), ("password", password.err())];
            let errors =
                errors.into_iter().filter_map(|(field, message)| Some(FieldError { field, message: message? }));
            Err(Kind::InvalidFields(errors.collect()))
        }
    }
}

/// The field `name`. Errors: what to do about it.
pub(crate) fn text(fields: &mut BTreeMap<String, Value>, name: &str) -> Result<String, String> {
    match fields.remove(name) {
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err("must be a string".to_owned()),
        None => Err("is required".to_owned()),
    }
}
