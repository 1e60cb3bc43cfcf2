//! The filters of one route, compiled: for each phase, the hooks that take part in it.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, request, response};
use smallvec::SmallVec;

use crate::exchange::{About, Exchange, Marks, Outcome, Slot};
use crate::filter::{Answer, Body, Flow, Next, Phases, Stop};
use crate::host::Metrics;
use crate::list::Instance;

/// The filters of a route. A phase without hooks is one test of a bit.
pub struct Chain {
    filters: Box<[Arc<Instance>]>,
    phases: Phases,
    asks_of_exchange: bool,
    metrics: Metrics,
    request_headers: Box<[usize]>,
    request_body: Box<[usize]>,
    response_headers: Box<[usize]>,
    response_body: Box<[usize]>,
    response_trailers: Box<[usize]>,
    log: Box<[usize]>,
}

/// What filters keep of one request from phase to phase.
#[derive(Default)]
pub struct Run {
    /// What they decided.
    pub marks: Marks,
    slots: SmallVec<[Slot; SLOTS]>,
    /// Whether the head of a response has passed its hooks.
    response_begun: bool,
    /// Filters that answered in the place of a response: none of their hooks sees the answer.
    answered: SmallVec<[usize; 1]>,
}

/// The filters that are told when a connection ends which is passed on without being terminated. They
/// outlive the chain that they are of.
#[derive(Clone, Debug, Default)]
pub struct ConnectionLogs(Box<[Arc<Instance>]>);

impl ConnectionLogs {
    /// Whether nobody is told.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Tells them how a connection ended. `request` stands for the request that there is none of.
    pub fn log(&self, request: &mut request::Parts, about: &About<'_>, outcome: &Outcome<'_>) {
        for filter in &self.0 {
            let (mut marks, mut slot) = (Marks::default(), None);
            let x = Exchange { request, about, marks: &mut marks, slot: &mut slot };
            filter.filter.log(x, outcome);
        }
    }
}

/// Filters whose state needs no room of its own: few routes have more.
const SLOTS: usize = 4;

impl fmt::Debug for Run {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Run").field("marks", &self.marks).finish_non_exhaustive()
    }
}

/// What becomes of the request after a phase.
#[derive(Debug)]
pub enum Step {
    /// It goes on.
    Continue,
    /// The gateway answers.
    Answer(Box<Answer>),
    /// It goes on once its body has passed [`Chain::request_body`].
    HoldHead,
}

impl Chain {
    /// Compiles `filters`, given in the order of their request hooks; `None` where there are none.
    #[must_use]
    pub fn new(filters: Vec<Arc<Instance>>, metrics: &Metrics) -> Option<Self> {
        if filters.is_empty() {
            return None;
        }
        let with = |phase| -> Box<[usize]> {
            let filters = filters.iter().enumerate();
            filters.filter(|(_, filter)| filter.phases.has(phase)).map(|(index, _)| index).collect()
        };
        let reversed = |phase| -> Box<[usize]> { with(phase).iter().rev().copied().collect() };
        Some(Self {
            phases: filters.iter().fold(Phases::default(), |all, filter| all | filter.phases),
            asks_of_exchange: filters.iter().any(|filter| filter.filter.asks_of_exchange()),
            request_headers: with(Phases::REQUEST_HEADERS),
            request_body: with(Phases::REQUEST_BODY),
            response_headers: reversed(Phases::RESPONSE_HEADERS),
            response_body: reversed(Phases::RESPONSE_BODY),
            response_trailers: reversed(Phases::RESPONSE_TRAILERS),
            log: reversed(Phases::LOG),
            metrics: metrics.clone(),
            filters: filters.into(),
        })
    }

    /// Whether a filter takes part in these phases.
    #[must_use]
    pub fn has(&self, phases: Phases) -> bool {
        self.phases.has(phases)
    }

    /// Whether a filter asks for what takes time to note of the exchange with the origin.
    #[must_use]
    pub fn asks_of_exchange(&self) -> bool {
        self.asks_of_exchange
    }

    /// The filters, in the order of their request hooks.
    #[must_use]
    pub fn filters(&self) -> &[Arc<Instance>] {
        &self.filters
    }

    /// Those of its filters that are told of connections without requests.
    #[must_use]
    pub fn connection_logs(&self) -> ConnectionLogs {
        let filters = self.log.iter().map(|index| &self.filters[*index]);
        ConnectionLogs(filters.filter(|it| it.filter.logs_connections()).cloned().collect())
    }

