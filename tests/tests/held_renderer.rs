//! Control answers whatever the renderer does: pings are answered while the render thread stands still for seconds.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper of a test that unwraps says where it failed")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bevy::prelude::*;
use bevy::render::{Render, RenderApp, RenderSystems};
use wellscope::host::wake::Wake;
use wellscope::host::{HostOptions, build_app};
use wellscope::signals::ExitRequested;
use wellscope::systems::control::Clients;
use wellscope::systems::intake::Inbox;
use wellscope::systems::memory::PixelStore;
use wellscope::systems::settle::Settlement;
use wellscope::systems::start_workers;
use wellscope::ui::status::ViewerStatus;
use wellscope::viewer::Viewer;
use wellscope::viewer_plugin::ViewerPlugin;
use wellscope_client::{ControlClient, ViewerEndpoint};
use wellscope_protocol::endpoint::{EndpointNaming, Transport};
use wellscope_receiver::{Receiver, ReceiverConfig};
use wellscope_store::Store;
use wellscope_tests::rust_client::DEADLINE;

const HOLD: Duration = Duration::from_secs(3);

#[derive(Resource, Clone, Default)]
struct Hold {
    wanted: Arc<AtomicBool>,
    is_held: Arc<AtomicBool>,
}

fn hold(hold: Res<Hold>) {
    if hold.wanted.swap(false, Ordering::AcqRel) {
        hold.is_held.store(true, Ordering::Release);
        std::thread::sleep(HOLD);
        hold.is_held.store(false, Ordering::Release);
    }
}

#[test]
fn pings_are_answered_while_the_render_thread_is_held() {
    let home = tempfile::Builder::new().prefix("ws").tempdir().unwrap();
    let config = ReceiverConfig { transport: Transport::Ipc, ..ReceiverConfig::new(home.path().to_owned()) };
    let (receiver, inbox) = Receiver::start(config, Arc::new(|| {})).unwrap();
    let endpoint = ViewerEndpoint {
        transport: Transport::Ipc,
        host: "localhost".to_owned(),
        port: receiver.endpoints().port,
        naming: EndpointNaming::openhcs(),
        home: home.path().to_owned(),
    };

    let mut app = build_app(HostOptions { headless: true, window_size: (64, 64), ..HostOptions::default() }).unwrap();
    let wake = app.world().resource::<Wake>().clone();
    let (exit, held) = (ExitRequested::default(), Hold::default());
    app.insert_resource(Viewer::new("held", false))
        .insert_resource(Inbox(inbox))
        .insert_resource(PixelStore(Store::unbounded()))
        .insert_resource(Settlement(receiver.settling()))
        .insert_resource(Clients { counters: receiver.counters(), port: endpoint.port })
        .insert_resource(ViewerStatus::default())
        .insert_resource(exit.clone())
        .add_plugins(ViewerPlugin);
    start_workers(&mut app, &wake).unwrap();
    app.sub_app_mut(RenderApp).insert_resource(held.clone()).add_systems(Render, hold.in_set(RenderSystems::Prepare));

    let client = std::thread::spawn(move || {
        let client = ControlClient::connect(&endpoint).unwrap();
        held.wanted.store(true, Ordering::Release);
        wake.wake();
        let started = Instant::now();
        while !held.is_held.load(Ordering::Acquire) {
            assert!(started.elapsed() < DEADLINE, "the render thread was never held");
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut answered_while_held = 0;
        while held.is_held.load(Ordering::Acquire) {
            assert!(client.ping(DEADLINE).unwrap().ready);
            answered_while_held += usize::from(held.is_held.load(Ordering::Acquire));
            std::thread::sleep(Duration::from_millis(20));
        }
        exit.request();
        wake.wake();
        answered_while_held
    });
    assert_eq!(app.run(), AppExit::Success);
    let answered = client.join().unwrap();
    assert!(answered >= 10, "{answered} pings were answered in {HOLD:?} of a held renderer");
    receiver.shut_down();
}
