//! Our own extensions of the batch message: binary frames, segments that their producer keeps, label images.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failing test should stop where it fails")]

use wellscope_protocol::batch::{Batch, BatchLimits, ImagePayload, Payload, PixelSource};
use wellscope_protocol::dtype::ByteOrder;

/// A batch of these items; each is given a path and an address.
fn batch_of(items: &[&str]) -> String {
    let item = |(index, fields): (usize, &&str)| {
        format!(r#"{{"path":"/p/{index}","image_id":"id {index}","metadata":{{"well":"A01"}},{fields}}}"#)
    };
    let items: Vec<String> = items.iter().enumerate().map(item).collect();
    format!(r#"{{"type":"batch","images":[{}],"display_config":{{}}}}"#, items.join(","))
}

fn decode(items: &[&str], frame_bytes: &[u64]) -> Result<Vec<ImagePayload>, String> {
    let text = batch_of(items);
    let batch = Batch::decode_with_frames(text.as_bytes(), frame_bytes, &BatchLimits::default())
        .map_err(|error| error.to_string())?;
    let image = |item: wellscope_protocol::batch::Item| match item.payload {
        Payload::Image(image) => image,
        other => panic!("{other:?}"),
    };
    Ok(batch.items.into_iter().map(image).collect())
}

#[test]
fn items_name_their_frames_in_any_order() {
    let images = decode(
        &[
            r#""shape":[2,2],"dtype":">u2","frames":[2]"#,
            r#""shape":[2,2,3],"dtype":"uint8","source_channel_axis":2,"frames":[1,0]"#,
            r#""shape":[1,4],"dtype":"uint8","frames":null,"shm_name":"napari_1""#,
        ],
        &[5, 7, 8],
    )
    .unwrap();
    assert_eq!(images[0].source, PixelSource::Frames(vec![2]));
    assert_eq!(images[0].dtype.order, ByteOrder::Big, "frames are in the dtype's own order");
    assert_eq!(images[1].source, PixelSource::Frames(vec![1, 0]));
    assert_eq!(images[1].layout.samples, 3);
    assert_eq!(images[2].source, PixelSource::SharedMemory { name: "napari_1".into(), kept: false });
}

#[test]
fn messages_whose_frames_do_not_fit_are_refused_by_name() {
    const FOUR: &str = r#""shape":[2,2],"dtype":"uint8","frames":"#;
    let refused = |items: &[&str], frame_bytes: &[u64]| decode(items, frame_bytes).unwrap_err();
    let four = |frames: &str| format!("{FOUR}{frames}");
    let said = |text: String, wanted: &[&str]| assert!(wanted.iter().all(|want| text.contains(want)), "{text}");

    said(refused(&[&four("[0]")], &[]), &["images[0]", "binary frame 0", "the message has 0", "/p/0"]);
    said(refused(&[&four("[0]"), &four("[0]")], &[4]), &["images[1]", "binary frame 0", "images[0] uses already"]);
    said(refused(&[&four("[0,0]")], &[2]), &["images[0]", "images[0] uses already"]);
    said(refused(&[&four("[0]")], &[3]), &["have 3 bytes", "need 4"]);
    said(refused(&[&four("[0]")], &[5]), &["have 5 bytes", "need 4"]);
    said(refused(&[&four("[0,1]")], &[u64::MAX, u64::MAX]), &["need 4"]);
    said(refused(&[&four("[0]")], &[4, 9]), &["1 of its 2 binary frames belong to no item", "first: 1"]);
    said(refused(&[], &[4]), &["1 of its 1 binary frames"]);
    let both = format!(r#"{},"shm_name":"napari_1""#, four("[0]"));
    said(refused(&[&both], &[4]), &["both 'frames' and 'shm_name'"]);
    let both = format!(r#"{},"data":[1,2,3,4]"#, four("[0]"));
    said(refused(&[&both], &[4]), &["both 'frames' and 'data'"]);
    said(refused(&[&four(r#"{"0":1}"#)], &[4]), &["'frames'", "a list"]);
    said(refused(&[r#""shape":[2,2],"dtype":"uint8""#], &[]), &["'shm_name'", "'data'", "'frames'"]);
    // What is claimed is refused by its size before frames are looked at.
    let huge = r#""shape":[4194304,4194304],"dtype":"float64","frames":[0]"#;
    said(refused(&[huge], &[4]), &["at most 8589934592 per image"]);
    let limits = BatchLimits { max_frames: 3, ..BatchLimits::default() };
    let error = Batch::decode_with_frames(b"{}", &[0; 4], &limits).unwrap_err();
    said(error.to_string(), &["4 binary frames", "at most 3"]);
    assert_eq!(error.reply_type(), Some("batch"));
}

#[test]
fn a_published_item_with_wrong_frames_costs_only_itself() {
    let text = batch_of(&[
        r#""shape":[2,2],"dtype":"uint8","frames":[0]"#,
        r#""shape":[2,2],"dtype":"uint8","frames":[0]"#,
        r#""shape":[2,2],"dtype":"uint8","frames":[9]"#,
        r#""shape":[2,2],"dtype":"uint8","frames":[3,2]"#,
    ]);
    // Frame 1 is nobody's.
    let decoded = Batch::decode_items(text.as_bytes(), &[4, 4, 1, 3], &BatchLimits::default()).unwrap();
    assert_eq!(decoded.positions, [0, 3]);
    let told: Vec<_> = decoded.refused.iter().map(|item| (item.index, item.image_id.as_deref())).collect();
    assert_eq!(told, [(1, Some("id 1")), (2, Some("id 2"))]);
}

/// Items are read a second time when Python wrote what is no JSON; frames are not used twice by that.
#[test]
fn frames_and_bare_nan_go_together() {
    let images = decode(&[r#""shape":[1,4],"dtype":"uint8","frames":[0],"note":NaN"#], &[4]).unwrap();
    assert_eq!(images[0].source, PixelSource::Frames(vec![0]));
}

#[test]
fn a_kept_segment_is_marked_and_is_never_left_to_the_viewer() {
    let segment = |kept: &str| format!(r#""shape":[2,2],"dtype":"uint8","shm_name":"napari_1"{kept}"#);
    for (sent, kept) in
        [("", false), (r#","shm_kept":true"#, true), (r#","shm_kept":false"#, false), (r#","shm_kept":null"#, false)]
    {
        let images = decode(&[&segment(sent)], &[]).unwrap();
        assert_eq!(images[0].source, PixelSource::SharedMemory { name: "napari_1".into(), kept }, "{sent}");
    }
    assert!(decode(&[&segment(r#","shm_kept":1"#)], &[]).unwrap_err().contains("shm_kept"));
    // Refused for another reason.
    for (kept, left) in [("", Some("napari_1")), (r#","shm_kept":true"#, None)] {
        let text = batch_of(&[&segment(kept).replace("uint8", "uint9")]);
        let decoded = Batch::decode_items(text.as_bytes(), &[], &BatchLimits::default()).unwrap();
        assert_eq!(decoded.refused[0].shm_name.as_deref(), left);
    }
}

#[test]
fn only_integers_of_one_sample_are_labels() {
    let labels = |fields: &str| decode(&[&format!(r#"{fields},"shm_name":"n","labels":true"#)], &[]).unwrap()[0].labels;
    for dtype in ["bool", "uint8", ">u2", "int32", "uint64"] {
        assert!(labels(&format!(r#""shape":[2,2],"dtype":"{dtype}""#)), "{dtype}");
    }
    assert!(labels(r#""shape":[3,2,2],"dtype":"int32""#), "a stack");
    for dtype in ["float16", "float32", "float64"] {
        assert!(!labels(&format!(r#""shape":[2,2],"dtype":"{dtype}""#)), "{dtype}");
    }
    assert!(!labels(r#""shape":[2,2,3],"dtype":"uint8","source_channel_axis":2"#), "colour");
    assert!(!decode(&[r#""shape":[2,2],"dtype":"int32","shm_name":"n""#], &[]).unwrap()[0].labels);
    assert!(!decode(&[r#""shape":[2,2],"dtype":"int32","shm_name":"n","labels":null"#], &[]).unwrap()[0].labels);
    let error = decode(&[r#""shape":[2,2],"dtype":"int32","shm_name":"n","labels":"yes""#], &[]).unwrap_err();
    assert!(error.contains("'labels'"), "{error}");
}
