//! `[prices.NAME]`: what a backend's model costs.

use super::{
    effective::Writer,
    money::{self, Money},
    section::Section,
};

/// Tokens that a price is for.
const TOKENS: u64 = 1_000_000;

/// Milliseconds that a price of a minute is for.
const MINUTE_MS: u64 = 60_000;

/// What a model costs: each price of tokens is for a million of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Prices {
    /// Its name.
    pub name: String,
    /// The currency of all of them.
    pub currency: String,
    /// Text sent.
    pub input_text: Money,
    /// Audio sent.
    pub input_audio: Money,
    /// Images sent.
    pub input_image: Money,
    /// Text sent that the backend had cached.
    pub cached_text: Money,
    /// Audio sent that the backend had cached.
    pub cached_audio: Money,
    /// Images sent that the backend had cached.
    pub cached_image: Money,
    /// Text received.
    pub output_text: Money,
    /// Audio received.
    pub output_audio: Money,
    /// Text that whoever writes down the caller's words reads.
    pub transcription_input_text: Money,
    /// Audio it hears.
    pub transcription_input_audio: Money,
    /// Text it writes.
    pub transcription_output: Money,
    /// A minute of audio it hears, where the backend counts that instead of tokens.
    pub transcription_minute: Money,
}

impl Prices {
    pub(super) fn read(mut section: Section<'_>, name: &str) -> Self {
        let currency = money::read_currency(&mut section);
        let mut price = |key| Money::read(&mut section, key);
        let [text, audio, image] =
            ["input_text", "input_audio", "input_image"].map(|key| price(key).unwrap_or_default());
        let prices = Self {
            name: name.to_owned(),
            currency,
            input_text: text,
            input_audio: audio,
            input_image: image,
            cached_text: price("cached_text").unwrap_or(text),
            cached_audio: price("cached_audio").unwrap_or(audio),
            cached_image: price("cached_image").unwrap_or(image),
            output_text: price("output_text").unwrap_or_default(),
            output_audio: price("output_audio").unwrap_or_default(),
            transcription_input_text: price("transcription_input_text").unwrap_or_default(),
            transcription_input_audio: price("transcription_input_audio").unwrap_or_default(),
            transcription_output: price("transcription_output").unwrap_or_default(),
            transcription_minute: price("transcription_minute").unwrap_or_default(),
        };
        section.finish();
        prices
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.table(format_args!("[prices.{}]", self.name));
        out.text("currency", &self.currency);
        for (key, price) in [
            ("input_text", self.input_text),
            ("input_audio", self.input_audio),
            ("input_image", self.input_image),
            ("cached_text", self.cached_text),
            ("cached_audio", self.cached_audio),
            ("cached_image", self.cached_image),
            ("output_text", self.output_text),
            ("output_audio", self.output_audio),
            ("transcription_input_text", self.transcription_input_text),
            ("transcription_input_audio", self.transcription_input_audio),
            ("transcription_output", self.transcription_output),
            ("transcription_minute", self.transcription_minute),
        ] {
            out.whole(key, price);
        }
    }

    /// What so many tokens cost at this price of a million.
    pub fn tokens(price: Money, tokens: u64) -> Money {
        price.of(tokens, TOKENS)
    }

    /// What so much transcribed audio costs.
    pub fn transcribed(&self, heard_ms: u64) -> Money {
        self.transcription_minute.of(heard_ms, MINUTE_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{problems, read};

    #[test]
    fn what_is_cached_costs_what_it_costs_otherwise_unless_it_has_a_price() {
        let config = read("[prices.p]\ninput_text = 4\ninput_audio = 32.5\ncached_audio = 0.4");
        let prices = &config.prices["p"];
        assert_eq!(prices.cached_text, Money::from_micros(4_000_000));
        assert_eq!(prices.cached_audio, Money::from_micros(400_000));
        assert_eq!(
            (prices.currency.as_str(), prices.output_text),
            ("USD", Money::default())
        );
    }

    #[test]
    fn prices_are_not_below_zero_and_a_currency_has_three_letters() {
        assert_eq!(
            problems("[prices.p]\ninput_text = -1\ncurrency = \"$\""),
            [
                "f.toml:2:14: prices.p.input_text = -1 is out of range: 0 to 1000000000",
                "f.toml:3:12: prices.p.currency = \"$\" is no currency: write its three letters, such as \"USD\"",
            ]
        );
    }

    #[test]
    fn a_backend_with_prices_that_are_none_is_told() {
        assert_eq!(
            problems("[prices.cheap]\n[backends.x]\nkind = \"operator\"\nprices = \"cheep\""),
            ["f.toml:4:10: backends.x.prices = \"cheep\" names no prices: did you mean \"cheap\"?"]
        );
    }
}
