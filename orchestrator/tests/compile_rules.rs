//! What a plan writes and shows, for every combination of output, checkpoint, streaming and wells.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that unwraps says where it failed")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use wellscope_orchestrator::config::{Level, MaterializationLevel, StreamingLevel};
use wellscope_orchestrator::functions::FunctionOutput;
use wellscope_orchestrator::{
    Backend, CompiledPlan, Pipeline, PlateSummary, ReadBackend, Step, WellFilter, compile, step_function,
};
use wellscope_plates::{AnyArray, Plate, TiffMetadata, write_tiff};

const WELLS: [&str; 4] = ["A01", "A02", "B01", "B02"];

fn plate() -> PlateSummary {
    let numbers = |count: i64| (1..=count).map(Into::into).collect::<Vec<_>>();
    let values = [("site", 2), ("channel", 3), ("z_index", 5), ("timepoint", 1)];
    PlateSummary {
        name: "plate".into(),
        root: "/data/plate".into(),
        wells: WELLS.map(str::to_owned).to_vec(),
        values: values.map(|(name, count)| (name.to_owned(), numbers(count))).into_iter().collect::<BTreeMap<_, _>>(),
    }
}

fn step(name: &str) -> Step {
    Step::new(name, step_function("as it is", |stack, _| Ok(FunctionOutput::planes(stack.clone()))))
}

fn compiled(pipeline: &Pipeline) -> CompiledPlan {
    compile(pipeline, &plate(), &Level::default(), None).unwrap()
}

#[test]
fn without_a_declaration_there_is_no_viewer() {
    let plan =
        compiled(&Pipeline::new("p").step(step("a").materialize(MaterializationLevel::default())).step(step("b")));
    assert!(plan.required_viewers.is_empty());
    assert!(plan.steps.iter().all(|step| step.stream.is_none() && step.notes.is_empty()));
    assert!(plan.report().contains("Viewers: none"), "{}", plan.report());
    let reads: Vec<_> = plan.steps.iter().map(|step| (step.read, step.write)).collect();
    assert_eq!(reads, [(ReadBackend::Plate, Backend::Memory), (ReadBackend::Memory, Backend::Disk)]);
}

#[test]
fn declarations_of_several_steps_make_one_viewer_per_port() {
    let stream = |port| StreamingLevel { port, ..Default::default() };
    let plan = compiled(
        &Pipeline::new("p")
            .step(step("a").materialize(MaterializationLevel::default()).stream(stream(None)))
            .step(step("b").output(Backend::Zarr).stream(stream(Some(5600))))
            .step(step("c").stream(stream(None))),
    );
    let viewers: Vec<_> = plan.required_viewers.iter().map(|viewer| (viewer.port, viewer.steps.clone())).collect();
    assert_eq!(viewers, [(5555, vec![0, 2]), (5600, vec![1])]);
}

/// Every cell of output x checkpoint x its wells x streaming x its wells, against the rule written down a second time.
#[test]
fn only_what_is_kept_is_shown_in_every_combination() {
    let filters = [
        None,
        Some(WellFilter::Count(1)),
        Some(WellFilter::List(vec!["A02".into(), "B02".into()])),
        Some(WellFilter::Pattern("B*".into())),
    ];
    let wells_of = |filter: &Option<WellFilter>| match filter {
        None => vec!["A01", "A02", "B01", "B02"],
        Some(WellFilter::Count(_)) => vec!["A01"],
        Some(WellFilter::List(_)) => vec!["A02", "B02"],
        Some(WellFilter::Pattern(_)) => vec!["B01", "B02"],
    };
    let mut cells = 0;
    for output in [Backend::Memory, Backend::Disk, Backend::Zarr] {
        for checkpoint in [None, Some(Backend::Disk), Some(Backend::Zarr)] {
            for checkpoint_filter in &filters {
                for streaming in [None, Some(false), Some(true)] {
                    for stream_filter in &filters {
                        let mut tested = step("tested").output(output);
                        if let Some(backend) = checkpoint {
                            tested = tested.materialize(MaterializationLevel {
                                backend: Some(backend),
                                well_filter: checkpoint_filter.clone(),
                                ..Default::default()
                            });
                        }
                        if let Some(enabled) = streaming {
                            // `true` is what saying nothing of it means.
                            let enabled = (!enabled).then_some(false);
                            tested = tested.stream(StreamingLevel {
                                enabled,
                                well_filter: stream_filter.clone(),
                                ..Default::default()
                            });
                        }
                        let plan = compiled(&Pipeline::new("p").step(tested).step(step("last")));
                        let found = &plan.steps[0];

                        let asked = if streaming == Some(true) { wells_of(stream_filter) } else { Vec::new() };
                        let kept = match (output, checkpoint) {
                            (Backend::Disk | Backend::Zarr, _) => WELLS.to_vec(),
                            (Backend::Memory, Some(_)) => wells_of(checkpoint_filter),
                            (Backend::Memory, None) => Vec::new(),
                        };
                        let expected: Vec<&str> = asked.iter().copied().filter(|well| kept.contains(well)).collect();
                        let shown: Vec<&str> = WELLS
                            .into_iter()
                            .filter(|well| found.stream.as_ref().is_some_and(|stream| stream.shows(well)))
                            .collect();
                        let cell =
                            format!("{output:?} {checkpoint:?} {checkpoint_filter:?} {streaming:?} {stream_filter:?}");
                        assert_eq!(shown, expected, "{cell}");
                        assert_eq!(plan.required_viewers.len(), usize::from(!expected.is_empty()), "{cell}");
                        let has_no_effect = !asked.is_empty() && expected.is_empty();
                        let said = found.notes.iter().any(|note| note.contains("streaming has no effect"));
                        assert_eq!(said, has_no_effect, "{cell}: {:?}", found.notes);
                        assert_eq!(plan.report().contains("streaming has no effect"), has_no_effect, "{cell}");
                        let written = found.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.wells.len());
                        assert_eq!(
                            written,
                            if checkpoint.is_some() { wells_of(checkpoint_filter).len() } else { 0 },
                            "{cell}"
                        );
                        assert_eq!(found.output_folder.is_some(), output != Backend::Memory, "{cell}");
                        cells += 1;
                    }
                }
            }
        }
    }
    assert_eq!(cells, 3 * 3 * 4 * 3 * 4);
}

