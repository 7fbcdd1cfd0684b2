//! Finds objects on one plane of a stack and measures them on all planes.

use ndarray::{Array2, ArrayView2, Axis};
use serde::{Deserialize, Serialize};
use wellscope_plates::AnyArray;
use wellscope_protocol::batch::Shape;
use wellscope_protocol::dtype::ElementType;

use super::gaussian::gaussian_blur;
use super::label::Label;
use super::measure::{ObjectMeasurement, measure};
use super::outline::outlines;
use super::output::{FunctionOutput, StackInfo, Table};
use super::planes::float_planes;
use super::threshold::{Threshold, ThresholdMethod};
use super::{FunctionError, ParameterError};

/// Finds objects on one plane of a stack (smoothed, split by a limit, numbered) and measures area, position and the
/// intensities of every plane in them. With `variable_components = ["channel"]` the planes are channels: nuclei found in
/// DAPI, GFP measured in nuclei. Gives the label image, outlines, and a table with a row per object.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Measure {
    /// Which plane of the stack shows the objects, counted from 1.
    pub objects: usize,
    /// Whether that plane has ids already, as `label` makes them. Nothing is smoothed or split then.
    pub labelled: bool,
    /// Standard deviation, in pixels, of the Gaussian before the split; 0: none.
    pub sigma: f32,
    /// How the limit between object and background is found: "otsu", "fixed" or "percentile".
    pub method: ThresholdMethod,
    /// The limit, with `method = "fixed"`.
    pub value: Option<f64>,
    /// Percent of background pixels, with `method = "percentile"`.
    pub percentile: f64,
    /// The limit that was found is multiplied by this.
    pub factor: f64,
    /// Objects with fewer pixels are left out.
    pub min_size: usize,
    /// Objects with more pixels are left out, if given.
    pub max_size: Option<usize>,
    /// Whether objects that touch the border are left out.
    pub clear_border: bool,
}

impl Default for Measure {
    fn default() -> Self {
        Self {
            objects: 1,
            labelled: false,
            sigma: 1.5,
            method: ThresholdMethod::Otsu,
            value: None,
            percentile: 90.0,
            factor: 1.0,
            min_size: 30,
            max_size: None,
            clear_border: false,
        }
    }
}

impl Measure {
    /// Whether the parameters can be used.
    ///
    /// # Errors
    /// The parameter, what it must be and what it is.
    pub fn validate(&self) -> Result<(), ParameterError> {
        if self.objects == 0 {
            return Err(ParameterError::new("objects", "a plane counted from 1", self.objects));
        }
        if !(0.0..=1000.0).contains(&self.sigma) {
            return Err(ParameterError::new("sigma", "0 <= sigma <= 1000 pixels", self.sigma));
        }
        self.threshold().validate()?;
        self.label().validate()
    }

    /// Objects of the stack `[n, y, x]`: one label plane, its outlines, and the table.
    ///
    /// # Errors
    /// When it is not a stack of grey planes, or has no plane `objects`.
    pub fn apply(&self, stack: &AnyArray, info: &StackInfo) -> Result<FunctionOutput, FunctionError> {
        let planes = float_planes(stack)?;
        let shown = planes
            .get(self.objects.wrapping_sub(1))
            .ok_or(FunctionError::NoSuchPlane { wanted: self.objects, found: planes.len() })?;
        let labels = if self.labelled { self.ids(stack)? } else { self.find(shown, stack)? };
        let measured: Vec<Vec<ObjectMeasurement>> =
            planes.iter().map(|plane| measure(labels.view(), plane.view())).collect();
        let table = table(&measured, info);
        let rois = vec![labelled_outlines(labels.view(), &table)];
        let planes = AnyArray::I32(labels.insert_axis(Axis(0)).into_dyn());
        Ok(FunctionOutput { planes, labels: true, rois, table: Some(table) })
    }

    /// The plane's integers as they are: floats would merge ids above 2^24.
    fn ids(&self, stack: &AnyArray) -> Result<Array2<i32>, FunctionError> {
        let axes = || FunctionError::Axes { element: stack.element_type(), shape: stack.shape().to_vec() };
        let AnyArray::I32(ids) = stack.cast(ElementType::I32) else { return Err(axes()) };
        let plane = if ids.ndim() == 2 { ids } else { ids.index_axis_move(Axis(0), self.objects - 1) };
        plane.into_dimensionality().map_err(|_| axes())
    }

    fn find(&self, plane: &Array2<f32>, stack: &AnyArray) -> Result<Array2<i32>, FunctionError> {
        // Rounded back to the type, so that Otsu counts the values that a separate gaussian step would give it.
        let smooth = match self.sigma > 0.0 {
            true => AnyArray::F32(gaussian_blur(plane.view(), self.sigma).into_dyn()).cast(stack.element_type()),
            false => AnyArray::F32(plane.clone().into_dyn()).cast(stack.element_type()),
        };
        let smooth = float_planes(&smooth)?.swap_remove(0);
        let limit = self.threshold().limit(&smooth, stack.element_type())?;
        Ok(self.label().label(&smooth.mapv(|value| value > limit)))
    }

    fn threshold(&self) -> Threshold {
        Threshold { method: self.method, value: self.value, percentile: self.percentile, factor: self.factor }
    }

