//! The answer to "ping": who serves these sockets, and whether it is ready.

use crate::pickle::PickleValue;

/// Which generation's field names the pong uses. The ping does not tell who asks, so this is a launch option.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PongSpelling {
    /// zmqruntime up to 0.2.24, and with it every released OpenHCS: `application_id`, flat memory and CPU.
    #[default]
    G3,
    /// zmqruntime 0.6: `identifier`, `process_usage`. It refuses the other names, as G3 refuses these.
    G4,
}

/// Which program the viewer belongs to. OpenHCS reuses a viewer only if both are its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Application {
    /// "openhcs".
    pub id: String,
    /// Exact version of the orchestrator that launched the viewer.
    pub version: String,
}

/// A process that cannot be mistaken for a later one with the same id.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ProcessIdentity {
    /// Process id.
    pub pid: u32,
    /// Start of the process in seconds since 1970, as psutil computes it; clients compare with `==`.
    pub create_time: f64,
}

impl ProcessIdentity {
    /// From `{"pid", "create_time"}`; further keys are ignored.
    pub fn from_value(value: &PickleValue) -> Option<Self> {
        let pid = u32::try_from(value.get("pid")?.as_u64()?).ok()?;
        Some(Self { pid, create_time: value.get("create_time")?.as_f64()? })
    }

    /// `{"pid", "create_time"}`.
    pub fn to_value(&self) -> PickleValue {
        PickleValue::dict([("pid", self.pid.into()), ("create_time", self.create_time.into())])
    }
}

/// What the viewer's process uses.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ProcessUsage {
    /// Resident memory, in MiB.
    pub memory_mb: f64,
    /// Load of one core, in percent.
    pub cpu_percent: f64,
}

/// What this viewer takes beyond the wire of the OpenHCS family. The pong's top-level key `wellscope`, which other viewers do not
/// send and other clients (zmqruntime 0.2.24 and 0.6.5) ignore.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Extensions {
    /// Version of wellscope.
    pub version: String,
    /// Names of extensions; those unknown to a producer are for newer ones.
    pub accepts: Vec<String>,
}

impl Extensions {
    /// Binary frames behind the JSON of a batch: `frames` of an image item.
    pub const FRAMES: &'static str = "frames";
    /// Segments that their producer goes on using: `shm_kept` of an image item.
    pub const SHM_KEPT: &'static str = "shm_kept";

    /// What a viewer of this crate's version takes.
    pub fn own() -> Self {
        let accepts = [Self::FRAMES, Self::SHM_KEPT].map(str::to_owned).to_vec();
        Self { version: env!("CARGO_PKG_VERSION").to_owned(), accepts }
    }

    /// From a pong; `None` when it has no dict `wellscope`. What in it is no text is left out.
    pub fn from_pong(pong: &PickleValue) -> Option<Self> {
        let value = pong.get("wellscope")?;
        value.is_mapping().then(|| Self {
            version: value.get("version").and_then(PickleValue::as_str).unwrap_or_default().to_owned(),
            accepts: value
                .get("accepts")
                .and_then(PickleValue::items)
                .unwrap_or_default()
                .iter()
                .filter_map(|name| name.as_str().map(str::to_owned))
                .collect(),
        })
    }

    /// Whether an extension is taken.
    pub fn accepts(&self, name: &str) -> bool {
        self.accepts.iter().any(|accepted| accepted == name)
    }

    fn to_value(&self) -> PickleValue {
        PickleValue::dict([
            ("version", self.version.as_str().into()),
            ("accepts", PickleValue::list(self.accepts.iter().map(String::as_str))),
        ])
    }
}

/// The answer to "ping".
#[derive(Clone, PartialEq, Debug)]
pub struct Pong {
    /// Data port.
    pub port: u16,
    /// Control port.
    pub control_port: u16,
    /// Whether both sockets serve.
    pub ready: bool,
    /// Name of the server, free text; the incumbent says "NapariViewerServer".
    pub server: String,
    /// Kind of viewer; "napari" for clients of the napari server.
    pub server_type: String,
    /// Whose viewer this is. Without it OpenHCS 0.8.6 does not reuse the viewer.
    pub application: Option<Application>,
    /// Where the viewer's log is.
    pub log_file_path: Option<String>,
    /// The viewer's process.
    pub process_identity: Option<ProcessIdentity>,
    /// What it uses.
    pub usage: Option<ProcessUsage>,
    /// What it takes beyond the wire of the OpenHCS family; `None` for viewers that are not wellscope.
    pub extensions: Option<Extensions>,
}

impl Pong {
    /// The pong as a dict of builtins. `control_capabilities` is a list: zmqruntime 0.2.24 refuses a tuple.
    pub fn to_value(&self, spelling: PongSpelling) -> PickleValue {
        let mut items: Vec<(&str, PickleValue)> = vec![
            ("type", "pong".into()),
            ("port", self.port.into()),
            ("control_port", self.control_port.into()),
            ("ready", self.ready.into()),
            ("server", self.server.as_str().into()),
            ("server_type", self.server_type.as_str().into()),
            ("server_role", "viewer".into()),
            ("control_capabilities", PickleValue::list(["force_shutdown", "ping", "shutdown"])),
        ];
        let (id, version) = match spelling {
            PongSpelling::G3 => ("application_id", "application_version"),
            PongSpelling::G4 => ("identifier", "version"),
        };
        items.extend(self.application.as_ref().map(|application| {
            let words = [(id, application.id.as_str().into()), (version, application.version.as_str().into())];
            ("application", PickleValue::dict(words))
        }));
        items.extend(self.log_file_path.as_deref().map(|path| ("log_file_path", path.into())));
        items.extend(self.process_identity.map(|identity| ("process_identity", identity.to_value())));
        items.extend(self.extensions.as_ref().map(|extensions| ("wellscope", extensions.to_value())));
        if let Some(usage) = self.usage {
            let usage = [("memory_mb", usage.memory_mb.into()), ("cpu_percent", usage.cpu_percent.into())];
            match spelling {
                PongSpelling::G3 => items.extend(usage),
                PongSpelling::G4 => items.push(("process_usage", PickleValue::dict(usage))),
            }
        }
        PickleValue::dict(items)
    }
}
