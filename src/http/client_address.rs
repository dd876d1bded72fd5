//! Where a request comes from: the other end of the connection, unless that is a proxy of the operator's (C-16).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix_web::http::header::{HeaderMap, HeaderName, X_FORWARDED_FOR};
use ipnet::IpNet;

/// The proxies whose `X-Forwarded-For` is believed.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Arc<[IpNet]>);

/// The text is not a list of networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be addresses or networks of your proxies, such as 127.0.0.1, 10.0.0.0/8, fd00::/8")]
pub struct NoNetworks;

impl TrustedProxies {
    /// Reads addresses and networks, separated by commas or spaces.
    ///
    /// Errors: [`NoNetworks`] if one of them is neither.
    pub fn parse(text: &str) -> Result<Self, NoNetworks> {
        let parts = text.split([',', ' ']).filter(|part| !part.is_empty());
        let network = |part: &str| match part.parse::<IpAddr>() {
            Ok(address) => Ok(IpNet::from(address.to_canonical())),
            Err(_) => part.parse::<IpNet>().map_err(|_| NoNetworks),
        };
        parts.map(network).collect::<Result<Arc<_>, _>>().map(Self)
    }

    /// Whether the address is one of theirs.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The client's address. Each proxy adds whom it heard from to the right end of `X-Forwarded-For`, so that is read
    /// from there, and only for as long as a proxy wrote it; what is further to the left anybody may have written.
    /// `Forwarded` (RFC 7239) and `X-Real-IP` are not read at all: proxies that do not know them let a client's through.
    pub(crate) fn client(&self, peer: Option<SocketAddr>, headers: &HeaderMap) -> IpAddr {
        let peer = peer.map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.ip().to_canonical());
        if !self.contains(peer) {
            self.mention_once(peer, headers);
            return peer;
        }
        let mut client = peer;
        for line in headers.get_all(X_FORWARDED_FOR).collect::<Vec<_>>().into_iter().rev() {
            for hop in line.as_bytes().rsplit(|byte| *byte == b',') {
                // Something else than an address: the last one that is known has to do.
                let Some(hop) = address(hop) else { return client };
                client = hop;
                if !self.contains(client) {
                    return client;
                }
            }
        }
        client
    }

    /// Behind a proxy that the settings do not name all clients are one, and share its limits.
    fn mention_once(&self, peer: IpAddr, headers: &HeaderMap) {
        static MENTIONED: AtomicBool = AtomicBool::new(false);
        const FORWARDED: [HeaderName; 2] = [X_FORWARDED_FOR, HeaderName::from_static("forwarded")];
        if FORWARDED.iter().any(|name| headers.contains_key(name)) && !MENTIONED.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                %peer,
                "requests come with X-Forwarded-For from an address that TRUSTED_PROXIES does not name: they count as one \
                 client. If it is your proxy's, name it; otherwise somebody tries to look like many. Said once"
            );
        }
    }
}

/// One hop, as proxies write it: an address, some with a port (`192.0.2.1:80`, `[2001:db8::1]:80`).
fn address(hop: &[u8]) -> Option<IpAddr> {
    let hop = std::str::from_utf8(hop).ok()?.trim();
    let address = hop.parse::<IpAddr>().ok();
    let address = address.or_else(|| hop.parse::<SocketAddr>().ok().map(|hop| hop.ip()));
    let address = address.or_else(|| hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok());
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    fn client(trusted: &str, peer: &str, forwarded_for: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in forwarded_for {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        let peer = SocketAddr::new(peer.parse().unwrap(), 1);
        TrustedProxies::parse(trusted).unwrap().client(Some(peer), &headers).to_string()
    }

    #[test]
    fn without_trust_it_is_the_peer_whatever_is_claimed() {
        assert_eq!(client("", "192.0.2.1", &["198.51.100.1"]), "192.0.2.1");
        assert_eq!(client("10.0.0.0/8", "192.0.2.1", &["198.51.100.1"]), "192.0.2.1");
        assert_eq!(client("", "::ffff:192.0.2.1", &[]), "192.0.2.1");
    }

    #[test]
    fn with_trust_it_is_the_right_most_hop_that_is_not_a_proxy() {
        let trusted = "127.0.0.1, 10.0.0.0/8 fd00::/8";
        assert_eq!(client(trusted, "10.1.2.3", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(client(trusted, "10.1.2.3", &["203.0.113.9, 198.51.100.1"]), "198.51.100.1", "the left is forged");
        assert_eq!(client(trusted, "10.1.2.3", &["203.0.113.9", "198.51.100.1, 10.0.0.7"]), "198.51.100.1");
        assert_eq!(client(trusted, "fd00::1", &["2001:db8::1"]), "2001:db8::1");
        assert_eq!(client(trusted, "::ffff:10.1.2.3", &["::ffff:198.51.100.1"]), "198.51.100.1");
    }

    #[test]
    fn ports_and_brackets_are_left_off() {
        for hop in ["198.51.100.1:4711", "[::ffff:198.51.100.1]:4711", "[::ffff:198.51.100.1]", " 198.51.100.1 "] {
            assert_eq!(client("10.0.0.1", "10.0.0.1", &[hop]), "198.51.100.1", "{hop}");
        }
    }

    #[test]
    fn where_the_chain_is_broken_the_last_hop_that_is_known_stands() {
        for broken in
            ["unknown", "", "203.0.113.9, _hidden", "203.0.113.9,,", "203.0.113.9, \u{e9}", "203.0.113.9 1.2.3.4"]
        {
            assert_eq!(client("10.0.0.1", "10.0.0.1", &[broken]), "10.0.0.1", "{broken:?}");
        }
        assert_eq!(client("10.0.0.0/8", "10.0.0.1", &["unknown, 10.0.0.2"]), "10.0.0.2");
        assert_eq!(client("10.0.0.1", "10.0.0.1", &[]), "10.0.0.1", "the proxy itself asks");
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for wrong in ["proxy", "10.0.0.0/33", "10.0.0.0/8;10.0.0.1", "*"] {
            assert_eq!(TrustedProxies::parse(wrong).unwrap_err(), NoNetworks, "{wrong}");
        }
    }
}
