//! Where requests go: the registry's address, what may be asked of it, and where a redirect leads.

use std::fmt;
use std::net::IpAddr;

use ureq::http::Uri;

use crate::{Error, ErrorKind, Result};

/// Scheme, host and port: what credentials belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    is_https: bool,
    /// Lower case; an IPv6 address keeps its brackets.
    host: String,
    port: u16,
}

impl Origin {
    /// The origin of an absolute http or https address; None for anything else.
    pub(crate) fn of(address: &Uri) -> Option<Self> {
        let is_https = match address.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return None,
        };
        let host = address.host().filter(|host| !host.is_empty())?.to_ascii_lowercase();
        let port = address.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        Some(Self { is_https, host, port })
    }

    pub(crate) fn is_https(&self) -> bool {
        self.is_https
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// True for names and addresses of this machine itself.
    pub(crate) fn is_loopback(&self) -> bool {
        let bare = self.host.trim_start_matches('[').trim_end_matches(']');
        bare == "localhost"
            || bare.ends_with(".localhost")
            || bare.parse().is_ok_and(|address: IpAddr| address.is_loopback())
    }
}

impl fmt::Display for Origin {
    /// `host`, or `host:port` where the port is not the scheme's own.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.is_https, self.port) {
            (true, 443) | (false, 80) => formatter.write_str(&self.host),
            (_, port) => write!(formatter, "{}:{port}", self.host),
        }
    }
}

/// A registry's address.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) origin: Origin,
    /// Without a slash at its end.
    base: String,
}

impl Endpoint {
    /// `base_url` has scheme and host, perhaps a port and a path prefix, nothing else.
    pub(crate) fn parse(base_url: &str) -> Result<Self> {
        let refuse = |why: &str| Error::new(ErrorKind::InvalidArgument, format!("the registry address {why}"));
        let address: Uri = base_url
            .parse()
            .map_err(|_| refuse("cannot be understood, it should look like `https://registry.example`"))?;
        if address.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(refuse("holds credentials, give them apart from it"));
        }
        let origin =
            Origin::of(&address).ok_or_else(|| refuse("has to begin with `http://` or `https://` and a host"))?;
        if address.query().is_some() {
            return Err(refuse("holds a query"));
        }
        let authority = address.authority().map_or("", |authority| authority.as_str());
        let scheme = if origin.is_https { "https" } else { "http" };
        let base = format!("{scheme}://{authority}{}", address.path().trim_end_matches('/'));
        Ok(Self { origin, base })
    }

    /// The absolute address of `/v2/` followed by `path`.
    pub(crate) fn resource(&self, path: &str) -> Result<Uri> {
        format!("{}/v2/{path}", self.base).parse().map_err(|_| {
            Error::new(
                ErrorKind::InvalidArgument,
                format!("registry `{}` cannot be asked for such a name", self.origin),
            )
        })
    }

    /// The name that people log in with.
    pub(crate) fn login_name(&self) -> String {
        match self.origin.host.as_str() {
            "registry-1.docker.io" | "index.docker.io" | "registry.hub.docker.com" => "docker.io".to_owned(),
            _ => self.origin.to_string(),
        }
    }
}

/// Refuses repository names that could mean another path of the registry.
pub(crate) fn check_repository(name: &str) -> Result<()> {
    let is_letter = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9');
    let is_component = |part: &str| {
        let bytes = part.as_bytes();
        bytes.first().copied().is_some_and(is_letter)
            && bytes.last().copied().is_some_and(is_letter)
            && !part.contains("..")
            && bytes.iter().all(|&byte| is_letter(byte) || matches!(byte, b'.' | b'_' | b'-'))
    };
    if name.len() <= 255 && name.split('/').all(is_component) {
        return Ok(());
    }
    let shown: String = name.chars().take(255).flat_map(char::escape_debug).collect();
    Err(Error::new(ErrorKind::InvalidArgument, format!("`{shown}` is not a repository name")))
}

/// Refuses tags that could mean another path of the registry.
pub(crate) fn check_tag(tag: &str) -> Result<()> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let bytes = tag.as_bytes();
    if bytes.len() <= 128
        && bytes.first().copied().is_some_and(is_word)
        && bytes.iter().all(|&byte| is_word(byte) || matches!(byte, b'.' | b'-'))
    {
        return Ok(());
    }
    let shown: String = tag.chars().take(128).flat_map(char::escape_debug).collect();
    Err(Error::new(ErrorKind::InvalidArgument, format!("`{shown}` is not a tag")))
}

