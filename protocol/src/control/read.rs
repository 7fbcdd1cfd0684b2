//! Fields of a request's payload, checked one by one, with errors that name the field.

use super::request::ControlRequestError;
use crate::pickle::PickleValue;

/// A payload being read: an instance of the incumbent's class or a dict with the same names.
#[derive(Clone, Copy)]
pub(super) struct Fields<'v> {
    value: &'v PickleValue,
    /// How the incumbent's sentences about it begin: "Viewer navigation".
    subject: &'static str,
    reply_type: &'static str,
}

impl<'v> Fields<'v> {
    /// The fields of `value` if it is a dict or one of `classes`.
    pub fn of(
        value: Option<&'v PickleValue>,
        classes: &[&str],
        subject: &'static str,
        reply_type: &'static str,
    ) -> Option<Self> {
        let value = value?;
        let accepted = match value {
            PickleValue::Dict(_) => true,
            PickleValue::Object(object) => classes.contains(&object.name.as_ref()),
            _ => false,
        };
        accepted.then_some(Self { value, subject, reply_type })
    }

    pub fn error(&self, what: impl std::fmt::Display) -> ControlRequestError {
        ControlRequestError { reply_type: self.reply_type, message: format!("{} {what}", self.subject) }
    }

    /// A field that is there and not `None`.
    pub fn get(&self, name: &str) -> Option<&'v PickleValue> {
        self.value.get(name).filter(|value| !value.is_none())
    }

    fn read<T>(
        &self,
        name: &str,
        needed: &str,
        convert: impl FnOnce(&'v PickleValue) -> Option<T>,
    ) -> Result<Option<T>, ControlRequestError> {
        self.get(name)
            .map(|value| convert(value).ok_or_else(|| self.error(format_args!("{name} must be {needed}."))))
            .transpose()
    }

    pub fn flag(&self, name: &str) -> Result<Option<bool>, ControlRequestError> {
        self.read(name, "a bool", PickleValue::as_bool)
    }

    pub fn count(&self, name: &str) -> Result<Option<u64>, ControlRequestError> {
        self.read(name, "an integer and nonnegative", PickleValue::as_u64)
    }

    pub fn number(&self, name: &str) -> Result<Option<f64>, ControlRequestError> {
        self.read(name, "a finite real number", |value| value.as_f64().filter(|number| number.is_finite()))
    }

    pub fn text(&self, name: &str) -> Result<Option<String>, ControlRequestError> {
        self.read(name, "a non-empty string", non_empty)
    }

    pub fn required<T>(&self, name: &str, value: Option<T>) -> Result<T, ControlRequestError> {
        value.ok_or_else(|| self.error(format_args!("{name} is missing.")))
    }

    pub fn route_key(&self) -> Result<String, ControlRequestError> {
        let route_key = self.text("route_key")?;
        route_key.ok_or_else(|| self.error("route_key must be a non-empty string."))
    }

    pub fn texts(&self, name: &str) -> Result<Option<Vec<String>>, ControlRequestError> {
        self.read(name, "a tuple of non-empty strings", |value| value.items()?.iter().map(non_empty).collect())
    }

    /// Exactly `N` finite numbers.
    pub fn numbers<const N: usize>(&self, name: &str) -> Result<Option<[f64; N]>, ControlRequestError> {
        self.read(name, &format!("{N} finite real numbers"), |value| {
            let items = value.items()?;
            let numbers: Vec<f64> =
                items.iter().map(|item| item.as_f64().filter(|n| n.is_finite())).collect::<Option<_>>()?;
            numbers.try_into().ok()
        })
    }

    /// Axis name to index within the route.
    pub fn axis_indices(&self) -> Result<Vec<(String, u64)>, ControlRequestError> {
        let indices = self.read("axis_indices", "a mapping of axis names to nonnegative integers", named_indices)?;
        Ok(indices.unwrap_or_default())
    }

    /// `[(start, stop), ..]` per axis.
    pub fn ranges(&self, name: &str) -> Result<Option<Vec<(u64, u64)>>, ControlRequestError> {
        self.read(name, "a tuple of (start, stop) with stop not before start", |value| {
            value
                .items()?
                .iter()
                .map(|range| match range.items()? {
                    [start, stop] => Some((start.as_u64()?, stop.as_u64()?)).filter(|(start, stop)| start <= stop),
                    _ => None,
                })
                .collect()
        })
    }
}

fn non_empty(value: &PickleValue) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// Every key must be text: `fields` would leave others out.
pub(super) fn named_indices(value: &PickleValue) -> Option<Vec<(String, u64)>> {
    match value {
        PickleValue::Dict(items) => items.iter().map(|(key, index)| Some((non_empty(key)?, index.as_u64()?))).collect(),
        _ => None,
    }
}
