//! What a [`Codec`] promises, case by case.

use std::io::{BufReader, Cursor, Read};
use std::sync::Arc;

use backup_core::ErrorKind;
use backup_core::codec::{Codec, Level, sniff};

use crate::storage::noise;

/// A codec to be tested.
#[derive(Debug, Clone)]
pub struct CodecFixture {
    /// The codec.
    pub codec: Arc<dyn Codec>,
    /// Whether its frames say where they end and prove what they hold. The codec `none` has no frames at all: it
    /// can neither notice a missing byte nor tell two frames apart, which is left to the hashes that core keeps of
    /// everything stored. Cases that need frames then check that core is not told otherwise.
    pub framed: bool,
}

impl CodecFixture {
    /// A codec with frames: any but `none`.
    pub fn framed(codec: impl Codec) -> Self {
        Self { codec: Arc::new(codec), framed: true }
    }

    /// A codec that stores bytes as they are.
    pub fn unframed(codec: impl Codec) -> Self {
        Self { codec: Arc::new(codec), framed: false }
    }

    fn encode(&self, raw: &[u8]) -> Vec<u8> {
        self.encode_as(raw, &[], Level::default())
    }

    fn encode_as(&self, raw: &[u8], flush_at: &[usize], level: Level) -> Vec<u8> {
        let mut frame = Vec::new();
        self.codec.encode(raw, flush_at, level, &mut frame).expect("bytes are encoded");
        frame
    }

    fn decode(&self, frame: &[u8]) -> backup_core::Result<Vec<u8>> {
        let mut raw = Vec::new();
        self.codec.decode(frame, &mut raw, 64 << 20).map(|()| raw)
    }

    fn refuses(&self, frame: &[u8], what: &str) {
        match self.decode(frame) {
            Err(error) => assert_eq!(error.kind(), ErrorKind::Damaged, "{what}: {error}"),
            Ok(raw) => panic!("{what} was decoded to {} bytes", raw.len()),
        }
    }
}

/// Expands to one test for each promise of a codec. The expression makes a [`CodecFixture`].
#[macro_export]
macro_rules! codec_conformance {
    ($fixture:expr) => {
        $crate::cases! { $fixture, codec,
            what_was_encoded_comes_back
            flush_points_do_not_change_what_comes_back
            every_level_is_accepted
            output_is_appended
            the_same_bytes_make_the_same_frame
            a_frame_that_holds_more_than_allowed_is_refused
            a_frame_that_is_cut_off_is_refused
            bytes_behind_a_frame_are_refused
            a_flipped_bit_is_refused
            what_is_no_frame_is_refused
            frames_are_decoded_one_by_one
            a_cut_off_stream_of_frames_is_an_error
            a_stream_of_frames_is_read_as_one
            its_frames_are_recognized
            an_end_mark_holds_nothing_and_is_passed_over
        }
    };
}

/// Bytes of several kinds: nothing, little, repetitive, text, noise, more than any window.
fn samples() -> Vec<Vec<u8>> {
    let text: Vec<u8> =
        (0..20_000).flat_map(|i| format!("{i}\tcustomer {}\t\\N\n", i * 7919 % 1000).into_bytes()).collect();
    let mut mixed = noise(5, 3 << 20);
    mixed.extend_from_slice(&text);
    mixed.extend_from_slice(&vec![7; 5 << 20]);
    vec![vec![], vec![0], b"a".to_vec(), vec![0; 1 << 20], text, noise(4, 100_000), mixed]
}

#[allow(missing_docs, reason = "each case is called what it promises")]
mod cases {
    use super::*;

    pub async fn what_was_encoded_comes_back(fixture: &CodecFixture) {
        for raw in samples() {
            assert!(fixture.decode(&fixture.encode(&raw)).unwrap() == raw, "{} bytes", raw.len());
        }
    }

    pub async fn flush_points_do_not_change_what_comes_back(fixture: &CodecFixture) {
        for raw in samples() {
            let n = raw.len();
            for flush_at in
                [vec![0, n], vec![n / 2], (0..n).step_by(n / 9 + 1).collect(), vec![n / 3, n / 3, n]]
            {
                let frame = fixture.encode_as(&raw, &flush_at, Level::default());
                assert!(fixture.decode(&frame).unwrap() == raw, "{n} bytes flushed at {flush_at:?}");
            }
        }
    }