#[test]
fn levels_inherit_and_steps_can_opt_out() {
    let global: Level = toml::from_str("[streaming]\nenabled = true\nport = 5700\nwell_filter = 3").unwrap();
    let mut pipeline = Pipeline::new("p")
        .step(step("a").materialize(MaterializationLevel::default()))
        .step(step("b").stream(StreamingLevel { enabled: Some(false), ..Default::default() }))
        .step(step("c").stream(StreamingLevel { well_filter: Some(WellFilter::Count(1)), ..Default::default() }));
    pipeline.level = toml::from_str("[streaming]\ncolormap = 'magma'\n[materialization]\nfolder = 'kept'").unwrap();
    let plan = compile(&pipeline, &plate(), &global, None).unwrap();
    let first = plan.steps[0].stream.as_ref().unwrap();
    assert_eq!((first.config.port, first.config.colormap.as_str(), first.checkpoint.len()), (5700, "magma", 3));
    assert!(plan.steps[0].checkpoint.as_ref().unwrap().folder.ends_with("plate_outputs/kept/01_a"));
    assert!(plan.steps[1].stream.is_none());
    assert_eq!(plan.steps[2].stream.as_ref().unwrap().main, ["A01"]);
}

#[test]
fn everything_wrong_is_told_at_once() {
    let mut pipeline = Pipeline::new("p")
        .step(step("a").variable(&["well"]).materialize(MaterializationLevel {
            well_filter: Some(WellFilter::Pattern("H12".into())),
            ..Default::default()
        }))
        .step(
            step("b")
                .stream(StreamingLevel { persistent: Some(false), port: Some(5555), ..Default::default() })
                .output(Backend::Disk),
        )
        .step(step("c").stream(StreamingLevel { persistent: Some(true), ..Default::default() }));
    pipeline.level.output.folder = Some("/data/plate/inside".into());
    let global = toml::from_str("[materialization]\nbackend = 'memory'").unwrap();
    let error = compile(&pipeline, &plate(), &global, Some(&WellFilter::Pattern("X*".into()))).unwrap_err();
    for part in [
        "global: materialization.backend",
        "wells to process: \"X*\" matches no well",
        "lies in the plate",
        "step 1 (a): variable_components names \"well\"",
        "step 1 (a): materialization.well_filter: \"H12\" matches no well; the plate has A01, A02, B01, B02",
        "step 3 (c): streaming.persistent is true here and false in step 2",
    ] {
        assert!(error.to_string().contains(part), "{part} is not in:\n{error}");
    }
    assert!(
        compile(&Pipeline::new("p"), &plate(), &Level::default(), None).unwrap_err().to_string().contains("no steps")
    );
}

#[test]
fn names_of_this_machine_are_one_viewer_and_ports_that_meet_are_a_problem() {
    let shown = |host: &str, port| {
        let stream = StreamingLevel { host: Some(host.into()), port: Some(port), ..Default::default() };
        step("a").output(Backend::Disk).stream(stream)
    };
    let plan = compiled(&Pipeline::new("p").step(shown("localhost", 5555)).step(shown("127.0.0.1", 5555)));
    assert_eq!(plan.required_viewers.len(), 1);
    let meeting = Pipeline::new("p").step(shown("localhost", 5555)).step(shown("localhost", 6555));
    let error = compile(&meeting, &plate(), &Level::default(), None).unwrap_err().to_string();
    assert!(error.contains("step 2 (a): streaming.port is 6555 and that of step 1 is 5555"), "{error}");
    compiled(&Pipeline::new("p").step(shown("localhost", 5555)).step(shown("scope", 6555)));
}

