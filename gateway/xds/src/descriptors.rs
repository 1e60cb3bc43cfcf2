//! The descriptors of Envoy's API: every message by name, with the names and numbers of its fields.
//!
//! Messages are read by descriptor and not by generated types, for two reasons. A field that nobody
//! asks for can be found and told, by its name; and files, in which Envoy's configuration is YAML
//! or JSON, are read like what a control plane sends.

use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, MessageDescriptor};

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    let bytes: &[u8] = include_bytes!(env!("ENVOY_DESCRIPTORS"));
    DescriptorPool::decode(bytes).expect("the package's own descriptors decode")
});

/// The message of this full name, such as `envoy.config.cluster.v3.Cluster`.
pub(crate) fn message(name: &str) -> Option<MessageDescriptor> {
    POOL.get_message_by_name(name)
}