    pub async fn every_level_is_accepted(fixture: &CodecFixture) {
        let raw = noise(1, 10_000);
        for level in [i32::MIN, -50, -1, 0, 1, 6, 9, 10, 19, 22, 23, 1000, i32::MAX] {
            let frame = fixture.encode_as(&raw, &[], Level::of(level));
            assert!(fixture.decode(&frame).unwrap() == raw, "level {level}");
        }
    }

    pub async fn output_is_appended(fixture: &CodecFixture) {
        let mut frame = b"before".to_vec();
        fixture.codec.encode(b"raw", &[], Level::default(), &mut frame).unwrap();
        assert_eq!(&frame[..6], b"before");
        let mut raw = b"there ".to_vec();
        fixture.codec.decode(&frame[6..], &mut raw, 1000).unwrap();
        assert_eq!(raw, b"there raw");
    }

    pub async fn the_same_bytes_make_the_same_frame(fixture: &CodecFixture) {
        for raw in samples() {
            assert!(fixture.encode(&raw) == fixture.encode(&raw), "{} bytes", raw.len());
        }
    }

    pub async fn a_frame_that_holds_more_than_allowed_is_refused(fixture: &CodecFixture) {
        // What a bomb unfolds to must not be held before it is refused: at most a constant more than allowed.
        for raw in [vec![0; 16 << 20], noise(2, 50_000)] {
            let frame = fixture.encode(&raw);
            for max in [0, 1, raw.len() / 2, raw.len() - 1] {
                let mut out = Vec::new();
                let decoded = fixture.codec.decode(&frame, &mut out, max);
                assert_eq!(decoded.expect_err("too much was decoded").kind(), ErrorKind::Damaged);
                assert!(
                    out.len() <= max + (1 << 18),
                    "{} bytes were decoded where {max} were allowed",
                    out.len()
                );
            }
            let mut out = Vec::new();
            fixture.codec.decode(&frame, &mut out, raw.len()).expect("exactly as much as allowed");
        }
    }

    pub async fn a_frame_that_is_cut_off_is_refused(fixture: &CodecFixture) {
        if !fixture.framed {
            return;
        }
        for raw in [b"a few bytes of text".to_vec(), vec![0; 100_000], noise(3, 20_000), vec![]] {
            let frame = fixture.encode(&raw);
            let step = frame.len() / 200 + 1;
            for length in (0..frame.len()).step_by(step).chain(frame.len().saturating_sub(12)..frame.len()) {
                fixture.refuses(&frame[..length], &format!("{length} of {} bytes", frame.len()));
            }
        }
    }

    pub async fn bytes_behind_a_frame_are_refused(fixture: &CodecFixture) {
        if !fixture.framed {
            return;
        }
        for raw in [b"text".to_vec(), vec![], noise(3, 20_000)] {
            let frame = fixture.encode(&raw);
            for behind in [&b"\0"[..], b"garbage", &frame] {
                fixture
                    .refuses(&[&frame, behind].concat(), &format!("{} bytes behind a frame", behind.len()));
            }
        }
    }

    pub async fn a_flipped_bit_is_refused(fixture: &CodecFixture) {
        if !fixture.framed {
            return;
        }
        let raw: Vec<u8> = (0..2000).flat_map(|i| format!("row {i};").into_bytes()).collect();
        let frame = fixture.encode(&raw);
        for at in (0..frame.len()).step_by(frame.len() / 500 + 1) {
            let mut flipped = frame.clone();
            flipped[at] ^= 0x10;
            // Some bits of a header mean nothing (a time, a name); what they must not do is change what comes back.
            if let Ok(decoded) = fixture.decode(&flipped) {
                assert!(decoded == raw, "a bit flipped at {at} of {} was not noticed", frame.len());
            }
        }
    }

    pub async fn what_is_no_frame_is_refused(fixture: &CodecFixture) {
        if !fixture.framed {
            return;
        }
        for (what, bytes) in [("nothing", vec![]), ("noise", noise(8, 1000)), ("zeros", vec![0; 100])] {
            fixture.refuses(&bytes, what);
        }
    }