#[test]
fn output_lies_beside_a_plate_that_is_named_by_a_dot() {
    let here = PlateSummary::of(&opened("."));
    let folder = std::env::current_dir().unwrap();
    let name = format!("{}_outputs", folder.file_name().unwrap().to_string_lossy());
    assert_eq!(here.root, folder);
    let plate = PlateSummary { root: here.root, ..plate() };
    let plan = compile(&Pipeline::new("p").step(step("a")), &plate, &Level::default(), None).unwrap();
    assert_eq!(plan.output_folder, folder.with_file_name(name));
}

/// A plate of one image, by another path.
fn opened(root: &str) -> Plate {
    let folder = tempfile::tempdir().unwrap();
    let pixels = AnyArray::from_values(&[1, 1], vec![0u8]).unwrap();
    write_tiff(folder.path().join("A01_s1_w1.tif"), &pixels, &TiffMetadata::default()).unwrap();
    let mut plate = Plate::open(folder.path()).unwrap();
    plate.root = root.into();
    plate
}

#[test]
fn a_count_counts_wells_that_are_processed_and_names_are_those_of_the_plate() {
    let stream = |filter| step("a").stream(StreamingLevel { well_filter: Some(filter), ..Default::default() });
    let processed = WellFilter::Pattern("B*".into());
    let plan = |filter| {
        compile(&Pipeline::new("p").step(stream(filter)), &plate(), &Level::default(), Some(&processed)).unwrap()
    };
    assert_eq!(plan(WellFilter::Count(1)).steps[0].stream.as_ref().unwrap().main, ["B01"]);
    let none = plan(WellFilter::List(vec!["A01".into()]));
    assert!(none.steps[0].stream.is_none() && none.steps[0].notes[0].contains("none of its wells is processed"));
}

#[test]
fn the_report_is_a_table_that_says_what_happens() {
    let stream = StreamingLevel { well_filter: Some(WellFilter::Count(2)), ..Default::default() };
    let plan = compiled(
        &Pipeline::new("Nuclei")
            .step(step("Smooth").materialize(MaterializationLevel::default()).stream(stream.clone()))
            .step(step("Quiet").stream(stream))
            .step(step("Count")),
    );
    let report = plan.report();
    let expected = "\
#  Step    Function  Reads   Writes  Checkpoint       Shown
-  ------  --------  ------  ------  ---------------  ------------------------------
1  Smooth  as it is  plate   memory  disk, all wells  checkpoint, 2 wells, port 5555
2  Quiet   as it is  memory  memory  -                -
3  Count   as it is  memory  disk    -                -
";
    assert!(report.contains(expected), "{report}");
    assert!(report.contains("Viewer: localhost port 5555"), "{report}");
    assert!(report.contains("Note: step 2 (Quiet): streaming has no effect: its output stays in memory"), "{report}");
    let json = serde_json::to_value(&plan).unwrap();
    assert_eq!(json["steps"][0]["stream"]["checkpoint"], serde_json::json!(["A01", "A02"]));
    assert_eq!(json["required_viewers"][0]["port"], 5555);
}

fn any_filter() -> impl Strategy<Value = Option<WellFilter>> {
    let wells = prop::sample::subsequence(WELLS.to_vec(), 1..=4);
    prop::option::of(prop_oneof![
        (1usize..6).prop_map(WellFilter::Count),
        wells.prop_map(|wells| WellFilter::List(wells.into_iter().map(str::to_owned).collect())),
        prop::sample::select(vec!["*", "A*", "?02", "A01:B01"]).prop_map(|text| WellFilter::Pattern(text.to_owned())),
    ])
}

proptest! {
    #[test]
    fn every_well_that_is_shown_is_kept(
        steps in prop::collection::vec(
            (prop::sample::select(vec![None, Some(Backend::Memory), Some(Backend::Disk)]), prop::option::of(any_filter()), prop::option::of(any_filter())),
            1..5,
        ),
    ) {
        let mut pipeline = Pipeline::new("p");
        for (index, (output, checkpoint, stream)) in steps.into_iter().enumerate() {
            let mut one = step(&format!("s{index}"));
            one.output = output;
            one.materialization = checkpoint.map(|well_filter| MaterializationLevel { well_filter, ..Default::default() });
            one.streaming = stream.map(|well_filter| StreamingLevel { well_filter, ..Default::default() });
            pipeline = pipeline.step(one);
        }
        let plan = compiled(&pipeline);
        for step in &plan.steps {
            let Some(stream) = &step.stream else { continue };
            for well in plan.wells.iter().filter(|well| stream.shows(well)) {
                let kept = step.write.is_persistent() || step.checkpoint.as_ref().is_some_and(|kept| kept.wells.contains(well));
                prop_assert!(kept, "{} shows {well}", step.name);
            }
            prop_assert!(plan.required_viewers[stream.viewer].steps.contains(&step.position));
        }
    }
}
