//! Text that names where the sliders stand: "Site 1 | Ch1: DAPI | Well B02". Wording of openhcs 0.8.6.

use crate::batch::ComponentNames;
use crate::component::ComponentValue;

/// The label of `value` on the slider of `component`, with its name when `names` has one.
///
/// An empty name is a blank one and is used as it is. `None` when the label reads "none" in any case: such a part is never
/// shown.
pub fn value_label(component: &str, value: &ComponentValue, names: &ComponentNames) -> Option<String> {
    let name = names
        .get(component)
        .and_then(|names| names.get(&value.as_key()))
        .filter(|name| !name.eq_ignore_ascii_case("none"));
    let label = match (component, name) {
        ("channel", Some(name)) => format!("Ch{value}: {name}"),
        ("channel", None) => format!("Ch {value}"),
        ("well", Some(name)) => name.clone(),
        (_, Some(name)) => format!("{} {value}: {name}", component_title(component)),
        ("well", None) => format!("Well {value}"),
        ("z_index", None) => format!("Z {value}"),
        ("timepoint", None) => format!("T {value}"),
        ("site", None) => format!("Site {value}"),
        (_, None) => format!("{component} {value}"),
    };
    is_shown(&label).then_some(label)
}

/// The overlay's text: labels of components with a single value first, then one per slider, joined by " | ".
/// Parts that read "none" in any case are left out. Empty when there is no part.
pub fn overlay_text<S: AsRef<str>, A: AsRef<str>>(scalars: &[S], axes: &[A]) -> String {
    let parts = scalars.iter().map(AsRef::as_ref).chain(axes.iter().map(AsRef::as_ref));
    parts.filter(|part| is_shown(part)).collect::<Vec<_>>().join(" | ")
}

fn is_shown(label: &str) -> bool {
    !label.eq_ignore_ascii_case("none")
}

/// Python's `str.title()`: each run of letters starts with a capital and goes on in lower case ("z_index" → "Z_Index").
pub fn component_title(component: &str) -> String {
    let mut title = String::with_capacity(component.len());
    let mut in_word = false;
    for character in component.chars() {
        if in_word {
            title.extend(character.to_lowercase());
        } else {
            title.extend(character.to_uppercase());
        }
        in_word = character.is_alphabetic();
    }
    title
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> ComponentNames {
        let named = |component: &str, value: &str, name: &str| {
            (component.to_owned(), [(value.to_owned(), name.to_owned())].into_iter().collect())
        };
        [
            named("channel", "1", "DAPI"),
            named("well", "A01", "control"),
            named("z_index", "3", "top"),
            named("timepoint", "2", "1 h"),
            named("site", "4", ""),
            named("dose_level", "1.5", "high"),
        ]
        .into_iter()
        .collect()
    }

    #[test]
    fn labels_have_the_incumbents_wording() {
        let cases: [(&str, ComponentValue, &str); 13] = [
            ("channel", 1.into(), "Ch1: DAPI"),
            ("channel", 2.into(), "Ch 2"),
            ("well", "A01".into(), "control"),
            ("well", "B02".into(), "Well B02"),
            ("well", 1.into(), "Well 1"),
            ("z_index", 3.into(), "Z_Index 3: top"),
            ("z_index", 1.into(), "Z 1"),
            ("timepoint", 2.into(), "Timepoint 2: 1 h"),
            ("timepoint", 1.into(), "T 1"),
            ("site", 4.into(), "Site 4: "),
            ("site", 1.into(), "Site 1"),
            ("dose_level", 1.5.into(), "Dose_Level 1.5: high"),
            ("plane", 0.into(), "plane 0"),
        ];
        for (component, value, label) in cases {
            assert_eq!(value_label(component, &value, &names()).as_deref(), Some(label));
        }
    }

    #[test]
    fn none_is_no_name_and_a_blank_name_is_one() {
        let names: ComponentNames = [("well", "NONE"), ("channel", "none"), ("drug", "")]
            .into_iter()
            .map(|(component, name)| (component.to_owned(), [("1".to_owned(), name.to_owned())].into_iter().collect()))
            .collect();
        assert_eq!(value_label("well", &1.into(), &names).as_deref(), Some("Well 1"));
        assert_eq!(value_label("channel", &1.into(), &names).as_deref(), Some("Ch 1"));
        let blank: ComponentNames =
            [("well".to_owned(), [("A01".to_owned(), String::new())].into_iter().collect())].into_iter().collect();
        assert_eq!(value_label("well", &"A01".into(), &blank).as_deref(), Some(""));
    }

    #[test]
    fn overlay_joins_scalars_then_axes_without_none() {
        assert_eq!(
            overlay_text(&["Site 1", "Z 1", "T 1"], &["Ch1: DAPI", "A01"]),
            "Site 1 | Z 1 | T 1 | Ch1: DAPI | A01"
        );
        assert_eq!(overlay_text(&["None", "Z 1"], &["NONE"]), "Z 1");
        assert_eq!(overlay_text::<&str, &str>(&[], &[]), "");
    }

    #[test]
    fn title_is_pythons() {
        for (component, title) in [("z_index", "Z_Index"), ("wELL", "Well"), ("a1b", "A1B"), ("", ""), ("it's", "It'S")]
        {
            assert_eq!(component_title(component), title);
        }
    }
}
