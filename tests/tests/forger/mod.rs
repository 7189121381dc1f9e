//! Somebody who may write to the store, holds every public key, and has read docs/format.md.

use std::fs;
use std::path::{Path, PathBuf};

use ed25519_dalek::{Signer, SigningKey};
use serde_json::{Value, json};

pub(crate) struct Forger {
    repository: PathBuf,
    /// His own key.
    key: SigningKey,
}

type Forge<'a> = Box<dyn Fn(&Forger) + 'a>;

fn hash(bytes: &[u8]) -> String {
    hex::encode(blake3::hash(bytes).as_bytes())
}

impl Forger {
    pub(crate) fn new(repository: &Path) -> Self {
        Self { repository: repository.to_owned(), key: SigningKey::from_bytes(&[7; 32]) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.repository.join(name)
    }

    fn signature(&self, purpose: &str, hash: &str) -> Value {
        let message = [format!("lifeboat 2026 {purpose}\0").as_bytes(), &hex::decode(hash).unwrap()].concat();
        json!({
            "signer": hex::encode(self.key.verifying_key().to_bytes()),
            "ed25519": hex::encode(self.key.sign(&message).to_bytes()),
        })
    }

    /// A line, and behind it what a forger can say to prove it.
    fn proven(&self, line: &[u8], signature: &Value) -> Vec<u8> {
        // The order of the keys is the format's.
        let proof = format!("{{\"hash\":\"{}\",\"signature\":{}}}", hash(line), compact(signature));
        [line, b"\n", proof.as_bytes(), b"\n"].concat()
    }

    fn manifest(&self, id: &str) -> (Value, Value, Vec<u8>) {
        let file = fs::read(self.path(&format!("manifests/{id}"))).unwrap();
        let mut parts = file.splitn(3, |byte| *byte == b'\n');
        let header = serde_json::from_slice(parts.next().unwrap()).unwrap();
        let proof: Value = serde_json::from_slice(parts.next().unwrap()).unwrap();
        (header, proof["signature"].clone(), parts.next().unwrap().to_vec())
    }

    /// Writes a manifest whose hashes fit, signed by `signature` or by himself.
    fn write_manifest(&self, header: &Value, body: &[u8], signature: Option<Value>) {
        let line = serde_json::to_vec(header).unwrap();
        let signature = signature.unwrap_or_else(|| self.signature("manifest", &hash(&line)));
        let name = header["id"].as_str().unwrap();
        let file = [self.proven(&line, &signature), body.to_vec()].concat();
        fs::write(self.path(&format!("manifests/{name}")), file).unwrap();
    }

    /// Something that looks like an age file of the same size, and is sealed for the true recipients: that needs no secret.
    fn sealed_for_the_recipients(&self, clear: &[u8]) -> Vec<u8> {
        let description: Value =
            serde_json::from_slice(&fs::read(self.path("lifeboat.json")).unwrap()).unwrap();
        let recipients: Vec<age::x25519::Recipient> = description["recipients"]
            .as_array()
            .unwrap()
            .iter()
            .map(|recipient| recipient.as_str().unwrap().parse().unwrap())
            .collect();
        age::encrypt(&recipients[0], clear).unwrap()
    }

    /// Puts an archive of his own, a tar file, in the place of that of the backup `id`: sealed for the true recipients, and good in itself.
    pub(crate) fn replace_archive(&self, id: &str, mut tar: Vec<u8>, its_id: &str) {
        while let Some(place) = tar.windows(its_id.len()).position(|name| name == its_id.as_bytes()) {
            tar[place..place + id.len()].copy_from_slice(id.as_bytes());
        }
        let mut place = 0;
        while tar[place] != 0 {
            let (header, rest) = tar[place..].split_at_mut(512);
            let size = std::str::from_utf8(&header[124..135]).unwrap();
            let size = usize::from_str_radix(size, 8).unwrap();
            if header.starts_with(b"manifests/") {
                let line = rest.iter().position(|byte| *byte == b'\n').unwrap();
                let proof = format!("{{\"hash\":\"{}\"", hash(&rest[..line]));
                rest[line + 1..line + 1 + proof.len()].copy_from_slice(proof.as_bytes());
            }
            header[148..156].fill(b' ');
            let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
            header[148..156].copy_from_slice(format!("{sum:07o}\0").as_bytes());
            place += 512 + size.next_multiple_of(512);
        }
        fs::write(self.path(&format!("files/{id}.tar")), self.sealed_for_the_recipients(&tar)).unwrap();
    }

    fn first_chunk(&self, id: &str) -> PathBuf {
        let (header, ..) = self.manifest(id);
        let list = header["lists"][0]["id"].as_str().unwrap();
        let list = fs::read(self.path(&format!("lists/{}/{list}", &list[..2]))).unwrap();
        let (name, stored) = (hex::encode(&list[8..40]), hex::encode(&list[40..48]));
        self.path(&format!("chunks/{}/{name}.{stored}", &name[..2]))
    }

    /// Everything that is tried: what it is, the backup that is then restored, and how it is done.
    pub(crate) fn forgeries<'a>(
        &'a self,
        id: &'a str,
        file: &'a str,
    ) -> Vec<(&'static str, String, Forge<'a>)> {
        let new = "20991231-235959-00000000";
        let mut all: Vec<(&'static str, String, Forge<'a>)> = Vec::new();
        let mut add = |what, restored: &str, forge: Forge<'a>| all.push((what, restored.to_owned(), forge));
        add(
            "a chunk with other contents, sealed for the true recipients",
            id,
            Box::new(move |forger| {
                fs::write(forger.first_chunk(id), forger.sealed_for_the_recipients(b"LBC\x01\x04none"))
                    .unwrap();
            }),
        );
        add(
            "a chunk that is not sealed",
            id,
            Box::new(move |forger| {
                fs::write(forger.first_chunk(id), b"LBC\x01\x04none\0\0\0\0\0\0\0\0\0\0\0\0").unwrap();
            }),
        );
        add(
            "a single file, sealed for the true recipients",
            file,
            Box::new(move |forger| {
                let sealed = forger.sealed_for_the_recipients(b"-- lifeboat script 1\nDROP TABLE orders;\n");
                fs::write(forger.path(&format!("files/{file}.sql.zst")), sealed).unwrap();
            }),
        );
        add(
            "a list with one more entry",
            id,
            Box::new(move |forger| {
                let (header, ..) = forger.manifest(id);
                let name = header["lists"][0]["id"].as_str().unwrap().to_owned();
                let path = forger.path(&format!("lists/{}/{name}", &name[..2]));
                let list = fs::read(&path).unwrap();
                fs::write(path, [&list[..], &list[8..80]].concat()).unwrap();
            }),
        );
        add(
            "a forged list, named by a manifest with the old signature",
            id,
            Box::new(move |forger| {
                let (mut header, signature, body) = forger.manifest(id);
                let name = header["lists"][0]["id"].as_str().unwrap().to_owned();
                let mut list = fs::read(forger.path(&format!("lists/{}/{name}", &name[..2]))).unwrap();
                list[40] ^= 1;
                let forged = hash(&list);
                fs::create_dir_all(forger.path(&format!("lists/{}", &forged[..2]))).unwrap();
                fs::write(forger.path(&format!("lists/{}/{forged}", &forged[..2])), list).unwrap();
                header["lists"][0]["id"] = forged.into();
                forger.write_manifest(&header, &body, Some(signature));
            }),
        );
        add(
            "a manifest without a signature",
            id,
            Box::new(move |forger| {
                let (header, _, body) = forger.manifest(id);
                forger.write_manifest(&header, &body, Some(Value::Null));
            }),
        );
        add(
            "a manifest signed by himself",
            id,
            Box::new(move |forger| {
                let (mut header, _, body) = forger.manifest(id);
                header["rows"] = 1.into();
                forger.write_manifest(&header, &body, None);
            }),
        );
        add(
            "a manifest signed by himself in the name of the host",
            id,
            Box::new(move |forger| {
                let (header, signature, body) = forger.manifest(id);
                let line = serde_json::to_vec(&header).unwrap();
                let mut forged = forger.signature("manifest", &hash(&line));
                forged["signer"] = signature["signer"].clone();
                forger.write_manifest(&header, &body, Some(forged));
            }),
        );
        add(
            "a new backup, signed by himself, newer than all",
            new,
            Box::new(move |forger| {
                let (mut header, _, body) = forger.manifest(id);
                header["id"] = new.into();
                header["ordinal"] = u64::MAX.into();
                forger.write_manifest(&header, &body, None);
            }),
        );
        add(
            "a new backup with the signature of a true one",
            new,
            Box::new(move |forger| {
                let (mut header, signature, body) = forger.manifest(id);
                header["id"] = new.into();
                forger.write_manifest(&header, &body, Some(signature));
            }),
        );
        add(
            "a true manifest under another name",
            new,
            Box::new(move |forger| {
                fs::copy(forger.path(&format!("manifests/{id}")), forger.path(&format!("manifests/{new}")))
                    .unwrap();
            }),
        );
        add(
            "a manifest with the signature of a mark",
            id,
            Box::new(move |forger| {
                let (header, _, body) = forger.manifest(id);
                let mark = fs::read(forger.path(&format!("marks/{id}"))).unwrap();
                let proof: Value =
                    serde_json::from_slice(mark.split(|byte| *byte == b'\n').nth(1).unwrap()).unwrap();
                forger.write_manifest(&header, &body, Some(proof["signature"].clone()));
            }),
        );
        add(
            "another body, sealed for the true recipients",
            id,
            Box::new(move |forger| {
                let (mut header, signature, _) = forger.manifest(id);
                let body = forger.sealed_for_the_recipients(b"{}");
                header["body"]["size"] = body.len().into();
                header["body"]["hash"] = hash(&body).into();
                forger.write_manifest(&header, &body, Some(signature));
            }),
        );
        all
    }

