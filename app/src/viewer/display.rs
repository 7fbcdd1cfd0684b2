//! Display settings: contrast limits, gamma, colormap, blending. They belong to a layer and a channel, never to an upload,
//! so that no image that arrives can reset them.

use std::collections::HashMap;

use crate::colormap::LABELS;
use crate::render::scene::{Blending, Interpolation};
use crate::statistics::{MergedStatistics, PlaneStatistics, Totals, auto_limits};
use crate::viewer::axes::ValueId;

/// As napari's label layers have, and the outlines of objects.
const LABELS_OPACITY: f32 = 0.7;

/// Who chose the contrast limits of a channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LimitsOrigin {
    /// Nobody yet, or a blank first image; the next image with content sets them.
    Provisional,
    /// The first image with content.
    Data,
    /// The user, or a control message on the user's behalf. Data never moves them.
    User,
}

/// Settings of one channel of a layer.
#[derive(Clone, Debug)]
pub struct ChannelDisplay {
    /// Intensities drawn as black and as full colour, in the image's own units. `None` until an image has been measured.
    pub contrast_limits: Option<[f64; 2]>,
    /// Who chose them.
    pub limits_origin: LimitsOrigin,
    /// Exponent applied after contrast; 1 is linear.
    pub gamma: f64,
    /// The user's colormap; `None`: the producer's.
    pub colormap: Option<String>,
    /// What was measured of the planes that the channel now has; ranges of sliders come from here.
    pub statistics: MergedStatistics,
}

impl Default for ChannelDisplay {
    fn default() -> Self {
        Self {
            contrast_limits: None,
            limits_origin: LimitsOrigin::Provisional,
            gamma: 1.0,
            colormap: None,
            statistics: MergedStatistics::default(),
        }
    }
}

impl ChannelDisplay {
    /// Takes the statistics of one more image. Sets limits only while they are provisional.
    pub fn measure(&mut self, statistics: &PlaneStatistics) {
        self.statistics.add(statistics);
        if self.limits_origin == LimitsOrigin::Provisional {
            self.contrast_limits = Some(auto_limits(statistics));
            if statistics.has_contrast() {
                self.limits_origin = LimitsOrigin::Data;
            }
        }
    }

    /// Sets limits for good. Ends may come in either order; values that are not finite change nothing.
    pub fn set_limits(&mut self, limits: [f64; 2]) {
        if limits.iter().all(|limit| limit.is_finite()) {
            self.contrast_limits = Some([limits[0].min(limits[1]), limits[0].max(limits[1])]);
            self.limits_origin = LimitsOrigin::User;
        }
    }
}

/// Settings of one layer.
#[derive(Clone, Debug)]
pub struct LayerDisplay {
    /// The producer's `display_config.colormap`; "labels" for label images.
    pub producer_colormap: String,
    /// How the layer joins those below it.
    pub blending: Blending,
    /// 0 transparent .. 1.
    pub opacity: f32,
    /// How enlarged pixels look.
    pub interpolation: Interpolation,
    channels: HashMap<Option<ValueId>, ChannelDisplay>,
}

impl LayerDisplay {
    /// Settings of a fresh layer, as napari's users know them: additive, nearest. Labels lie translucent over what they belong to.
    pub fn new(producer_colormap: &str) -> Self {
        let is_labels = producer_colormap == LABELS;
        Self {
            producer_colormap: producer_colormap.to_owned(),
            blending: if is_labels { Blending::Translucent } else { Blending::Additive },
            opacity: if is_labels { LABELS_OPACITY } else { 1.0 },
            interpolation: Interpolation::Nearest,
            channels: HashMap::new(),
        }
    }

    /// Settings of a channel; `None` for a layer without a channel slider.
    pub fn channel(&self, channel: Option<ValueId>) -> Option<&ChannelDisplay> {
        self.channels.get(&channel)
    }

    /// Settings of a channel, made with defaults when new.
    pub fn channel_mut(&mut self, channel: Option<ValueId>) -> &mut ChannelDisplay {
        self.channels.entry(channel).or_default()
    }

    /// Channels that have settings, in no order.
    pub fn channels(&self) -> impl Iterator<Item = (Option<ValueId>, &ChannelDisplay)> {
        self.channels.iter().map(|(channel, display)| (*channel, display))
    }

    /// Counts and range of the whole layer. Costs one step per channel.
    pub fn totals(&self) -> Totals {
        self.channels.values().map(|display| display.statistics.totals()).fold(Totals::default(), Totals::union)
    }

    /// Statistics of the whole layer with their histogram; costs as much as the channels' histograms are large.
    pub fn statistics(&self) -> MergedStatistics {
        let mut all = MergedStatistics::default();
        self.channels.values().for_each(|display| all.add_all(&display.statistics));
        all
    }

    /// The layer's data is gone; settings stay.
    pub fn forget_statistics(&mut self) {
        self.channels.values_mut().for_each(|display| display.statistics = MergedStatistics::default());
    }

    /// Name of the colormap that a channel is drawn with.
    pub fn colormap_of(&self, channel: Option<ValueId>) -> &str {
        self.channel(channel).and_then(|display| display.colormap.as_deref()).unwrap_or(&self.producer_colormap)
    }
}
