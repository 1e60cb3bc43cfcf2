//! Texts that a later step reads: names, domains, paths, regular expressions.
//!
//! Their patterns are for editors. What they mean is decided by the crate that owns them, when the
//! configuration is resolved.

use std::fmt;
use std::ops::Deref;

use super::{Refusal, Scalar};
use crate::value::Value;

macro_rules! texts {
    ($(
        $(#[$meta:meta])*
        $type:ident: pattern $pattern:expr, example $example:expr, fix $fix:expr,
        parse $parse:expr;
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(pub Box<str>);

        $crate::scalar!($type);

        impl Scalar for $type {
            fn name() -> String {
                stringify!($type).to_owned()
            }

            fn pattern() -> String {
                $pattern.to_owned()
            }

            fn example() -> String {
                $example.to_owned()
            }

            fn fix() -> String {
                $fix.to_owned()
            }

            fn parse(text: &str) -> Result<Self, String> {
                let parse: fn(&str) -> Result<(), &'static str> = $parse;
                parse(text).map(|()| Self(text.into())).map_err(str::to_owned)
            }

            fn read(text: &str) -> Result<Self, Refusal> {
                match Self::parse(text) {
                    Err(what) if text.is_empty() => Err(Refusal::new(what, Self::fix())),
                    Err(what) => Err(Refusal::new(format!("{text:?}: {what}"), Self::fix())),
                    Ok(read) => Ok(read),
                }
            }

            fn refuse(value: &Value) -> Refusal {
                super::not_text(value)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }

        impl Deref for $type {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $type {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }
    )*};
}

fn not_empty(text: &str) -> Result<(), &'static str> {
    if text.is_empty() { Err("is empty") } else { Ok(()) }
}

fn anything(_: &str) -> Result<(), &'static str> {
    Ok(())
}

/// RFC 6265, 4.1.1: a token, of the bytes that nobody quotes.
fn cookie_name(text: &str) -> Result<(), &'static str> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    match (1..=128).contains(&text.len()) && text.bytes().all(fits) {
        true => Ok(()),
        false => Err("is no name of a cookie"),
    }
}

/// What `sockaddr_un` holds of a path, its terminating zero left out.
const SOCKET_PATH_BYTES_MAX: usize = 107;

fn admin_address(text: &str) -> Result<(), &'static str> {
    let Some(path) = text.strip_prefix("unix:") else {
        let parsed = text.parse::<std::net::SocketAddr>().map(drop);
        return parsed.map_err(|_| "is no IP address and port, and does not begin with unix:");
    };
    match path {
        path if !path.starts_with('/') => Err("is not the whole path of a socket"),
        path if path.len() > SOCKET_PATH_BYTES_MAX => Err("is over 107 bytes long"),
        path if path.ends_with('/') => Err("ends with a slash"),
        _ => Ok(()),
    }
}

fn host_name(text: &str) -> Result<(), &'static str> {
    let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    match text {
        "" => Err("is empty"),
        text if !text.bytes().all(is_name_byte) => Err("is not the name of a host"),
        _ => Ok(()),
    }
}

/// Bytes of a domain name in text (RFC 1035, 2.3.4).
const NAME_BYTES_MAX: usize = 253;

/// Bytes of one label of it.
const LABEL_BYTES_MAX: usize = 63;

/// A domain name. One whose last label is a number is an address that was not finished.
fn domain_name(text: &str) -> Result<(), &'static str> {
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=LABEL_BYTES_MAX).contains(&label.len()) && label.bytes().all(is_part)
    };
    if name.len() > NAME_BYTES_MAX || !name.split('.').all(is_label) {
        return Err("is neither an address nor a name");
    }
    let is_number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    if name.rsplit('.').next().is_some_and(is_number) {
        return Err("is no IP address");
    }
    Ok(())
}

