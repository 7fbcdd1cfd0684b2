//! Sliders: one axis per stacked component, its values in the order that people expect, and where it stands.
//!
//! A value keeps its number ([`ValueId`]) from the day it is first seen, so a new well that sorts before the current one
//! changes what comes before it on the slider, never what is shown.

use std::collections::HashMap;

use wellscope_protocol::component::{ComponentValue, compare_values};

/// Number of a value within its axis, by order of arrival; stays the same for as long as the axis lives.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ValueId(pub u32);

/// Number of an axis within [`Axes`], by order of arrival.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct AxisId(pub u32);

/// One stacked component: its values and the slider's place.
#[derive(Clone, Debug)]
pub struct Axis {
    /// Component name as on the wire, e.g. `z_index`.
    pub component: String,
    values: Vec<KnownValue>,
    ids: HashMap<ComponentValue, ValueId>,
    /// Ids in display order, of values that are in use or announced.
    sorted: Vec<ValueId>,
    current: Option<ValueId>,
    /// Where the user last put the slider; a value that went away with its data is returned to when it is back.
    wish: Option<ValueId>,
}

#[derive(Clone, Debug)]
struct KnownValue {
    value: ComponentValue,
    /// Layers that hold something at it.
    uses: usize,
    /// A producer declared it.
    announced: bool,
}

impl Axis {
    fn new(component: &str) -> Self {
        Self {
            component: component.to_owned(),
            values: Vec::new(),
            ids: HashMap::new(),
            sorted: Vec::new(),
            current: None,
            wish: None,
        }
    }

    fn intern(&mut self, value: &ComponentValue) -> ValueId {
        if let Some(id) = self.ids.get(value) {
            return *id;
        }
        let id = ValueId(self.values.len() as u32);
        self.values.push(KnownValue { value: value.clone(), uses: 0, announced: false });
        self.ids.insert(value.clone(), id);
        id
    }

    fn is_on_slider(&self, id: ValueId) -> bool {
        let known = &self.values[id.0 as usize];
        known.uses > 0 || known.announced
    }

    /// Applies a change to one value and keeps the slider's list in step with it.
    fn update(&mut self, id: ValueId, change: impl FnOnce(&mut KnownValue)) {
        let was = self.is_on_slider(id);
        change(&mut self.values[id.0 as usize]);
        let is = self.is_on_slider(id);
        if is && !was {
            let place = self.index_of(id);
            self.sorted.insert(place, id);
        } else if was && !is {
            self.sorted.retain(|other| *other != id);
        }
    }

    /// The value behind an id of this axis.
    pub fn value(&self, id: ValueId) -> &ComponentValue {
        &self.values[id.0 as usize].value
    }

    /// The id of a value, if the axis has it.
    pub fn id_of(&self, value: &ComponentValue) -> Option<ValueId> {
        self.ids.get(value).copied().filter(|id| self.is_on_slider(*id))
    }

    /// Values in display order.
    pub fn sorted(&self) -> &[ValueId] {
        &self.sorted
    }

    /// How many values the slider has.
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Whether no value has been seen.
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// Where the slider stands.
    pub fn current(&self) -> Option<ValueId> {
        self.current
    }

    /// Place of a value in display order, from 0.
    pub fn index_of(&self, id: ValueId) -> usize {
        let value = self.value(id);
        self.sorted.partition_point(|other| compare_values(self.value(*other), value).is_lt())
    }
}

/// All sliders, outermost first as producers declare it.
#[derive(Clone, Debug, Default)]
pub struct Axes {
    axes: Vec<Axis>,
    by_component: HashMap<String, AxisId>,
    order: Vec<AxisId>,
}

impl Axes {
    /// Finds or adds the axis of a component. New axes go behind the known ones that their producer puts before them.
    pub fn axis_of(&mut self, component: &str) -> AxisId {
        if let Some(id) = self.by_component.get(component) {
            return *id;
        }
        let id = AxisId(self.axes.len() as u32);
        self.axes.push(Axis::new(component));
        self.by_component.insert(component.to_owned(), id);
        self.order.push(id);
        id
    }

    /// Makes the axes of a producer's stack components known, keeping its order among those that are new.
    pub fn declare(&mut self, components: &[String]) {
        let mut after: Option<AxisId> = None;
        for component in components {
            let known = self.by_component.get(component).copied();
            let id = self.axis_of(component);
            if known.is_none()
                && let Some(place) = after.and_then(|before| self.order.iter().position(|other| *other == before))
            {
                self.order.retain(|other| *other != id);
                self.order.insert(place + 1, id);
            }
            after = Some(id);
        }
    }

    /// The id of a value on an axis, new or known. The value joins the slider with [`Axes::hold`].
    pub fn intern(&mut self, axis: AxisId, value: &ComponentValue) -> ValueId {
        self.axes[axis.0 as usize].intern(value)
    }

    /// One more layer holds something at a value. The slider of a fresh axis goes there, so that the first image is seen
    /// at once; otherwise the slider stays where it is.
    pub fn hold(&mut self, axis: AxisId, id: ValueId) {
        let axis = &mut self.axes[axis.0 as usize];
        axis.update(id, |known| known.uses += 1);
        let lost = axis.current.is_none_or(|current| !axis.is_on_slider(current));
        if lost || axis.wish == Some(id) {
            axis.current = Some(id);
        }
    }

    /// A layer dropped what it held at a value.
    pub fn release(&mut self, axis: AxisId, id: ValueId) {
        self.axes[axis.0 as usize].update(id, |known| known.uses = known.uses.saturating_sub(1));
    }

