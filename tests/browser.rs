//! A person with a browser: /docs in a real Chromium, the Authorize button, and then `GET /api/user/me` as oneself.

mod database;
mod process;

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use database::TestDatabase;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use process::Server;
use serde_json::json;

const EMAIL: &str = "person@example.com";
const PASSWORD: &str = "correct horse battery staple";
const PATIENCE: Duration = Duration::from_secs(30);

/// chromedriver on a port of its own choice, stopped with the test.
struct Driver {
    child: Child,
    url: String,
}

impl Driver {
    fn start() -> Self {
        let mut child = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver must be installed; scripts/test.sh does that");
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
        let port = lines.find_map(|line| {
            let line = line.unwrap();
            let rest = line.split("started successfully on port ").nth(1)?;
            Some(rest.trim_end_matches('.').to_owned())
        });
        // Whatever else it says is read, so that it never waits for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, url: format!("http://127.0.0.1:{}", port.unwrap()) }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn open(driver: &Driver, profile: &std::path::Path) -> Client {
    let profile = format!("--user-data-dir={}", profile.display());
    let arguments = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--window-size=1200,2000",
        &profile,
    ];
    let capabilities = json!({"goog:chromeOptions": {"args": arguments}, "goog:loggingPrefs": {"browser": "ALL"}});
    let serde_json::Value::Object(capabilities) = capabilities else { unreachable!() };
    ClientBuilder::new(HttpConnector::new()).capabilities(capabilities).connect(&driver.url).await.unwrap()
}

async fn click(client: &Client, css: &str) {
    let element =
        client.wait().at_most(PATIENCE).for_element(Locator::Css(css)).await.unwrap_or_else(|e| panic!("{css}: {e}"));
    element.click().await.unwrap_or_else(|error| panic!("{css}: {error}"));
}

async fn type_into(client: &Client, css: &str, text: &str) {
    let element =
        client.wait().at_most(PATIENCE).for_element(Locator::Css(css)).await.unwrap_or_else(|e| panic!("{css}: {e}"));
    element.send_keys(text).await.unwrap();
}

#[actix_web::test]
async fn a_person_signs_in_on_the_docs_page_and_asks_who_they_are() {
    let database = TestDatabase::create();
    let server = Server::start(&database.dir, &[]);
    let registered = ureq::post(server.url("/api/register")).send_json(json!({"email": EMAIL, "password": PASSWORD}));
    assert_eq!(registered.unwrap().status(), 201);

    let driver = Driver::start();
    let client = open(&driver, &database.dir.join("profile")).await;
    client.goto(&server.url("/docs")).await.unwrap();

    click(&client, "button.authorize").await;
    type_into(&client, "#oauth_username", EMAIL).await;
    // ASVS 6.2.6: nobody reads it over a shoulder. Nothing forbids to paste it (6.2.7).
    let field = client.find(Locator::Css("#oauth_password")).await.unwrap();
    assert_eq!(field.attr("type").await.unwrap().as_deref(), Some("password"));
    assert_eq!(field.attr("onpaste").await.unwrap(), None);
    type_into(&client, "#oauth_password", PASSWORD).await;
    click(&client, "button.modal-btn.auth.authorize").await;
    // The dialogue changes to "Logout" once it has a token.
    let logged_in = "//div[contains(@class, 'auth-btn-wrapper')]/button[text() = 'Logout']";
    client.wait().at_most(PATIENCE).for_element(Locator::XPath(logged_in)).await.unwrap();
    click(&client, "button.btn-done").await;

    let me = "[id$='-me'].opblock";
    click(&client, &format!("{me} button.opblock-summary-control")).await;
    let try_it = format!("{me} button.execute");
    click(&client, &try_it).await;
    let body = format!("{me} .live-responses-table tr.response td.response-col_description .highlight-code");
    let answer = client.wait().at_most(PATIENCE).for_element(Locator::Css(&body)).await.unwrap().text().await.unwrap();
    assert!(answer.contains(EMAIL), "the page shows: {answer}");
    let status = format!("{me} .live-responses-table tr.response td.response-col_status");
    let status =
        client.wait().at_most(PATIENCE).for_element(Locator::Css(&status)).await.unwrap().text().await.unwrap();
    assert!(status.contains("200"), "the page shows: {status}");

    // Its own policy lets the page do all that it wants to: nothing was refused, nothing came from elsewhere.
    let resources = client
        .execute("return performance.getEntriesByType('resource').map(entry => entry.name)", Vec::new())
        .await
        .unwrap();
    let origin = server.url("/");
    for resource in resources.as_array().unwrap() {
        let resource = resource.as_str().unwrap();
        assert!(resource.starts_with(&origin) || resource.starts_with("data:"), "{resource}");
    }
    client.close().await.unwrap();
}
