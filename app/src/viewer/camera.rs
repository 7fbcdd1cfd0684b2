//! Pan and zoom: which part of the data the canvas shows.

/// Zoom never leaves this range, in physical screen pixels per data pixel: a 30,000 pixel plane still fits a small
/// canvas, and one pixel can fill it.
const ZOOM_RANGE: [f64; 2] = [1e-3, 1e3];

/// Rectangle in data space, `[y, x]` in pixels; pixel centres are integers, so n pixels reach from -0.5 to n - 0.5.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Extent {
    /// Upper left corner.
    pub min_yx: [f64; 2],
    /// Lower right corner.
    pub max_yx: [f64; 2],
}

impl Extent {
    /// What an image of `shape_yx` pixels covers whose first pixel's centre lies at `origin_yx`.
    pub fn of_image(origin_yx: [f64; 2], shape_yx: [u64; 2]) -> Self {
        Self {
            min_yx: [origin_yx[0] - 0.5, origin_yx[1] - 0.5],
            max_yx: [origin_yx[0] + shape_yx[0] as f64 - 0.5, origin_yx[1] + shape_yx[1] as f64 - 0.5],
        }
    }

    /// The smallest extent that holds both.
    pub fn union(self, other: Self) -> Self {
        Self {
            min_yx: [self.min_yx[0].min(other.min_yx[0]), self.min_yx[1].min(other.min_yx[1])],
            max_yx: [self.max_yx[0].max(other.max_yx[0]), self.max_yx[1].max(other.max_yx[1])],
        }
    }

    /// Its middle. For n pixels from 0 that is (n - 1) / 2.
    pub fn center_yx(self) -> [f64; 2] {
        [(self.min_yx[0] + self.max_yx[0]) / 2.0, (self.min_yx[1] + self.max_yx[1]) / 2.0]
    }
}

/// Where the canvas looks.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Camera {
    /// Data position of the canvas centre, in pixels.
    pub center_yx: [f64; 2],
    /// Physical screen pixels per data pixel.
    pub zoom: f64,
    /// Size of the canvas in physical screen pixels.
    pub canvas_size_xy: [f64; 2],
    /// The last fit still holds: nothing has panned or zoomed since. A resized canvas then fits again.
    fitted: Option<Extent>,
}

impl Default for Camera {
    fn default() -> Self {
        Self { center_yx: [0.0, 0.0], zoom: 1.0, canvas_size_xy: [1.0, 1.0], fitted: None }
    }
}

impl Camera {
    /// Shows all of `extent`, with a small margin.
    pub fn fit(&mut self, extent: Extent) {
        let height = (extent.max_yx[0] - extent.min_yx[0]).max(1.0);
        let width = (extent.max_yx[1] - extent.min_yx[1]).max(1.0);
        // napari leaves 5 % around what it fits; a picture that touches the edge looks cut off.
        let zoom = 0.95 * (self.canvas_size_xy[0] / width).min(self.canvas_size_xy[1] / height);
        self.center_yx = extent.center_yx();
        self.zoom = zoom.clamp(ZOOM_RANGE[0], ZOOM_RANGE[1]);
        self.fitted = Some(extent);
    }

    /// Takes the canvas size, in physical pixels. An untouched fit is repeated; otherwise the centre and zoom stay.
    pub fn resize(&mut self, canvas_size_xy: [f64; 2]) {
        let canvas_size_xy = canvas_size_xy.map(|side| side.max(1.0));
        if canvas_size_xy != self.canvas_size_xy {
            self.canvas_size_xy = canvas_size_xy;
            if let Some(extent) = self.fitted {
                self.fit(extent);
            }
        }
    }

    /// Moves the data by some physical screen pixels, as a drag does.
    pub fn pan(&mut self, by_screen_xy: [f64; 2]) {
        self.center_yx[0] -= by_screen_xy[1] / self.zoom;
        self.center_yx[1] -= by_screen_xy[0] / self.zoom;
        self.fitted = None;
    }

