//! Which colour a series has.
//!
//! The colours are those of Okabe and Ito, which people with any kind of colour vision can tell apart,
//! and two greys. Sallyport alone has vermilion.

use plotters::style::RGBColor;

const SALLYPORT: RGBColor = RGBColor(0xD5, 0x5E, 0x00);
const BLUE: RGBColor = RGBColor(0x00, 0x72, 0xB2);
const SKY: RGBColor = RGBColor(0x56, 0xB4, 0xE9);
const GREEN: RGBColor = RGBColor(0x00, 0x9E, 0x73);
const PURPLE: RGBColor = RGBColor(0xCC, 0x79, 0xA7);
const ORANGE: RGBColor = RGBColor(0xE6, 0x9F, 0x00);
const YELLOW: RGBColor = RGBColor(0xD9, 0xC8, 0x1E);
const DARK: RGBColor = RGBColor(0x40, 0x40, 0x40);
const GREY: RGBColor = RGBColor(0x99, 0x99, 0x99);

/// For series that are no proxy, in this order.
const OTHERS: [RGBColor; 7] = [BLUE, ORANGE, GREEN, PURPLE, SKY, DARK, YELLOW];

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Look {
    /// Of its line or bar.
    pub(super) colour: RGBColor,
    /// Whether it is the gateway, which is drawn heavier.
    pub(super) stands_out: bool,
    /// Whether its colour is taken by an earlier series of the same picture.
    pub(super) dashed: bool,
}

/// The looks of all series of a picture, in their order.
pub(super) fn looks(names: &[&str]) -> Vec<Look> {
    let mut others = 0;
    let mut look = |name: &&str| match of_proxy(name) {
        Some(colour) => Look { colour, stands_out: colour == SALLYPORT, dashed: false },
        None => {
            others += 1;
            other(others - 1)
        }
    };
    names.iter().map(&mut look).collect()
}

fn other(index: usize) -> Look {
    let colour = OTHERS[index % OTHERS.len()];
    Look { colour, stands_out: false, dashed: index >= OTHERS.len() }
}

/// A proxy is known by the first word of the series' name.
fn of_proxy(name: &str) -> Option<RGBColor> {
    let first = name.split([' ', ',', '/']).next()?.to_ascii_lowercase();
    Some(match first.as_str() {
        "sallyport" => SALLYPORT,
        "bare" | "bare-pingora" | "pingora" => DARK,
        "bare-tuned" => GREY,
        "nginx" => GREEN,
        "haproxy" => BLUE,
        "envoy" => PURPLE,
        "caddy" => SKY,
        "traefik" => ORANGE,
        "pingap" => YELLOW,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_keeps_its_colour_whatever_stands_beside_it() {
        let alone = looks(&["nginx"]);
        let among = looks(&["flow 1", "Sallyport, filtered", "nginx"]);
        assert_eq!(alone[0], among[2]);
        assert!(among[1].stands_out && !among[2].stands_out);
    }

    #[test]
    fn no_two_proxies_look_alike() {
        let names = [
            "sallyport",
            "bare",
            "bare-tuned",
            "nginx",
            "haproxy",
            "envoy",
            "caddy",
            "traefik",
            "pingap",
        ];
        let looks = looks(&names);
        for (index, look) in looks.iter().enumerate() {
            assert!(!looks[..index].contains(look), "{}", names[index]);
        }
    }

    #[test]
    fn colours_come_round_as_dashes() {
        let names: Vec<String> = (0..12).map(|flow| format!("flow {flow}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let looks = looks(&names);
        assert_eq!(looks[0].colour, looks[7].colour);
        assert!(!looks[0].dashed && looks[7].dashed);
    }
}
