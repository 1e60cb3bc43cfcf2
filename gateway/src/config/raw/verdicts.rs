//! `verdicts:`.

use sallyport_config::{Node, Sink};

use super::scalar;
use crate::config::model::{IPV6_PREFIX, Offence, VERDICT_RULES_MAX, VerdictRule, Verdicts};

pub(super) fn verdicts(node: Node<'_>, sink: &mut Sink) -> Option<Verdicts> {
    node.mapping(sink, |fields, sink| {
        let max = fields.optional(sink, "max", |node, sink| node.number(sink, 1, 1_000_000));
        let exempt = fields.optional(sink, "exempt", |node, sink| node.list(sink, scalar::network));
        let ipv6_prefix =
            fields.optional(sink, "ipv6_prefix", |node, sink| node.number(sink, 32, 128));
        let rules = fields.required(sink, "rules", rules);
        if fields.has("exempt") && exempt.is_none() {
            return None;
        }
        Some(Verdicts {
            max: max.unwrap_or(10_000) as usize,
            exempt: exempt.unwrap_or_default(),
            ipv6_prefix: ipv6_prefix.map_or(IPV6_PREFIX, |bits| bits as u8),
            rules: rules?,
        })
    })
}

fn rules(node: Node<'_>, sink: &mut Sink) -> Option<Vec<VerdictRule>> {
    let written = node.value.as_sequence().map_or(0, Vec::len);
    let rules = node.list(sink, rule)?;
    if written > VERDICT_RULES_MAX {
        let what = format!("has {written} rules");
        return node.refuse(sink, what, format!("keep to {VERDICT_RULES_MAX}"));
    }
    Some(rules)
}

fn rule(node: Node<'_>, sink: &mut Sink) -> Option<VerdictRule> {
    node.mapping(sink, |fields, sink| {
        let on = fields.required(sink, "on", |node, sink| {
            node.parsed(sink, "write 4xx, refused or limit", |text| {
                Offence::ALL
                    .into_iter()
                    .find(|offence| offence.key() == text)
                    .ok_or("is nothing to count")
            })
        });
        let more_than =
            fields.required(sink, "more_than", |node, sink| node.number(sink, 1, 1_000_000));
        let within = fields.required(sink, "within", scalar::duration);
        let lasting = fields.required(sink, "for", scalar::duration);
        Some(VerdictRule {
            on: on?,
            more_than: more_than? as u32,
            within: within?,
            lasting: lasting?,
        })
    })
}
