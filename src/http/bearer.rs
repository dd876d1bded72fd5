//! The bearer middleware, in two variants: `required` answers for whoever has no valid token, `optional` lets
//! everybody through as somebody or nobody.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::pin::Pin;

use actix_web::dev::{Payload, ServiceRequest};
use actix_web::http::header::{self, HeaderMap};
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use actix_web_httpauth::middleware::HttpAuthentication;

use crate::accounts::identify::{SignedIn, identify};
use crate::accounts::{self, Services};
use crate::http::problem::{Kind, Problem};
use crate::http::request_log::Caller;

type Checked = Result<ServiceRequest, (actix_web::Error, ServiceRequest)>;
type Check = fn(ServiceRequest, Presented) -> Pin<Box<dyn Future<Output = Checked>>>;

/// Lets through whoever presents a valid token of a user who is there and enabled; the handler finds a [`Bearer`].
pub(crate) fn required() -> HttpAuthentication<Presented, Check> {
    HttpAuthentication::with_fn(|request, presented| {
        Box::pin(async move {
            let outcome = match presented {
                Presented::Token(token) => who(&request, token).await,
                Presented::Nothing => Err(Kind::NotAuthenticated.into()),
                Presented::Illegible => Err(Kind::MalformedAuthorization.into()),
            };
            match outcome {
                Ok(who) => Ok(pass(request, Some(who))),
                Err(problem) => Err((problem.into(), request)),
            }
        })
    })
}

/// Lets everybody through; the handler finds a [`MaybeBearer`]. Only a token that verifies and cannot be looked
/// up is an error: guessing either way would be wrong.
pub(crate) fn optional() -> HttpAuthentication<Presented, Check> {
    HttpAuthentication::with_fn(|request, presented| {
        Box::pin(async move {
            let Presented::Token(token) = presented else {
                return Ok(pass(request, None));
            };
            match who(&request, token).await {
                Ok(who) => Ok(pass(request, Some(who))),
                Err(problem) if *problem.kind() == Kind::InvalidToken => Ok(pass(request, None)),
                Err(problem) => Err((problem.into(), request)),
            }
        })
    })
}

async fn who(request: &ServiceRequest, token: String) -> Result<SignedIn, Problem> {
    let Some(services) = request.app_data::<web::Data<Services>>() else {
        return Err(Kind::Internal("no services".to_owned()).into());
    };
    identify(services, token).await.map_err(|error: accounts::Error| error.into())
}

fn pass(request: ServiceRequest, who: Option<SignedIn>) -> ServiceRequest {
    // Nobody is what a handler finds where nothing was left for it.
    if let Some(who) = who {
        let mut left = request.extensions_mut();
        left.insert(Caller(who.user.id));
        left.insert(MaybeBearer(Some(who)));
    }
    request
}

/// What the request's Authorization header holds (RFC 6750 2.1). A token anywhere else is not looked for.
#[derive(Debug, PartialEq, Eq)]
pub enum Presented {
    /// A bearer token, not looked at yet.
    Token(String),
    /// No header, or another scheme: not meant for us.
    Nothing,
    /// Two headers, or `Bearer` with nothing or with characters that no token has.
    Illegible,
}

impl Presented {
    /// Reads it off the headers. What the token is worth is not asked here.
    #[must_use]
    pub fn read(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(header::AUTHORIZATION);
        let Some(value) = values.next() else {
            return Self::Nothing;
        };
        if values.next().is_some() {
            return Self::Illegible;
        }
        let value = value.as_bytes();
        let at = value.iter().position(|byte| *byte == b' ').unwrap_or(value.len());
        let (scheme, rest) = value.split_at(at);
        // RFC 9110 11.1: the scheme's case does not matter. httpauth's own parser insists on `Bearer`.
        if !scheme.eq_ignore_ascii_case(b"bearer") {
            return Self::Nothing;
        }
        let token = rest.trim_ascii();
        match std::str::from_utf8(token) {
            Ok(token) if is_b64token(token) => Self::Token(token.to_owned()),
            _ => Self::Illegible,
        }
    }
}

/// RFC 6750 2.1: `1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="`.
fn is_b64token(token: &str) -> bool {
    let body = token.trim_end_matches('=');
    !body.is_empty() && body.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte))
}

impl FromRequest for Presented {
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(Self::read(request.headers())))
    }
}

/// The user behind a route that [`required`] guards.
pub(crate) struct Bearer(pub(crate) SignedIn);

impl FromRequest for Bearer {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let who = request.extensions_mut().remove::<MaybeBearer>().and_then(|found| found.0);
        // Without the middleware nobody is signed in: forgetting it closes the route instead of opening it.
        ready(who.map(Self).ok_or_else(|| Kind::NotAuthenticated.into()))
    }
}

/// The user behind a route that [`optional`] guards, if there is one.
#[derive(Clone)]
pub(crate) struct MaybeBearer(pub(crate) Option<SignedIn>);

impl FromRequest for MaybeBearer {
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(request.extensions_mut().remove::<Self>().unwrap_or(Self(None))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    fn presented(headers: &[&str]) -> Presented {
        let mut request = TestRequest::default();
        for value in headers {
            request = request.append_header((header::AUTHORIZATION, *value));
        }
        Presented::read(request.to_http_request().headers())
    }

    /// C-42.
    #[test]
    fn one_header_any_case_legal_characters() {
        for fine in ["Bearer abc.DEF-_~+/==", "bearer abc.DEF-_~+/==", "BEARER   abc.DEF-_~+/=="] {
            assert_eq!(presented(&[fine]), Presented::Token("abc.DEF-_~+/==".to_owned()), "{fine}");
        }
        for nothing in ["Basic YTpi", "Bearerabc", "Token abc", ""] {
            assert_eq!(presented(&[nothing]), Presented::Nothing, "{nothing}");
        }
        assert_eq!(presented(&[]), Presented::Nothing);
        for illegible in ["Bearer", "Bearer ", "Bearer a b", "Bearer a,b", "Bearer =", "Bearer \"a\"", "Bearer a=b"] {
            assert_eq!(presented(&[illegible]), Presented::Illegible, "{illegible}");
        }
        assert_eq!(presented(&["Bearer a", "Bearer a"]), Presented::Illegible);
        assert_eq!(presented(&["Bearer a", "Basic YTpi"]), Presented::Illegible);
    }
}
