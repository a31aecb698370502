//! Writing messages and attributes into one buffer.

use rustix::io::Errno;

/// The most bytes of one batch: what a socket may send at once without a larger buffer is about
/// 208 KiB, and the kernel's own bookkeeping counts too.
pub(crate) const BATCH_BYTES_MAX: usize = 128 * 1024;

const ATTRIBUTE_HEADER_BYTES: usize = 4;
const NESTED: u16 = 0x8000;

/// `NLM_F_REQUEST`.
pub(super) const REQUEST: u16 = 0x01;
/// `NLM_F_ACK`.
pub(super) const ACK: u16 = 0x04;

/// What a message does, for the error when the kernel refuses it.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// The operation: `cannot <verb> <object>`.
    pub(crate) verb: &'static str,
    /// What it is done to.
    pub(crate) object: String,
    /// Answers that are as good as done (`EEXIST` for what may be there already).
    pub(crate) fine: &'static [Errno],
}

impl Step {
    pub(crate) fn new(verb: &'static str, object: impl Into<String>) -> Self {
        Self {
            verb,
            object: object.into(),
            fine: &[],
        }
    }

    pub(crate) fn unless(mut self, fine: &'static [Errno]) -> Self {
        self.fine = fine;
        self
    }
}

/// Messages that go to the kernel in one `send`.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    starts: Vec<usize>,
    steps: Vec<Step>,
    too_large: bool,
}

impl Batch {
    pub(crate) fn new() -> Self {
        Self {
            bytes: Vec::with_capacity(4096),
            ..Self::default()
        }
    }

    /// Appends a message: its type, flags, fixed header, and attributes.
    pub(crate) fn push(
        &mut self,
        (kind, flags): (u16, u16),
        header: &[u8],
        step: Step,
        body: impl FnOnce(&mut Encoder<'_>),
    ) {
        let start = self.bytes.len();
        self.starts.push(start);
        self.steps.push(step);
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes
            .extend_from_slice(&(flags | REQUEST).to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 8]);
        self.bytes.extend_from_slice(header);
        pad(self.bytes.as_mut());
        body(&mut Encoder {
            bytes: &mut self.bytes,
            too_large: &mut self.too_large,
        });
        match u32::try_from(self.bytes.len() - start) {
            Ok(length) => self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes()),
            Err(_) => self.too_large = true,
        }
        self.too_large |= self.bytes.len() > BATCH_BYTES_MAX;
    }

    /// Asks for an answer to message `index`, whatever its outcome.
    pub(super) fn acknowledge(&mut self, index: usize) {
        let at = self.starts[index] + 6;
        self.bytes[at] |= ACK as u8;
    }

    /// Numbers the messages from `first` on.
    pub(super) fn number(&mut self, first: u32) {
        for (start, sequence) in self.starts.iter().zip(first..) {
            let at = start + 8;
            self.bytes[at..at + 4].copy_from_slice(&sequence.to_ne_bytes());
        }
    }

    /// The first message without its header, as the kernel would answer.
    #[cfg(test)]
    pub(crate) fn payload_of_first(&self) -> Vec<u8> {
        self.bytes[16..].to_vec()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.steps.len()
    }

    pub(crate) fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn step(&self, index: usize) -> &Step {
        &self.steps[index]
    }

    pub(super) fn is_too_large(&self) -> bool {
        self.too_large
    }
}

/// Appends attributes to a message.
pub(crate) struct Encoder<'a> {
    bytes: &'a mut Vec<u8>,
    too_large: &'a mut bool,
}

