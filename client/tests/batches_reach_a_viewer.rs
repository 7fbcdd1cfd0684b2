//! What a viewer receives from a producer, and what the producer does with its answer.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests; clippy.toml exempts only functions marked as such")]

mod common;

use std::time::Duration;

use common::*;
use half::f16;
use ndarray::{Array2, Array3, ArrayD, IxDyn, arr2, s};
use wellscope_client::{
    BatchRequest, Element, ImageItem, ItemError, Producer, ProducerConfig, RequestError, RoiItem, SendError,
    step_identity,
};
use wellscope_protocol::batch::{Payload, PixelSource, Shape, ShapeGeometry};
use wellscope_protocol::component::ComponentValue;
use wellscope_protocol::dtype::{ByteOrder, DType, ElementType};

fn one_image(pixels: &Array2<u16>) -> BatchRequest<'_> {
    BatchRequest::new().item(ImageItem::new("/plate/A01.tif", pixels.view()).at("well", "A01").at("channel", 1))
}

#[test]
fn segments_exist_while_the_request_is_open_and_are_gone_after_it() {
    let home = home();
    let mut endpoints = vec![tcp(&home)];
    if cfg!(unix) {
        endpoints.push(ipc(&home));
    }
    for endpoint in endpoints {
        let viewer = StandIn::serve_batches(&endpoint.data_url().unwrap(), success);
        let mut producer = producer(&endpoint);
        let first = Array2::from_shape_fn((5, 7), |(y, x)| (y * 100 + x) as u16);
        let second = Array2::from_elem((3, 3), 9u16);
        let request = one_image(&first).item(ImageItem::new("b.tif", second.view()).at("well", "A02"));
        producer.send_batch(request).unwrap();
        let seen = viewer.next();
        let expected: Vec<u8> = first.iter().flat_map(|value| value.to_ne_bytes()).collect();
        assert_eq!(seen.pixels[0], expected);
        assert_eq!(seen.pixels[1], [9, 0].repeat(9));
        assert_eq!(seen.segments.len(), 2);
        for name in &seen.segments {
            assert!(name.len() == 19 && name.starts_with("napari_"), "{name}");
            assert!(read_segment(name).is_none(), "{name} is still there");
        }
        let item = &seen.batch.items[0];
        assert_eq!(item.path, "/plate/A01.tif");
        assert_eq!(item.address["well"], ComponentValue::from("A01"));
        assert_eq!(item.address["channel"], ComponentValue::Int(1));
        assert_eq!(item.producer_identity.as_ref().unwrap().origin, "manual");
        assert!(item.image_id.is_some() && item.ack_route.is_none());
        assert_eq!(seen.batch.component_domain["well"], ["A01".into(), "A02".into()]);
    }
}

#[test]
fn a_refusal_is_an_error_with_the_viewers_sentence_and_the_next_batch_goes_through() {
    let home = home();
    let endpoint = tcp(&home);
    let mut count = 0;
    let viewer = StandIn::serve_batches(&endpoint.data_url().unwrap(), move |_| {
        count += 1;
        Answer::Reply(match count {
            1 => br#"{"status": "error", "type": "batch", "message": "no such component"}"#.to_vec(),
            2 => b"[]".to_vec(),
            3 => br#"{"status": "maybe", "type": "batch"}"#.to_vec(),
            _ => SUCCESS.to_vec(),
        })
    });
    let mut producer = producer(&endpoint);
    let image = Array2::zeros((4, 4));
    let refused = producer.send_batch(one_image(&image)).unwrap_err();
    assert!(matches!(&refused, SendError::Rejected { message } if message == "no such component"), "{refused}");
    for _ in 0..2 {
        let bad = producer.send_batch(one_image(&image)).unwrap_err();
        assert!(matches!(bad, SendError::BadReply { .. }), "{bad}");
    }
    producer.send_batch(one_image(&image)).unwrap();
    for _ in 0..4 {
        assert!(viewer.next().segments.iter().all(|name| read_segment(name).is_none()));
    }
}