    fn label(&self) -> Label {
        Label {
            min_size: self.min_size,
            max_size: self.max_size,
            clear_border: self.clear_border,
            ..Default::default()
        }
    }
}

/// A row per object: geometry first, then four columns per plane.
fn table(measured: &[Vec<ObjectMeasurement>], info: &StackInfo) -> Table {
    let mut columns: Vec<String> = ["label", "area_px", "centroid_y", "centroid_x"].map(str::to_owned).to_vec();
    let pixel_area_um2 = info.pixel_size_um.map(|[y, x]| y * x);
    columns.extend(pixel_area_um2.map(|_| "area_um2".to_owned()));
    for plane in 0..measured.len() {
        let name = info.plane_name(plane);
        columns.extend(["mean", "min", "max", "sum"].map(|what| format!("{what} {name}")));
    }
    let objects = measured.first().map_or(0, Vec::len);
    let rows = (0..objects)
        .map(|index| {
            let first = &measured[0][index];
            let area = first.area_px as f64;
            let mut row = vec![f64::from(first.label), area, first.centroid_yx[0], first.centroid_yx[1]];
            row.extend(pixel_area_um2.map(|um2| area * um2));
            for plane in measured {
                let object = &plane[index];
                row.extend([object.mean, f64::from(object.min), f64::from(object.max), object.sum]);
            }
            row
        })
        .collect();
    Table { columns, rows }
}

/// Outlines that carry their object's row as metadata, for the viewer's table of regions.
fn labelled_outlines(labels: ArrayView2<'_, i32>, table: &Table) -> Vec<Shape> {
    let mut shapes = outlines(labels);
    for (shape, row) in shapes.iter_mut().zip(&table.rows) {
        // The label travels in a field of its own.
        for (column, value) in table.columns.iter().zip(row).skip(1) {
            shape.metadata.insert(column.clone(), serde_json::json!(value));
        }
    }
    shapes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say where they failed")]
    use super::*;

    /// DAPI with two objects, and GFP that is 7 in the first, 9 in the second.
    fn two_channels() -> AnyArray {
        let dapi = [[0u16, 90, 90, 0, 0, 0], [0, 90, 90, 0, 80, 80], [0, 0, 0, 0, 80, 80]];
        let gfp = [[1u16, 7, 7, 1, 1, 1], [1, 7, 7, 1, 9, 9], [1, 1, 1, 1, 9, 9]];
        AnyArray::from_values(&[2, 3, 6], dapi.into_iter().chain(gfp).flatten().collect()).unwrap()
    }

    #[test]
    fn objects_of_one_channel_are_measured_in_all() {
        let measure = Measure { sigma: 0.0, min_size: 1, ..Default::default() };
        let info = StackInfo { plane_names: vec!["DAPI".into(), "GFP".into()], pixel_size_um: Some([0.5, 0.5]) };
        let output = measure.apply(&two_channels(), &info).unwrap();
        let table = output.table.unwrap();
        assert_eq!(table.columns[..5], ["label", "area_px", "centroid_y", "centroid_x", "area_um2"]);
        assert_eq!(table.columns[5..9], ["mean DAPI", "min DAPI", "max DAPI", "sum DAPI"]);
        assert_eq!(table.rows.len(), 2);
        assert_eq!(table.rows[0], [1.0, 4.0, 0.5, 1.5, 1.0, 90.0, 90.0, 90.0, 360.0, 7.0, 7.0, 7.0, 28.0]);
        assert_eq!(table.rows[1], [2.0, 4.0, 1.5, 4.5, 1.0, 80.0, 80.0, 80.0, 320.0, 9.0, 9.0, 9.0, 36.0]);
        assert_eq!(output.planes.shape(), [1, 3, 6]);
        assert_eq!((output.labels, output.rois.len(), output.rois[0].len()), (true, 1, 2));
        assert_eq!(output.rois[0][1].label, Some(2));
        assert_eq!(output.rois[0][1].metadata["mean GFP"], 9.0);
        assert_eq!(output.rois[0][1].metadata.get("label"), None);
    }

    #[test]
    fn ids_that_are_there_already_are_kept() {
        let stack = AnyArray::from_values(&[1, 1, 4], vec![0i32, 5, 5, 16_777_217]).unwrap();
        let measure = Measure { labelled: true, ..Default::default() };
        let output = measure.apply(&stack, &StackInfo::default()).unwrap();
        let table = output.table.unwrap();
        let ids: Vec<f64> = table.rows.iter().map(|row| row[0]).collect();
        assert_eq!(ids, [5.0, 16_777_217.0]);
        assert_eq!(table.columns[4], "mean plane 1");
    }

    #[test]
    fn an_empty_plane_gives_no_object_and_a_missing_one_a_sentence() {
        let stack = AnyArray::from_values(&[1, 4, 4], vec![3u8; 16]).unwrap();
        let output = Measure::default().apply(&stack, &StackInfo::default()).unwrap();
        assert_eq!((output.rois[0].len(), output.table.unwrap().rows.len()), (0, 0));
        let error = Measure { objects: 2, ..Default::default() }.apply(&stack, &StackInfo::default()).unwrap_err();
        assert_eq!(error.to_string(), "plane 2 of the stack is to show the objects, found a stack of 1 planes");
        assert!(Measure { objects: 0, ..Default::default() }.validate().is_err());
    }
}
