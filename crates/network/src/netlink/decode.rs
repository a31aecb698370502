//! Reading messages and attributes; never panics, whatever the bytes.

const HEADER_BYTES: usize = 16;
const ATTRIBUTE_HEADER_BYTES: usize = 4;
/// The upper two bits of an attribute's type are flags.
const KIND_MASK: u16 = 0x3fff;

/// One message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    pub(crate) payload: &'a [u8],
}

/// The messages of what one `recv` brought; ends at the first that is malformed.
pub(crate) struct Messages<'a> {
    rest: &'a [u8],
}

impl<'a> Messages<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let header = self.rest.get(..HEADER_BYTES)?;
        let length = usize::try_from(u32_at(header, 0)?).ok()?;
        let payload = self.rest.get(HEADER_BYTES..length)?;
        let message = Message {
            kind: u16_at(header, 4)?,
            flags: u16_at(header, 6)?,
            sequence: u32_at(header, 8)?,
            payload,
        };
        self.rest = self
            .rest
            .get(length.next_multiple_of(4)..)
            .unwrap_or_default();
        Some(message)
    }
}

/// One attribute.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attribute<'a> {
    pub(crate) kind: u16,
    pub(crate) value: &'a [u8],
}

impl<'a> Attribute<'a> {
    /// A number in the machine's order.
    pub(crate) fn u32(&self) -> Option<u32> {
        u32_at(self.value, 0)
    }

    /// A number in network order.
    pub(crate) fn be32(&self) -> Option<u32> {
        self.u32().map(u32::from_be)
    }

    /// A 64-bit number in network order.
    pub(crate) fn be64(&self) -> Option<u64> {
        Some(u64::from_be_bytes(self.value.get(..8)?.try_into().ok()?))
    }

    /// A 16-bit number in network order.
    pub(crate) fn be16(&self) -> Option<u16> {
        u16_at(self.value, 0).map(u16::from_be)
    }

    /// A text up to its NUL.
    pub(crate) fn text(&self) -> String {
        text(self.value)
    }

    /// The attributes inside.
    pub(crate) fn inner(&self) -> Attributes<'a> {
        Attributes::new(self.value)
    }
}

/// The attributes of a message or of another attribute; ends at the first that is malformed.
pub(crate) struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Attributes<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The attributes after a message's fixed header of so many bytes.
    pub(crate) fn after(payload: &'a [u8], header_bytes: usize) -> Self {
        Self::new(payload.get(header_bytes..).unwrap_or_default())
    }

    /// The first of a kind.
    pub(crate) fn find_kind(mut self, kind: u16) -> Option<Attribute<'a>> {
        self.find(|attribute| attribute.kind == kind)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        let length = usize::from(u16_at(self.rest, 0)?);
        let kind = u16_at(self.rest, 2)? & KIND_MASK;
        let value = self.rest.get(ATTRIBUTE_HEADER_BYTES..length)?;
        self.rest = self
            .rest
            .get(length.next_multiple_of(4)..)
            .unwrap_or_default();
        Some(Attribute { kind, value })
    }
}

/// A text up to its NUL; what is not UTF-8 is replaced.
pub(crate) fn text(bytes: &[u8]) -> String {
    let end = bytes
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_ne_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_lengths_end_the_walk_and_never_panic() {
        // A length of zero, one below the header, one beyond the end.
        for length in [0u32, 15, 17, 1000, u32::MAX] {
            let mut bytes = length.to_ne_bytes().to_vec();
            bytes.extend_from_slice(&[0; 12]);
            assert_eq!(Messages::new(&bytes).count(), 0, "{length}");
        }
        for length in [0u16, 3, 9, u16::MAX] {
            let mut bytes = length.to_ne_bytes().to_vec();
            bytes.extend_from_slice(&[0; 6]);
            assert_eq!(Attributes::new(&bytes).count(), 0, "{length}");
        }
        // Every prefix of pseudo-random bytes.
        let mut state = 1u32;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8 % 24
        })
        .take(4096)
        .collect();
        for start in 0..noise.len() {
            for message in Messages::new(&noise[start..]) {
                Attributes::new(message.payload).for_each(drop);
            }
            Attributes::new(&noise[start..]).for_each(drop);
        }
    }

    #[test]
    fn a_last_attribute_may_lack_its_padding() {
        let bytes = [5, 0, 1, 0, 42];
        let found: Vec<_> = Attributes::new(&bytes).map(|it| it.value[0]).collect();
        assert_eq!(found, [42]);
    }
}
