//! Ctrl+S: a picture of the window into the user's folder of pictures.

use std::path::PathBuf;

use anyhow::Context;
use bevy::prelude::*;

use crate::host::wake::Wake;
use crate::render::screenshot::{PendingScreenshot, Picture, ScreenshotScope, Screenshots};
use crate::systems::ViewerSystems;
use crate::ui::ScreenshotWanted;
use crate::ui::problems::{Problems, Severity};

/// Takes pictures for the user.
pub struct PicturesPlugin;

impl Plugin for PicturesPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<PendingPictures>()
            .add_systems(PostUpdate, (request, save).chain().in_set(ViewerSystems::Answer));
    }
}

#[derive(Resource, Default)]
struct PendingPictures(Vec<PendingScreenshot>);

fn request(
    mut wanted: MessageReader<ScreenshotWanted>,
    mut pending: ResMut<PendingPictures>,
    mut screenshots: Screenshots,
) {
    for _ in wanted.read() {
        pending.0.push(screenshots.request(ScreenshotScope::Window));
    }
}

fn save(mut pending: ResMut<PendingPictures>, mut problems: ResMut<Problems>, wake: Res<Wake>) {
    pending.0.retain(|shot| {
        let Some(picture) = shot.try_take() else { return true };
        match write(&picture) {
            Ok(path) => problems.report(Severity::Info, format!("Picture saved: {}", path.display())),
            Err(error) => problems.report(Severity::Error, format!("The picture could not be saved: {error:#}")),
        }
        false
    });
    if !pending.0.is_empty() {
        wake.wake();
    }
}

fn write(picture: &Picture) -> anyhow::Result<PathBuf> {
    let home = std::env::home_dir().context("no home directory: set HOME")?;
    let pictures = std::env::var_os("XDG_PICTURES_DIR").map_or_else(|| home.join("Pictures"), PathBuf::from);
    let folder = if pictures.is_dir() { pictures } else { home };
    let now = jiff::Timestamp::now().strftime("%Y-%m-%d_%H-%M-%S%.3f");
    let path = folder.join(format!("wellscope_{now}.png"));
    picture.write_png(&path).with_context(|| format!("{path:?}"))?;
    Ok(path)
}
