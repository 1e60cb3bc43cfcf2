//! `sallyport upgrade`: has a running gateway replaced by the binary now on disk.
//!
//! It asks the gateway by its admin listener and waits for the answer, so that a script knows when the
//! new one serves. What is on disk and how it is started, the running gateway knows.

mod secured;

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Parser;
use rustls::ClientConfig;
use sallyport_config::{Sources, Value, parse};

use super::{ConfigFile, Failure};

/// How long the answer may take: the gateway itself gives up on a new process after a minute.
const PATIENCE: Duration = Duration::from_secs(90);

/// Bytes of an answer: a reason is a few lines.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// Have a running gateway replaced by the binary now on disk.
#[derive(Debug, Parser)]
pub struct Args {
    /// The running gateway's configuration file, which says where its admin listener is
    #[arg(long, default_value = "/etc/sallyport/sallyport.yaml")]
    config: ConfigFile,
    /// Where its admin listener is: IP:PORT or unix:PATH
    #[arg(long, conflicts_with = "config")]
    admin: Option<String>,
    /// The file with the admin listener's token, with --admin
    #[arg(long, requires = "admin")]
    token_file: Option<PathBuf>,
    /// The file of the certificate that its admin listener shows, where that speaks TLS, with --admin
    #[arg(long, requires = "admin")]
    server_certificate: Option<PathBuf>,
    /// The file of a certificate to show it, where it asks for one
    #[arg(long, requires = "client_key")]
    client_certificate: Option<PathBuf>,
    /// The file of that certificate's key
    #[arg(long, requires = "client_certificate")]
    client_key: Option<PathBuf>,
}

/// How a running gateway is reached.
#[derive(Debug)]
struct Target {
    address: String,
    token_file: Option<PathBuf>,
    /// The files of the certificates that it may show; `None` where it speaks clear text.
    server_certificates: Option<Vec<PathBuf>>,
}

/// Returns once the new process serves.
///
/// # Errors
/// With the reason, if the old one goes on serving.
pub fn main(args: &Args) -> Result<(), Failure> {
    let target = match &args.admin {
        Some(address) => Target {
            address: address.clone(),
            token_file: args.token_file.clone(),
            server_certificates: args.server_certificate.clone().map(|file| vec![file]),
        },
        None => admin_of(&args.config)?,
    };
    let Target { address, token_file, server_certificates } = target;
    let token = token_file.map(|file| token(&file)).transpose()?;
    let identity = args.client_certificate.as_deref().zip(args.client_key.as_deref());
    let tls = server_certificates.map(|files| secured::config(&files, identity)).transpose()?;
    let (status, body) = ask(&address, token.as_deref(), tls)
        .with_context(|| format!("the gateway at {address} cannot be asked"))?;
    let said = serde_json::from_str::<serde_json::Value>(&body).unwrap_or_default();
    if status == 200 {
        let process = &said["process"];
        println!("upgraded: process {process} serves, the one before it drains");
        return Ok(());
    }
    let reason = said["detail"].as_str().map_or_else(|| format!("status {status}"), str::to_owned);
    Err(Failure::Other(anyhow::anyhow!("not upgraded, the gateway serves on: {reason}")))
}

/// The admin listener and the file of its token in the configuration at `path`. The rest of the file
/// may be anything: whether it is good is for the new process to say.
fn admin_of(path: &Path) -> anyhow::Result<Target> {
    let sources = Sources::read(path).map_err(|problems| anyhow::anyhow!("{problems}"))?;
    let value = sources.files().first().and_then(|file| parse(0, &file.text, &mut Vec::new()));
    let admin = match value {
        Some(Value::Mapping(file)) => file.get("admin").cloned(),
        _ => None,
    };
    let Some(Value::Mapping(admin)) = admin else {
        bail!("{} has no `admin` section: name the address with --admin", path.display());
    };
    let text = |key| admin.get(key).and_then(Value::as_str);
    let address = text("address").with_context(|| {
        format!("{} has no `admin.address`: name it with --admin", path.display())
    })?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let server_certificates = admin.get("tls").map(|tls| certificates_of(tls, folder));
    Ok(Target {
        address: address.to_owned(),
        token_file: text("token_file").map(|file| folder.join(file)),
        server_certificates,
    })
}

/// The files of the certificates in `tls`, as far as it can be read.
fn certificates_of(tls: &Value, folder: &Path) -> Vec<PathBuf> {
    let Value::Mapping(tls) = tls else { return Vec::new() };
    let entries = tls.get("certificates").and_then(Value::as_sequence);
    let cert = |entry: &Value| match entry {
        Value::Mapping(entry) => {
            entry.get("cert").and_then(Value::as_str).map(|it| folder.join(it))
        }
        _ => None,
    };
    entries.into_iter().flatten().filter_map(cert).collect()
}

fn token(file: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(file);
    let text = text.with_context(|| format!("the token in {}", file.display()))?;
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        bail!("{} holds no token", file.display());
    }
    Ok(token.to_owned())
}

/// The status and the body of the answer.
fn ask(
    address: &str,
    token: Option<&str>,
    tls: Option<Arc<ClientConfig>>,
) -> anyhow::Result<(u16, String)> {
    if let Some(path) = address.strip_prefix("unix:") {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        return exchange(stream, token);
    }
    let mut address: SocketAddr = address.parse().context("it is no IP:PORT and no unix:PATH")?;
    if address.port() == 0 {
        bail!("it has port 0: name the port that it became with --admin");
    }
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => IpAddr::from([127, 0, 0, 1]),
            IpAddr::V6(_) => IpAddr::from(std::net::Ipv6Addr::LOCALHOST),
        });
    }
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    match tls {
        Some(tls) => exchange(secured::stream(stream, address.ip(), tls)?, token),
        None => exchange(stream, token),
    }
}

fn exchange(mut stream: impl Read + Write, token: Option<&str>) -> anyhow::Result<(u16, String)> {
    let authorization =
        token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    write!(
        stream,
        "POST /upgrade HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\
         {authorization}Connection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").context("it ended without an answer")?;
    let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok());
    Ok((status.context("its answer is no HTTP")?, body.to_owned()))
}