    /// Marks that are not the host's of this backup.
    pub(crate) fn marks(&self, id: &str, other: &str) -> Vec<Vec<u8>> {
        let mark = fs::read(self.path(&format!("marks/{id}"))).unwrap();
        let line = mark.split(|byte| *byte == b'\n').next().unwrap().to_vec();
        let true_proof: Value =
            serde_json::from_slice(mark.split(|byte| *byte == b'\n').nth(1).unwrap()).unwrap();
        let mut later: Value = serde_json::from_slice(&line).unwrap();
        later["verified"] = "2099-01-01T00:00:00Z".into();
        let later = serde_json::to_vec(&later).unwrap();
        vec![
            line.clone(),
            self.proven(&line, &Value::Null),
            self.proven(&line, &self.signature("mark", &hash(&line))),
            self.proven(&later, &true_proof["signature"]),
            fs::read(self.path(&format!("marks/{other}"))).unwrap(),
        ]
    }

    /// Descriptions that let him read, or be believed.
    pub(crate) fn descriptions(&self) -> Vec<(&'static str, Vec<u8>)> {
        let description: Value =
            serde_json::from_slice(&fs::read(self.path("lifeboat.json")).unwrap()).unwrap();
        let me = hex::encode(self.key.verifying_key().to_bytes());
        let mine = lifeboat::Identity::generate().recipient().to_string();
        let mut all = Vec::new();
        let mut add = |what, change: &dyn Fn(&mut Value), resign: bool| {
            let mut forged = description.clone();
            change(&mut forged);
            if resign {
                forged["signature"] = self.signature("repository", &hash(signed_text(&forged).as_bytes()));
            }
            all.push((what, encode(&forged)));
        };
        let push = |list: &mut Value, item: &str| list.as_array_mut().unwrap().push(item.into());
        add(
            "himself among the recipients, the signature as it was",
            &|it| push(&mut it["recipients"], &mine),
            false,
        );
        add(
            "himself among the recipients, signed by himself",
            &|it| push(&mut it["recipients"], &mine),
            true,
        );
        add("himself alone as recipient, signed by himself", &|it| it["recipients"] = json!([mine]), true);
        add("himself among the signers, the signature as it was", &|it| push(&mut it["signers"], &me), false);
        add("himself among the signers, signed by himself", &|it| push(&mut it["signers"], &me), true);
        add(
            "himself everywhere, at a later revision",
            &|it| {
                push(&mut it["signers"], &me);
                push(&mut it["recipients"], &mine);
                it["revision"] = 99.into();
            },
            true,
        );
        add("no signature", &|it| it["signature"] = Value::Null, false);
        all
    }