    /// Zooms by a factor around a canvas position, which keeps showing the same data.
    pub fn zoom_at(&mut self, factor: f64, canvas_xy: [f64; 2]) {
        if !(factor.is_finite() && factor > 0.0) {
            return;
        }
        let anchor = self.data_from_canvas(canvas_xy);
        self.zoom = (self.zoom * factor).clamp(ZOOM_RANGE[0], ZOOM_RANGE[1]);
        let moved = self.data_from_canvas(canvas_xy);
        self.center_yx[0] += anchor[0] - moved[0];
        self.center_yx[1] += anchor[1] - moved[1];
        self.fitted = None;
    }

    /// Sets centre and zoom; values that are not finite, or a zoom that is not positive, change nothing.
    pub fn look_at(&mut self, center_yx: [f64; 2], zoom: f64) {
        if center_yx.iter().all(|value| value.is_finite()) && zoom.is_finite() && zoom > 0.0 {
            self.center_yx = center_yx;
            self.zoom = zoom.clamp(ZOOM_RANGE[0], ZOOM_RANGE[1]);
            self.fitted = None;
        }
    }

    /// Data position `[y, x]` under a canvas position `[x, y]` in physical pixels from its upper left corner.
    pub fn data_from_canvas(&self, canvas_xy: [f64; 2]) -> [f64; 2] {
        [
            self.center_yx[0] + (canvas_xy[1] - self.canvas_size_xy[1] / 2.0) / self.zoom,
            self.center_yx[1] + (canvas_xy[0] - self.canvas_size_xy[0] / 2.0) / self.zoom,
        ]
    }

    /// Canvas position `[x, y]` in physical pixels of a data position `[y, x]`.
    pub fn canvas_from_data(&self, data_yx: [f64; 2]) -> [f64; 2] {
        [
            (data_yx[1] - self.center_yx[1]) * self.zoom + self.canvas_size_xy[0] / 2.0,
            (data_yx[0] - self.center_yx[0]) * self.zoom + self.canvas_size_xy[1] / 2.0,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_centre_of_n_pixels_is_half_of_n_minus_one() {
        let mut camera = Camera { canvas_size_xy: [1000.0, 800.0], ..Camera::default() };
        camera.fit(Extent::of_image([0.0, 0.0], [16, 24]));
        assert_eq!(camera.center_yx, [7.5, 11.5]);
        assert!((camera.zoom - 0.95 * 1000.0 / 24.0).abs() < 1e-9);
    }

    #[test]
    fn zooming_keeps_the_data_under_the_cursor() {
        let mut camera = Camera { canvas_size_xy: [640.0, 480.0], ..Camera::default() };
        camera.look_at([100.0, 50.0], 3.0);
        let before = camera.data_from_canvas([10.0, 400.0]);
        camera.zoom_at(1.7, [10.0, 400.0]);
        let after = camera.data_from_canvas([10.0, 400.0]);
        assert!((before[0] - after[0]).abs() < 1e-9 && (before[1] - after[1]).abs() < 1e-9);
        let back = camera.canvas_from_data(after);
        assert!((back[0] - 10.0).abs() < 1e-9 && (back[1] - 400.0).abs() < 1e-9);
    }

    #[test]
    fn a_resize_repeats_an_untouched_fit_and_leaves_a_touched_view_alone() {
        let mut camera = Camera { canvas_size_xy: [100.0, 100.0], ..Camera::default() };
        camera.fit(Extent::of_image([0.0, 0.0], [50, 50]));
        camera.resize([200.0, 200.0]);
        assert!((camera.zoom - 3.8).abs() < 1e-9);
        camera.pan([10.0, 0.0]);
        let touched = (camera.center_yx, camera.zoom);
        camera.resize([300.0, 300.0]);
        assert_eq!((camera.center_yx, camera.zoom), touched);
    }

    #[test]
    fn nonsense_from_a_control_message_changes_nothing() {
        let mut camera = Camera::default();
        let before = camera;
        camera.look_at([f64::NAN, 0.0], 1.0);
        camera.look_at([0.0, 0.0], -1.0);
        camera.zoom_at(f64::INFINITY, [0.0, 0.0]);
        assert_eq!(camera, before);
    }
}
