//! A page of metrics.

use std::collections::HashMap;
use std::net::SocketAddr;

use crate::client::{Answer, get};
use crate::process::Server;

/// The address after `word` in what the server announced.
fn announced(server: &Server, word: &str) -> SocketAddr {
    let line = server.announcement.lines().find(|line| line.contains(word)).unwrap();
    line.split("http://").nth(1).unwrap().trim_end_matches("/metrics").parse().unwrap()
}

/// A page of metrics, read as strictly as it may be: which types were declared, and each series with its value.
#[derive(Default)]
pub struct Page {
    types: HashMap<String, String>,
    pub series: HashMap<String, f64>,
}

impl Page {
    pub fn of(server: &Server) -> Self {
        let Answer { status, head, body } = get(announced(server, "metrics"), "/metrics").unwrap();
        assert_eq!(status, 200);
        assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"), "{head}");
        Self::parse(&body)
    }

    fn parse(text: &str) -> Self {
        let mut page = Self::default();
        let text = text.strip_suffix("# EOF\n").expect("OpenMetrics ends with # EOF");
        let mut family = String::new();
        for line in text.lines() {
            if let Some(comment) = line.strip_prefix("# ") {
                let (kind, rest) = comment.split_once(' ').unwrap();
                let (name, what) = rest.split_once(' ').unwrap();
                match kind {
                    "TYPE" => {
                        family = name.to_owned();
                        assert!(page.types.insert(family.clone(), what.to_owned()).is_none(), "{name} twice");
                    }
                    "UNIT" => assert!(name.ends_with(&format!("_{what}")), "{line}"),
                    "HELP" => assert!(!what.is_empty(), "{line}"),
                    _ => panic!("{line}"),
                }
                continue;
            }
            let (series, value) = line.rsplit_once(' ').unwrap();
            let name = series.split('{').next().unwrap();
            let endings: &[&str] = match page.types[&family].as_str() {
                "counter" => &["_total"],
                "gauge" => &[""],
                "info" => &["_info"],
                "histogram" => &["_bucket", "_count", "_sum"],
                other => panic!("{other}"),
            };
            assert!(endings.iter().any(|ending| name == format!("{family}{ending}")), "{line} below {family}");
            let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
            assert!(page.series.insert(series.to_owned(), value).is_none(), "{series} twice");
        }
        page
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.series.keys().map(|series| series.split('{').next().unwrap())
    }

    /// The sum of the series named `name` whose labels include `labels`.
    pub fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let is_meant = |series: &&String| {
            series.split('{').next() == Some(name) && labels.iter().all(|label| series.contains(label))
        };
        self.series.keys().filter(is_meant).map(|series| self.series[series]).sum()
    }

    pub fn answered(&self, route: &str, status: u16) -> f64 {
        let labels = [format!("route=\"{route}\""), format!("status=\"{status}\"")];
        self.sum("tegata_http_request_duration_seconds_count", &[&labels[0], &labels[1]])
    }
}
