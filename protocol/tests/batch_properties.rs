//! Properties of the batch codec: decode of encode is identity, and any bytes give a value or an error.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failing test should stop where it fails")]

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use wellscope_protocol::batch::{
    AckRoute, Address, Batch, BatchError, BatchLimits, DisplayConfig, ImageLayout, ImagePayload, Item, Payload,
    PixelSource, PlaneAxis, ProducerIdentity, Shape, ShapeGeometry, VariableSize, VoxelSpacing,
};
use wellscope_protocol::component::{ComponentMode, ComponentValue};
use wellscope_protocol::dtype::{ByteOrder, DType, ElementType, checked_size_bytes};

fn component() -> impl Strategy<Value = String> {
    prop_oneof![Just("well"), Just("site"), Just("channel"), Just("z_index"), Just("dose"), Just("source")]
        .prop_map(str::to_owned)
}

/// A value as the decoder keeps it for `component`.
fn value_of(component: &str) -> impl Strategy<Value = ComponentValue> + use<> {
    let component = component.to_owned();
    prop_oneof![
        any::<i64>().prop_map(ComponentValue::from),
        any::<f64>().prop_map(ComponentValue::from),
        "\\PC{0,8}".prop_map(ComponentValue::from),
        vec((0i64..9).prop_map(ComponentValue::from), 0..3).prop_map(ComponentValue::from),
    ]
    .prop_map(move |value| value.normalized_for(&component))
}

fn address() -> impl Strategy<Value = Address> {
    // `source` is no component unless the config names it, so it is never alone here.
    (
        value_of("well"),
        option::of(value_of("channel")),
        option::of(value_of("dose")),
        option::of((0i64..5, "[a-z ]{0,6}")),
    )
        .prop_map(|(well, channel, dose, step)| {
            let mut address = Address::from([("well".to_owned(), well)]);
            address.extend(channel.map(|value| ("channel".to_owned(), value)));
            address.extend(dose.map(|value| ("dose".to_owned(), value)));
            if let Some((index, name)) = step {
                address.insert("step_index".to_owned(), index.into());
                address.insert("step_name".to_owned(), name.into());
            }
            address
        })
}

fn dtype() -> impl Strategy<Value = DType> {
    (prop::sample::select(ElementType::ALL.to_vec()), any::<bool>()).prop_map(|(element, big)| DType {
        element,
        order: if big && element.size_bytes() > 1 { ByteOrder::Big } else { ByteOrder::Little },
    })
}

#[derive(Clone, Debug)]
enum Sent {
    Segment(bool),
    Inline(u64),
    /// How many frames.
    Frames(usize),
}

fn image() -> impl Strategy<Value = ImagePayload> {
    let planes = prop_oneof![
        Just(vec![]),
        (component(), 1i64..5).prop_map(|(component, count)| {
            vec![PlaneAxis { component, values: (1..=count).map(ComponentValue::Int).collect() }]
        }),
        (1i64..4, 1i64..4).prop_map(|(first, second)| {
            let axis = |component: &str, count| PlaneAxis {
                component: component.to_owned(),
                values: (0..count).map(ComponentValue::Int).collect(),
            };
            vec![axis("plane_1", first), axis("plane_2", second)]
        }),
    ];
    let extents = (planes, 1u64..8, 1u64..8, prop::sample::select(vec![1u8, 3, 4]));
    let place = (option::of([any::<i64>(), any::<i64>()]), option::of([1u64..99, 1u64..99]), any::<bool>());
    let source = prop_oneof![
        any::<bool>().prop_map(Sent::Segment),
        any::<u64>().prop_map(Sent::Inline),
        // Cuts of a batch's frames: `number_frames` makes indices of them.
        vec(any::<prop::sample::Index>(), 0..3).prop_map(|cuts| Sent::Frames(cuts.len() + 1)),
    ];
    (extents, dtype(), place, source, any::<bool>()).prop_map(
        |((plane_axes, height, width, samples), dtype, (origin, source_shape, spaced), sent, labels)| {
            let mut shape: Vec<u64> = plane_axes.iter().map(|axis| axis.values.len() as u64).collect();
            shape.extend([height, width]);
            shape.extend((samples > 1).then_some(u64::from(samples)));
            let size_bytes = checked_size_bytes(&shape, dtype).unwrap();
            let is_float = matches!(dtype.element, ElementType::F16 | ElementType::F32 | ElementType::F64);
            let (source, dtype) = match sent {
                Sent::Segment(kept) => (PixelSource::SharedMemory { name: "napari_ea215f3ee02b".into(), kept }, dtype),
                Sent::Frames(count) => (PixelSource::Frames(vec![0; count]), dtype),
                Sent::Inline(seed) => {
                    (PixelSource::Inline(inline_bytes(seed, size_bytes, dtype)), DType::little(dtype.element))
                }
            };
            ImagePayload {
                shape,
                dtype,
                size_bytes,
                source,
                labels: labels && !is_float && samples == 1,
                layout: ImageLayout { plane_axes, height, width, samples },
                spatial_origin_yx: origin.map(|pair| pair.map(|number| number % 1_000_000)),
                source_spatial_shape_yx: source_shape,
                voxel_spacing: spaced
                    .then(|| VoxelSpacing { values_zyx: [2.0, 0.325, 0.325], unit: "micrometers".into() }),
            }
        },
    )
}

