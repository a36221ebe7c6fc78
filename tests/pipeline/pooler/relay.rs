//! Keeps the prepared statements of clients of a PgBouncer that does not: what PgBouncer does
//! itself from 1.21 on.
//!
//! A client's named statements are known here alone. Wherever it uses one, the unnamed statement
//! of the connection that the pooler has just given it is made of the same text before, and its
//! answer to that is left out.

use std::collections::{HashMap, VecDeque};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::{io, thread};

type Reader = Box<dyn Read + Send>;
type Writer = Box<dyn Write + Send>;

/// Listens at an address, and in a directory as if it were at this port, for clients of `pooler`.
pub(super) fn start(address: SocketAddr, directory: &Path, pooler: SocketAddr) {
    let tcp = TcpListener::bind(address).unwrap();
    let socket = directory.join(format!(".s.PGSQL.{}", address.port()));
    let local = UnixListener::bind(socket).unwrap();
    // Both end with the test's process.
    thread::spawn(move || {
        for client in tcp.incoming().map(Result::unwrap) {
            client.set_nodelay(true).unwrap();
            let reader = client.try_clone().unwrap();
            relay(Box::new(reader), Box::new(client), pooler);
        }
    });
    thread::spawn(move || {
        for client in local.incoming().map(Result::unwrap) {
            let reader = client.try_clone().unwrap();
            relay(Box::new(reader), Box::new(client), pooler);
        }
    });
}

fn relay(client: Reader, to_client: Writer, pooler: SocketAddr) {
    let server = TcpStream::connect(pooler).unwrap();
    server.set_nodelay(true).unwrap();
    let (to_server, from_server) = (server.try_clone().unwrap(), server.try_clone().unwrap());
    // Of the connection's own begin.
    let answers = Arc::new(Mutex::new(VecDeque::from([Answer::Ready])));
    let asked = Arc::clone(&answers);
    // A client that hangs up is gone for the pooler as well.
    thread::spawn(move || {
        drop(forward_questions(client, to_server, &asked));
        drop(server.shutdown(std::net::Shutdown::Both));
    });
    thread::spawn(move || drop(forward_answers(from_server, to_client, &answers)));
}

/// An answer that is still to come.
#[derive(PartialEq)]
enum Answer {
    /// A statement is made, as the client has asked.
    Parsed,
    /// A statement is made for this relay.
    ParsedAgain,
    /// The server waits for the client.
    Ready,
}

/// Type and body of the next message.
fn read(reader: &mut impl Read) -> io::Result<(u8, Vec<u8>)> {
    let mut kind = [0];
    reader.read_exact(&mut kind)?;
    Ok((kind[0], read_body(reader)?))
}

fn read_body(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    reader.read_exact(&mut length)?;
    let mut body = vec![0; u32::from_be_bytes(length) as usize - length.len()];
    reader.read_exact(&mut body)?;
    Ok(body)
}

fn framed(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&length.to_be_bytes(), body].concat()
}

fn write(writer: &mut impl Write, kind: u8, body: &[u8]) -> io::Result<()> {
    writer.write_all(&[&[kind], framed(body).as_slice()].concat())
}

/// A text and what comes after the NUL at its end.
fn text(bytes: &[u8]) -> (Vec<u8>, &[u8]) {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap();
    (bytes[..end].to_vec(), &bytes[end + 1..])
}

fn forward_questions(
    mut client: Reader,
    mut server: TcpStream,
    answers: &Mutex<VecDeque<Answer>>,
) -> io::Result<()> {
    // It has no type.
    server.write_all(&framed(&read_body(&mut client)?))?;
    let mut statements: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
    // What the unnamed statement is made of: nothing that is known after the end of a
    // transaction, for then the next one may have another connection.
    let mut unnamed: Option<Vec<u8>> = None;
    loop {
        let (kind, mut body) = read(&mut client)?;
        // The name of the statement that has to be there, and the message without it.
        let mut used = None;
        match kind {
            b'P' => {
                let (name, rest) = text(&body);
                statements.insert(name.clone(), rest.to_vec());
                body = [&[0], rest].concat();
                unnamed = Some(name);
                answers.lock().unwrap().push_back(Answer::Parsed);
            }
            b'B' => {
                let (portal, rest) = text(&body);
                let (name, rest) = text(rest);
                used = Some(name);
                body = [&portal, &[0, 0][..], rest].concat();
            }
            b'D' if body[0] == b'S' => {
                used = Some(text(&body[1..]).0);
                body = b"S\0".to_vec();
            }
            b'C' if body[0] == b'S' => {
                statements.remove(&text(&body[1..]).0);
                body = b"S\0".to_vec();
                unnamed = None;
            }
            b'S' | b'Q' => {
                unnamed = None;
                answers.lock().unwrap().push_back(Answer::Ready);
            }
            _ => {}
        }
        if let Some(name) = used
            && unnamed.as_ref() != Some(&name)
        {
            let statement = [&[0], statements[&name].as_slice()].concat();
            answers.lock().unwrap().push_back(Answer::ParsedAgain);
            write(&mut server, b'P', &statement)?;
            unnamed = Some(name);
        }
        write(&mut server, kind, &body)?;
    }
}

fn forward_answers(
    mut server: TcpStream,
    mut client: Writer,
    answers: &Mutex<VecDeque<Answer>>,
) -> io::Result<()> {
    loop {
        let (kind, body) = read(&mut server)?;
        let mut answers = answers.lock().unwrap();
        match kind {
            b'1' if answers.pop_front() == Some(Answer::ParsedAgain) => continue,
            // After an error there are fewer answers than were asked for.
            b'Z' => while answers.pop_front().is_some_and(|it| it != Answer::Ready) {},
            _ => {}
        }
        drop(answers);
        write(&mut client, kind, &body)?;
    }
}
