//! The histogram of the shown plane with the contrast limits as handles on it.

use std::ops::Range;

use bevy_egui::egui::{Color32, CursorIcon, Mesh, Pos2, Rect, Response, Sense, Stroke, Ui, pos2, vec2};

use super::colormaps::paint_gradient;
use super::{icons, theme};
use crate::statistics::{PlaneStatistics, ValueRange};

const HEIGHT: f32 = 84.0;
const STRIP_HEIGHT: f32 = 10.0;

/// A limit that is being dragged, and the axis as it was when the drag began, so that it does not run away.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct LimitDrag {
    end: usize,
    span: [f64; 2],
}

/// What is drawn.
pub struct Histogram<'a> {
    /// The shown plane; `None` while it is not received or not measured.
    pub statistics: Option<&'a PlaneStatistics>,
    /// Range of everything received for the channel.
    pub range: Option<[f64; 2]>,
    /// Contrast limits.
    pub limits: [f64; 2],
    /// Gamma.
    pub gamma: f64,
    /// Values are whole numbers.
    pub is_integer: bool,
}

/// What the user did.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum HistogramAction {
    /// Dragged a limit.
    Limits([f64; 2]),
    /// Double-clicked.
    Auto,
}

impl Histogram<'_> {
    /// Draws it over the whole width.
    pub fn show(&self, ui: &mut Ui, colours: &[Color32; 256], drag: &mut Option<LimitDrag>) -> Option<HistogramAction> {
        let size = vec2(ui.available_width(), HEIGHT + STRIP_HEIGHT);
        let (whole, response) = ui.allocate_exact_size(size, Sense::click_and_drag());
        let span = drag.map_or_else(|| axis_span(self.range, self.limits), |drag| drag.span);
        let bars = Rect::from_min_max(whole.min, whole.max - vec2(0.0, STRIP_HEIGHT));
        let strip = Rect::from_min_max(pos2(whole.left(), bars.bottom()), whole.max);
        ui.painter().rect_filled(bars, 3.0, theme::WELL);
        if let Some(statistics) = self.statistics {
            paint_bars(ui, bars, statistics, span);
        }
        let [low, high] = self.limits.map(|limit| x_of(bars, span, limit));
        for outside in [bars.left()..low, high..bars.right()].into_iter().filter(|outside| outside.end > outside.start)
        {
            let shade = Rect::from_x_y_ranges(outside.start..=outside.end, bars.y_range());
            ui.painter().rect_filled(shade, 0.0, Color32::from_black_alpha(120));
        }
        self.paint_curve(ui, bars, low, high);
        let gamma = self.gamma;
        paint_gradient(ui, strip, colours, |part| {
            let x = strip.left() + part * strip.width();
            let normalized = f64::from((x - low) / (high - low).max(1e-3)).clamp(0.0, 1.0);
            normalized.powf(gamma) as f32
        });
        icons::paint_frame(ui.painter(), strip);
        let pointed = response.hover_pos().map(|pointer| nearest_end(pointer.x, [low, high]));
        for (end, x) in [low, high].into_iter().enumerate() {
            let is_held = drag.is_some_and(|drag| drag.end == end) || (drag.is_none() && pointed == Some(end));
            paint_handle(ui, whole, x, is_held);
        }
        self.react(response.on_hover_cursor(CursorIcon::ResizeHorizontal), bars, span, [low, high], drag)
    }

    fn react(
        &self,
        response: Response,
        bars: Rect,
        span: [f64; 2],
        ends: [f32; 2],
        drag: &mut Option<LimitDrag>,
    ) -> Option<HistogramAction> {
        if response.double_clicked() {
            return Some(HistogramAction::Auto);
        }
        if !response.dragged() {
            *drag = None;
            return None;
        }
        let pointer = response.interact_pointer_pos()?;
        let held = *drag.get_or_insert_with(|| {
            let pressed_at = response.total_drag_delta().map_or(pointer.x, |moved| pointer.x - moved.x);
            LimitDrag { end: nearest_end(pressed_at, ends), span }
        });
        let limits =
            dragged_limits(self.limits, held.end, value_at(bars, held.span, pointer.x), held.span, self.is_integer);
        (limits != self.limits).then_some(HistogramAction::Limits(limits))
    }

    /// Brightness over intensity: a line from black to full colour, bent by gamma.
    fn paint_curve(&self, ui: &Ui, bars: Rect, low: f32, high: f32) {
        let gamma = self.gamma;
        let points: Vec<Pos2> = (0..=32)
            .map(|step| {
                let part = f64::from(step) / 32.0;
                let level = part.powf(gamma) as f32;
                pos2(low + part as f32 * (high - low), bars.bottom() - 1.0 - level * (bars.height() - 2.0))
            })
            .collect();
        ui.painter().with_clip_rect(bars).line(points, Stroke::new(1.2, Color32::from_white_alpha(130)));
    }
}

