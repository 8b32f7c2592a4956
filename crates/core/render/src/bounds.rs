//! What one file may cost: how much it prints, and how often its loops over `range` go round. A template that is wrong, or
//! meant ill, ends with a problem instead of with the leader's memory and time.

use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tera::{Context, Kwargs, State, Tera, TeraResult};

/// The largest file that a template may print, in bytes; what a machine takes as a whole is twice that.
pub(crate) const LARGEST_FILE: usize = 16 << 20;
/// So many numbers one file may ask `range` for, all its loops together.
const MOST_NUMBERS: usize = 1_000_000;

/// The bounds of one set, whose files are rendered one after the other.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bounds {
    numbers: Arc<AtomicUsize>,
}

impl Bounds {
    /// Puts a `range` in the place of Tera's own that counts.
    pub(crate) fn register(&self, tera: &mut Tera) {
        let numbers = Arc::clone(&self.numbers);
        tera.register_function("range", move |kwargs: Kwargs, _: &State| range(&kwargs, &numbers));
    }

    /// Renders one template.
    pub(crate) fn render(&self, tera: &Tera, template: &str, context: &Context) -> TeraResult<String> {
        self.numbers.store(0, Ordering::Relaxed);
        let mut page = Page(Vec::new());
        tera.render_to(template, context, &mut page)?;
        // Tera prints text only.
        Ok(String::from_utf8(page.0).unwrap_or_default())
    }
}

/// Whether it was given up because the file gets too large.
pub(crate) fn is_too_large(error: &tera::Error) -> bool {
    matches!(error.kind(), tera::ErrorKind::Io(ErrorKind::FileTooLarge))
}

/// The numbers from `start` (0) up to `end`, without it, by `step_by` (1).
fn range(kwargs: &Kwargs, numbers: &AtomicUsize) -> TeraResult<Vec<i64>> {
    let start = kwargs.get::<i64>("start")?.unwrap_or_default();
    let end = kwargs.must_get::<i64>("end")?;
    let step = kwargs.get::<i64>("step_by")?.unwrap_or(1);
    let step = usize::try_from(step).ok().filter(|step| *step > 0);
    let step = step.ok_or_else(|| tera::Error::message("`step_by` of `range` has to be 1 or more"))?;
    if start > end {
        return Err(tera::Error::message(format!("`range` starts at {start}, behind its end {end}")));
    }
    let many = || {
        let message = format!("the loops over `range` in this file go round more than {MOST_NUMBERS} times");
        tera::Error::message(message)
    };
    let count = usize::try_from(end.abs_diff(start)).map_err(|_| many())?.div_ceil(step);
    let before = numbers.fetch_add(count.min(MOST_NUMBERS + 1), Ordering::Relaxed);
    if before.saturating_add(count) > MOST_NUMBERS { Err(many()) } else { Ok((start..end).step_by(step).collect()) }
}

/// What is printed, up to [`LARGEST_FILE`].
struct Page(Vec<u8>);

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > LARGEST_FILE {
            return Err(ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(text: &str) -> Result<String, Box<dyn std::error::Error>> {
        let (mut tera, bounds) = (Tera::default(), Bounds::default());
        bounds.register(&mut tera);
        tera.add_raw_template("t", text)?;
        // What one file has used is no other one's loss.
        let once = bounds.render(&tera, "t", &Context::new())?;
        assert_eq!(bounds.render(&tera, "t", &Context::new())?, once);
        Ok(once)
    }

    #[test]
    fn numbers_are_what_they_were() -> Result<(), Box<dyn std::error::Error>> {
        let loops = "{% for i in range(end=3) %}{{ i }} {% endfor %}{% for i in range(start=2, end=9, step_by=3) %}{{ i }} {% endfor %}";
        assert_eq!(rendered(loops)?, "0 1 2 2 5 8 ");
        assert_eq!(rendered("{% for i in range(start=4, end=4) %}{{ i }}{% endfor %}")?, "");
        for wrong in ["start=5, end=4", "end=4, step_by=0", "end=4, step_by=-1", "start=1"] {
            assert!(rendered(&format!("{{% for i in range({wrong}) %}}{{% endfor %}}")).is_err(), "{wrong}");
        }
        Ok(())
    }

    #[test]
    fn loops_in_loops_and_endless_pages_end_with_an_error() -> Result<(), Box<dyn std::error::Error>> {
        let half = "{% for i in range(end=499) %}{% for j in range(end=1000) %}{% endfor %}{% endfor %}";
        assert_eq!(rendered(half)?, "");
        for endless in [
            "{% for i in range(end=100000) %}{% for j in range(end=100000) %}{% endfor %}{% endfor %}".to_owned(),
            "{% for i in range(end=9223372036854775807) %}{% endfor %}".to_owned(),
            format!("{{% for i in range(end=900000) %}}{}{{% endfor %}}", "long ".repeat(100)),
        ] {
            let error = rendered(&endless).err().ok_or("it ends well")?;
            let error = error.downcast::<tera::Error>()?;
            assert_eq!(is_too_large(&error), endless.contains("long"), "{error}");
        }
        Ok(())
    }
}