#[test]
fn silence_is_an_error_at_the_deadline_and_the_next_batch_goes_through() {
    let home = home();
    let endpoint = tcp(&home);
    let mut count = 0;
    let viewer = StandIn::serve_batches(&endpoint.data_url().unwrap(), move |_| {
        count += 1;
        if count == 1 { Answer::Silence } else { Answer::Reply(SUCCESS.to_vec()) }
    });
    let image = Array2::zeros((4, 4));
    let config = ProducerConfig { reply_timeout: MOMENT, ..quick(&endpoint) };
    let mut producer = Producer::connect(config).unwrap();
    // Warm the connection up first, so that the short deadline measures the reply only.
    let error = producer.send_batch(one_image(&image)).unwrap_err();
    assert!(matches!(error, SendError::Request(RequestError::NoReply { .. })), "{error}");
    assert!(viewer.next().segments.iter().all(|name| read_segment(name).is_none()));
    // A loaded machine may miss the short deadline, but not time after time.
    assert!((0..20).any(|_| producer.send_batch(one_image(&image)).is_ok()));
}

#[test]
fn nobody_there_is_an_error_and_a_viewer_that_comes_later_is_found() {
    let home = home();
    let mut endpoints = vec![tcp(&home)];
    if cfg!(unix) {
        endpoints.push(ipc(&home));
    }
    for endpoint in endpoints {
        let mut producer = Producer::connect(ProducerConfig { connect_timeout: MOMENT, ..quick(&endpoint) }).unwrap();
        let image = Array2::zeros((4, 4));
        let error = producer.send_batch(one_image(&image)).unwrap_err();
        assert!(matches!(error, SendError::Request(RequestError::NobodyListens { .. })), "{error}");
        assert!(error.to_string().contains(&endpoint.data_url().unwrap()), "{error}");
        let viewer = StandIn::serve_batches(&endpoint.data_url().unwrap(), success);
        assert!((0..100).any(|_| producer.send_batch(one_image(&image)).is_ok()));
        // It goes away and another takes its place.
        drop(viewer);
        let error = producer.send_batch(one_image(&image)).unwrap_err();
        assert!(matches!(error, SendError::Request(_)), "{error}");
        let _viewer = StandIn::serve_batches(&endpoint.data_url().unwrap(), success);
        assert!((0..100).any(|_| producer.send_batch(one_image(&image)).is_ok()));
    }
}

/// Sends a 3 x 4 image of `values` as it is, transposed, reversed and cropped, in shared memory and inline.
fn every_byte_of<T: Element + PartialEq>(viewer: &StandIn, producer: &mut Producer, values: [T; 12]) {
    let image = Array2::from_shape_vec((3, 4), values.to_vec()).unwrap();
    for view in [image.view(), image.t(), image.slice(s![..;-1, ..;2]), image.slice(s![1.., 1..3])] {
        for inline in [false, true] {
            let item = ImageItem::new("a.tif", view).at("well", "A01");
            let item = if inline { item.inline() } else { item };
            producer.send_batch(BatchRequest::new().item(item)).unwrap();
            let seen = viewer.next();
            let expected: Vec<u8> = view.iter().flat_map(|value| bytemuck::bytes_of(value).to_vec()).collect();
            assert_eq!(seen.pixels[0], expected, "{:?} inline={inline}", T::ELEMENT_TYPE);
            let Payload::Image(sent) = &seen.batch.items[0].payload else { panic!("an image") };
            assert_eq!(sent.dtype, T::DTYPE);
            assert_eq!(sent.shape, view.shape().iter().map(|&extent| extent as u64).collect::<Vec<_>>());
            assert_eq!(matches!(sent.source, PixelSource::Inline(_)), inline);
        }
    }
}