/// Bytes that are canonical for the dtype: bools are 0 or 1, a NaN has one form.
fn inline_bytes(seed: u64, size_bytes: u64, dtype: DType) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes: Vec<u8> = (0..size_bytes)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect();
    match dtype.element {
        ElementType::Bool => bytes.iter_mut().for_each(|byte| *byte &= 1),
        // Without the exponent's top bit a float is finite.
        ElementType::F16 | ElementType::F32 | ElementType::F64 => {
            bytes.chunks_mut(dtype.size_bytes()).for_each(|chunk| *chunk.last_mut().unwrap() &= 0xbf);
        }
        _ => {}
    }
    bytes
}

fn vertices() -> impl Strategy<Value = Vec<[f64; 2]>> {
    vec([-1e6..1e6f64, -1e6..1e6f64], 0..6)
}

fn geometry() -> impl Strategy<Value = ShapeGeometry> {
    // Quarters, so that centre and radii survive the way through the corners of the box exactly.
    let quarter = |range: std::ops::Range<i32>| range.prop_map(|number| f64::from(number) / 4.0);
    prop_oneof![
        vertices().prop_map(ShapeGeometry::Polygon),
        vertices().prop_map(ShapeGeometry::Path),
        vec([0.0..9.0f64, 0.0..9.0f64], 4).prop_map(ShapeGeometry::Rectangle),
        ([quarter(-400..400), quarter(-400..400)], [quarter(0..400), quarter(0..400)])
            .prop_map(|(center, radii)| ShapeGeometry::Ellipse { center, radii }),
        vertices().prop_map(ShapeGeometry::Points),
    ]
}

fn shape(geometry: impl Strategy<Value = ShapeGeometry>) -> impl Strategy<Value = Shape> {
    (geometry, option::of(1u32..), vec(0i64..9, 0..3)).prop_map(|(geometry, label, plane_indices)| {
        let mut metadata = serde_json::Map::new();
        metadata.insert("area".into(), 18.8.into());
        metadata.extend(label.map(|label| ("label".to_owned(), label.into())));
        if !plane_indices.is_empty() {
            metadata.insert("plane_indices".into(), plane_indices.clone().into());
        }
        Shape { geometry, label, plane_indices, metadata }
    })
}

fn payload() -> impl Strategy<Value = Payload> {
    prop_oneof![
        image().prop_map(Payload::Image),
        vec(shape(geometry()), 0..4).prop_map(Payload::Shapes),
        vec(shape(vertices().prop_map(ShapeGeometry::Points)), 0..4).prop_map(Payload::Points),
    ]
}

fn identity() -> impl Strategy<Value = ProducerIdentity> {
    let text = || option::of("[a-z /]{1,8}");
    ("[a-z]{1,8}", "[a-z]{1,8}", text(), option::of(0i64..20), text(), text()).prop_map(
        |(origin, output, step_name, pipeline_position, step_scope_id, artifact_kind)| ProducerIdentity {
            origin,
            output_kind: output.clone(),
            output_key: output.clone(),
            projection_key: output,
            step_name,
            pipeline_position,
            step_scope_id,
            invocation_key: None,
            artifact_kind,
        },
    )
}

fn item() -> impl Strategy<Value = Item> {
    let route = any::<u32>().prop_map(|pid| AckRoute {
        url: "tcp://127.0.0.1:4001".into(),
        return_route: serde_json::json!({"url": "tcp://127.0.0.1:4001", "owner": {"pid": pid, "create_time": 1.77}}),
        producer: serde_json::json!({"pid": pid, "create_time": 1_795_359_802.77}),
    });
    ("\\PC{0,12}", address(), option::of("[0-9a-f-]{1,36}"), option::of(identity()), option::of(route), payload())
        .prop_map(|(path, address, image_id, producer_identity, ack_route, payload)| {
            // An image's planes are in its layout; shapes count along planes of their item.
            let planes = PlaneAxis { component: "z_index".into(), values: vec![1.into(), 2.into()] };
            let has_planes = !matches!(payload, Payload::Image(_)) && path.len() % 2 == 0;
            let shape_planes = if has_planes { vec![planes] } else { Vec::new() };
            Item { path, address, image_id, producer_identity, ack_route, shape_planes, payload }
        })
}