fn endpoint_address(text: &str) -> Result<(), &'static str> {
    if let Some(path) = text.strip_prefix("unix:") {
        return match path {
            path if !path.starts_with('/') => Err("has a path that does not begin with /"),
            path if path.len() > SOCKET_PATH_BYTES_MAX => Err("has a path of more than 107 bytes"),
            path if path.contains('\0') => Err("has a path with a byte 0"),
            _ => Ok(()),
        };
    }
    if let Ok(address) = text.parse::<std::net::SocketAddr>() {
        return if address.port() == 0 {
            Err("has port 0, which nothing listens on")
        } else {
            Ok(())
        };
    }
    let (host, port) = text.rsplit_once(':').ok_or("has no port")?;
    match port.parse::<u16>() {
        Ok(1..) if port.bytes().all(|byte| byte.is_ascii_digit()) => domain_name(host),
        _ => Err("has no port from 1 to 65535"),
    }
}

fn dns_server(text: &str) -> Result<(), &'static str> {
    let address = text.parse::<std::net::SocketAddr>().map(|address| address.port());
    match address.or_else(|_| text.parse::<std::net::IpAddr>().map(|_| 53)) {
        Ok(1..) => Ok(()),
        Ok(0) => Err("has port 0, which nothing listens on"),
        Err(_) => Err("is no address"),
    }
}

/// The address of a control plane: a scheme, and a host with a port or a path.
fn control_plane(text: &str) -> Result<(), &'static str> {
    if let Some(path) = text.strip_prefix("unix:") {
        return match path {
            path if !path.starts_with('/') => Err("has a path that does not begin with /"),
            path if path.len() > SOCKET_PATH_BYTES_MAX => Err("has a path of more than 107 bytes"),
            _ => Ok(()),
        };
    }
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let (host, port) =
        rest.and_then(|rest| rest.rsplit_once(':')).ok_or("has no scheme or no port")?;
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = match inner {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.parse::<std::net::Ipv4Addr>().is_ok() || domain_name(host).is_ok(),
    };
    let is_port = port.parse::<u16>().is_ok_and(|port| port > 0) && !port.starts_with('+');
    if is_host && is_port { Ok(()) } else { Err("has no host or no port from 1 to 65535") }
}

/// A name or an address that a certificate can be for.
fn server_name(text: &str) -> Result<(), &'static str> {
    let is_name = domain_name(text).is_ok() && !text.contains('_');
    let is_one = text.parse::<std::net::IpAddr>().is_ok() || is_name;
    if is_one { Ok(()) } else { Err("is no name that a certificate can be for") }
}

/// A namespace and a name, of the letters that Kubernetes takes (RFC 1123).
fn object_name(text: &str) -> Result<(), &'static str> {
    let (namespace, name) = text.split_once('/').ok_or("has no namespace")?;
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_namespace = (1..=63).contains(&namespace.len()) && namespace.bytes().all(is_letter);
    let is_name =
        (1..=253).contains(&name.len()) && name.bytes().all(|byte| is_letter(byte) || byte == b'.');
    if is_namespace && is_name { Ok(()) } else { Err("is no namespace and name of an object") }
}

/// As `sallyport_route::normalise_path` leaves a path: what stands for itself, and escapes of the rest.
const URL_PATH: &str = "^/(?!(?:.*/)?[.]{1,2}(?:/|$))(?:[/A-Za-z0-9._~!$&'()*+,;=:@-]|\
    %(?!00|2[DE]|3[0-9]|4[1-9A-F]|5[0-9AF]|6[1-9A-F]|7[0-9AE])[0-9A-F]{2})*$";

