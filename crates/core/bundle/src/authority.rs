//! By which addresses a receiver may be called: the guard against a request that was signed for somebody else.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use http::Uri;

/// Where a leader or a follower is reached: `http://host`, `https://host:port`; no path, no user.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    https: bool,
    host: String,
    port: u16,
}

/// The text is no origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an origin: write scheme, host and perhaps a port, e.g. `https://lead.example.org:7443`")]
pub struct InvalidOrigin(String);

/// The authorities that a receiver answers to, by every spelling that `Host` may have.
#[derive(Debug, Clone, Default)]
pub struct Authorities(BTreeMap<String, String>);

impl Origin {
    /// Whether it is spoken to through TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// `Host` and `@authority` (RFC 9421 section 2.2.3): lower-case, without the scheme's default port.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.port == self.default_port() { self.host.clone() } else { self.spelled_out() }
    }

    /// The URL of a path (and query) below this origin.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{self}{path}")
    }

    fn default_port(&self) -> u16 {
        if self.https { 443 } else { 80 }
    }

    fn spelled_out(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidOrigin(text.to_owned());
        let uri: Uri = text.parse().map_err(|_| invalid())?;
        let https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(invalid()),
        };
        let authority = uri.authority().ok_or_else(invalid)?;
        let bare = uri.path() == "/" && uri.query().is_none() && !text.contains(['#', '?']);
        if !bare || authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(invalid());
        }
        let after_host = &authority.as_str()[authority.host().len()..];
        let port = match (after_host, authority.port_u16()) {
            ("", _) => {
                if https {
                    443
                } else {
                    80
                }
            }
            (_, Some(port)) if port != 0 => port,
            _ => return Err(invalid()),
        };
        Ok(Self { https, host: authority.host().to_ascii_lowercase(), port })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.https { "https" } else { "http" }, self.authority())
    }
}

impl Authorities {
    /// The canonical form of what a `Host` field says, when it is one of ours.
    #[must_use]
    pub fn canonical(&self, host: &str) -> Option<&str> {
        // Nearly everybody spells it as we do.
        self.0.get(host).or_else(|| self.0.get(&host.to_ascii_lowercase())).map(String::as_str)
    }
}

impl<'a> FromIterator<&'a Origin> for Authorities {
    fn from_iter<I: IntoIterator<Item = &'a Origin>>(origins: I) -> Self {
        let spellings =
            |origin: &Origin| [(origin.authority(), origin.authority()), (origin.spelled_out(), origin.authority())];
        Self(origins.into_iter().flat_map(spellings).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port_only() {
        for (text, authority, shown) in [
            ("https://Lead.Example.org", "lead.example.org", "https://lead.example.org"),
            ("https://lead:443/", "lead", "https://lead"),
            ("http://lead:80", "lead", "http://lead"),
            ("http://lead:443", "lead:443", "http://lead:443"),
            ("http://[::1]:6000", "[::1]:6000", "http://[::1]:6000"),
        ] {
            let origin = text.parse::<Origin>();
            assert_eq!(origin.clone().map(|o| o.authority()), Ok(authority.to_owned()));
            assert_eq!(origin.map(|o| o.to_string()), Ok(shown.to_owned()));
        }
        for bad in
            ["", "lead", "ftp://lead", "http://", "http://a@b", "http://a/b", "http://a?b", "http://a:", "http://a:0"]
        {
            assert_eq!(bad.parse::<Origin>(), Err(InvalidOrigin(bad.to_owned())));
        }
    }

    #[test]
    fn the_default_port_follows_the_scheme() -> Result<(), InvalidOrigin> {
        let ours: Authorities = [&"https://lead".parse()?, &"http://10.0.0.1:6000".parse()?].into_iter().collect();
        assert_eq!(ours.canonical("LEAD:443"), Some("lead"));
        assert_eq!(ours.canonical("lead:80"), None);
        assert_eq!(ours.canonical("10.0.0.1:6000"), Some("10.0.0.1:6000"));
        assert_eq!(ours.canonical("10.0.0.1"), None);
        Ok(())
    }
}
