//! Reading `rate_limit.shared.redis`.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sallyport_config::spec::scalar::EndpointAddress;
use sallyport_config::{Place, Sink};

use super::server::{Location, Login, Server, ServerPlace, Tls};
use super::spec::{Fallback, RedisSpec, RedisTls, SentinelSpec};
use super::store::{Store, Stores};
use crate::kind::Setting;

/// A limit's server, and how it is used.
pub(super) struct Redis {
    pub(super) store: Arc<Store>,
    pub(super) name: Box<str>,
    pub(super) lease: Duration,
    pub(super) deadline: Duration,
    pub(super) fallback: Fallback,
}

pub(super) fn read(
    spec: &RedisSpec,
    place: &Place<'_>,
    sink: &mut Sink,
    setting: &mut Setting<'_>,
) -> Option<Redis> {
    let server = server(spec, place, sink, setting)?;
    let stores: Stores = setting.host.shared.of();
    let store = match stores.at(&server, setting.host) {
        Ok(store) => store,
        Err(error) => {
            let place = Place::Key(place, "tls");
            let fix = "name PEM files: authorities in `ca`, a chain in `cert`, its key in `key`";
            return place.refuse(sink, format!("cannot be used ({error})"), fix);
        }
    };
    let name = spec.name.as_ref().map(|name| (**name).into());
    Some(Redis {
        store,
        name: name.unwrap_or_else(|| format!("{} {}", setting.scope, setting.name).into()),
        lease: spec.lease.0,
        deadline: spec.deadline.0,
        fallback: spec.on_failure,
    })
}

fn server(
    spec: &RedisSpec,
    place: &Place<'_>,
    sink: &mut Sink,
    setting: &mut Setting<'_>,
) -> Option<Server> {
    let [address, sentinel, cluster] = RedisSpec::PLACES;
    let written = [
        (address, spec.address.is_some()),
        (sentinel, spec.sentinel.is_some()),
        (cluster, spec.cluster.is_some()),
    ];
    let is_one = place.exactly_one(sink, &written);
    let of = place;
    let login = login(
        (spec.username.as_deref(), spec.password.as_deref(), spec.password_file.as_deref()),
        of,
        sink,
        setting,
    );
    let tls = match &spec.tls {
        Some(tls) => Some(read_tls(tls, &Place::Key(place, "tls"), sink, setting)?),
        None => None,
    };
    is_one?;
    let at = if let Some(address) = &spec.address {
        ServerPlace::One(Location::parse(address)?)
    } else if let Some(spec) = &spec.sentinel {
        sentinels(spec, &Place::Key(place, sentinel), sink, setting)?
    } else {
        ServerPlace::Cluster(locations(
            spec.cluster.as_deref()?,
            &Place::Key(place, cluster),
            sink,
        )?)
    };
    let has_tls_on_socket = tls.is_some() && at.locations().any(Location::is_unix);
    if has_tls_on_socket {
        let fix = "leave it out: a Unix socket is of this machine";
        return Place::Key(place, "tls").refuse(sink, "has no effect on a Unix socket", fix);
    }
    if matches!(at, ServerPlace::Cluster(_)) && spec.database.0 != 0 {
        let fix = "leave it out: a cluster has database 0 only";
        return Place::Key(place, "database").refuse(sink, format!("is {}", spec.database.0), fix);
    }
    // The type bounds it.
    let database = u16::try_from(spec.database.0).unwrap_or_default();
    Some(Server { place: at, database, login: login?, tls })
}

fn sentinels(
    spec: &SentinelSpec,
    place: &Place<'_>,
    sink: &mut Sink,
    setting: &mut Setting<'_>,
) -> Option<ServerPlace> {
    let login = login(
        (spec.username.as_deref(), spec.password.as_deref(), spec.password_file.as_deref()),
        place,
        sink,
        setting,
    );
    let sentinels = locations(&spec.addresses, &Place::Key(place, "addresses"), sink)?;
    Some(ServerPlace::Sentinel { service: spec.service.to_string(), sentinels, login: login? })
}

fn locations(
    addresses: &[EndpointAddress],
    place: &Place<'_>,
    sink: &mut Sink,
) -> Option<Vec<Location>> {
    let locations: Option<Vec<_>> =
        addresses.iter().map(|address| Location::parse(address)).collect();
    let locations = locations?;
    if locations.is_empty() {
        return place.refuse(sink, "is empty", "write addresses such as [10.0.0.1:26379]");
    }
    if let Some(index) = locations.iter().position(Location::is_unix) {
        let fix = "write IP:PORT or NAME:PORT: the others are told where it is";
        return Place::Item(place, index).refuse(sink, "is a Unix socket", fix);
    }
    Some(locations)
}

type Written<'s> = (Option<&'s str>, Option<&'s str>, Option<&'s str>);

fn login(
    (username, password, password_file): Written<'_>,
    place: &Place<'_>,
    sink: &mut Sink,
    setting: &mut Setting<'_>,
) -> Option<Login> {
    let password = match (password, password_file) {
        (Some(_), Some(_)) => {
            return place.refuse(
                sink,
                "has `password` and `password_file` together",
                "write one of them",
            );
        }
        (_, Some(file)) => {
            let place = Place::Key(place, "password_file");
            let (path, bytes) = setting.file_called(file, &place, sink)?;
            // An editor ends a file with a line break.
            let text = String::from_utf8(bytes).ok();
            let text = text.map(|text| text.trim_end_matches(['\r', '\n']).to_owned());
            let Some(text) = text.filter(|text| !text.is_empty()) else {
                let what = format!("{} holds no password", path.display());
                return place.refuse(sink, what, "write the password into it, as text in one line");
            };
            Some(text)
        }
        (password, None) => password.map(str::to_owned),
    };
    if username.is_some() && password.is_none() {
        let fix = "add `password_file: FILE`, or `password: ${env:NAME}`";
        return Place::Key(place, "username").refuse(sink, "has no password", fix);
    }
    Some(Login { username: username.map(str::to_owned), password })
}

fn read_tls(
    spec: &RedisTls,
    place: &Place<'_>,
    sink: &mut Sink,
    setting: &mut Setting<'_>,
) -> Option<Tls> {
    let mut file = |name: &str, place: &Place<'_>, sink: &mut Sink| {
        setting.file_called(name, place, sink).map(|(_, bytes)| bytes)
    };
    let ca = match &spec.ca {
        Some(name) => {
            let place = Place::Key(place, "ca");
            let bytes = file(name, &place, sink)?;
            if !CertificateDer::pem_slice_iter(&bytes).any(|read| read.is_ok()) {
                let fix = "name a PEM file with at least one certificate";
                return place.refuse(sink, format!("{:?} holds no certificate", &**name), fix);
            }
            Some(bytes)
        }
        None => None,
    };
    let certificate = match &spec.client_certificate {
        Some(pair) => {
            let place = Place::Key(place, "client_certificate");
            let cert = file(&pair.cert, &Place::Key(&place, "cert"), sink);
            let key = file(&pair.key, &Place::Key(&place, "key"), sink);
            Some((cert?, key?))
        }
        None => None,
    };
    Some(Tls { ca, certificate })
}
