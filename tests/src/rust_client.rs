//! Our own Rust producer and control client, connected to a viewer under test.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use wellscope_client::{ControlClient, Producer, ProducerConfig, ViewerEndpoint};
use wellscope_protocol::control::{CaptureScope, FrameCondition, NavigateOptions, ScreenshotRequest, StateOptions};
use wellscope_protocol::endpoint::{EndpointNaming, Transport};
use wellscope_protocol::pickle::PickleValue;

use crate::picture::Picture;
use crate::viewer::ViewerProcess;

/// How long anything may take. Generous: the machine may be busy with a build.
pub const DEADLINE: Duration = Duration::from_secs(60);

impl ViewerProcess {
    /// Where this viewer listens.
    pub fn endpoint(&self) -> ViewerEndpoint {
        ViewerEndpoint {
            transport: if self.transport == "tcp" { Transport::Tcp } else { Transport::Ipc },
            host: "127.0.0.1".to_owned(),
            port: self.port,
            naming: EndpointNaming::openhcs(),
            home: self.home.path().to_owned(),
        }
    }

    /// A producer without acks.
    pub fn producer(&self) -> anyhow::Result<Producer> {
        Ok(Producer::connect(ProducerConfig::new(self.endpoint()))?)
    }

    /// A control client.
    pub fn client(&self) -> anyhow::Result<ControlClient> {
        Ok(ControlClient::connect(&self.endpoint())?)
    }

    /// Waits until everything sent is drawn.
    pub fn settle(&self) -> anyhow::Result<()> {
        self.client()?.settle(DEADLINE)?;
        Ok(())
    }

    /// The state reply.
    pub fn state(&self) -> anyhow::Result<PickleValue> {
        Ok(self.client()?.state(&StateOptions::default())?)
    }

    /// A fact of our own in the state reply, e.g. `["gpu", "uploads"]`.
    pub fn count(&self, path: [&str; 2]) -> anyhow::Result<u64> {
        let state = self.state()?;
        let fact = state.get("wellscope").and_then(|facts| facts.get(path[0])?.get(path[1])?.as_u64());
        fact.with_context(|| format!("no {path:?} in {state}"))
    }

    /// Moves sliders of a route by local index.
    pub fn navigate(&self, route_key: &str, axis_indices: &[(&str, u64)]) -> anyhow::Result<PickleValue> {
        let options = NavigateOptions {
            route_key: route_key.to_owned(),
            axis_indices: axis_indices.iter().map(|(axis, index)| ((*axis).to_owned(), *index)).collect(),
            visible: None,
            selected: None,
            data_index: None,
        };
        Ok(self.client()?.navigate(&options)?)
    }

    /// A picture of the canvas or the whole window.
    pub fn picture(&self, capture_scope: CaptureScope) -> anyhow::Result<Picture> {
        let folder = self.home.path().join("pictures");
        let request = ScreenshotRequest {
            output_dir_path: folder.to_str().context("the path is not text")?.to_owned(),
            capture_scope,
            frame_condition: FrameCondition::Immediate,
            observation_timeout_s: 5.0,
        };
        let reply = self.client()?.screenshot(&request)?;
        let path = reply.get("resource").and_then(|resource| resource.get("path")?.as_str());
        Picture::read(&PathBuf::from(path.with_context(|| format!("no path in {reply}"))?))
    }
}
