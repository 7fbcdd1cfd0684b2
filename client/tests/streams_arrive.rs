//! What a viewer receives from a stream, by each way that pixels may travel.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests; clippy.toml exempts only functions marked as such")]

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::*;
use half::f16;
use ndarray::{Array2, Array3, ArrayD, ArrayViewD, IxDyn, s};
use wellscope_client::{
    AckMode, Element, ImageItem, LossReason, PixelTransport, RequestItem, RoiItem, SaveError, SaveRequest,
    StreamingBackend, StreamingConfig, ViewerEndpoint, WaitError, step_identity,
};
use wellscope_protocol::batch::{Address, Payload, PixelSource, PlaneAxis, Shape, ShapeGeometry, VoxelSpacing};
use wellscope_protocol::control::{Extensions, Pong, PongSpelling};
use wellscope_protocol::dtype::{ByteOrder, DType, ElementType};
use wellscope_protocol::pickle::encode;

fn at(well: &str) -> Address {
    [("well".to_owned(), well.into())].into()
}

fn in_well(well: &str) -> SaveRequest {
    SaveRequest::new(vec![at(well)])
}

/// A control socket that answers pings.
fn pongs(endpoint: &ViewerEndpoint, extensions: Option<Extensions>) -> StandIn {
    let pong = Pong {
        port: endpoint.port,
        control_port: endpoint.port + 1000,
        ready: true,
        server: "stand-in".to_owned(),
        server_type: "napari".to_owned(),
        application: None,
        log_file_path: None,
        process_identity: None,
        usage: None,
        extensions,
    };
    let reply = encode(&pong.to_value(PongSpelling::G3));
    StandIn::serve(&endpoint.control_url().unwrap(), move |_| Answer::Reply(reply.clone())).0
}

/// Saves `values` as 3 x 4 image, transposed, reversed and cropped, and compares every byte.
fn every_byte_of<T: Element>(viewer: &StandIn, backend: &StreamingBackend, values: [T; 12]) {
    let image = Array2::from_shape_vec((3, 4), values.to_vec()).unwrap();
    let views = [image.view(), image.t(), image.slice(s![..;-1, ..;2]), image.slice(s![1.., 1..3])];
    backend.save_batch(views, &["a", "b", "c", "d"], &in_well("A01")).unwrap();
    let seen = viewer.next();
    for (index, view) in views.iter().enumerate() {
        let expected: Vec<u8> = view.iter().flat_map(|value| bytemuck::bytes_of(value).to_vec()).collect();
        let way = backend.config().pixels;
        assert_eq!(seen.pixels[index], expected, "{:?} {index} {way:?}", T::ELEMENT_TYPE);
        let Payload::Image(sent) = &seen.batch.items[index].payload else { panic!("an image") };
        assert_eq!(sent.dtype, T::DTYPE);
        match (&sent.source, way) {
            (PixelSource::SharedMemory { kept, .. }, PixelTransport::Auto | PixelTransport::SharedMemory) => {
                assert!(*kept, "the segment is used again, and a viewer must know");
            }
            (PixelSource::Frames(_), PixelTransport::Frames) | (PixelSource::Inline(_), PixelTransport::Inline) => {}
            (source, way) => panic!("{way:?} went by {source:?}"),
        }
    }
}

#[test]
fn every_element_type_arrives_byte_for_byte_by_every_way() {
    for pixels in [PixelTransport::Auto, PixelTransport::SharedMemory, PixelTransport::Frames, PixelTransport::Inline] {
        let home = home();
        let endpoint = tcp(&home);
        let viewer = StandIn::serve_batches(&endpoint.data_url().unwrap(), success);
        let _control = pongs(&endpoint, Some(Extensions::own()));
        let backend = StreamingBackend::connect(StreamingConfig { pixels, ..stream(&endpoint) }).unwrap();
        macro_rules! integers {
            ($($t:ty),*) => { $( every_byte_of(&viewer, &backend, std::array::from_fn(|i| match i {
                0 => <$t>::MIN,
                1 => <$t>::MAX,
                i => i as $t,
            })); )* };
        }
        integers!(i8, u8, i16, u16, i32, u32, i64, u64);
        every_byte_of(&viewer, &backend, std::array::from_fn(|i| i % 3 == 0));
        every_byte_of(&viewer, &backend, std::array::from_fn(|i| f16::from_f32(i as f32 / 3.0)));
        every_byte_of(&viewer, &backend, std::array::from_fn(|i| (i as f32 - 5.0) / 3.0));
        every_byte_of(&viewer, &backend, std::array::from_fn(|i| (i as f64 - 5.0) * 1e-300 / 3.0));
        let big = DType { element: ElementType::U16, order: ByteOrder::Big };
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8];
        backend.save_batch([ImageItem::from_bytes("", &[2, 2], big, &bytes)], &["be"], &in_well("A01")).unwrap();
        // Text has no byte order; read back it is little-endian.
        let expected: [u8; 8] = if pixels == PixelTransport::Inline { [2, 1, 4, 3, 6, 5, 8, 7] } else { bytes };
        assert_eq!(viewer.next().pixels[0], expected, "{pixels:?}");
        let losses = backend.close(PATIENCE);
        assert!(losses.is_empty(), "{losses}");
        assert_no_segment_is_left(&[]);
    }
}

