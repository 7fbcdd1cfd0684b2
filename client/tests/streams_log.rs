//! What a stream logs: once per outage, not once per batch. A file of its own, since a log is one for a whole process.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests; clippy.toml exempts only functions marked as such")]

mod common;

use std::sync::Mutex;

use common::*;
use ndarray::Array2;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, span};
use wellscope_client::{SaveRequest, StreamingBackend, StreamingConfig};

static LOGGED: Mutex<Vec<(Level, String)>> = Mutex::new(Vec::new());

struct Log;

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO && metadata.target().starts_with("wellscope_client::streaming")
    }

    fn event(&self, event: &Event<'_>) {
        struct Message(String);
        impl Visit for Message {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                if field.name() == "message" {
                    self.0 = format!("{value:?}");
                }
            }
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        LOGGED.lock().unwrap().push((*event.metadata().level(), message.0));
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

fn logged() -> Vec<(Level, String)> {
    std::mem::take(&mut *LOGGED.lock().unwrap())
}

#[test]
fn an_outage_is_logged_once_its_end_too_and_refusals_once_in_a_row() {
    tracing::subscriber::set_global_default(Log).unwrap();
    let home = home();
    let endpoint = tcp(&home);
    let backend = StreamingBackend::connect(StreamingConfig { deadline: MOMENT, ..stream(&endpoint) }).unwrap();
    let save = || {
        let image = Array2::<u8>::zeros((8, 8));
        let request = SaveRequest::new(vec![[("well".to_owned(), "A01".into())].into()]);
        backend.save_batch([image.view()], &["a.tif"], &request).unwrap().wait(PATIENCE)
    };
    (0..5).for_each(|_| drop(save().unwrap_err()));
    let found = logged();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].0 == Level::WARN && found[0].1.contains("the viewer misses batches"), "{found:?}");

    let viewer = StandIn::serve_batches(&endpoint.data_url().unwrap(), success);
    until("streaming again", || save().is_ok());
    assert!(save().is_ok() || save().is_ok());
    let found = logged();
    assert_eq!(found[0].0, Level::INFO, "{found:?}");
    assert!(found[0].1.contains("takes batches again"), "{found:?}");
    drop(viewer);

    let _refusing = StandIn::serve_batches(&endpoint.data_url().unwrap(), |_| {
        Answer::Reply(br#"{"status": "error", "type": "batch", "message": "no"}"#.to_vec())
    });
    until("a refusal", || {
        save().unwrap_err();
        backend.losses().refused.batches >= 5
    });
    let refusals = logged().into_iter().filter(|(_, message)| message.contains("a batch is not shown")).count();
    assert_eq!(refusals, 1);
}
