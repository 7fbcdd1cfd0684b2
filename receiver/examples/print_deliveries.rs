//! Receives without a window: prints what arrives, answers acks, ends on `shutdown`.
//!
//! `cargo run -p wellscope-receiver --example print_deliveries -- [PORT]`, then stream to the port with any producer.

use std::sync::Arc;

use wellscope_protocol::control::ControlReply;
use wellscope_receiver::{Delivery, Receiver, ReceiverConfig};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let home = std::env::home_dir().ok_or("no home folder")?;
    let mut config = ReceiverConfig::new(home);
    if let Some(port) = std::env::args().nth(1) {
        config.port = port.parse()?;
    }
    let (receiver, deliveries) = Receiver::start(config, Arc::new(|| ()))?;
    println!("receiving at {}", receiver.endpoints().data_url);
    for delivery in deliveries {
        match delivery {
            Delivery::Batch(batch) => {
                for item in batch.items {
                    println!("{} {:?}: {:?}", batch.sequence, item.item.path, item.payload);
                    item.ack.succeed();
                }
            }
            Delivery::Call(call) => {
                println!("{:?}", call.request);
                call.replier.reply(ControlReply::error("error", "This example shows nothing."));
            }
            Delivery::Clear => println!("clear"),
            Delivery::Problem(problem) => println!("{:?}: {}", problem.severity, problem.text),
            Delivery::ShutdownRequested => break,
        }
    }
    println!("{:#?}", receiver.counters().snapshot());
    Ok(())
}
