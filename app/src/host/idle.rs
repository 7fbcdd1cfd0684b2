//! Sleeping while nothing happens, in spite of a habit of bevy_egui 0.42.
//!
//! It tells egui the state of the modifier keys in every frame, and egui asks for another frame whenever it is told, so
//! the loop would never sleep (91 to 142 % of a core, measured). Fixed in bevy_egui 0.43 (#505), which needs a newer bevy
//! and rustc than ours; until then, only changes are passed on. It also passes on only those wishes for a frame that are
//! for now: tooltips and blinking cursors, which ask for one in a while, get theirs from here.

use std::collections::HashMap;
use std::time::Duration;

use bevy::prelude::*;
use bevy_egui::{EguiFullOutput, EguiInput, EguiPostUpdateSet, EguiPreUpdateSet, egui};

use crate::host::wake::Wake;

/// Filters repeated modifier-key states and wakes for egui's later frames.
pub struct IdlePlugin;

impl Plugin for IdlePlugin {
    fn build(&self, app: &mut App) {
        app.add_systems(
            PreUpdate,
            drop_repeated_modifiers.after(EguiPreUpdateSet::ProcessInput).before(EguiPreUpdateSet::BeginPass),
        )
        .add_systems(
            PostUpdate,
            wake_for_later_repaints.after(EguiPostUpdateSet::EndPass).before(EguiPostUpdateSet::ProcessOutput),
        );
    }
}

fn drop_repeated_modifiers(
    mut inputs: Query<(Entity, &mut EguiInput)>,
    mut last: Local<HashMap<Entity, egui::Modifiers>>,
) {
    for (context, mut input) in &mut inputs {
        let known = last.entry(context).or_default();
        keep_changes(&mut input.0.events, known);
    }
}

fn keep_changes(events: &mut Vec<egui::Event>, known: &mut egui::Modifiers) {
    events.retain(|event| {
        let egui::Event::ModifiersChanged(modifiers) = event else { return true };
        let is_news = *known != *modifiers;
        *known = *modifiers;
        is_news
    });
}

fn wake_for_later_repaints(outputs: Query<&EguiFullOutput>, wake: Option<Res<Wake>>) {
    let Some(wake) = wake else { return };
    let outputs = outputs.iter().filter_map(|output| output.0.as_ref());
    for delay in outputs.flat_map(|output| output.viewport_output.values()).map(|viewport| viewport.repaint_delay) {
        // At once is bevy_egui's business; never is said as the longest duration.
        if delay > Duration::ZERO && delay < Duration::from_secs(3600) {
            wake.wake_after(delay);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changes_of_modifiers_pass() {
        let shift = egui::Modifiers::SHIFT;
        let none = egui::Modifiers::NONE;
        let mut known = none;
        let mut events = vec![
            egui::Event::ModifiersChanged(none),
            egui::Event::ModifiersChanged(shift),
            egui::Event::ModifiersChanged(shift),
            egui::Event::PointerGone,
            egui::Event::ModifiersChanged(none),
        ];
        keep_changes(&mut events, &mut known);
        assert_eq!(
            events,
            [egui::Event::ModifiersChanged(shift), egui::Event::PointerGone, egui::Event::ModifiersChanged(none)]
        );
    }
}