/// Where `location` (a redirect's target, RFC 9110 section 10.2.2) leads from `from`; None when that is no http or
/// https address. Credentials inside it are dropped.
pub(crate) fn follow(from: &Uri, location: &str) -> Option<Uri> {
    let location = location.split('#').next().unwrap_or_default().trim();
    let scheme = from.scheme_str()?;
    let authority = from.authority()?.as_str();
    let lower = location.to_ascii_lowercase();
    let absolute = if lower.starts_with("http://") || lower.starts_with("https://") {
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else if location.is_empty() || location.split(['/', '?']).next().is_some_and(|first| first.contains(':')) {
        // Nothing, or a scheme of another kind.
        return None;
    } else if location.starts_with('?') {
        format!("{scheme}://{authority}{}{location}", from.path())
    } else {
        let folder = from.path().rfind('/').map_or("/", |slash| &from.path()[..=slash]);
        format!("{scheme}://{authority}{folder}{location}")
    };
    let (scheme, rest) = absolute.split_once("://")?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = authority.rsplit('@').next()?;
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    // Servers forget to escape; these two would not parse.
    let path = path.replace(' ', "%20").replace('"', "%22");
    let address: Uri = format!("{}://{host}{path}", scheme.to_ascii_lowercase()).parse().ok()?;
    Origin::of(&address).map(|_| address)
}

/// `text` with everything but unreserved characters percent-encoded (RFC 3986, section 2.3).
pub(crate) fn percent_encode(text: &str) -> String {
    use std::fmt::Write as _;
    let mut encoded = String::with_capacity(text.len());
    for &byte in text.as_bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        Origin::of(&text.parse().unwrap()).unwrap()
    }

    #[test]
    fn origins_know_default_ports_and_case() {
        assert_eq!(origin("https://A.example"), origin("https://a.EXAMPLE:443/x"));
        assert_ne!(origin("https://a.example"), origin("http://a.example:443"));
        assert_ne!(origin("http://a.example"), origin("http://a.example:81"));
        assert_eq!(origin("http://a:5000").to_string(), "a:5000");
        assert_eq!(origin("https://a").to_string(), "a");
    }

    #[test]
    fn loopback_is_this_machine_only() {
        for text in ["http://localhost:5000", "http://127.8.0.1", "http://[::1]:5000", "http://reg.localhost"] {
            assert!(origin(text).is_loopback(), "{text}");
        }
        for text in ["http://localhost.example", "http://128.0.0.1", "http://127.0.0.1.example", "http://[::2]"] {
            assert!(!origin(text).is_loopback(), "{text}");
        }
    }

    #[test]
    fn addresses_of_registries() {
        let endpoint = Endpoint::parse("http://localhost:5000/").unwrap();
        assert_eq!(endpoint.resource("a/tags").unwrap().to_string(), "http://localhost:5000/v2/a/tags");
        let prefixed = Endpoint::parse("https://h/mirror/").unwrap();
        assert_eq!(prefixed.resource("").unwrap().to_string(), "https://h/mirror/v2/");
        for bad in ["localhost:5000", "ftp://h", "https://", "https://u:secret@h", "https://h?x=1", "", "/v2"] {
            let error = Endpoint::parse(bad).unwrap_err();
            assert_eq!(error.kind, ErrorKind::InvalidArgument, "{bad}");
            assert!(!error.message.contains("secret"));
        }
        assert_eq!(Endpoint::parse("https://registry-1.docker.io").unwrap().login_name(), "docker.io");
    }

    #[test]
    fn names_cannot_climb() {
        for good in ["busybox", "library/busybox", "a/b/c__d/e-f.g"] {
            check_repository(good).unwrap();
        }
        for bad in ["", "/a", "a/", "a//b", "a/../b", "..", "A", "a?b", "a#b", "a%2f", "a b", "a\n", "é", ".a", "a-"] {
            assert!(check_repository(bad).is_err(), "{bad}");
        }
        for good in ["latest", "1.36", "_x", "V-1_2"] {
            check_tag(good).unwrap();
        }
        for bad in ["", ".", "-a", "a/b", "a:b", "a?b", &"x".repeat(129)] {
            assert!(check_tag(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn redirects_of_every_form() {
        let from: Uri = "https://h:444/v2/a/blobs/x?q=1".parse().unwrap();
        for (location, expected) in [
            ("https://cdn.example/b?sig=1#f", Some("https://cdn.example/b?sig=1")),
            ("HTTP://cdn.example", Some("http://cdn.example/")),
            ("//cdn/x", Some("https://cdn/x")),
            ("/y?z", Some("https://h:444/y?z")),
            ("y", Some("https://h:444/v2/a/blobs/y")),
            ("?y", Some("https://h:444/v2/a/blobs/x?y")),
            ("https://u:p@cdn/x", Some("https://cdn/x")),
            ("https://cdn?x", Some("https://cdn/?x")),
            ("/a b", Some("https://h:444/a%20b")),
            ("file:///etc/passwd", None),
            ("gopher://x/", None),
            ("", None),
            ("https://", None),
        ] {
            assert_eq!(follow(&from, location).map(|uri| uri.to_string()).as_deref(), expected, "{location}");
        }
    }
}
