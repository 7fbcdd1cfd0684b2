//! Memory for images: the store of pixels, its limits from the command line, and what users are told of it.

use anyhow::Context;
use bevy::prelude::*;
use wellscope_store::{
    Store, StoreConfig, default_disk_limit, default_memory_limit, default_spill_folder, machine_memory_bytes,
};

use crate::options::Options;
use crate::systems::ViewerSystems;
use crate::ui::problems::{Problems, Severity};

/// All pixels, in memory and on disk.
#[derive(Resource, Clone)]
pub struct PixelStore(pub Store);

/// Tells when pixels cannot be moved to the disk.
pub struct MemoryPlugin;

impl Plugin for MemoryPlugin {
    fn build(&self, app: &mut App) {
        app.add_systems(Update, report_disk.after(ViewerSystems::Ingest));
    }
}

/// Limits of the store: as the options say, else from the machine.
///
/// # Errors
/// When the spill thread cannot start.
pub fn open_store(options: &Options) -> anyhow::Result<Store> {
    let folder = options.spill_dir.clone().unwrap_or_else(default_spill_folder);
    let memory = options.memory_limit.and_then(|limit| limit.bytes_of(Some(machine_memory_bytes())));
    // By default it is half of what is free.
    let free_bytes = default_disk_limit(&folder).saturating_mul(2);
    let disk = options.disk_limit.and_then(|limit| limit.bytes_of(Some(free_bytes)));
    let config = StoreConfig {
        memory_limit_bytes: memory.unwrap_or_else(default_memory_limit),
        disk_limit_bytes: disk.unwrap_or_else(|| default_disk_limit(&folder)),
        folder,
    };
    tracing::info!(
        memory_mib = config.memory_limit_bytes >> 20,
        disk_mib = config.disk_limit_bytes >> 20,
        folder = %config.folder.display(),
        "limits of images"
    );
    let store = Store::open(config).context("no memory for images can be managed")?;
    store.keep_warm().context("no memory for images can be made ready")?;
    Ok(store)
}

fn report_disk(store: Res<PixelStore>, mut problems: ResMut<Problems>, mut last: Local<Option<String>>) {
    let error = store.0.usage().spill_error;
    if *last != error {
        if let Some(reason) = &error {
            let sentence = format!(
                "Memory is full and the disk takes no images: {reason}. What is shown stays; producers are told until there is room."
            );
            problems.report(Severity::Error, sentence);
        }
        *last = error;
    }
}