fn paint_handle(ui: &Ui, whole: Rect, x: f32, is_held: bool) {
    let colour = if is_held { theme::ACCENT } else { Color32::from_rgb(0xe4, 0xe7, 0xeb) };
    let x = x.clamp(whole.left() + 1.0, whole.right() - 1.0);
    ui.painter().vline(x, whole.y_range(), Stroke::new(if is_held { 2.0 } else { 1.4 }, colour));
    let grip = Rect::from_center_size(pos2(x, whole.bottom() - STRIP_HEIGHT), vec2(7.0, 14.0));
    let left = whole.left();
    let grip = grip.translate(vec2((left - grip.left()).max(0.0) - (grip.right() - whole.right()).max(0.0), 0.0));
    ui.painter().rect(grip, 2.0, colour, Stroke::new(1.0, theme::PANEL), bevy_egui::egui::StrokeKind::Outside);
}

fn paint_bars(ui: &Ui, rect: Rect, statistics: &PlaneStatistics, span: [f64; 2]) {
    let columns = column_count(rect.width(), span, !matches!(statistics.range, Some(ValueRange::Float { .. })));
    let column_width = rect.width() / columns as f32;
    let heights = column_heights(statistics.bars(), span, columns);
    let mut mesh = Mesh::default();
    for (column, height) in heights.iter().enumerate().filter(|(_, height)| **height > 0.0) {
        let left = rect.left() + column as f32 * column_width;
        let top = rect.bottom() - height * (rect.height() - 6.0);
        let bar = Rect::from_min_max(pos2(left, top), pos2(left + column_width, rect.bottom()));
        mesh.add_colored_rect(bar, theme::WEAK_TEXT);
    }
    ui.painter().with_clip_rect(rect).add(mesh);
}

/// Columns for a width: no more than there are whole numbers to count, else some would be empty for that reason alone.
fn column_count(width: f32, span: [f64; 2], is_integer: bool) -> usize {
    // Two points each, so that neither the 256 bins nor the whole numbers beat against the columns.
    let most = f64::from((width / 2.0).max(1.0));
    let numbers = if is_integer { (span[1] - span[0] + 1.0).max(1.0) } else { most };
    if numbers >= most { most as usize } else { numbers as usize }
}

/// Height of each column, 0 to 1: the logarithm of the counts, since background outnumbers objects a thousand times.
fn column_heights(bars: impl Iterator<Item = ([f64; 2], u64)>, to: [f64; 2], columns: usize) -> Vec<f32> {
    let mut counts = vec![0.0_f64; columns];
    let column_of = |intensity: f64| (intensity - to[0]) / (to[1] - to[0]) * columns as f64;
    for (edges, count) in bars.filter(|(_, count)| *count > 0) {
        let [start, end] = edges.map(column_of);
        for column in covered(start, end, columns) {
            let overlap = (end.min(column as f64 + 1.0) - start.max(column as f64)).max(0.0);
            let part = if end > start { overlap / (end - start) } else { 1.0 };
            counts[column] += count as f64 * part;
        }
    }
    let tallest = counts.iter().copied().fold(0.0, f64::max).ln_1p();
    counts.iter().map(|count| if tallest > 0.0 { (count.ln_1p() / tallest) as f32 } else { 0.0 }).collect()
}

/// Columns that a stretch touches, at least one when it lies inside.
fn covered(start: f64, end: f64, columns: usize) -> Range<usize> {
    if !(start.is_finite() && end.is_finite()) || end < 0.0 || start >= columns as f64 {
        return 0..0;
    }
    let first = start.max(0.0) as usize;
    first..(end.ceil().min(columns as f64) as usize).max(first + 1).min(columns)
}

