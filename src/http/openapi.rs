//! The API described from the code: OpenAPI 3.1, and Swagger UI from files inside the binary.

use std::sync::{Arc, LazyLock};

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use utoipa::openapi::security::{Flow, OAuth2, Password, Scopes, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_swagger_ui::{Config, SwaggerFile};

use crate::http::problem::{Kind, Problem};
use crate::http::{health, password, password_rules, register, session, token, user, well_known};

#[derive(OpenApi)]
#[openapi(
    info(title = "Tegata", description = "Register, sign in and stay signed in, who am I, am I signed in, sign out."),
    paths(
        register::post, password_rules::get, password_rules::post, token::post, user::me, user::is_logined, password::post, session::logout, session::logout_all, session::list,
        session::delete, token::post_strict, session::revoke, well_known::jwks, well_known::metadata, health::hello, health::livez, health::readyz
    ),
    tags(
        (name = "accounts", description = "People and their tokens"),
        (name = "sessions", description = "Where they are signed in"),
        (name = "OAuth 2.0", description = "The same by the letter of the standards"),
        (name = "health", description = "For machines")
    ),
    modifiers(&PasswordFlow)
)]
struct Api;

struct PasswordFlow;

impl Modify for PasswordFlow {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let flow = Flow::Password(Password::new("/api/token", Scopes::new()));
        let scheme = SecurityScheme::OAuth2(OAuth2::with_description([flow], "Your email address as the username"));
        api.components.get_or_insert_default().add_security_scheme("OAuth2PasswordBearer", scheme);
    }
}

/// Rendered once: it never changes while the program runs.
static DOCUMENT: LazyLock<Option<String>> = LazyLock::new(|| Api::openapi().to_pretty_json().ok());

/// `GET /openapi.json`.
pub(crate) async fn document() -> Result<HttpResponse, Problem> {
    let document =
        DOCUMENT.as_deref().ok_or_else(|| Kind::Internal("the API document does not serialise".to_owned()))?;
    Ok(HttpResponse::Ok().content_type("application/json").body(document))
}

/// The page's own policy: everything from here, styles inline because Swagger UI writes them, no frames around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// `GET /docs`: to where the page's relative links work.
pub(crate) async fn docs() -> HttpResponse {
    HttpResponse::PermanentRedirect().insert_header((header::LOCATION, "/docs/")).finish()
}

/// `GET /docs/...`: Swagger UI's files.
pub(crate) async fn docs_file(path: web::Path<String>) -> Result<HttpResponse, Problem> {
    static CONFIG: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| {
        let config = Config::from("/openapi.json").try_it_out_enabled(true).validator_url("none");
        Arc::new(config)
    });
    let file = utoipa_swagger_ui::serve(&path, Arc::clone(&CONFIG));
    match file.map_err(|error| Kind::Internal(error.to_string()))? {
        Some(SwaggerFile { bytes, content_type, .. }) => Ok(HttpResponse::Ok()
            .content_type(if content_type.starts_with("text/") {
                content_type + "; charset=utf-8"
            } else {
                content_type
            })
            .insert_header((header::CACHE_CONTROL, "no-cache"))
            .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
            .insert_header((header::REFERRER_POLICY, "no-referrer"))
            .body(bytes.into_owned())),
        None => Err(Kind::NotFound.into()),
    }
}