impl Encoder<'_> {
    pub(crate) fn put(&mut self, kind: u16, value: &[u8]) {
        let length = self.length(value.len() + ATTRIBUTE_HEADER_BYTES);
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        pad(self.bytes);
    }

    pub(crate) fn put_u8(&mut self, kind: u16, value: u8) {
        self.put(kind, &[value]);
    }

    /// A number in the machine's order, as routing messages have them.
    pub(crate) fn put_u32(&mut self, kind: u16, value: u32) {
        self.put(kind, &value.to_ne_bytes());
    }

    /// A number in network order, as netfilter's messages have them.
    pub(crate) fn put_be32(&mut self, kind: u16, value: u32) {
        self.put(kind, &value.to_be_bytes());
    }

    /// A text with the NUL that the kernel expects.
    pub(crate) fn put_text(&mut self, kind: u16, value: &str) {
        let mut bytes = Vec::with_capacity(value.len() + 1);
        bytes.extend_from_slice(value.as_bytes());
        bytes.push(0);
        self.put(kind, &bytes);
    }

    /// An attribute that holds others.
    pub(crate) fn nest(&mut self, kind: u16, body: impl FnOnce(&mut Encoder<'_>)) {
        self.nest_plain(kind | NESTED, body);
    }

    /// The same after a fixed header, as a veth's peer has one.
    pub(crate) fn nest_after(
        &mut self,
        kind: u16,
        header: &[u8],
        body: impl FnOnce(&mut Encoder<'_>),
    ) {
        self.nest_plain(kind, |inner| {
            inner.bytes.extend_from_slice(header);
            pad(inner.bytes);
            body(inner);
        });
    }

    fn nest_plain(&mut self, kind: u16, body: impl FnOnce(&mut Encoder<'_>)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        body(&mut Encoder {
            bytes: self.bytes,
            too_large: self.too_large,
        });
        let length = self.length(self.bytes.len() - start);
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    }

    fn length(&mut self, length: usize) -> u16 {
        u16::try_from(length).unwrap_or_else(|_| {
            *self.too_large = true;
            0
        })
    }
}

/// Everything starts at a multiple of four bytes.
fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::super::decode::{Attributes, Messages};
    use super::*;

    #[test]
    fn a_batch_reads_back_as_it_was_written() {
        let mut batch = Batch::new();
        batch.push((16, 0x600), &[7; 16], Step::new("add", "x"), |body| {
            body.put_text(3, "eth0");
            body.nest(18, |info| {
                info.put_text(1, "veth");
                info.nest_after(2, &[9; 5], |peer| peer.put_u32(4, 1500));
            });
        });
        batch.push((20, 0), &[1; 8], Step::new("add", "y"), |_| {});
        batch.acknowledge(1);
        batch.number(41);
        let messages: Vec<_> = Messages::new(batch.bytes()).collect();
        assert_eq!(messages.len(), 2);
        assert_eq!((messages[0].kind, messages[0].sequence), (16, 41));
        assert_eq!(messages[0].flags, 0x601);
        assert_eq!((messages[1].kind, messages[1].sequence), (20, 42));
        assert_eq!(messages[1].flags, 0x5);
        let attributes: Vec<_> = Attributes::new(&messages[0].payload[16..]).collect();
        assert_eq!(
            (attributes[0].kind, attributes[0].value),
            (3, &b"eth0\0"[..])
        );
        assert_eq!(attributes[1].kind, 18);
        let inner: Vec<_> = Attributes::new(attributes[1].value).collect();
        assert_eq!(inner[0].value, b"veth\0");
        assert_eq!(&inner[1].value[..8], &[9, 9, 9, 9, 9, 0, 0, 0]);
        let peer: Vec<_> = Attributes::new(&inner[1].value[8..]).collect();
        assert_eq!(peer[0].value, 1500u32.to_ne_bytes());
        assert!(!batch.is_too_large());
    }

    #[test]
    fn what_does_not_fit_is_marked() {
        let mut batch = Batch::new();
        batch.push((1, 0), &[], Step::new("add", "x"), |body| {
            body.put(1, &[0; 70_000]);
        });
        assert!(batch.is_too_large());
        let mut batch = Batch::new();
        for _ in 0..5 {
            batch.push((1, 0), &[], Step::new("add", "x"), |body| {
                body.put(1, &[0; 30_000]);
            });
        }
        assert!(batch.is_too_large());
    }
}