    /// Runs the hooks of the request's head.
    pub async fn request_headers(
        &self,
        run: &mut Run,
        request: &mut request::Parts,
        about: &About<'_>,
    ) -> Step {
        let mut hold = false;
        for &index in &self.request_headers {
            let (filter, x) = self.at(index, run, request, about);
            let next = match filter.filter.request_headers(x) {
                Flow::Continue => continue,
                Flow::HoldHead => {
                    hold = true;
                    continue;
                }
                Flow::Answer(answer) => Next::Answer(answer),
                Flow::Wait(future) => future.await,
            };
            if let Next::Answer(answer) = next {
                return self.answered(filter, answer);
            }
        }
        if hold { Step::HoldHead } else { Step::Continue }
    }

    /// Runs the hooks of a piece of the request's body, which they may change, hold back or add to.
    pub async fn request_body(
        &self,
        run: &mut Run,
        request: &mut request::Parts,
        about: &About<'_>,
        data: &mut Option<Bytes>,
        end: bool,
    ) -> Step {
        for &index in &self.request_body {
            if data.is_none() && !end {
                break;
            }
            let (filter, x) = self.at(index, run, request, about);
            let next = match filter.filter.request_body(x, Body { data: &mut *data, end }) {
                Flow::Continue | Flow::HoldHead => continue,
                Flow::Answer(answer) => Next::Answer(answer),
                Flow::Wait(future) => future.await,
            };
            if let Next::Answer(answer) = next {
                return self.answered(filter, answer);
            }
        }
        Step::Continue
    }

    /// Runs the hooks of the response's head. Where another head passed them before, that response is
    /// not sent, and filters drop what they kept of it. A filter that answers does so once a request:
    /// the hooks of all others see its answer as they see any response.
    pub async fn response_headers(
        &self,
        run: &mut Run,
        request: &mut request::Parts,
        about: &About<'_>,
        response: &mut response::Parts,
    ) -> Step {
        if std::mem::replace(&mut run.response_begun, true) {
            self.drop_response(run, request, about);
        }
        for &index in &self.response_headers {
            if run.answered.contains(&index) {
                continue;
            }
            let (filter, x) = self.at(index, run, request, about);
            let next = match filter.filter.response_headers(x, &mut *response) {
                Flow::Continue | Flow::HoldHead => continue,
                Flow::Answer(answer) => Next::Answer(answer),
                Flow::Wait(future) => future.await,
            };
            if let Next::Answer(answer) = next {
                let step = self.answered(filter, answer);
                run.answered.push(index);
                return step;
            }
        }
        Step::Continue
    }

    fn drop_response(&self, run: &mut Run, request: &mut request::Parts, about: &About<'_>) {
        for index in 0..self.filters.len() {
            let (filter, x) = self.at(index, run, request, about);
            filter.filter.response_dropped(x);
        }
    }

    /// Runs the hooks of a piece of the response's body.
    ///
    /// # Errors
    /// If the response cannot be completed.
    pub fn response_body(
        &self,
        run: &mut Run,
        request: &mut request::Parts,
        about: &About<'_>,
        data: &mut Option<Bytes>,
        end: bool,
    ) -> Result<(), Stop> {
        for &index in &self.response_body {
            if data.is_none() && !end {
                break;
            }
            if run.answered.contains(&index) {
                continue;
            }
            let (filter, x) = self.at(index, run, request, about);
            filter.filter.response_body(x, Body { data: &mut *data, end })?;
        }
        Ok(())
    }

    /// Runs the hooks of the response's trailers.
    ///
    /// # Errors
    /// If the response cannot be completed.
    pub fn response_trailers(
        &self,
        run: &mut Run,
        request: &mut request::Parts,
        about: &About<'_>,
        trailers: &mut HeaderMap,
    ) -> Result<(), Stop> {
        for &index in &self.response_trailers {
            if run.answered.contains(&index) {
                continue;
            }
            let (filter, x) = self.at(index, run, request, about);
            filter.filter.response_trailers(x, trailers)?;
        }
        Ok(())
    }

    /// Runs the hooks of the request's end, and counts its labels.
    pub fn log(
        &self,
        run: &mut Run,
        request: &mut request::Parts,
        about: &About<'_>,
        outcome: &Outcome<'_>,
    ) {
        for &index in &self.log {
            let (filter, x) = self.at(index, run, request, about);
            filter.filter.log(x, outcome);
        }
        self.metrics.count_labels(about.virtual_host, about.route, &run.marks);
    }

    fn at<'a>(
        &'a self,
        index: usize,
        run: &'a mut Run,
        request: &'a mut request::Parts,
        about: &'a About<'a>,
    ) -> (&'a Instance, Exchange<'a>) {
        if run.slots.is_empty() {
            run.slots.resize_with(self.filters.len(), || None);
        }
        let slot = &mut run.slots[index];
        (&self.filters[index], Exchange { request, about, marks: &mut run.marks, slot })
    }

    fn answered(&self, filter: &Instance, answer: Box<Answer>) -> Step {
        self.metrics.answered(&filter.name, answer.reason);
        Step::Answer(answer)
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_list().entries(&self.filters).finish()
    }
}
