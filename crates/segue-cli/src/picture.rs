//! QR codes: in the terminal, as PNG files, and read back from them.

use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::Path;

use qrcode::render::unicode::Dense1x2;
use qrcode::{Color, EcLevel, QrCode};

use crate::failure::Failure;

/// The white frame around a code, in modules, as the standard has it.
const QUIET: usize = 4;
/// A module in a PNG file, in pixels.
const MODULE: usize = 8;
/// The largest picture that is read, in pixels. From: a camera of 64 megapixels.
const MAX_PIXELS: u64 = 64_000_000;

/// A text as a QR code.
pub(crate) struct Picture {
    code: QrCode,
}

impl Picture {
    /// Draws a text.
    pub(crate) fn of(text: &str) -> Result<Picture, Failure> {
        let code = QrCode::with_error_correction_level(text, EcLevel::M);
        let code =
            code.map_err(|error| Failure::failed(format!("can't draw the invitation: {error}; paste its text")))?;
        Ok(Picture { code })
    }

    /// For a terminal, two modules a character. Most terminals are dark and draw in a light colour, so the light modules
    /// are those that are drawn. (The library's `Dark` is what is drawn.)
    pub(crate) fn lines(&self) -> String {
        let mut image = self.code.render::<Dense1x2>();
        image.dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).quiet_zone(true).build()
    }

    /// Writes a PNG file.
    pub(crate) fn save(&self, path: &Path) -> Result<(), Failure> {
        let modules = self.code.width() + 2 * QUIET;
        let side = modules * MODULE;
        let dark = |x: usize, y: usize| {
            let inside = |at: usize| (at / MODULE).checked_sub(QUIET).filter(|at| *at < self.code.width());
            matches!((inside(x), inside(y)), (Some(x), Some(y)) if self.code[(x, y)] == Color::Dark)
        };
        let pixels: Vec<u8> = (0..side * side).map(|at| if dark(at % side, at / side) { 0 } else { 255 }).collect();
        let file = File::create(path).map_err(Failure::io("write the picture", path))?;
        let side = u32::try_from(side).unwrap_or(u32::MAX);
        let mut encoder = png::Encoder::new(BufWriter::new(file), side, side);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(png::BitDepth::Eight);
        let written = encoder.write_header().and_then(|mut writer| writer.write_image_data(&pixels));
        written.map_err(|error| Failure::failed(format!("can't write the picture {}: {error}", path.display())))
    }
}

/// The text of the QR code in a PNG file.
pub(crate) fn scan(path: &Path) -> Result<String, Failure> {
    let file = File::open(path).map_err(Failure::io("read the picture", path))?;
    let (width, height, grey) = decode(BufReader::new(file)).map_err(|why| {
        Failure::failed(format!("can't read {} as a PNG file: {why}; save the picture as PNG", path.display()))
    })?;
    let mut image = rqrr::PreparedImage::prepare_from_greyscale(width, height, |x, y| {
        grey.get(y * width + x).copied().unwrap_or(255)
    });
    let read = image.detect_grids().into_iter().find_map(|grid| grid.decode().ok());
    let none = || {
        let path = path.display();
        Failure::failed(format!(
            "no QR code can be read in {path}; take the picture again, straight and whole, or --paste the text"
        ))
    };
    read.map(|(_, text)| text).ok_or_else(none)
}

fn decode(file: BufReader<File>) -> Result<(usize, usize, Vec<u8>), String> {
    let mut decoder = png::Decoder::new(file);
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(|error| error.to_string())?;
    let (width, height) = (reader.info().width, reader.info().height);
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(format!("{width} × {height} pixels are too many"));
    }
    let size = reader.output_buffer_size().ok_or("it is too large")?;
    let mut bytes = vec![0; size];
    let frame = reader.next_frame(&mut bytes).map_err(|error| error.to_string())?;
    let samples = frame.color_type.samples();
    let luma = |pixel: &[u8]| match pixel {
        [r, g, b, ..] => ((u32::from(*r) * 299 + u32::from(*g) * 587 + u32::from(*b) * 114) / 1000) as u8,
        [grey, ..] => *grey,
        [] => 255,
    };
    let grey = bytes.chunks_exact(samples).map(luma).collect();
    Ok((width as usize, height as usize, grey))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("invite.png");
        let text = format!("SEGUE:{}", "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".repeat(5));
        let picture = Picture::of(&text).unwrap();
        picture.save(&path).unwrap();
        assert_eq!(scan(&path).unwrap(), text);
        let lines = picture.lines();
        assert!(lines.lines().count() > 20);
        assert!(lines.lines().next().is_some_and(|frame| frame.chars().all(|c| c == '█')), "the frame is light");
    }

    #[test]
    fn a_picture_without_a_code_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.png");
        std::fs::write(&path, b"no picture").unwrap();
        assert!(scan(&path).unwrap_err().text.contains("save the picture as PNG"));
    }
}
