//! The app's accent colour in both colour schemes.
//! Owns its contrast. A colour that is too light or too dark is not refused, because hardly any is
//! readable on both light and dark paper. Each scheme gets the nearest readable colour of the same
//! hue.

use threads_auth::Rgb;

/// The least contrast of text that WCAG 2.2 allows (1.4.3, level AA). It is more than the 3 that
/// borders and marks need (1.4.11).
const LEAST: f64 = 4.5;

/// A colour scheme: the colours behind the accent, as in `style.css`, and the ink that is mixed
/// into it.
struct Scheme {
    /// The paper, the card, and the paper's tints. A label on a button has the colour of the card.
    ground: [Rgb; 5],
    ink: Rgb,
}

const LIGHT: Scheme = Scheme {
    ground: [rgb(0xf5_f3_ee), rgb(0xff_fe_fb), rgb(0xe4_f2_ea), rgb(0xe8_eb_fa), rgb(0xfa_e9_e0)],
    ink: rgb(0x00_00_00),
};

const DARK: Scheme = Scheme {
    ground: [rgb(0x12_14_1a), rgb(0x1b_1e_27), rgb(0x17_35_2b), rgb(0x24_2b_50), rgb(0x43_29_1d)],
    ink: rgb(0xff_ff_ff),
};

const fn rgb(number: u32) -> Rgb {
    let [_, red, green, blue] = number.to_be_bytes();
    Rgb([red, green, blue])
}

/// Returns the rules of a style sheet that set the accent in both schemes.
pub(super) fn rules(accent: Rgb) -> String {
    let [light, dark] = [LIGHT, DARK].map(|scheme| {
        let Rgb([red, green, blue]) = scheme.readable(accent);
        format!(":root{{--accent:#{red:02x}{green:02x}{blue:02x}}}")
    });
    format!("{light}@media(prefers-color-scheme:dark){{{dark}}}")
}

impl Scheme {
    /// Returns the accent, mixed with as many hundredths of ink as it needs to be readable.
    fn readable(&self, accent: Rgb) -> Rgb {
        (0..100)
            .map(|share| mixed(accent, self.ink, share))
            .find(|colour| self.ground.iter().all(|ground| contrast(*colour, *ground) >= LEAST))
            .unwrap_or(self.ink)
    }
}

fn mixed(colour: Rgb, ink: Rgb, share: u16) -> Rgb {
    let mix = |(one, other): (u8, u8)| {
        let sum = u16::from(one) * (100 - share) + u16::from(other) * share;
        u8::try_from(sum / 100).unwrap_or(u8::MAX)
    };
    let Rgb([red, green, blue]) = colour;
    let Rgb(ink) = ink;
    Rgb([mix((red, ink[0])), mix((green, ink[1])), mix((blue, ink[2]))])
}

/// Returns WCAG's contrast of two colours, from 1 to 21.
fn contrast(one: Rgb, other: Rgb) -> f64 {
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

/// Returns WCAG's relative luminance, from 0 to 1.
fn luminance(Rgb(channels): Rgb) -> f64 {
    let linear = channels.map(|channel| {
        let share = f64::from(channel) / 255.0;
        if share <= 0.040_45 { share / 12.92 } else { ((share + 0.055) / 1.055).powf(2.4) }
    });
    0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::look::STYLE;

    fn text(Rgb([red, green, blue]): Rgb) -> String {
        format!("#{red:02x}{green:02x}{blue:02x}")
    }

    #[test]
    fn contrast_is_as_wcag_computes_it() {
        for (one, other, expected) in [
            (0x00_00_00, 0xff_ff_ff, 21.0),
            (0xff_ff_ff, 0xff_ff_ff, 1.0),
            // WebAIM's own example of a grey that just passes, and one that just fails.
            (0x76_76_76, 0xff_ff_ff, 4.54),
            (0x77_77_77, 0xff_ff_ff, 4.48),
            (0x00_00_ff, 0xff_ff_ff, 8.59),
        ] {
            let found = contrast(rgb(one), rgb(other));
            assert!((found - expected).abs() < 0.005, "{one:06x} on {other:06x}: {found}");
        }
    }

    #[test]
    fn every_colour_becomes_readable_in_both_schemes() {
        let (mut colours, mut kept) = (0, 0);
        let steps = || (0..=255).step_by(15);
        for (red, green, blue) in
            steps().flat_map(|r| steps().flat_map(move |g| steps().map(move |b| (r, g, b))))
        {
            let accent = Rgb([red, green, blue]);
            for scheme in [LIGHT, DARK] {
                let shown = scheme.readable(accent);
                for ground in scheme.ground {
                    let found = contrast(shown, ground);
                    assert!(found >= LEAST, "{accent:?} as {shown:?} on {ground:?}: {found}");
                }
                kept += usize::from(shown == accent);
            }
            colours += 1;
        }
        println!("accent: {colours} colours, readable in both schemes; {kept} shown as they are in one");
        assert_eq!(colours, 18 * 18 * 18);
        assert!(kept > 1_000);
    }

    #[test]
    fn a_readable_colour_is_shown_as_it_is_and_another_one_hardly_changed() {
        assert_eq!(LIGHT.readable(rgb(0x0a_4f_b3)), rgb(0x0a_4f_b3));
        assert_eq!(DARK.readable(rgb(0xff_cc_00)), rgb(0xff_cc_00));
        let [yellow, blue] = [LIGHT.readable(rgb(0xff_cc_00)), DARK.readable(rgb(0x0a_4f_b3))];
        let Rgb([red, green, zero]) = yellow;
        assert!(red > green && green > 80 && zero == 0, "{yellow:?} is still a yellow");
        let Rgb([red, green, most]) = blue;
        assert!(most > green && green > red, "{blue:?} is still a blue");
    }

    #[test]
    fn the_grounds_are_those_of_the_style() {
        let (light, dark) = STYLE.split_once("@media(prefers-color-scheme:dark)").unwrap();
        let dark = dark.split("*{").next().unwrap();
        for (part, scheme) in [(light, LIGHT), (dark, DARK)] {
            let part = part.split("*{").next().unwrap();
            for name in ["--paper:", "--card:", "--tint:"] {
                for value in part.split(name).skip(1) {
                    assert!(scheme.ground.iter().any(|ground| text(*ground) == value[..7]), "{name}{value}");
                }
            }
            assert_eq!(part.matches("--tint:").count(), 3);
        }
    }
}
