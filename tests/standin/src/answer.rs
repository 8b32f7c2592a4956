//! Just enough of HTTP/1.0 to be asked by any client: one request, one answer, closed.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;
use std::{env, thread};

use crate::boot::Health;
use crate::service::Service;

/// Nobody who asks a question takes longer to type it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Longer than anybody waits for an answer.
const NEVER: Duration = Duration::from_hours(1);

/// Reads one request and answers it.
pub(crate) fn one(mut connection: TcpStream, service: &Service) -> io::Result<()> {
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    let path = read_path(&connection)?;
    let (status, body) = answer(&path, service);
    write!(connection, "HTTP/1.0 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
    connection.write_all(&body)
}

/// The path of the request line; the headers are read too, or closing would reset the connection under the answer.
fn read_path(connection: &TcpStream) -> io::Result<String> {
    let mut reader = BufReader::new(connection);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut header = String::new();
    while reader.read_line(&mut header)? > 2 {
        header.clear();
    }
    Ok(request.split(' ').nth(1).unwrap_or("/").to_owned())
}

fn answer(path: &str, service: &Service) -> (&'static str, Vec<u8>) {
    let good = |text: String| ("200 OK", text.into_bytes());
    match path {
        "/started" => good(service.started.to_string()),
        "/reads" => good(service.reads()),
        "/arguments" => good(env::args().skip(1).collect::<Vec<_>>().join(" ")),
        "/reload" => match service.read_again("asked") {
            Ok(()) => good("read again".to_owned()),
            Err(problem) => ("500 Internal Server Error", problem.into_bytes()),
        },
        "/health" => match service.with_booted(|booted| booted.health) {
            Health::Well => good("healthy".to_owned()),
            Health::Ill => ("503 Service Unavailable", b"unhealthy".to_vec()),
            Health::Silent => {
                thread::sleep(NEVER);
                good("too late".to_owned())
            }
        },
        "/files" => {
            good(service.with_booted(|booted| booted.files.keys().fold(String::new(), |all, path| all + path + "\n")))
        }
        _ => {
            let variable = path.strip_prefix("/environment/").and_then(|name| env::var(name).ok());
            let file = path.strip_prefix("/files");
            let content = file.and_then(|path| service.with_booted(|booted| booted.files.get(path).cloned()));
            match variable.map(String::into_bytes).or(content) {
                Some(content) => ("200 OK", content),
                None => ("404 Not Found", b"not read at boot".to_vec()),
            }
        }
    }
}
