//! What every codec owes its callers.

use std::io::Cursor;

use proptest::prelude::*;

use super::*;

/// Bytes that compress, as a mixture of runs, repetitions and noise.
fn some_bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        (any::<u8>(), 0usize..5000).prop_map(|(byte, n)| vec![byte; n]),
        (prop::collection::vec(any::<u8>(), 1..20), 0usize..100).prop_map(|(unit, n)| unit.repeat(n)),
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

fn encoded(codec: &dyn Codec, raw: &[u8]) -> Vec<u8> {
    let mut stored = Vec::new();
    codec.encode(raw, &[], Level::default(), &mut stored).unwrap();
    stored
}

/// Those that notice damage themselves.
fn checking() -> impl Iterator<Item = Arc<dyn Codec>> {
    codecs().into_iter().filter(|codec| codec.name() != "none")
}

proptest! {
    #[test]
    fn what_goes_in_comes_out_whatever_the_level_and_the_flush_points(
        raw in some_bytes(), points: Vec<prop::sample::Index>, level in prop::option::of(any::<i32>()), prefix: Vec<u8>,
    ) {
        // zstd's highest levels are slow, and clamping has its own test.
        let level = Level(level.map(|level| level % 12));
        let mut flush_at: Vec<usize> = points.iter().map(|point| point.index(raw.len() + 1)).collect();
        flush_at.sort_unstable();
        for codec in codecs() {
            let mut stored = prefix.clone();
            codec.encode(&raw, &flush_at, level, &mut stored).unwrap();
            prop_assert_eq!(&stored[..prefix.len()], &prefix);
            let mut back = prefix.clone();
            codec.decode(&stored[prefix.len()..], &mut back, raw.len()).unwrap();
            prop_assert_eq!(&back[..prefix.len()], &prefix);
            prop_assert_eq!(&back[prefix.len()..], &raw);
        }
    }

    #[test]
    fn a_flipped_bit_never_yields_other_bytes(raw in some_bytes(), at: prop::sample::Index, bit in 0..8) {
        for codec in checking() {
            let mut stored = encoded(&*codec, &raw);
            let place = at.index(stored.len());
            stored[place] ^= 1u8 << bit;
            let mut back = Vec::new();
            match codec.decode(&stored, &mut back, raw.len() + 1000) {
                Ok(()) => prop_assert_eq!(&back, &raw),
                Err(error) => prop_assert_eq!(error.kind(), ErrorKind::Damaged),
            }
        }
    }

    #[test]
    fn a_frame_that_is_cut_short_or_followed_by_more_is_damaged(
        raw in some_bytes(), at: prop::sample::Index, more in prop::collection::vec(any::<u8>(), 1..9),
    ) {
        for codec in checking() {
            let stored = encoded(&*codec, &raw);
            let cut = &stored[..at.index(stored.len())];
            let error = codec.decode(cut, &mut Vec::new(), raw.len()).unwrap_err();
            prop_assert_eq!(error.kind(), ErrorKind::Damaged);
            let longer = [stored, more.clone()].concat();
            let error = codec.decode(&longer, &mut Vec::new(), raw.len()).unwrap_err();
            prop_assert_eq!(error.kind(), ErrorKind::Damaged);
        }
    }

    #[test]
    fn one_byte_too_many_is_damaged(raw in some_bytes()) {
        prop_assume!(!raw.is_empty());
        for codec in codecs() {
            let stored = encoded(&*codec, &raw);
            let error = codec.decode(&stored, &mut Vec::new(), raw.len() - 1).unwrap_err();
            prop_assert_eq!(error.kind(), ErrorKind::Damaged);
        }
    }

    #[test]
    fn bytes_that_are_no_frame_are_damaged_or_decode_within_the_bound(junk: Vec<u8>) {
        for codec in checking() {
            let mut back = Vec::new();
            if codec.decode(&junk, &mut back, 1000).is_ok() {
                prop_assert!(back.len() <= 1000);
            }
            drop(codec.decode_frame(&mut Cursor::new(&junk), &mut std::io::sink()));
        }
    }

    #[test]
    fn concatenated_frames_are_read_one_by_one_and_as_one(
        raws in prop::collection::vec(some_bytes(), 0..4), window in 1usize..50,
    ) {
        for codec in checking() {
            let mut stream: Vec<u8> = raws.iter().flat_map(|raw| encoded(&*codec, raw)).collect();
            let mut input = std::io::BufReader::with_capacity(window, Cursor::new(&stream));
            for raw in &raws {
                let mut back = Vec::new();
                prop_assert!(codec.decode_frame(&mut input, &mut back).unwrap());
                prop_assert_eq!(&back, raw);
            }
            prop_assert!(!codec.decode_frame(&mut input, &mut std::io::sink()).unwrap());

            let mut all = Vec::new();
            if !stream.is_empty() {
                codec.reader(Box::new(Cursor::new(&stream))).unwrap().read_to_end(&mut all).unwrap();
            }
            prop_assert_eq!(all, raws.concat());

            if stream.pop().is_some() {
                let mut input = Cursor::new(&stream);
                let outcome = loop {
                    match codec.decode_frame(&mut input, &mut std::io::sink()) {
                        Ok(true) => {}
                        other => break other,
                    }
                };
                prop_assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Damaged);
            }
        }
    }
}

#[test]
fn a_level_outside_the_range_is_moved_into_it() {
    for codec in codecs() {
        for level in [i32::MIN, -1, 0, 99, i32::MAX] {
            let (mut stored, mut back) = (Vec::new(), Vec::new());
            codec.encode(b"some bytes", &[], Level::of(level), &mut stored).unwrap();
            codec.decode(&stored, &mut back, 10).unwrap();
            assert_eq!(back, b"some bytes");
        }
    }
}

#[test]
fn a_bomb_is_refused_without_being_unpacked() {
    use std::io::copy;
    let zeros = || std::io::repeat(0).take(1 << 30);
    let mut bombs: Vec<(&str, Vec<u8>)> = Vec::new();
    #[cfg(feature = "zstd")]
    {
        // One that declares its length and one that does not.
        for declared in [Some(1 << 30), None] {
            let mut encoder = ::zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
            encoder.set_pledged_src_size(declared).unwrap();
            copy(&mut zeros(), &mut encoder).unwrap();
            bombs.push(("zstd", encoder.finish().unwrap()));
        }
    }
    #[cfg(feature = "gzip")]
    {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        copy(&mut zeros(), &mut encoder).unwrap();
        bombs.push(("gzip", encoder.finish().unwrap()));
    }
    for (name, bomb) in bombs {
        let mut back = Vec::new();
        let error = codec(name).unwrap().decode(&bomb, &mut back, 1 << 20).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged);
        assert!(back.capacity() <= 4 << 20, "{name} allocated {} bytes", back.capacity());
    }
}

#[cfg(feature = "zstd")]
#[test]
fn skippable_frames_are_skipped_and_do_not_count() {
    let zstd = codec("zstd").unwrap();
    let skippable = [&[0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
    let stream = [
        skippable.clone(),
        encoded(&*zstd, b"one"),
        skippable.clone(),
        encoded(&*zstd, b"two"),
        skippable.clone(),
    ]
    .concat();
    let mut input = stream.as_slice();
    for expected in [b"one", b"two"] {
        let mut back = Vec::new();
        assert!(zstd.decode_frame(&mut input, &mut back).unwrap());
        assert_eq!(back, expected);
    }
    assert!(!zstd.decode_frame(&mut input, &mut Vec::new()).unwrap());
    assert!(zstd.decode(&skippable, &mut Vec::new(), 100).is_err());
}