#[test]
fn every_element_type_arrives_byte_for_byte() {
    let home = home();
    let endpoint = tcp(&home);
    let viewer = StandIn::serve_batches(&endpoint.data_url().unwrap(), success);
    let mut producer = producer(&endpoint);
    macro_rules! integers {
        ($($t:ty),*) => { $( every_byte_of(&viewer, &mut producer, std::array::from_fn(|i| match i {
            0 => <$t>::MIN,
            1 => <$t>::MAX,
            i => i as $t,
        })); )* };
    }
    integers!(i8, u8, i16, u16, i32, u32, i64, u64);
    every_byte_of(&viewer, &mut producer, std::array::from_fn(|i| i % 3 == 0));
    every_byte_of(&viewer, &mut producer, std::array::from_fn(|i| f16::from_f32(i as f32 / 3.0)));
    every_byte_of(&viewer, &mut producer, std::array::from_fn(|i| (i as f32 - 5.0) / 3.0));
    every_byte_of(&viewer, &mut producer, std::array::from_fn(|i| (i as f64 - 5.0) * 1e-300 / 3.0));
}

#[test]
fn big_endian_bytes_travel_as_they_are_and_inline_as_numbers() {
    let home = home();
    let endpoint = tcp(&home);
    let viewer = StandIn::serve_batches(&endpoint.data_url().unwrap(), success);
    let mut producer = producer(&endpoint);
    let dtype = DType { element: ElementType::U16, order: ByteOrder::Big };
    let bytes = [1, 2, 3, 4, 5, 6, 7, 8];
    let item = || ImageItem::from_bytes("a.tif", &[2, 2], dtype, &bytes).at("well", "A01");
    producer.send_batch(BatchRequest::new().item(item()).item(item().inline())).unwrap();
    let seen = viewer.next();
    assert!(String::from_utf8_lossy(&seen.raw).contains(">u2"));
    assert_eq!(seen.pixels[0], bytes);
    assert_eq!(seen.pixels[1], [2, 1, 4, 3, 6, 5, 8, 7], "inline pixels are kept little-endian");
}

#[test]
fn colour_and_planes_are_declared() {
    let home = home();
    let endpoint = tcp(&home);
    let viewer = StandIn::serve_batches(&endpoint.data_url().unwrap(), success);
    let mut producer = producer(&endpoint);
    let rgb = Array3::<u8>::zeros((4, 5, 3));
    let stack = ArrayD::<u16>::zeros(IxDyn(&[2, 4, 5]));
    // Without a declaration, a viewer would take a stack whose images are 3 wide for an RGB image.
    let narrow = ArrayD::<u16>::zeros(IxDyn(&[9, 8, 3]));
    let request = BatchRequest::new()
        .identity(step_identity("Stitch", 2))
        .item(ImageItem::new("rgb.tif", rgb.view()).at("well", "A01").color())
        .item(ImageItem::new("z.tif", stack.view()).at("well", "A01").plane_axis("z_index", [3, 5]))
        .item(ImageItem::new("n.tif", narrow.view()).at("well", "A01"))
        .name("channel", 1, "DAPI");
    producer.send_batch(request).unwrap();
    let seen = viewer.next();
    let layouts: Vec<_> = seen
        .batch
        .items
        .iter()
        .map(|item| match &item.payload {
            Payload::Image(image) => image.layout.clone(),
            _ => panic!("images only"),
        })
        .collect();
    assert_eq!((layouts[0].height, layouts[0].width, layouts[0].samples), (4, 5, 3));
    assert_eq!((layouts[1].height, layouts[1].width, layouts[1].samples), (4, 5, 1));
    assert_eq!(layouts[1].plane_axes[0].component, "z_index");
    assert_eq!(layouts[1].plane_axes[0].values, [3.into(), 5.into()]);
    assert_eq!((layouts[2].height, layouts[2].width, layouts[2].samples), (8, 3, 1));
    assert_eq!(layouts[2].plane_axes[0].values.len(), 9);
    assert_eq!(seen.batch.component_domain["z_index"], [3.into(), 5.into()]);
    assert_eq!(seen.batch.component_names["channel"]["1"], "DAPI");
    let identity = seen.batch.items[0].producer_identity.as_ref().unwrap();
    assert_eq!((identity.step_name.as_deref(), identity.pipeline_position), (Some("Stitch"), Some(2)));
}

