//! How long it takes to render one machine of each role, and the whole platform, program start included.

use std::time::Instant;

use anyhow::Result;
use promises::Platform;

use crate::statistics::{Samples, milliseconds};
use crate::table::Table;

const TIMES: usize = 9;

pub(crate) fn measure(table: &mut Table) -> Result<()> {
    let cluster = Platform::shipped("pryv", None)?;
    let single = Platform::shipped("pryv", Some("singlenode"))?;
    let nothing = time(|| cluster.command()?.arg("--version").succeed().map(drop))?;
    let machines = ["co1", "reg-master", "reg-slave", "static"].map(|machine| (&cluster, Some(machine)));
    let name = single.document()["machines"].as_object().and_then(|machines| machines.keys().next().cloned());
    let all = machines.into_iter().chain([(&single, name.as_deref()), (&cluster, None)]);
    for (platform, machine) in all {
        let out = platform.path("rendered");
        let took = time(|| {
            let render = platform.command()?.args(["render", "--out"]).arg(&out);
            let render = match machine {
                Some(machine) => render.args(["--machine", machine]),
                None => render,
            };
            render.succeed().map(drop)
        })?;
        let what = machine.unwrap_or("all five machines");
        table.row(
            &format!("render {what}, to files"),
            milliseconds(took),
            Some((format!("--version {}", milliseconds(nothing)), took.as_secs_f64() / nothing.as_secs_f64())),
            "",
        );
    }
    Ok(())
}

fn time(mut act: impl FnMut() -> Result<()>) -> Result<std::time::Duration> {
    let mut samples = Vec::new();
    for _ in 0..TIMES {
        let start = Instant::now();
        act()?;
        samples.push(start.elapsed());
    }
    Ok(Samples::of(samples).median())
}
