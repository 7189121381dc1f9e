//! The codecs of the core, held to their promises.

mod zstd {
    use backup_core::codec::Zstd;
    use backup_testkit::codec::CodecFixture;
    backup_testkit::codec_conformance!(CodecFixture::framed(Zstd));
}

mod gzip {
    use backup_core::codec::Gzip;
    use backup_testkit::codec::CodecFixture;
    backup_testkit::codec_conformance!(CodecFixture::framed(Gzip));
}

mod none {
    use backup_core::codec::NoCompression;
    use backup_testkit::codec::CodecFixture;
    backup_testkit::codec_conformance!(CodecFixture::unframed(NoCompression));
}

#[test]
fn no_codec_is_left_out() {
    let names: Vec<_> = backup_core::codec::codecs().iter().map(|codec| codec.name()).collect();
    assert_eq!(names, ["zstd", "gzip", "none"]);
}
