//! `GET /api/password_rules`: what a new password must be; `POST`: whether one would do, before anybody chooses it.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::accounts::judge_password::judge_password;
use crate::accounts::{self, Services};
use crate::domain::email::Email;
use crate::domain::password::{MAX_BYTES, Password, PasswordRules};
use crate::http::body;
use crate::http::problem::{FieldError, Kind, Problem, ProblemBody};
use crate::http::rate_limit::{Action, ClientAddress, RateLimits};
use crate::http::register::text;

/// What a new password must be.
#[derive(Serialize, ToSchema)]
pub(crate) struct RulesView {
    /// Fewest characters, counted as Unicode code points.
    #[schema(example = 8)]
    min_characters: usize,
    /// Most bytes, in UTF-8 and normalised (NFC). All of them count.
    #[schema(example = 1024)]
    max_bytes: usize,
    /// The same and the rest in sentences, to be shown to people.
    #[schema(example = json!(["At least 8 characters, of any kind."]))]
    rules: Vec<String>,
}

/// What a new password must be
#[utoipa::path(
    get, path = "/api/password_rules", operation_id = "password_rules", tag = "accounts",
    responses((status = 200, description = "The rules, for programs and for people", body = RulesView))
)]
pub(crate) async fn get(services: web::Data<Services>) -> HttpResponse {
    let PasswordRules { min_code_points } = services.rules();
    HttpResponse::Ok().json(RulesView {
        min_characters: min_code_points,
        max_bytes: MAX_BYTES,
        rules: vec![
            format!("At least {min_code_points} characters, of any kind: letters, digits, signs and spaces all do."),
            format!("At most {MAX_BYTES} bytes, all of which count."),
            "None of those that attackers try first: common passwords and patterns, your email address, the name of \
             this service. Four words that have nothing to do with each other do well."
                .to_owned(),
        ],
    })
}

/// A password that somebody thinks of.
#[derive(Deserialize, ToSchema)]
#[expect(dead_code, reason = "describes the body in the API document; parse() reads it field by field")]
pub(crate) struct CandidateBody {
    /// The password.
    #[schema(example = "correct horse battery staple", format = Password)]
    password: String,
    /// Who will have it; may be left out.
    #[schema(example = "a@example.com")]
    email: Option<String>,
}

/// What registration would say.
#[derive(Serialize, ToSchema)]
pub(crate) struct VerdictView {
    /// Whether the password does.
    #[schema(example = false)]
    is_acceptable: bool,
    /// What is wrong with it, as registration would tell.
    errors: Vec<FieldError>,
}

/// Would this password do
///
/// The check of `/api/register`, and nothing is created or kept.
#[utoipa::path(
    post, path = "/api/password_rules", operation_id = "judge_password", tag = "accounts", request_body = CandidateBody,
    responses(
        (status = 200, description = "Whether it does, and what to do if not", body = VerdictView),
        (status = 400, description = "The body is not one unambiguous JSON object", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "Not application/json", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A field is missing or no string", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many from this client; see Retry-After", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Overloaded; see Retry-After", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn post(
    services: web::Data<Services>,
    limits: web::Data<RateLimits>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let (raw, email) = parse(body::json_object(&request, payload).await?)?;
    limits.take(Action::JudgePassword, ClientAddress::of(&request))?;
    let parsed = Password::parse(raw).and_then(|password| services.rules().check(&password).map(|()| password));
    let refusal = match parsed {
        Err(error) => Some(error.to_string()),
        Ok(password) => match judge_password(&services, password, email.as_ref()).await {
            Ok(()) => None,
            Err(accounts::Error::PasswordTooCommon { advice }) => Some(advice),
            Err(error) => return Err(error.into()),
        },
    };
    let errors: Vec<_> = refusal.into_iter().map(|message| FieldError { field: "password", message }).collect();
    Ok(HttpResponse::Ok().json(VerdictView { is_acceptable: errors.is_empty(), errors }))
}

/// The password, and the address if there is one yet: people are still typing.
fn parse(mut fields: BTreeMap<String, Value>) -> Result<(String, Option<Email>), Kind> {
    let password = text(&mut fields, "password")
        .map_err(|message| Kind::InvalidFields(vec![FieldError { field: "password", message }]))?;
    let email = text(&mut fields, "email").ok().and_then(|raw| Email::parse(&raw).ok());
    Ok((password, email))
}
