//! A Pingora proxy that does nothing but proxy: one listener, one fixed upstream.
//!
//! It is what Sallyport's own cost is measured against. Whatever the gateway adds to a request
//! (routing, balancing, statistics, headers) shows as the difference from this program, so it
//! stays at one phase and must never learn another. Its allocator is the gateway's, because a
//! difference between allocators would otherwise be booked as a difference between proxies.

#![allow(missing_docs, reason = "a binary has no reader of its items but its own source")]

use async_trait::async_trait;
use clap::{ArgAction, Parser};
use pingora_core::listeners::{L4BufferSettings, ListenerConfig};
use pingora_core::server::Server;
use pingora_core::server::configuration::ServerConf;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};
use std::net::SocketAddr;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A bare Pingora proxy: the yardstick of the load tests.
#[derive(Parser)]
struct Options {
    /// Address to listen on.
    #[arg(long)]
    listen: SocketAddr,
    /// Address that every request goes to.
    #[arg(long)]
    upstream: SocketAddr,
    /// Worker threads.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// One runtime that shares its tasks between threads, or one runtime per thread.
    #[arg(long, default_value_t = true, action = ArgAction::Set)]
    work_stealing: bool,
    /// Read buffer of a client connection; 0 is none; Pingora's 64 KiB if left out.
    #[arg(long, value_name = "BYTES")]
    read_buffer: Option<usize>,
    /// Write buffer of a client connection; 0 is none; Pingora's 1460 bytes if left out.
    #[arg(long, value_name = "BYTES")]
    write_buffer: Option<usize>,
}

struct Bare {
    peer: HttpPeer,
}

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(
        &self,
        _session: &mut Session,
        _ctx: &mut (),
    ) -> pingora_core::Result<Box<HttpPeer>> {
        Ok(Box::new(self.peer.clone()))
    }
}

fn main() {
    let options = Options::parse();
    let conf = ServerConf {
        threads: options.threads,
        work_stealing: options.work_stealing,
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();

    let bare = Bare { peer: HttpPeer::new(options.upstream, false, String::new()) };
    let mut service = http_proxy_service(&server.configuration, bare);
    service.add_listener(listener(&options));
    server.add_service(service);
    server.run_forever()
}

fn listener(options: &Options) -> ListenerConfig {
    let buffers = L4BufferSettings { read: options.read_buffer, write: options.write_buffer };
    ListenerConfig::tcp(options.listen.to_string()).l4_buffer(buffers)
}
