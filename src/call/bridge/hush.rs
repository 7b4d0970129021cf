//! A caller whom the agent does not hear: on hold, or while typing what is nobody's business. The session gets silence of
//! the same length, so that its clock goes on.

/// Why the caller is not heard, if that is so.
#[derive(Debug, Default)]
pub(super) struct Hush {
    held: bool,
    typing: bool,
    silence: Vec<i16>,
}

impl Hush {
    /// The caller is on hold, or no more.
    pub fn hold(&mut self, on: bool) {
        self.held = on;
    }

    /// The caller types into the vault, or no more.
    pub fn type_in(&mut self, on: bool) {
        self.typing = on;
    }

    pub fn is_on(&self) -> bool {
        self.held || self.typing
    }

    /// What is heard of these samples.
    pub fn over<'a>(&'a mut self, pcm: &'a [i16]) -> &'a [i16] {
        if !self.is_on() {
            return pcm;
        }
        self.silence.resize(pcm.len(), 0);
        &self.silence
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_comes_back_from_hold_while_typing_is_not_heard_yet() {
        let mut hush = Hush::default();
        assert_eq!(hush.over(&[1, 2]), [1, 2]);
        hush.type_in(true);
        hush.hold(true);
        hush.hold(false);
        assert!(hush.is_on());
        assert_eq!(hush.over(&[1, 2]), [0, 0]);
        hush.type_in(false);
        assert_eq!(hush.over(&[3]), [3]);
    }
}