    pub(crate) fn write_description(&self, description: &Value) {
        fs::write(self.path("lifeboat.json"), encode(description)).unwrap();
    }
}

/// What a signature of a description is about.
fn signed_text(it: &Value) -> String {
    let mut text = format!(
        "format {}\nid {}\ncreated {}\nrevision {}\n",
        it["format"],
        it["id"].as_str().unwrap(),
        it["created"].as_str().unwrap(),
        it["revision"]
    );
    for (word, list) in [("recipient", &it["recipients"]), ("signer", &it["signers"])] {
        for item in list.as_array().unwrap() {
            text += &format!("{word} {}\n", item.as_str().unwrap());
        }
    }
    text
}

/// A signature in the spelling that the format has.
fn compact(signature: &Value) -> String {
    match signature {
        Value::Null => "null".to_owned(),
        it => format!("{{\"signer\":{},\"ed25519\":{}}}", it["signer"], it["ed25519"]),
    }
}

/// The file, with the hash at its end.
fn encode(description: &Value) -> Vec<u8> {
    let mut description = description.clone();
    description.as_object_mut().unwrap().remove("hash");
    let mut text = serde_json::to_string_pretty(&description).unwrap();
    text.truncate(text.len() - "\n}".len());
    text += ",\n";
    let end = format!("  \"hash\": \"{}\"\n}}\n", hash(text.as_bytes()));
    (text + &end).into_bytes()
}
