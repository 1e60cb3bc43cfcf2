use std::sync::mpsc;

use opentelemetry_proto::tonic::trace::v1::Span;
use sallyport_stats::SpanLoss;

use super::{Finished, SpanQueue};
use crate::trace::Order;

fn finished(spans: usize) -> Box<Finished> {
    Box::new(Finished { spans: vec![Span::default(); spans], request: None })
}

#[test]
fn what_has_no_room_is_dropped_and_counted() {
    let (orders, ordered) = mpsc::channel();
    let queue = SpanQueue::default();
    queue.push(finished(3));
    let ring = queue.open(4, orders);
    for spans in [1, 2, 3, 4, 5, 6] {
        queue.push(finished(spans));
    }
    let dropped = |loss| queue.figures().dropped[loss as usize];
    assert_eq!((dropped(SpanLoss::Ended), dropped(SpanLoss::QueueFull)), (3, 11));
    assert_eq!(queue.figures().waiting, 10);
    assert!(matches!(ordered.try_recv(), Ok(Order::Wake)), "half of it waits");
    assert!(ordered.try_recv().is_err(), "once");
    assert_eq!(ring.pop().map(|finished| finished.spans.len()), Some(1));
    assert_eq!(queue.figures().waiting, 9);
    ring.looked();
    queue.push(finished(1));
    assert!(matches!(ordered.try_recv(), Ok(Order::Wake)));
}

#[test]
fn what_nobody_takes_any_more_is_lost_and_counted() {
    let (orders, _ordered) = mpsc::channel();
    let queue = SpanQueue::default();
    let ring = queue.open(4, orders);
    queue.push(finished(2));
    queue.close();
    queue.push(finished(1));
    drop(ring);
    let figures = queue.figures();
    assert_eq!((figures.waiting, figures.dropped[SpanLoss::Ended as usize]), (0, 3));
}
