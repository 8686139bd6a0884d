//! Values in CBOR, the format of CloudWatch's answers (RFC 8949).

/// A value that is written from its beginning to its end: the head of a map or an array precedes what it holds.
#[derive(Default)]
pub(crate) struct Encoder(Vec<u8>);

impl Encoder {
    /// Begins a map of so many keys, each with its value.
    pub(crate) fn map(&mut self, length: usize) -> &mut Self {
        self.head(5, length)
    }

    /// Begins an array of so many values.
    pub(crate) fn array(&mut self, length: usize) -> &mut Self {
        self.head(4, length)
    }

    pub(crate) fn str(&mut self, text: &str) -> &mut Self {
        self.head(3, text.len()).0.extend_from_slice(text.as_bytes());
        self
    }

    pub(crate) fn boolean(&mut self, value: bool) -> &mut Self {
        self.head(7, if value { 21 } else { 20 })
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Writes a major type with its argument, in as few bytes as it takes.
    fn head(&mut self, major: u8, argument: usize) -> &mut Self {
        let major = major << 5;
        match argument {
            0..=23 => self.0.push(major | argument as u8),
            24..=0xff => self.0.extend([major | 24, argument as u8]),
            _ => {
                self.0.push(major | 26);
                let argument = u32::try_from(argument).expect("an answer has less than 4 GiB");
                self.0.extend(argument.to_be_bytes());
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::Encoder;

    #[test]
    fn values_are_those_of_the_specification() {
        // RFC 8949, appendix A, has the short ones.
        let mut value = Encoder::default();
        value.map(2).str("a").boolean(true).str("b").array(1).str("c");
        assert_eq!(hex::encode(value.into_bytes()), "a26161f56162816163");
        for (length, head) in [(23, "77"), (24, "7818"), (255, "78ff"), (256, "7a00000100"), (70_000, "7a00011170")] {
            let mut text = Encoder::default();
            text.str(&"x".repeat(length));
            let bytes = text.into_bytes();
            assert_eq!(hex::encode(&bytes[..bytes.len() - length]), head);
        }
    }
}
