//! Just enough of HTTP/1.0 to be asked by any client: one request, one answer, closed.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::boot::Booted;

/// Nobody who asks a question takes longer to type it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Reads one request and answers it.
pub(crate) fn one(mut connection: TcpStream, booted: &Booted) -> io::Result<()> {
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    let path = read_path(&connection)?;
    let (status, body) = answer(&path, booted);
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

fn answer(path: &str, booted: &Booted) -> (&'static str, Vec<u8>) {
    match path {
        "/started" => ("200 OK", booted.started.to_string().into_bytes()),
        "/health" if booted.healthy => ("200 OK", b"healthy".to_vec()),
        "/health" => ("503 Service Unavailable", b"unhealthy".to_vec()),
        "/files" => ("200 OK", list(booted).into_bytes()),
        _ => match path.strip_prefix("/files").and_then(|path| booted.files.get(path)) {
            Some(content) => ("200 OK", content.clone()),
            None => ("404 Not Found", b"not read at boot".to_vec()),
        },
    }
}

fn list(booted: &Booted) -> String {
    booted.files.keys().fold(String::new(), |list, path| list + path + "\n")
}
