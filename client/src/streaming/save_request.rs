//! What a call of `save_batch` says about all of its arrays.

use wellscope_protocol::batch::{
    Address, ComponentDomain, ComponentNames, DisplayConfig, PlaneAxis, ProducerIdentity, VoxelSpacing,
};

use super::SaveError;
use crate::request::{BatchRequest, RequestItem, manual_identity, openhcs_display_config};

/// Where the arrays of a batch lie, who made them and how to show them.
///
/// What an array says of itself (an [`ImageItem`](crate::ImageItem) with a plane axis, a colour axis or a voxel size of its own)
/// stands; what it leaves open is taken from here.
#[derive(Clone, Debug)]
pub struct SaveRequest {
    /// One per array, in their order; or a single one for all. Added to what an array says itself.
    pub addresses: Vec<Address>,
    /// Who made them; [`manual_identity`].
    pub identity: ProducerIdentity,
    /// How to show them; [`openhcs_display_config`].
    pub display_config: DisplayConfig,
    /// Names that people read, e.g. "DAPI" for channel 1.
    pub names: ComponentNames,
    /// Values that will come, so that sliders have their full length from the start.
    pub domain: ComponentDomain,
    /// What the first axis of images with one more axis than y and x (and colour) runs over.
    pub plane_axis: Option<PlaneAxis>,
    /// The last axis of images is colour: extent 3 or 4.
    pub color: bool,
    /// Integer images are label ids.
    pub labels: bool,
    /// Distance of neighbouring voxels.
    pub voxel_spacing: Option<VoxelSpacing>,
}

impl SaveRequest {
    /// For arrays at `addresses`.
    pub fn new(addresses: Vec<Address>) -> Self {
        Self {
            addresses,
            identity: manual_identity(),
            display_config: openhcs_display_config(),
            names: ComponentNames::default(),
            domain: ComponentDomain::default(),
            plane_axis: None,
            color: false,
            labels: false,
            voxel_spacing: None,
        }
    }

    /// Puts arrays, paths and addresses together.
    pub(super) fn batch<'a>(
        &self,
        mut items: Vec<RequestItem<'a>>,
        paths: &[impl AsRef<str>],
    ) -> Result<BatchRequest<'a>, SaveError> {
        let has_addresses = self.addresses.len() == items.len() || self.addresses.len() == 1;
        if paths.len() != items.len() || (!has_addresses && !items.is_empty()) {
            let (arrays, paths, addresses) = (items.len(), paths.len(), self.addresses.len());
            return Err(SaveError::CountsDisagree { arrays, paths, addresses });
        }
        for (index, (item, path)) in items.iter_mut().zip(paths).enumerate() {
            let head = item.head_mut();
            path.as_ref().clone_into(&mut head.path);
            if let Some(address) = self.addresses.get(index).or(self.addresses.first()) {
                for (component, value) in address {
                    head.address.entry(component.clone()).or_insert_with(|| value.clone());
                }
            }
            self.complete(item);
        }
        Ok(BatchRequest {
            items,
            display_config: self.display_config.clone(),
            identity: self.identity.clone(),
            names: self.names.clone(),
            domain: self.domain.clone(),
        })
    }

    fn complete(&self, item: &mut RequestItem<'_>) {
        let RequestItem::Image(image) = item else { return };
        image.color |= self.color;
        image.labels |= self.labels;
        if image.voxel_spacing.is_none() {
            image.voxel_spacing.clone_from(&self.voxel_spacing);
        }
        let axes = image.pixels.shape().len().saturating_sub(usize::from(image.color));
        // Flat images of a mixed batch have no first axis that it could be about.
        if image.plane_axis.is_none() && axes > 2 {
            image.plane_axis.clone_from(&self.plane_axis);
        }
    }
}