#[test]
fn shapes_and_points_travel_with_images() {
    let home = home();
    let endpoint = tcp(&home);
    let viewer = StandIn::serve_batches(&endpoint.data_url().unwrap(), success);
    let mut producer = producer(&endpoint);
    let shape = |geometry, label| Shape {
        geometry,
        label: Some(label),
        plane_indices: Vec::new(),
        metadata: [("label".to_owned(), label.into())].into_iter().collect(),
    };
    let outlines = vec![
        shape(ShapeGeometry::Polygon(vec![[0.0, 0.0], [0.0, 4.5], [3.0, 1.0]]), 1),
        shape(ShapeGeometry::Ellipse { center: [5.0, 6.0], radii: [2.0, 3.0] }, 2),
        shape(ShapeGeometry::Path(vec![[1.0, 1.0], [2.0, 2.5]]), 3),
    ];
    let points = vec![shape(ShapeGeometry::Points(vec![[1.5, 2.5]]), 1)];
    let image = Array2::zeros((4, 4));
    let request = one_image(&image)
        .item(RoiItem::shapes("cells.roi.zip", outlines.clone()).at("well", "A01"))
        .item(RoiItem::points("seeds.roi.zip", points.clone()).at("well", "A01"));
    producer.send_batch(request).unwrap();
    let seen = viewer.next();
    assert_eq!(seen.batch.items[1].payload, Payload::Shapes(outlines.clone()));
    assert_eq!(seen.batch.items[2].payload, Payload::Points(points));
    let wrong = BatchRequest::new().item(RoiItem::points("cells.roi.zip", outlines).at("well", "A01"));
    let error = producer.send_batch(wrong).unwrap_err();
    assert!(matches!(error, SendError::Item(ItemError::NotAPoint { .. })), "{error}");
}

#[test]
fn items_that_no_viewer_could_take_are_refused_before_anything_is_sent() {
    let home = home();
    let endpoint = tcp(&home);
    let viewer = StandIn::serve_batches(&endpoint.data_url().unwrap(), success);
    let mut producer = producer(&endpoint);
    let image = arr2(&[[1u8, 2], [3, 4]]);
    let line = ndarray::arr1(&[1u8, 2]);
    let empty = Array2::<u8>::zeros((0, 4));
    let stack = Array3::<u8>::zeros((2, 4, 4));
    let u16s = DType { element: ElementType::U16, order: ByteOrder::Little };
    let items = [
        (ImageItem::new("a", image.view()), "at least one component"),
        (ImageItem::new("a", line.view()).at("well", "A01"), "lacks axes"),
        (ImageItem::new("a", empty.view()).at("well", "A01"), "0"),
        (ImageItem::new("a", image.view()).at("well", "A01").color(), "must be 3 or 4"),
        (ImageItem::new("a", stack.view()).at("well", "A01").plane_axis("z_index", [1, 2, 3]), "3 values of z_index"),
        (ImageItem::new("a", image.view()).at("well", "A01").plane_axis("z_index", [1]), "1 values of z_index"),
        (ImageItem::from_bytes("a", &[2, 2], u16s, &[0; 7]).at("well", "A01"), "needs 8 bytes, 7 were given"),
    ];
    for (item, sentence) in items {
        let error = producer.send_batch(one_image(&Array2::zeros((2, 2))).item(item)).unwrap_err();
        assert!(matches!(error, SendError::Item(_)) && error.to_string().contains(sentence), "{error}");
    }
    assert!(viewer.seen.recv_timeout(Duration::from_millis(100)).is_err(), "nothing was sent");
}
