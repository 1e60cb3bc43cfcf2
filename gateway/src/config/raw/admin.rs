//! `admin:`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use sallyport_config::{Node, Sink};
use sallyport_plugin::Reader;

use super::scalar;
use crate::config::admin::{Admin, AdminAddress, Token};

/// What `sockaddr_un` holds of a path, its terminating zero left out.
const PATH_BYTES_MAX: usize = 107;

/// The largest file that may hold a token.
const TOKEN_BYTES_MAX: usize = 4 << 10;

pub(super) fn admin(node: Node<'_>, files: &mut Reader<'_>, sink: &mut Sink) -> Option<Admin> {
    node.mapping(sink, |fields, sink| {
        let address = fields.required(sink, "address", address);
        let is_unix = matches!(address, Some(Address::Unix(_)));
        let mode = fields.optional(sink, "mode", |node, sink| {
            if address.is_some() && !is_unix {
                let fix = "remove it, or write an address such as unix:/run/sallyport/admin.sock";
                return node.refuse(sink, "is for Unix sockets only", fix);
            }
            mode(node, sink)
        });
        let hosts = fields.optional(sink, "hosts", |node, sink| node.list(sink, host));
        let has_token = fields.has("token_file");
        let full_token = fields.optional(sink, "token_file", |node, sink| token(node, files, sink));
        let read_token = fields.optional(sink, "read_token_file", |node, sink| {
            if !has_token {
                let fix = "add `token_file`, which may change what this one may only read";
                return node.refuse(sink, "stands without `token_file`", fix);
            }
            token(node, files, sink)
        });
        fields.optional::<()>(sink, "tls", |node, sink| {
            let fix = "remove it and write `token_file`, or a unix: address";
            node.refuse(sink, "is not served on the admin listener yet", fix)
        });
        let address = match address? {
            Address::Ip(address) if !address.ip().is_loopback() && !has_token => {
                let what = format!(
                    "{address} is open to other machines, and nobody has to show who they are"
                );
                let fix = format!(
                    "write 127.0.0.1:{} or unix:/run/sallyport/admin.sock, or add `token_file`",
                    address.port()
                );
                return fields.optional(sink, "address", |node, sink| node.refuse(sink, what, fix));
            }
            Address::Ip(address) => AdminAddress::Ip(address),
            Address::Unix(path) => {
                AdminAddress::Unix { path, mode: mode.unwrap_or(AdminAddress::MODE) }
            }
        };
        Some(Admin { address, hosts: hosts.unwrap_or_default(), token: full_token, read_token })
    })
}

#[derive(Debug)]
enum Address {
    Ip(SocketAddr),
    Unix(PathBuf),
}

fn address(node: Node<'_>, sink: &mut Sink) -> Option<Address> {
    let fix = "write IP:PORT such as 127.0.0.1:9901, or unix:/run/sallyport/admin.sock";
    node.parsed(sink, fix, |text| {
        let Some(path) = text.strip_prefix("unix:") else {
            let parsed = text.parse::<SocketAddr>().map(Address::Ip);
            return parsed.map_err(|_| "is no IP address and port, and does not begin with unix:");
        };
        match Path::new(path) {
            path if !path.is_absolute() => Err("is not the whole path of a socket"),
            path if path.as_os_str().len() > PATH_BYTES_MAX => Err("is over 107 bytes long"),
            path if path.as_os_str().as_encoded_bytes().ends_with(b"/") => Err("ends with a slash"),
            path => Ok(Address::Unix(path.to_path_buf())),
        }
    })
}

fn mode(node: Node<'_>, sink: &mut Sink) -> Option<u32> {
    if let sallyport_config::Value::Number(number) = node.value {
        let what = format!("is the number {number}, not a string of octal digits");
        return node.refuse(sink, what, "put it in quotes: \"0660\"");
    }
    node.parsed(sink, "write a mode such as \"0660\" or \"0600\"", |text| {
        let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777);
        mode.ok_or("is no mode of three octal digits")
    })
}

/// A name of a host: no port, and no address, which needs no mention.
fn host(node: Node<'_>, sink: &mut Sink) -> Option<Box<str>> {
    node.parsed(sink, "write a name such as admin.internal", |text| {
        let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        match text {
            "" => Err("is empty"),
            text if !text.bytes().all(is_name_byte) => Err("is not the name of a host"),
            text => Ok(text.trim_end_matches('.').to_ascii_lowercase().into_boxed_str()),
        }
    })
}

fn token(node: Node<'_>, files: &mut Reader<'_>, sink: &mut Sink) -> Option<Token> {
    let file = scalar::name(node, sink)?;
    let (path, bytes) = files.file(node, sink)?;
    let token = Token::of(&bytes, &file).filter(|_| bytes.len() <= TOKEN_BYTES_MAX);
    if token.is_none() {
        let what = format!("{} holds no token", path.display());
        let fix =
            "put one line of visible characters into it, such as that of openssl rand -hex 32";
        return node.refuse(sink, what, fix);
    }
    token
}
