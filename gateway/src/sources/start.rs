//! Starts the sources that the file names.

use std::sync::Arc;

use sallyport_config::spec::Providers;
use tokio::runtime::Handle;

use super::Sources;

/// Starts them on `runtime`; they deliver for as long as it runs.
pub fn start(sources: &Arc<Sources>, providers: Option<&Providers>, runtime: &Handle) {
    let Some(providers) = providers else { return };
    #[cfg(feature = "kubernetes")]
    if let Some(kubernetes) = &providers.kubernetes {
        let (outlet, outcomes) = sources.outlet(super::KUBERNETES);
        runtime.spawn(sallyport_kubernetes::run(kubernetes.clone(), outlet, outcomes));
    }
    #[cfg(feature = "xds")]
    if let (Some(xds), Some(figures)) = (&providers.xds, &sources.xds) {
        let (outlet, outcomes) = sources.outlet(super::XDS);
        runtime.spawn(sallyport_xds::client::run(xds.clone(), outlet, outcomes, figures.clone()));
    }
    #[cfg(not(any(feature = "kubernetes", feature = "xds")))]
    let _ = (sources, providers, runtime);
}