#[test]
fn a_mixed_batch_arrives_with_all_that_is_known_of_it() {
    let home = home();
    let endpoint = tcp(&home);
    let viewer = StandIn::serve_batches(&endpoint.data_url().unwrap(), success);
    let backend = StreamingBackend::connect(stream(&endpoint)).unwrap();
    let (stack, flat) = (Array3::<u16>::from_elem((2, 4, 5), 7), Array2::<u16>::from_elem((4, 5), 8));
    let (rgb, labels) = (Array3::<u8>::from_elem((4, 5, 3), 9), Array2::<i32>::from_elem((4, 5), 10));
    let metadata = || [("label".to_owned(), 1.into())].into_iter().collect();
    let shape = |geometry| Shape { geometry, label: Some(1), plane_indices: Vec::new(), metadata: metadata() };
    let outline = vec![shape(ShapeGeometry::Polygon(vec![[0.0, 0.0], [0.0, 4.5], [3.0, 1.0]]))];
    let seeds = vec![shape(ShapeGeometry::Points(vec![[1.5, 2.5]]))];
    let spacing = VoxelSpacing { values_zyx: [2.0, 0.5, 0.5], unit: "micrometers".to_owned() };
    let request = SaveRequest {
        addresses: ["A01", "A02", "A03", "A04", "A05", "A06"].map(at).to_vec(),
        identity: step_identity("Segment", 3),
        names: [("channel".to_owned(), [("1".to_owned(), "DAPI".to_owned())].into())].into(),
        domain: [("well".to_owned(), vec!["B01".into()])].into(),
        plane_axis: Some(PlaneAxis { component: "z_index".to_owned(), values: vec![3.into(), 5.into()] }),
        voxel_spacing: Some(spacing.clone()),
        ..SaveRequest::new(Vec::new())
    };
    let items: Vec<RequestItem<'_>> = vec![
        stack.view().into(),
        flat.view().into(),
        ImageItem::new("", rgb.view()).color().at("channel", 1).into(),
        ImageItem::new("", labels.view()).labels().into(),
        RoiItem::shapes("", outline.clone()).into(),
        RoiItem::points("", seeds.clone()).into(),
    ];
    let ticket = backend.save_batch(items, &["stack", "flat", "rgb", "labels", "cells", "seeds"], &request).unwrap();
    let seen = viewer.next();
    ticket.wait(PATIENCE).unwrap();
    let paths: Vec<&str> = seen.batch.items.iter().map(|item| &*item.path).collect();
    assert_eq!(paths, ["stack", "flat", "rgb", "labels", "cells", "seeds"]);
    let wells: Vec<_> = seen.batch.items.iter().map(|item| item.address["well"].clone()).collect();
    assert_eq!(wells, ["A01", "A02", "A03", "A04", "A05", "A06"].map(Into::into));
    assert_eq!(seen.batch.items[2].address["channel"], 1.into());
    let images: Vec<_> = seen
        .batch
        .items
        .iter()
        .filter_map(|item| match &item.payload {
            Payload::Image(image) => Some(image),
            _ => None,
        })
        .collect();
    assert_eq!(images[0].layout.plane_axes[0].values, [3.into(), 5.into()]);
    assert_eq!(images[0].layout.plane_axes[0].component, "z_index");
    assert!(images[1].layout.plane_axes.is_empty(), "a flat image has no planes to name");
    assert_eq!((images[2].layout.samples, images[2].layout.plane_axes.len()), (3, 0));
    assert_eq!(images.iter().map(|image| image.labels).collect::<Vec<_>>(), [false, false, false, true]);
    assert!(images.iter().all(|image| image.voxel_spacing.as_ref() == Some(&spacing)));
    assert_eq!(seen.batch.items[4].payload, Payload::Shapes(outline));
    assert_eq!(seen.batch.items[5].payload, Payload::Points(seeds));
    let identity = seen.batch.items[5].producer_identity.as_ref().unwrap();
    assert_eq!((identity.step_name.as_deref(), identity.pipeline_position), (Some("Segment"), Some(3)));
    assert_eq!(seen.batch.component_names["channel"]["1"], "DAPI");
    assert_eq!(seen.batch.component_domain["well"].len(), 7);
    let status = backend.status();
    assert_eq!((status.saved.items, status.shown.items, status.on_its_way.items), (6, 6, 0));
}

