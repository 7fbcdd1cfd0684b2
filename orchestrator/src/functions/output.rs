//! What goes into a function beside pixels, and what comes out.

use wellscope_plates::AnyArray;
use wellscope_protocol::batch::Shape;

/// What a function may know of the stack that it is given.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct StackInfo {
    /// What each plane is called, as a table's columns say it: "DAPI", "channel 2", "z 3". Missing ones are numbered.
    pub plane_names: Vec<String>,
    /// Micrometres between rows and between columns, where known.
    pub pixel_size_um: Option<[f64; 2]>,
}

impl StackInfo {
    /// What a plane is called; planes without a name are numbered from 1.
    pub fn plane_name(&self, index: usize) -> String {
        self.plane_names.get(index).cloned().unwrap_or_else(|| format!("plane {}", index + 1))
    }
}

/// What a function made of one stack.
#[derive(Clone, PartialEq, Debug)]
pub struct FunctionOutput {
    /// Planes `[n, y, x]`: as many as went in, or fewer.
    pub planes: AnyArray,
    /// Whether the planes are label images: integers that are ids.
    pub labels: bool,
    /// Regions of interest of each output plane; empty when the function makes none.
    pub rois: Vec<Vec<Shape>>,
    /// A row per object, if the function measures.
    pub table: Option<Table>,
}

impl FunctionOutput {
    /// Planes and nothing else.
    pub fn planes(planes: AnyArray) -> Self {
        Self { planes, labels: false, rois: Vec::new(), table: None }
    }
}

/// Rows of numbers under named columns.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Table {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Rows, each with one number per column. Not a number: no value.
    pub rows: Vec<Vec<f64>>,
}

impl Table {
    /// As CSV (RFC 4180, lines end with a newline), the header first. No value is an empty field.
    pub fn to_csv(&self) -> String {
        let line = |fields: Vec<String>| fields.join(",") + "\n";
        let header = line(self.columns.iter().map(|name| quoted(name)).collect());
        let rows = self.rows.iter().map(|row| line(row.iter().copied().map(number).collect()));
        std::iter::once(header).chain(rows).collect()
    }
}

fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

fn number(value: f64) -> String {
    if value.is_nan() { String::new() } else { value.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_written_as_csv() {
        let table = Table {
            columns: vec!["label".into(), "mean, \"raw\"".into()],
            rows: vec![vec![1.0, 2.5], vec![2.0, f64::NAN]],
        };
        assert_eq!(table.to_csv(), "label,\"mean, \"\"raw\"\"\"\n1,2.5\n2,\n");
    }
}
