//! `POST /api/user/password`.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::accounts::change_password::change_password;
use crate::accounts::{self, Services};
use crate::domain::network::Network;
use crate::domain::password::{Password, PasswordRules};
use crate::http::bearer::Bearer;
use crate::http::body;
use crate::http::problem::{FieldError, Kind, Problem, ProblemBody};
use crate::http::rate_limit::{Action, ClientAddress, RateLimits};
use crate::http::register::text;

/// The password that counts and the one that shall.
#[derive(Deserialize, ToSchema)]
#[expect(dead_code, reason = "describes the body in the API document; parse() reads it field by field")]
pub(crate) struct PasswordBody {
    /// The password as it is.
    #[schema(example = "correct horse battery staple", format = Password)]
    current_password: String,
    /// Another one; the rules are those of registration.
    #[schema(example = "staple battery horse correct", format = Password)]
    new_password: String,
}

/// Change the password
///
/// Ends every session of the user, this one too: sign in again with the new password.
#[utoipa::path(
    post, path = "/api/user/password", tag = "accounts", security(("OAuth2PasswordBearer" = [])), request_body = PasswordBody,
    responses(
        (status = 204, description = "Changed; every token of the user is refused from now on"),
        (status = 400, description = "The body is not one unambiguous JSON object", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "No token, or not a valid one", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "Not application/json", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The present password is another one, or the new one does not do; `errors` says which and why", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many attempts for this account or from this client; see Retry-After", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Overloaded, or the database is away; see Retry-After", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn post(
    services: web::Data<Services>,
    limits: web::Data<RateLimits>,
    Bearer(who): Bearer,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let (current, new) = parse(body::json_object(&request, payload).await?, services.rules())?;
    let address = ClientAddress::of(&request);
    limits.take(Action::SignIn, address)?;
    change_password(&services, &who.user, current, new, Network::from(address)).await.map_err(|error| match error {
        // 401 would tell the client to throw its token away, which is good.
        accounts::Error::BadCredentials => Problem::from(invalid("current_password", "is not the password")),
        accounts::Error::PasswordTooCommon { advice } => Problem::from(invalid("new_password", &advice)),
        error => error.into(),
    })?;
    Ok(HttpResponse::NoContent().finish())
}

fn parse(mut fields: BTreeMap<String, Value>, rules: PasswordRules) -> Result<(Option<Password>, Password), Kind> {
    let current = text(&mut fields, "current_password").map_err(|message| invalid("current_password", &message))?;
    let new = text(&mut fields, "new_password").and_then(|raw| {
        let password = Password::parse(raw).map_err(|error| error.to_string())?;
        rules.check(&password).map_err(|error| error.to_string())?;
        Ok(password)
    });
    // What can be no password of anybody is refused like a wrong one, after the same work.
    Ok((Password::parse(current).ok(), new.map_err(|message| invalid("new_password", &message))?))
}

fn invalid(field: &'static str, message: &str) -> Kind {
    Kind::InvalidFields(vec![FieldError { field, message: message.to_owned() }])
}