/// Intensities at the ends of the histogram: everything received, and the limits, wherever they are.
fn axis_span(range: Option<[f64; 2]>, limits: [f64; 2]) -> [f64; 2] {
    let [low, high] = range.map_or(limits, |range| [range[0].min(limits[0]), range[1].max(limits[1])]);
    if low < high { [low, high] } else { [low, low + 1.0] }
}

fn x_of(rect: Rect, span: [f64; 2], intensity: f64) -> f32 {
    let part = ((intensity - span[0]) / (span[1] - span[0])).clamp(0.0, 1.0);
    rect.left() + part as f32 * rect.width()
}

fn value_at(rect: Rect, span: [f64; 2], x: f32) -> f64 {
    let part = f64::from((x - rect.left()) / rect.width().max(1.0)).clamp(0.0, 1.0);
    span[0] + part * (span[1] - span[0])
}

/// The limit that a press is meant for. When both lie at one place, the side of the press decides.
fn nearest_end(x: f32, [low, high]: [f32; 2]) -> usize {
    if (x - low).abs() == (x - high).abs() {
        usize::from(x >= low)
    } else {
        usize::from((x - high).abs() < (x - low).abs())
    }
}

/// Limits with one end moved; the ends never meet or cross.
fn dragged_limits(limits: [f64; 2], end: usize, to: f64, span: [f64; 2], is_integer: bool) -> [f64; 2] {
    let whole = is_integer && span[1] - span[0] > 4.0;
    let to = if whole { to.round() } else { to };
    let gap = if whole { 1.0 } else { (span[1] - span[0]) * 1e-3 };
    match end {
        0 => [to.min(limits[1] - gap), limits[1]],
        _ => [limits[0], to.max(limits[0] + gap)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axis_holds_everything_received_and_the_limits() {
        assert_eq!(axis_span(Some([10.0, 20.0]), [0.0, 15.0]), [0.0, 20.0]);
        assert_eq!(axis_span(None, [5.0, 5.0]), [5.0, 6.0]);
    }

    #[test]
    fn a_peak_stays_where_its_intensity_is() {
        // The plane covers the right half of the axis.
        let bars = [([100.0, 101.0], 1), ([150.0, 151.0], 1000), ([199.0, 200.0], 0)];
        let heights = column_heights(bars.into_iter(), [0.0, 200.0], 100);
        let tallest = heights.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map(|(column, _)| column);
        assert_eq!(tallest, Some(75));
        assert!(heights[50] > 0.0 && heights[..50].iter().all(|height| *height == 0.0));
        assert!(heights.iter().all(|height| (0.0..=1.0).contains(height)));
    }

    #[test]
    fn bins_narrower_than_a_column_are_not_lost() {
        let narrow = (0..256).map(|bar| ([50.0 + f64::from(bar) * 1e-6, 50.0 + f64::from(bar + 1) * 1e-6], 1));
        let heights = column_heights(narrow, [0.0, 100.0], 10);
        assert_eq!(heights.iter().filter(|height| **height > 0.0).count(), 1);
        let empty = [([0.0, 1.0], 0)];
        assert!(column_heights(empty.into_iter(), [0.0, 1.0], 10).iter().all(|height| *height == 0.0));
    }

    #[test]
    fn few_whole_numbers_get_wide_columns() {
        assert_eq!(column_count(260.0, [0.0, 1.0], true), 2);
        assert_eq!(column_count(260.0, [0.0, 65535.0], true), 130);
        assert_eq!(column_count(260.0, [0.0, 1.0], false), 130);
        assert_eq!(column_count(0.0, [0.0, 1.0], false), 1);
    }

    #[test]
    fn dragged_limits_never_cross() {
        let span = [0.0, 1000.0];
        assert_eq!(dragged_limits([100.0, 200.0], 0, 333.3, span, true), [199.0, 200.0]);
        assert_eq!(dragged_limits([100.0, 200.0], 1, 333.3, span, true), [100.0, 333.0]);
        assert_eq!(dragged_limits([0.1, 0.2], 0, 0.15, [0.0, 1.0], false), [0.15, 0.2]);
    }

    #[test]
    fn a_press_takes_the_nearer_limit() {
        assert_eq!(nearest_end(12.0, [10.0, 50.0]), 0);
        assert_eq!(nearest_end(40.0, [10.0, 50.0]), 1);
        assert_eq!(nearest_end(9.0, [10.0, 10.0]), 0);
        assert_eq!(nearest_end(11.0, [10.0, 10.0]), 1);
    }
}
