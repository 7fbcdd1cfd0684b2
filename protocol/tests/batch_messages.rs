//! What the decoder accepts beside the recorded frames, and what it answers to the rest.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failing test should stop where it fails")]

use wellscope_protocol::batch::{Batch, BatchError, BatchLimits, DecodedItems, Payload, PixelSource, VariableSize};
use wellscope_protocol::component::{ComponentMode, ComponentValue};
use wellscope_protocol::route::route_of;

fn decode(text: &str) -> Result<Batch, BatchError> {
    Batch::decode(text.as_bytes(), &BatchLimits::default())
}

/// The error's sentence and the reply's `type`.
fn refusal(text: &str) -> (String, Option<&'static str>) {
    let error = decode(text).expect_err(text);
    (error.to_string(), error.reply_type())
}

/// A batch of one item whose fields are `fields`, beside a path and an address.
fn batch_of(fields: &str) -> String {
    format!(
        r#"{{"type":"batch","images":[{{"path":"/p/a.tif","metadata":{{"well":"A01"}},{fields}}}],"display_config":{{}}}}"#
    )
}

const IMAGE: &str = r#""shape":[2,3],"dtype":"uint8","shm_name":"napari_0""#;

#[test]
fn messages_that_are_no_batch_are_answered_in_the_incumbents_words() {
    assert_eq!(refusal("{}"), ("Napari message missing required payload field 'type'".to_owned(), None));
    let unknown = ("'image' is not a valid ViewerBatchMessageType".to_owned(), None);
    assert_eq!(refusal(r#"{"type":"image"}"#), unknown);
    assert_eq!(refusal(r#"{"type":7}"#).0, "7 is not a valid ViewerBatchMessageType");
    let missing = "Napari batch message missing required field: 'display_config'";
    assert_eq!(refusal(r#"{"type":"batch","images":[]}"#), (missing.to_owned(), Some("batch")));
    let missing = "Napari batch message missing required field: 'images'";
    assert_eq!(refusal(r#"{"type":"batch","display_config":{}}"#), (missing.to_owned(), Some("batch")));
}

#[test]
fn bytes_that_are_no_json_object_are_refused_without_a_type() {
    let pickle = Batch::decode(b"\x80\x04\x95\x12\x00", &BatchLimits::default()).unwrap_err();
    assert!(pickle.to_string().contains("the pickle ends at byte 5"), "{pickle}");
    assert_eq!(pickle.reply_type(), None);
    let binary = Batch::decode(b"\xff\x04\x95\x12\x00", &BatchLimits::default()).unwrap_err();
    assert!(binary.to_string().starts_with("'utf-8' codec can't decode byte 0xff in position 0"));
    assert_eq!(binary.reply_type(), None);
    for text in ["", "not json", "{", "[1,2", "{}{}", "{\"type\":\"batch\""] {
        let (message, reply_type) = refusal(text);
        assert!(message.contains("not valid JSON"), "{message}");
        assert_eq!(reply_type, None);
    }
    for (text, kind) in
        [("[]", "a list"), ("7", "a number"), ("\"batch\"", "text"), ("null", "null"), ("true", "a boolean")]
    {
        assert_eq!(refusal(text), (format!("Napari batch message must be a JSON object; found {kind}"), None));
    }
    let deep = "[".repeat(1_000_000);
    assert!(decode(&deep).is_err());
    assert!(decode(&batch_of(&format!(r#""shape":[1,1],"dtype":"uint8","data":{deep}"#))).is_err());
}

#[test]
fn empty_batch_is_a_success() {
    let batch = decode(r#"{"type":"batch","images":[],"display_config":{},"later_field":[1]}"#).unwrap();
    assert!(batch.items.is_empty());
    assert_eq!(batch.display_config.colormap, "gray");
}

#[test]
fn display_config_is_read_leniently() {
    let batch = decode(
        r#"{"type":"batch","images":[],"display_config":{"colormap":" ","variable_size_handling":"separate_layers",
            "component_modes":{"a":"slice","b":"window","c":"stack","d":"mosaic","e":null,"f":"layer"}}}"#,
    )
    .unwrap();
    let modes = &batch.display_config.component_modes;
    let layers: Vec<_> =
        modes.iter().filter(|(_, mode)| **mode == ComponentMode::Layer).map(|(name, _)| &**name).collect();
    assert_eq!((layers, modes.len()), (vec!["a", "b", "f"], 6));
    assert_eq!(batch.display_config.colormap, "gray");
    assert_eq!(batch.display_config.variable_size, VariableSize::SeparateLayers);
    let (message, reply_type) = refusal(r#"{"type":"batch","images":[],"display_config":[]}"#);
    assert!(message.contains("'display_config'") && message.contains("a list"), "{message}");
    assert_eq!(reply_type, Some("batch"));
}

#[test]
fn names_leave_out_null_and_none_and_keep_blank_ones() {
    let batch = decode(
        r#"{"type":"batch","images":[],"display_config":{},"component_names_metadata":
            {"channel":{"1":"DAPI","2":null,"3":"None","04":""},"well":{"A01":null},"site":null},
            "component_value_domain":{"z_index":["1",2.0,"top"],"well":["01"]}}"#,
    )
    .unwrap();
    let channel: Vec<_> = batch.component_names["channel"].iter().map(|(k, v)| (&**k, &**v)).collect();
    assert_eq!(channel, [("1", "DAPI"), ("4", "")]);
    assert_eq!(batch.component_names.len(), 1);
    let z: [ComponentValue; 3] = [1.into(), 2.into(), "top".into()];
    assert_eq!(batch.component_domain["z_index"], z);
    assert_eq!(batch.component_domain["well"], ["01".into()]);
}

#[test]
fn a_single_image_message_is_one_item() {
    for kind in ["", r#""type":"image","#] {
        let text = format!(
            r#"{{{kind}"path":"/a","component_metadata":{{"well":"A01"}},{IMAGE},"step_index":1,"step_name":"s"}}"#
        );
        let batch = decode(&text).unwrap();
        assert_eq!(batch.items.len(), 1);
        assert_eq!(batch.items[0].address["step_name"], "s".into());
        assert!(matches!(&batch.items[0].payload, Payload::Image(image) if image.size_bytes == 6));
    }
}

#[test]
fn item_errors_name_index_path_and_field() {
    let cases = [
        (r#""dtype":"uint8","shm_name":"n""#, "'shape' is missing"),
        (r#""shape":[2,2],"shm_name":"n""#, "'dtype' is missing"),
        (r#""shape":[2,2],"dtype":"uint8""#, "neither 'shm_name' nor 'data'"),
        (r#""shape":"2x2","dtype":"uint8","shm_name":"n""#, "'shape' cannot be read"),
        (r#""shape":[2,-2],"dtype":"uint8","shm_name":"n""#, "'shape' cannot be read"),
        (r#""shape":[2,2.5],"dtype":"uint8","shm_name":"n""#, "'shape' cannot be read"),
        (r#""shape":[2,2],"dtype":8,"shm_name":"n""#, "'dtype' cannot be read"),
        (r#""shape":[2,2],"dtype":"uint9","shm_name":"n""#, "unknown dtype"),
        (r#""shape":[2,2],"dtype":"complex64","shm_name":"n""#, "complex images cannot be shown"),
        (r#""shape":[0,2],"dtype":"uint8","shm_name":"n""#, "size 0"),
        (r#""shape":[],"dtype":"uint8","shm_name":"n""#, "at least two axes"),
        (r#""shape":[5],"dtype":"uint8","shm_name":"n""#, "at least two axes"),
        (r#""shape":[9223372036854775808,4],"dtype":"uint8","shm_name":"n""#, "more bytes than can be counted"),
        (r#""shape":[1048576,1048576],"dtype":"uint8","shm_name":"n""#, "at most 8589934592 per image"),
        (r#""shape":[2,2],"dtype":"uint8","shm_name":"../etc/passwd""#, "'shm_name'"),
        (r#""shape":[2,2],"dtype":"uint8","shm_name":"a\u0000b""#, "'shm_name'"),
        (r#""shape":[2,2],"dtype":"uint8","shm_name":5"#, "'shm_name' cannot be read"),
        (r#""shape":[2,2],"dtype":"uint8","data":[1,2,3]"#, "found 3 values, 4 are needed"),
        (r#""shape":[2,2],"dtype":"uint8","data":[1,2,3,256]"#, "256 does not fit uint8"),
        (r#""data_type":"mesh""#, "\"mesh\""),
        (r#""data_type":"shapes""#, "'shapes' is missing"),
        (r#""data_type":"shapes","shapes":[{"type":"mask"}]"#, "shapes[0]: a mask"),
        (r#""shape":[2,2],"dtype":"uint8","shm_name":"n","image_id":5"#, "'image_id'"),
        (
            r#""shape":[2,2],"dtype":"uint8","shm_name":"n","producer_identity":{"origin":"x"}"#,
            "missing field `output_kind`",
        ),
        (r#""shape":[2,2],"dtype":"uint8","shm_name":"n","producer_identity":[]"#, "'producer_identity'"),
        (r#""shape":[2,2],"dtype":"uint8","shm_name":"n","return_route":{}"#, "'url'"),
        (r#""shape":[2,2],"dtype":"uint8","shm_name":"n","source_channel_axis":0"#, "source_channel_axis 0"),
    ];
    for (fields, part) in cases {
        let (message, reply_type) = refusal(&batch_of(fields));
        assert!(message.starts_with("images[0]: ") && message.contains(part), "{message}");
        assert!(message.ends_with(r#"Path: "/p/a.tif""#), "{message}");
        assert_eq!(reply_type, Some("batch"));
    }
}

#[test]
fn an_item_needs_a_path_and_an_address() {
    let item = |fields: &str| format!(r#"{{"type":"batch","images":[{fields}],"display_config":{{}}}}"#);
    let message = |fields: &str| refusal(&item(fields)).0;
    assert!(message(&format!(r#"{{"metadata":{{"well":1}},{IMAGE}}}"#)).contains("'path' is missing"));
    assert!(message(&format!(r#"{{"path":"a",{IMAGE}}}"#)).contains("'metadata' is missing"));
    assert!(message(&format!(r#"{{"path":"a","metadata":{{}},{IMAGE}}}"#)).contains("'metadata' is empty"));
    assert!(
        message(&format!(r#"{{"path":"a","metadata":{{"well":{{}}}},{IMAGE}}}"#)).contains("'metadata' cannot be read")
    );
    assert!(message("5").contains("found a number"));
    assert!(message("[]").contains("found a list"));
}

#[test]
fn address_values_keep_their_kind() {
    let text = batch_of(IMAGE).replace(
        r#"{"well":"A01"}"#,
        r#"{"well":"01","site":"003","channel":1.0,"z_index":0.5,"tile":[1,"b"],"flag":true,"hole":null,"big":18446744073709551615}"#,
    );
    let address = decode(&text).unwrap().items.remove(0).address;
    let expected: [(&str, ComponentValue); 8] = [
        ("well", "01".into()),
        ("site", 3.into()),
        ("channel", 1.into()),
        ("z_index", 0.5.into()),
        ("tile", vec![1.into(), "b".into()].into()),
        ("flag", "True".into()),
        ("hole", "None".into()),
        ("big", "18446744073709551615".into()),
    ];
    for (component, value) in expected {
        assert_eq!(address[component], value, "{component}");
    }
}

#[test]
fn source_and_extension_are_components_only_when_the_config_names_them() {
    let metadata = r#"{"well":"A01","source":"Blur","extension":".tif","step_name":"x"}"#;
    let text = batch_of(IMAGE).replace(r#"{"well":"A01"}"#, metadata);
    let keys = |text: &str| decode(text).unwrap().items[0].address.keys().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(keys(&text), "well");
    let named =
        text.replace(r#""display_config":{}"#, r#""display_config":{"component_order":["step_name","source"]}"#);
    assert_eq!(keys(&named), "source step_name well");
    let nothing_else = batch_of(IMAGE).replace(r#"{"well":"A01"}"#, r#"{"source":"Blur"}"#);
    assert_eq!(keys(&nothing_else), "source");
}

#[test]
fn bare_nan_is_accepted_where_python_writes_it() {
    let shape = r#"{"type":"polygon","coordinates":[[1,1],[NaN,2],[3,Infinity],[4,4]],"metadata":{"area":NaN,"note":"NaN, \"-Infinity"}}"#;
    let batch = decode(&batch_of(&format!(r#""data_type":"rois","shapes":[{shape}]"#))).unwrap();
    let Payload::Shapes(shapes) = &batch.items[0].payload else { panic!() };
    assert_eq!(shapes[0].metadata["area"], "NaN");
    assert_eq!(shapes[0].metadata["note"], "NaN, \"-Infinity");
    assert_eq!(shapes[0].geometry, wellscope_protocol::batch::ShapeGeometry::Polygon(vec![[1.0, 1.0], [4.0, 4.0]]));
    let batch = decode(&batch_of(r#""shape":[1,2],"dtype":"float32","data":[NaN,-Infinity]"#)).unwrap();
    let Payload::Image(image) = &batch.items[0].payload else { panic!() };
    let PixelSource::Inline(bytes) = &image.source else { panic!() };
    assert!(f32::from_le_bytes(bytes[..4].try_into().unwrap()).is_nan());
    assert_eq!(bytes[4..], f32::NEG_INFINITY.to_le_bytes());
    // A path whose bytes were not UTF-8, as Python escapes it.
    let batch = decode(&batch_of(IMAGE).replace("/p/a.tif", "/p/\\udcff.tif")).unwrap();
    assert_eq!(batch.items[0].path, "/p/\u{fffd}.tif");
}

#[test]
fn image_metadata_overrides_the_flat_fields() {
    let metadata = r#""image_metadata":{"plane_axis":null,"source_channel_axis":2,"source_spatial_domain":
        {"origin_yx":[1.0,2],"source_shape_yx":[20,30]},"source_voxel_spacing":{"values_zyx":[2,0.5,0.5],"unit":"micrometers"}}"#;
    let fields = format!(
        r#""shape":[2,2,3],"dtype":">u2","shm_name":"/n","spatial_origin_yx":[9,9],"source_channel_axis":0,{metadata}"#
    );
    let batch = decode(&batch_of(&fields)).unwrap();
    let Payload::Image(image) = &batch.items[0].payload else { panic!() };
    assert_eq!((image.layout.samples, image.spatial_origin_yx), (3, Some([1, 2])));
    assert_eq!(image.source_spatial_shape_yx, Some([20, 30]));
    assert_eq!(image.voxel_spacing.as_ref().unwrap().values_zyx, [2.0, 0.5, 0.5]);
    assert_eq!((image.dtype.to_string().as_str(), image.size_bytes), (">u2", 24));
    assert_eq!(image.source, PixelSource::SharedMemory { name: "n".into(), kept: false }, "no leading slash");
}

#[test]
fn shared_memory_wins_over_inline_data() {
    let batch = decode(&batch_of(&format!(r#"{IMAGE},"data":[1]"#))).unwrap();
    assert!(
        matches!(&batch.items[0].payload, Payload::Image(image) if matches!(image.source, PixelSource::SharedMemory { .. }))
    );
    let batch = decode(&batch_of(r#""shape":[1,2],"dtype":">u2","shm_name":"","data":[[1,2]]"#)).unwrap();
    let Payload::Image(image) = &batch.items[0].payload else { panic!() };
    assert_eq!(image.source, PixelSource::Inline(vec![1, 0, 2, 0]));
    assert_eq!(image.dtype.to_string(), "uint16", "inline bytes are little-endian");
}

#[test]
fn limits_are_held() {
    let limits = BatchLimits {
        max_frame_bytes: 1000,
        max_items: 2,
        max_image_bytes: 100,
        max_batch_bytes: 150,
        max_inline_bytes: 10,
        max_planes: 4,
        max_frames: 3,
    };
    let item = |fields: &str| format!(r#"{{"path":"a","metadata":{{"well":1}},"dtype":"uint8",{fields}}}"#);
    let refused = |items: &[String]| {
        let text = format!(r#"{{"type":"batch","images":[{}],"display_config":{{}}}}"#, items.join(","));
        Batch::decode(text.as_bytes(), &limits).unwrap_err().to_string()
    };
    let hundred = item(r#""shape":[10,10],"shm_name":"n""#);
    assert!(refused(&[item(r#""shape":[10,11],"shm_name":"n""#)]).contains("at most 100 per image"));
    assert!(refused(&[hundred.clone(), hundred.clone()]).contains("at most 150 at once"));
    assert!(refused(&vec![hundred; 3]).contains("more than 2 items"));
    assert!(refused(&[item(r#""shape":[2,6],"data":[1]"#)]).contains("at most 10 per image"));
    assert!(refused(&[item(r#""shape":[5,2,2],"shm_name":"n""#)]).contains("at most 4 per image"));
    let long = format!("{{{}}}", " ".repeat(1000));
    assert!(Batch::decode(long.as_bytes(), &limits).unwrap_err().to_string().contains("at most 1000"));
}

#[test]
fn shapes_keep_the_planes_that_their_indices_count_along() {
    let item = |planes: &str| {
        format!(
            r#"{{"type": "batch", "display_config": {{"component_order": ["z_index", "well"]}}, "images": [{{
                "path": "/p/a.roi.zip", "data_type": "shapes", "metadata": {{"well": "A01"}},
                "plane_component_values": {planes},
                "shapes": [{{"type": "polygon", "coordinates": [[0, 0], [0, 4], [4, 4]],
                             "metadata": {{"label": 1, "plane_indices": [1], "plane_shape": [2]}}}}]}}]}}"#
        )
    };
    let batch = Batch::decode(item(r#"{"z_index": [3, "4"]}"#).as_bytes(), &BatchLimits::default()).unwrap();
    let planes = &batch.items[0].shape_planes;
    assert_eq!((planes.len(), planes[0].component.as_str()), (1, "z_index"));
    assert_eq!(planes[0].values, [ComponentValue::Int(3), ComponentValue::Int(4)]);
    let route = route_of(&batch.items[0], &batch.display_config).unwrap();
    assert_eq!(route.stack_components, ["z_index", "well"], "the planes have a slider");
    let error = Batch::decode(item(r#"{"z_index": []}"#).as_bytes(), &BatchLimits::default()).unwrap_err();
    assert!(error.to_string().contains("plane_component_values"), "{error}");
}

#[test]
fn an_item_that_cannot_be_read_costs_only_itself_when_items_stand_alone() {
    let item = |number: usize, fields: &str| {
        format!(r#"{{"path":"/p/{number}","metadata":{{"well":"A01"}},"image_id":"id {number}",{fields}}}"#)
    };
    let bad_dtype =
        r#""shape":[2,3],"dtype":"uint9","shm_name":"/napari_1","return_route":{"url":"tcp://127.0.0.1:4001"}"#;
    let entries = [
        item(0, IMAGE),
        item(1, bad_dtype),
        "7".to_owned(),
        item(3, IMAGE),
        item(4, r#""shape":[2,3],"dtype":"uint8","shm_name":"../secret""#),
        // Half a surrogate pair, which only Python writes: readable after all.
        item(5, &format!(r#"{IMAGE},"step_name":"a\ud800b""#)),
    ];
    let message = format!(r#"{{"type":"batch","images":[{}],"display_config":{{}}}}"#, entries.join(","));
    let DecodedItems { batch, positions, refused } =
        Batch::decode_items(message.as_bytes(), &[], &BatchLimits::default()).unwrap();
    assert_eq!(positions, [0, 3, 5]);
    let paths: Vec<&str> = batch.items.iter().map(|item| item.path.as_str()).collect();
    assert_eq!(paths, ["/p/0", "/p/3", "/p/5"]);
    let told: Vec<_> = refused
        .iter()
        .map(|item| (item.index, item.path.as_str(), item.image_id.as_deref(), item.shm_name.as_deref()))
        .collect();
    assert_eq!(
        told,
        [(1, "/p/1", Some("id 1"), Some("napari_1")), (2, "", None, None), (4, "/p/4", Some("id 4"), None)]
    );
    assert_eq!(refused[0].ack_route.as_ref().unwrap().url, "tcp://127.0.0.1:4001");
    for (item, found) in refused.iter().zip(["uint9", "a number", "../secret"]) {
        assert!(item.error.to_string().contains(found), "{}", item.error);
    }
    // Where the producer hears of it, the first bad item refuses the batch.
    let (text, reply_type) = refusal(&message);
    assert!(text.starts_with("images[1]") && text.contains("uint9"), "{text}");
    assert_eq!(reply_type, Some("batch"));
}

#[test]
fn what_is_wrong_with_the_message_refuses_all_its_items() {
    let whole =
        |text: &str| Batch::decode_items(text.as_bytes(), &[], &BatchLimits::default()).unwrap_err().to_string();
    let two = format!(r#"{{"path":"p","metadata":{{"well":"A01"}},{IMAGE}}},"#).repeat(2);
    for (message, found) in [
        ("{\"type\":".to_owned(), "not valid JSON"),
        (r#"{"type":"batch","display_config":{}}"#.to_owned(), "'images'"),
        (format!(r#"{{"type":"batch","display_config":7,"images":[{two}8]}}"#), "display_config"),
    ] {
        assert!(whole(&message).contains(found), "{}", whole(&message));
    }
    let limits = BatchLimits { max_batch_bytes: 11, ..BatchLimits::default() };
    let message = format!(r#"{{"type":"batch","display_config":{{}},"images":[{two}8]}}"#);
    assert!(Batch::decode_items(message.as_bytes(), &[], &limits).unwrap_err().to_string().contains("11 at once"));
}
