//! A gateway that knows one filter more: `refuse_agents: [curl, wget]` answers 403 to clients whose
//! `User-Agent` begins with one of these words. Everything else is Sallyport's own: `run`, `check`,
//! `explain`, reload, statistics.

use std::process::ExitCode;
use std::sync::Arc;

use http::StatusCode;
use sallyport_config::{Node, Sink, scalar, schema};
use sallyport_plugin::{Answer, Exchange, Filter, Flow, Kind, Kinds, Phases, Setting};

const KIND: Kind = Kind { name: "refuse_agents", read, schema: schema::settings::<Vec<Box<str>>> };

struct RefuseAgents(Vec<Box<str>>);

fn read(node: Node<'_>, sink: &mut Sink, _: &mut Setting<'_>) -> Option<Arc<dyn Filter>> {
    let agents = node.list(sink, scalar::name)?;
    Some(Arc::new(RefuseAgents(agents)))
}

impl Filter for RefuseAgents {
    fn phases(&self) -> Phases {
        Phases::REQUEST_HEADERS
    }

    fn request_headers<'a>(&'a self, x: Exchange<'a>) -> Flow<'a> {
        let agent = x.header("user-agent").unwrap_or("");
        if !self.0.iter().any(|refused| agent.starts_with(&**refused)) {
            return Flow::Continue;
        }
        x.marks.label("agent", "refused");
        Flow::answer(Answer::error(StatusCode::FORBIDDEN, "agent", "not with this program"))
    }
}

fn main() -> ExitCode {
    sallyport::cli::main(Kinds::builtin().with(KIND))
}

#[cfg(test)]
mod tests {
    use super::KIND;
    use sallyport_plugin::{Step, testing};

    #[test]
    fn agents_are_refused_by_their_first_word() {
        let mut tried = testing::Tried::new(&KIND, "[curl]");
        tried.header("user-agent", "curl/8.5");
        assert!(matches!(tried.request(), Step::Answer(_)));
        tried.again();
        tried.header("user-agent", "Mozilla/5.0 (curl)");
        assert!(matches!(tried.request(), Step::Continue));
    }

    #[test]
    fn its_problems_look_like_all_others() {
        let said = testing::problems(&KIND, "{}", std::path::Path::new(""));
        assert!(said.contains("refuse_agents: is a mapping, write a list"), "{said}");
    }
}