    pub async fn frames_are_decoded_one_by_one(fixture: &CodecFixture) {
        let samples: Vec<_> = if fixture.framed {
            samples()
        } else {
            // Without frames all there is is one.
            vec![noise(6, 100_000)]
        };
        let frames: Vec<_> = samples.iter().map(|raw| fixture.encode(raw)).collect();
        // A small buffer: the end of a frame falls everywhere in it.
        let mut input = BufReader::with_capacity(61, Cursor::new(frames.concat()));
        for (raw, frame) in samples.iter().zip(&frames) {
            let mut out = Vec::new();
            let before = position(&mut input);
            assert!(fixture.codec.decode_frame(&mut input, &mut out).unwrap(), "a frame was left out");
            assert!(out == *raw, "{} bytes", raw.len());
            assert_eq!(position(&mut input) - before, frame.len() as u64, "it read past its frame");
        }
        let mut out = Vec::new();
        assert!(!fixture.codec.decode_frame(&mut input, &mut out).unwrap(), "there are no more frames");
        assert!(out.is_empty());
    }

    fn position(input: &mut BufReader<Cursor<Vec<u8>>>) -> u64 {
        input.get_ref().position() - input.buffer().len() as u64
    }

    pub async fn a_cut_off_stream_of_frames_is_an_error(fixture: &CodecFixture) {
        if !fixture.framed {
            return;
        }
        let raw = noise(7, 50_000);
        let (first, second) = (fixture.encode(&raw), fixture.encode(b"the second"));
        let whole = [first.as_slice(), &second].concat();
        for length in [first.len() / 2, first.len() - 1, first.len() + 1, whole.len() - 1] {
            let mut input = &whole[..length];
            let mut decoded = Vec::new();
            let ended = loop {
                match fixture.codec.decode_frame(&mut input, &mut decoded) {
                    Ok(true) => {}
                    Ok(false) => break Ok(()),
                    Err(error) => break Err(error),
                }
            };
            let error = ended.expect_err("a frame that is cut off has no end");
            assert_eq!(error.kind(), ErrorKind::Damaged, "{length} of {} bytes: {error}", whole.len());
            let mut out = Vec::new();
            let read = fixture.codec.reader(Box::new(&whole[..length])).unwrap().read_to_end(&mut out);
            assert!(read.is_err(), "{length} of {} bytes were read as a whole stream", whole.len());
        }
    }

    pub async fn a_stream_of_frames_is_read_as_one(fixture: &CodecFixture) {
        let samples = samples();
        let stream: Vec<u8> = samples.iter().flat_map(|raw| fixture.encode(raw)).collect();
        let input = BufReader::with_capacity(61, Cursor::new(stream));
        let mut out = Vec::new();
        fixture.codec.reader(Box::new(input)).unwrap().read_to_end(&mut out).unwrap();
        assert!(out == samples.concat());
    }

    pub async fn its_frames_are_recognized(fixture: &CodecFixture) {
        for raw in samples() {
            let frame = fixture.encode(&raw);
            assert_eq!(sniff(&frame).unwrap().name(), fixture.codec.name(), "{} bytes", raw.len());
        }
    }

    pub async fn an_end_mark_holds_nothing_and_is_passed_over(fixture: &CodecFixture) {
        let (Some(mark), Some(other)) =
            (fixture.codec.end_mark(&[7; 32]), fixture.codec.end_mark(&[0x80; 32]))
        else {
            return;
        };
        assert_ne!(mark, other);
        assert_eq!(mark.len(), other.len());
        let stream = [fixture.encode(b"one"), fixture.encode(b"two"), mark].concat();
        let mut out = Vec::new();
        fixture.codec.reader(Box::new(Cursor::new(stream.clone()))).unwrap().read_to_end(&mut out).unwrap();
        assert_eq!(out, b"onetwo");
        let (mut input, mut out) = (stream.as_slice(), Vec::new());
        while fixture.codec.decode_frame(&mut input, &mut out).unwrap() {}
        assert_eq!(out, b"onetwo");
    }
}

pub use cases::*;