texts! {
    /// A name: any text that is not empty.
    Name: pattern r"^[\s\S]", example "web", fix "give it a name", parse not_empty;

    /// A text that is not empty.
    NonEmpty: pattern r"^[\s\S]", example "text", fix "write some text, or remove the key",
    parse not_empty;

    /// The name of a cookie.
    CookieName: pattern "^[0-9A-Za-z_.-]{1,128}$", example "SALLYPORT",
    fix "write letters, digits, `-` and `_`, such as SALLYPORT", parse cookie_name;

    /// A domain, `*.suffix`, `prefix.*` or `*`.
    Domain: pattern r"^(?:\*|\[[0-9A-Fa-f:.]+\]|(?:\*[.])?[0-9A-Za-z_-]+(?:[.][0-9A-Za-z_-]+)*(?:[.]|[.]\*)?)$",
    example "www.example.com", fix "write a domain, *.suffix, prefix.* or \"*\"", parse anything;

    /// A path as requests are matched: normalised, without a query.
    UrlPath: pattern URL_PATH,
    example "/", fix "write a path that begins with / and has no query", parse anything;

    /// A path with its query if it has one, as in a request.
    UrlTarget: pattern "^/[!\"$-~]*$", example "/", fix "write a path such as /healthz",
    parse |text| match text.starts_with('/')
        && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')
    {
        true => Ok(()),
        false => Err("is not a path"),
    };

    /// A regular expression (the `regex` crate's) that the whole text must match.
    Regex: pattern r"^[\s\S]", example ".*", fix "write a regular expression", parse anything;

    /// A host, with a port or without.
    HostPort: pattern r"^[^@/?# \\]+$", example "api.internal",
    fix "write a host such as api.internal or api.internal:8080", parse anything;

    /// Where the admin listener is: IP:PORT, or the path of a Unix socket behind `unix:`.
    AdminAddress: pattern r"^(?:unix:/(?:.{0,105}[^/])|(?:[0-9.]+|\[[0-9A-Fa-f:.%]+\]):[0-9]{1,5})$",
    example "127.0.0.1:9901",
    fix "write IP:PORT such as 127.0.0.1:9901, or unix:/run/sallyport/admin.sock", parse admin_address;

    /// Who may use a file, as octal digits.
    FileMode: pattern "^0*[0-7]{1,3}$", example "0660", fix "write a mode such as \"0660\" or \"0600\"",
    parse |text| match u32::from_str_radix(text, 8) {
        Ok(0..=0o777) => Ok(()),
        _ => Err("is no mode of three octal digits"),
    };

    /// Where an endpoint is: an address, a name with a port, or the path of a Unix socket.
    EndpointAddress:
    pattern r"^(?:unix:/.{0,106}|(?!.*:0+$)(?:\[[0-9A-Fa-f:.%]+\]|(?![0-9.]+:)[0-9A-Za-z._-]+|(?:[0-9]{1,3}[.]){3}[0-9]{1,3}):[0-9]{1,5})$",
    example "10.0.0.1:8080",
    fix "write an address such as 10.0.0.1:8080, a name such as api.internal:8080, or unix:/run/app.sock",
    parse endpoint_address;

    /// A domain name.
    DomainName: pattern "^[0-9A-Za-z._-]+$", example "api.internal",
    fix "write a name such as api.internal", parse domain_name;

    /// A DNS server: an address, with a port or without.
    DnsServer: pattern r"^(?:[0-9.]+(?::[0-9]{1,5})?|[0-9A-Fa-f:.%]*:[0-9A-Fa-f:.%]*|\[[0-9A-Fa-f:.%]+\]:[0-9]{1,5})$",
    example "10.0.0.53", fix "write the address of a DNS server, such as 10.0.0.53 or 10.0.0.53:5353",
    parse dns_server;

    /// A name or an IP address that a certificate can be for.
    ServerName: pattern "^[0-9A-Za-z.:-]+$", example "api.internal",
    fix "write a name such as api.internal, or an IP address", parse server_name;

    /// Where a control plane is.
    XdsServer: pattern r"^(?:https?://(?:[0-9A-Za-z._-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}|unix:/.{0,106})$",
    example "http://control.internal:18000",
    fix "write http://HOST:PORT, https://HOST:PORT or unix:/PATH", parse control_plane;

    /// The name of a host, without a port.
    HostName: pattern "^[0-9A-Za-z._-]+$", example "admin.internal",
    fix "write a name such as admin.internal", parse host_name;

    /// An object of a Kubernetes cluster: its namespace and its name.
    ObjectName: pattern "^[a-z0-9-]+/[a-z0-9.-]+$", example "shop/api",
    fix "write NAMESPACE/NAME, such as shop/api", parse object_name;

    /// A path of this machine's filesystem that begins with `/`.
    AbsolutePath: pattern "^/", example "/sys/fs/bpf/sallyport",
    fix "write a path that begins with /, such as /sys/fs/bpf/sallyport",
    parse |text| if text.starts_with('/') { Ok(()) } else { Err("is not an absolute path") };
}
