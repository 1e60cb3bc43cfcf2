//! `proxy_protocol:` of a listener.

use ipnet::IpNet;
use sallyport_config::{Node, Sink};

use super::scalar;

/// The networks whose peers send a header.
pub(super) fn read(node: Node<'_>, sink: &mut Sink) -> Option<Vec<IpNet>> {
    node.mapping(sink, |fields, sink| {
        fields.required(sink, "from", |node, sink| {
            let networks = node.list(sink, scalar::network)?;
            if networks.is_empty() {
                let fix = "name the load balancers that send the header, such as [10.0.0.0/8], or \
                           remove `proxy_protocol`";
                return node.refuse(sink, "names nobody, so that it has no effect", fix);
            }
            Some(networks)
        })
    })
}