#[test]
fn what_no_viewer_could_take_is_a_sentence_and_nothing_is_sent() {
    let home = home();
    let endpoint = tcp(&home);
    let viewer = StandIn::serve_batches(&endpoint.data_url().unwrap(), success);
    let backend = StreamingBackend::connect(stream(&endpoint)).unwrap();
    let good = Array2::<u8>::zeros((2, 2));
    let (empty, line) = (ArrayD::<u8>::zeros(IxDyn(&[0, 4])), ArrayD::<u8>::zeros(IxDyn(&[4])));
    let floats = Array2::<f32>::zeros((2, 2));
    let u16s = DType { element: ElementType::U16, order: ByteOrder::Little };
    let cases: [(RequestItem<'_>, &str); 6] = [
        (empty.view().into(), "0"),
        (line.view().into(), "lacks axes"),
        (ImageItem::from_bytes("", &[2, 2], u16s, &[0; 7]).into(), "needs 8 bytes, 7 were given"),
        (ImageItem::new("", good.view()).color().into(), "must be 3 or 4"),
        (ImageItem::new("", floats.view()).labels().into(), "labels are whole numbers"),
        (ImageItem::new("", good.view()).plane_axis("z_index", [1]).into(), "1 values of z_index"),
    ];
    for (item, sentence) in cases {
        let items: Vec<RequestItem<'_>> = vec![good.view().into(), item];
        let error = backend.save_batch(items, &["good", "bad"], &in_well("A01")).unwrap_err();
        assert!(matches!(error, SaveError::Item(_)) && error.to_string().contains(sentence), "{error}");
    }
    let two_addresses = SaveRequest::new(vec![at("A01"), at("A02")]);
    let no_address = SaveRequest::new(Vec::new());
    for (paths, request) in
        [(&["a", "b"][..], &in_well("A01")), (&["a", "b", "c"], &two_addresses), (&["a", "b", "c"], &no_address)]
    {
        let error = backend.save_batch([good.view(), good.view(), good.view()], paths, request).unwrap_err();
        assert!(matches!(error, SaveError::CountsDisagree { arrays: 3, .. }), "{error}");
    }
    let nowhere = SaveRequest::new(vec![Address::new()]);
    let error = backend.save_batch([good.view()], &["a"], &nowhere).unwrap_err();
    assert!(error.to_string().contains("at least one component"), "{error}");
    assert_eq!(backend.status().saved.batches, 0);
    assert!(viewer.seen.recv_timeout(MOMENT).is_err(), "nothing was sent");
    // A batch of nothing is one.
    backend.save_batch(Vec::<ArrayViewD<'_, u8>>::new(), &[] as &[&str], &no_address).unwrap().wait(PATIENCE).unwrap();
    assert!(backend.close(PATIENCE).is_empty());
}

#[test]
fn in_the_steady_state_segments_are_used_again_with_new_pixels() {
    let home = home();
    let endpoint = ipc_or_tcp(&home);
    let viewer = StandIn::serve_batches(&endpoint.data_url().unwrap(), success);
    let backend = StreamingBackend::connect(stream(&endpoint)).unwrap();
    let mut names = BTreeSet::new();
    for round in 0..20u8 {
        let image = Array2::from_elem((100, 100), round);
        let ticket = backend.save_batch([image.view(), image.view()], &["a", "b"], &in_well("A01")).unwrap();
        let seen = viewer.next();
        assert_eq!(seen.pixels, [vec![round; 10_000], vec![round; 10_000]]);
        names.extend(seen.segments);
        ticket.wait(PATIENCE).unwrap();
    }
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names.iter().all(|name| name.starts_with("wellscope_") && name.len() <= 30), "{names:?}");
    let names: Vec<String> = names.into_iter().collect();
    assert_eq!(backend.status().pool_bytes, 2 * 12_288);
    drop(backend);
    assert_no_segment_is_left(&names);
}

#[cfg(target_os = "linux")]
#[test]
fn segments_that_a_viewer_unlinks_are_made_anew() {
    let home = home();
    let endpoint = tcp(&home);
    let viewer = StandIn::serve_batches(&endpoint.data_url().unwrap(), |batch| {
        for item in &batch.items {
            let Payload::Image(image) = &item.payload else { continue };
            let PixelSource::SharedMemory { name, .. } = &image.source else { continue };
            std::fs::remove_file(std::path::Path::new("/dev/shm").join(name)).unwrap();
        }
        success(batch)
    });
    let backend = StreamingBackend::connect(stream(&endpoint)).unwrap();
    for round in 0..5u8 {
        let image = Array2::from_elem((64, 64), round);
        backend.save_batch([image.view()], &["a"], &in_well("A01")).unwrap().wait(PATIENCE).unwrap();
        assert_eq!(viewer.next().pixels, [vec![round; 4096]]);
    }
    assert_eq!(backend.status().pool_bytes, 0);
    drop(backend);
    assert_no_segment_is_left(&[]);
}

#[test]
fn long_arrays_are_cut_into_frames_that_receivers_take() {
    let home = home();
    let endpoint = tcp(&home);
    let viewer = StandIn::serve_batches(&endpoint.data_url().unwrap(), success);
    let _control = pongs(&endpoint, Some(Extensions::own()));
    let config = StreamingConfig { pixels: PixelTransport::Frames, ..stream(&endpoint) };
    let backend = StreamingBackend::connect(config).unwrap();
    let long = Array2::from_shape_fn((65, 1 << 20), |(y, x)| (y * 7 + x) as u8);
    let short = Array2::<u8>::from_elem((2, 3), 5);
    let ticket = backend.save_batch([long.view(), short.view()], &["long", "short"], &in_well("A01")).unwrap();
    let seen = viewer.next();
    ticket.wait(PATIENCE).unwrap();
    assert_eq!(seen.frames, 3, "64 MiB, 1 MiB, and the other array");
    assert!(seen.pixels[0] == long.as_slice().unwrap(), "the bytes differ");
    assert_eq!(seen.pixels[1], [5; 6]);
}

#[test]
fn frames_are_not_sent_to_a_viewer_that_does_not_take_them() {
    let home = home();
    let endpoint = tcp(&home);
    let viewer = StandIn::serve_batches(&endpoint.data_url().unwrap(), success);
    let _control = pongs(&endpoint, None);
    let config = StreamingConfig { pixels: PixelTransport::Frames, ..stream(&endpoint) };
    let backend = StreamingBackend::connect(config).unwrap();
    let image = Array2::<u8>::zeros((8, 8));
    let ticket = backend.save_batch([image.view()], &["a"], &in_well("A01")).unwrap();
    let error = ticket.wait(PATIENCE).unwrap_err();
    assert!(matches!(error, WaitError::Lost(LossReason::TakesNoFrames { .. })), "{error}");
    let shapes = RoiItem::shapes("", Vec::new());
    backend.save_batch([shapes], &["cells"], &in_well("A01")).unwrap().wait(PATIENCE).unwrap();
    assert_eq!(viewer.next().batch.items[0].path, "cells");
    let losses = backend.close(PATIENCE);
    assert_eq!((losses.refused.batches, losses.total().bytes), (1, 64));
    assert!(losses.to_string().contains("takes no binary frames"), "{losses}");
}

#[test]
fn acks_come_through_the_stream() {
    let home = home();
    let endpoint = tcp(&home);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = endpoint.ack_url(port).unwrap();
    let context = zmq::Context::new();
    let socket = context.socket(zmq::PUSH).unwrap();
    socket.set_linger(1000).unwrap();
    socket.connect(&url).unwrap();
    let _viewer = StandIn::serve_batches(&endpoint.data_url().unwrap(), move |batch| {
        for id in batch.items.iter().filter_map(|item| item.image_id.as_deref()).chain(["another's"]) {
            let ack = serde_json::json!({"type": "image_ack", "image_id": id, "viewer_port": 5555,
                "viewer_type": "napari", "status": "success", "timestamp": 1.7e9});
            socket.send(ack.to_string().as_bytes(), 0).unwrap();
        }
        success(batch)
    });
    let config = StreamingConfig { acks: AckMode::Shared { port }, ..stream(&endpoint) };
    let backend = StreamingBackend::connect(config).unwrap();
    let image = Array2::<u8>::zeros((8, 8));
    let item = ImageItem::new("", image.view()).image_id(Some("mine".to_owned()));
    backend.save_batch([item], &["a"], &in_well("A01")).unwrap();
    let acks = backend.acks(PATIENCE);
    assert_eq!(acks.iter().map(|ack| &*ack.image_id).collect::<Vec<_>>(), ["mine"]);
    assert!(backend.acks(Duration::from_millis(30)).is_empty());
}

fn ipc_or_tcp(home: &tempfile::TempDir) -> ViewerEndpoint {
    if cfg!(unix) { ipc(home) } else { tcp(home) }
}