    /// Records a value that a producer only announces. Announcing moves no slider.
    pub fn announce(&mut self, component: &str, value: &ComponentValue) -> ValueId {
        let axis = self.axis_of(component);
        let axis = &mut self.axes[axis.0 as usize];
        let id = axis.intern(value);
        axis.update(id, |known| known.announced = true);
        id
    }

    /// Takes back everything that was announced (`clear_state`).
    pub fn forget_announced(&mut self) {
        for axis in &mut self.axes {
            for id in (0..axis.values.len() as u32).map(ValueId) {
                axis.update(id, |known| known.announced = false);
            }
        }
    }

    /// An axis by id.
    pub fn get(&self, id: AxisId) -> &Axis {
        &self.axes[id.0 as usize]
    }

    /// An axis by component name.
    pub fn find(&self, component: &str) -> Option<(AxisId, &Axis)> {
        self.by_component.get(component).map(|id| (*id, self.get(*id)))
    }

    /// Axes in slider order.
    pub fn iter(&self) -> impl Iterator<Item = (AxisId, &Axis)> {
        self.order.iter().map(|id| (*id, self.get(*id)))
    }

    /// Axes that need a slider: more than one value seen or announced.
    pub fn sliders(&self) -> impl Iterator<Item = (AxisId, &Axis)> {
        self.iter().filter(|(_, axis)| axis.len() > 1)
    }

    /// Moves a slider to a value. `false`: the axis has no such value and nothing changed.
    pub fn go_to(&mut self, axis: AxisId, value: &ComponentValue) -> bool {
        let axis = &mut self.axes[axis.0 as usize];
        let Some(id) = axis.id_of(value) else { return false };
        axis.current = Some(id);
        axis.wish = Some(id);
        true
    }

    /// Moves a slider to a place in display order, clamped to the slider's ends.
    pub fn go_to_index(&mut self, axis: AxisId, index: usize) {
        let axis = &mut self.axes[axis.0 as usize];
        if let Some(last) = axis.sorted.len().checked_sub(1) {
            axis.current = Some(axis.sorted[index.min(last)]);
            axis.wish = axis.current;
        }
    }

    /// Moves a slider by some places, stopping at its ends.
    pub fn step(&mut self, axis: AxisId, places: i64) {
        let reference = self.get(axis);
        if let Some(current) = reference.current {
            let index = reference.index_of(current) as i64 + places;
            self.go_to_index(axis, index.max(0) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn see(axes: &mut Axes, axis: AxisId, value: &ComponentValue) -> ValueId {
        let id = axes.intern(axis, value);
        axes.hold(axis, id);
        id
    }

    fn current(axes: &Axes, axis: AxisId) -> &ComponentValue {
        let axis = axes.get(axis);
        axis.value(axis.current().unwrap())
    }

    fn text(value: &str) -> ComponentValue {
        ComponentValue::Text(value.to_owned())
    }

    #[test]
    fn values_stand_in_natural_order_whatever_their_arrival() {
        let mut axes = Axes::default();
        let well = axes.axis_of("well");
        for name in ["B02", "A10", "A2"] {
            see(&mut axes, well, &text(name));
        }
        let axis = axes.get(well);
        let shown: Vec<_> = axis.sorted().iter().map(|id| axis.value(*id).clone()).collect();
        assert_eq!(shown, [text("A2"), text("A10"), text("B02")]);
        assert_eq!(axis.index_of(axis.id_of(&text("B02")).unwrap()), 2);
    }

    #[test]
    fn a_value_that_sorts_before_the_current_one_does_not_move_the_slider() {
        let mut axes = Axes::default();
        let well = axes.axis_of("well");
        see(&mut axes, well, &text("B02"));
        see(&mut axes, well, &text("A01"));
        assert_eq!(current(&axes, well), &text("B02"));
        axes.step(well, -1);
        assert_eq!(current(&axes, well), &text("A01"));
        axes.step(well, -1);
        assert_eq!(current(&axes, well), &text("A01"), "stops at the end");
    }

    #[test]
    fn announced_values_lengthen_the_slider_without_moving_it() {
        let mut axes = Axes::default();
        let well = axes.axis_of("well");
        axes.announce("well", &text("A01"));
        assert_eq!(axes.get(well).current(), None);
        see(&mut axes, well, &text("B02"));
        assert_eq!(axes.sliders().count(), 1);
        assert_eq!(current(&axes, well), &text("B02"));
    }

    #[test]
    fn a_slider_returns_to_the_users_value_when_a_new_run_brings_it_back() {
        let mut axes = Axes::default();
        let well = axes.axis_of("well");
        let a01 = see(&mut axes, well, &text("A01"));
        let b02 = see(&mut axes, well, &text("B02"));
        assert!(axes.go_to(well, &text("B02")));
        axes.release(well, a01);
        axes.release(well, b02);
        assert!(axes.get(well).is_empty());
        axes.hold(well, a01);
        assert_eq!(current(&axes, well), &text("A01"), "something that is there is shown meanwhile");
        axes.hold(well, b02);
        assert_eq!(current(&axes, well), &text("B02"));
    }

    #[test]
    fn a_later_producer_inserts_its_axes_where_it_declares_them() {
        let mut axes = Axes::default();
        axes.declare(&["site".into(), "well".into()]);
        axes.declare(&["site".into(), "channel".into(), "well".into()]);
        let order: Vec<_> = axes.iter().map(|(_, axis)| axis.component.as_str()).collect();
        assert_eq!(order, ["site", "channel", "well"]);
    }
}
