//! Writes statuses to the API server, one after the other.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::sleep;

use super::{ObjectStatus, StatusOf, merge};
use crate::objects::{
    ExtensionFilter, ExtensionPolicy, Gateway, GatewayClass, Grpc, Http, Ingress, Tls, TlsAlpha,
};
use crate::watch::resource;

/// The wait before what could not be written is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// How often one status is tried when others write it at the same time.
const CONFLICTS_MAX: usize = 5;

/// Writes whatever is wanted, as long as this gateway leads.
pub(super) async fn run(
    client: Client,
    mut wanted: watch::Receiver<Vec<ObjectStatus>>,
    mut leads: watch::Receiver<bool>,
) {
    loop {
        if leads.wait_for(|leads| *leads).await.is_err() {
            return;
        }
        let statuses = wanted.borrow_and_update().clone();
        let mut is_failing = false;
        for status in &statuses {
            if !*leads.borrow() || wanted.has_changed().unwrap_or(false) {
                break;
            }
            if let Err(error) = write(&client, status).await {
                tracing::debug!(object = &*status.origin, %error, "a status cannot be written");
                is_failing = true;
            }
        }
        let retry = async {
            match is_failing {
                true => sleep(RETRY).await,
                false => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = wanted.changed() => {
                if changed.is_err() {
                    return;
                }
                // What is written next is what is wanted then.
                wanted.mark_changed();
            }
            () = retry => {}
        }
    }
}

/// Makes the status of one object what it is to be.
async fn write(client: &Client, status: &ObjectStatus) -> Result<(), kube::Error> {
    let resource = api_resource(status.of);
    let api: Api<DynamicObject> = match &*status.key.namespace {
        "" => Api::all_with(client.clone(), &resource),
        namespace => Api::namespaced_with(client.clone(), namespace, &resource),
    };
    for _ in 0..CONFLICTS_MAX {
        let Some(object) = api.get_opt(&status.key.name).await? else { return Ok(()) };
        let known = object.data.get("status").cloned().unwrap_or_default();
        let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let Some(merged) = merge(&known, status, &now) else { return Ok(()) };
        let patch = json!({
            "metadata": { "resourceVersion": object.metadata.resource_version },
            "status": merged,
        });
        let params = PatchParams::default();
        match api.patch_status(&status.key.name, &params, &Patch::Merge(&patch)).await {
            Ok(_) => return Ok(()),
            // Somebody else wrote it meanwhile: what they wrote is to stay.
            Err(kube::Error::Api(refused)) if refused.code == 409 => {}
            Err(kube::Error::Api(refused)) if refused.code == 404 => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn api_resource(of: StatusOf) -> ApiResource {
    match of {
        StatusOf::Ingress => resource::<Ingress>(),
        StatusOf::GatewayClass => resource::<GatewayClass>(),
        StatusOf::Gateway => resource::<Gateway>(),
        StatusOf::HttpRoute => resource::<Http>(),
        StatusOf::GrpcRoute => resource::<Grpc>(),
        StatusOf::TlsRoute => resource::<Tls>(),
        StatusOf::Filter => resource::<ExtensionFilter>(),
        StatusOf::Policy => resource::<ExtensionPolicy>(),
        StatusOf::TlsAlphaRoute => resource::<TlsAlpha>(),
    }
}