fn batch() -> impl Strategy<Value = Batch> {
    let mode = prop_oneof![Just(ComponentMode::Stack), Just(ComponentMode::Layer)];
    let config = (btree_map(component(), mode, 0..5), vec(component(), 0..4), "[a-z]{1,8}", any::<bool>()).prop_map(
        |(component_modes, component_order, colormap, separate)| DisplayConfig {
            component_modes,
            component_order,
            colormap,
            variable_size: if separate { VariableSize::SeparateLayers } else { VariableSize::PadToMax },
        },
    );
    let names = btree_map(Just("well".to_owned()), btree_map("[A-H][0-9]", "[A-Z]{0,3}[0-9]", 1..3), 0..2);
    let domain = btree_map(Just("channel".to_owned()), vec(value_of("channel"), 0..4), 0..2);
    (vec(item(), 0..4), config, names, domain, option::of(0.0..2e9f64)).prop_map(
        |(items, display_config, component_names, component_domain, timestamp)| {
            let mut batch = Batch { items, display_config, component_names, component_domain, timestamp };
            number_frames(&mut batch);
            batch
        },
    )
}

/// Gives each image that is sent in frames its own, the last ones first, and returns the length of each.
fn number_frames(batch: &mut Batch) -> Vec<u64> {
    let mut sizes = Vec::new();
    for item in batch.items.iter_mut().rev() {
        let Payload::Image(image) = &mut item.payload else { continue };
        let PixelSource::Frames(indices) = &mut image.source else { continue };
        let count = indices.len() as u64;
        for (position, index) in indices.iter_mut().enumerate() {
            *index = sizes.len();
            // The first has what is left over; some are empty.
            let part = image.size_bytes / count;
            sizes.push(if position == 0 { image.size_bytes - part * (count - 1) } else { part });
        }
    }
    sizes
}

proptest! {
    #[test]
    fn decode_of_encode_is_identity(batch in batch()) {
        let frame = batch.encode().unwrap();
        let sizes = number_frames(&mut batch.clone());
        let decoded = Batch::decode_with_frames(&frame, &sizes, &BatchLimits::default());
        prop_assert!(decoded.is_ok(), "{}\n{}", decoded.unwrap_err(), String::from_utf8_lossy(&frame));
        prop_assert_eq!(decoded.unwrap(), batch);
    }

    /// Whatever is named and whatever there is: what is taken holds its array, and no frame is taken twice.
    #[test]
    fn frames_that_are_taken_are_there_once(
        batch in batch(),
        sizes in vec(prop_oneof![0u64..40, Just(u64::MAX)], 0..6),
        indices in vec(vec(0usize..7, 0..4), 4),
    ) {
        let mut batch = batch;
        for (item, indices) in batch.items.iter_mut().zip(indices) {
            if let Payload::Image(image) = &mut item.payload {
                image.source = PixelSource::Frames(indices);
            }
        }
        let frame = batch.encode().unwrap();
        let limits = BatchLimits::default();
        let decoded = Batch::decode_items(&frame, &sizes, &limits).unwrap();
        let mut taken: Vec<usize> = Vec::new();
        for item in &decoded.batch.items {
            let Payload::Image(image) = &item.payload else { continue };
            let PixelSource::Frames(indices) = &image.source else { panic!("{:?}", image.source) };
            prop_assert_eq!(indices.iter().map(|index| sizes[*index]).sum::<u64>(), image.size_bytes);
            taken.extend(indices);
        }
        let count = taken.len();
        taken.sort();
        taken.dedup();
        prop_assert_eq!(taken.len(), count);
        // The other spelling agrees, and refuses frames that are nobody's.
        let is_good = decoded.refused.is_empty() && count == sizes.len();
        prop_assert_eq!(Batch::decode_with_frames(&frame, &sizes, &limits).is_ok(), is_good);
    }

    #[test]
    fn any_bytes_give_a_value_or_an_error(bytes in vec(any::<u8>(), 0..200)) {
        let _ = Batch::decode(&bytes, &BatchLimits::default());
    }

    #[test]
    fn changed_bytes_give_a_value_or_an_error(batch in batch(), changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut frame = batch.encode().unwrap();
        for (position, byte) in changes {
            let position = position.index(frame.len());
            frame[position] = byte;
        }
        let sizes = number_frames(&mut batch.clone());
        let whole = Batch::decode_with_frames(&frame, &sizes, &BatchLimits::default());
        // Both spellings agree on what is a good message.
        match Batch::decode_items(&frame, &sizes, &BatchLimits::default()) {
            Ok(decoded) if decoded.refused.is_empty() => match whole {
                Ok(whole) => prop_assert_eq!(whole, decoded.batch),
                // A changed letter may leave frames to nobody.
                Err(error) => prop_assert!(matches!(error, BatchError::UnusedFrames { .. }), "{}", error),
            },
            Ok(decoded) => {
                prop_assert!(whole.is_err());
                prop_assert_eq!(decoded.positions.len(), decoded.batch.items.len());
            }
            Err(_) => prop_assert!(whole.is_err()),
        }
    }

    #[test]
    fn any_dtype_text_gives_a_value_or_an_error(text in "\\PC{0,12}") {
        let _ = DType::parse(&text);
    }
}
