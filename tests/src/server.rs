//! A web server on loopback with the parts of HTTP that fetching needs: `GET`, ranges, validators,
//! S3's list of a bucket, and broken connections.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

/// Contents and behaviour of the server.
#[derive(Default)]
pub struct Content {
    /// Files by path, such as `/bucket/key`.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Validator of every file; not sent if empty.
    pub etag: String,
    /// Numbers of bytes after which each of the next connections breaks.
    pub breaks: Vec<usize>,
    /// Error statuses of the next requests.
    pub refusals: Vec<u16>,
    /// Access key with which every request must be signed; signatures are not required if empty.
    pub access_key: String,
    /// Request lines and ranges received so far.
    pub asked: Vec<String>,
    /// Number of keys on one page of a list.
    pub page: usize,
}

/// A running server, which ends with the process.
#[derive(Clone)]
pub struct Server {
    /// Address of the form `http://127.0.0.1:PORT`.
    pub address: String,
    content: Arc<Mutex<Content>>,
}

impl Server {
    /// Starts a server on a free port.
    pub fn start(content: Content) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let content = Arc::new(Mutex::new(content));
        let shared = content.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { address, content }
    }

    /// Changes or reads the contents of the server.
    pub fn with<T>(&self, change: impl FnOnce(&mut Content) -> T) -> T {
        change(&mut self.content.lock().expect("the server"))
    }
}

struct Answer {
    status: u16,
    headers: Vec<String>,
    body: Vec<u8>,
    /// Number of bytes of the body that are sent before the connection breaks.
    send: usize,
}

/// Answers one request and closes the connection.
fn serve(mut stream: TcpStream, content: &Mutex<Content>) {
    let Ok(clone) = stream.try_clone() else { return };
    let mut lines = BufReader::new(clone).lines().map_while(Result::ok);
    let Some(request) = lines.next() else { return };
    let mut headers = BTreeMap::new();
    for line in lines.take_while(|line| !line.is_empty()) {
        if let Some((name, value)) = line.split_once(':') {
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    let answer = answer(&request, &headers, &mut content.lock().expect("the server"));
    let mut head = format!("HTTP/1.1 {} -\r\nConnection: close\r\n", answer.status);
    head += &format!("Content-Length: {}\r\n", answer.body.len());
    answer.headers.iter().for_each(|line| head += &format!("{line}\r\n"));
    let _ = stream.write_all(format!("{head}\r\n").as_bytes());
    let _ = stream.write_all(&answer.body[..answer.send.min(answer.body.len())]);
}

fn answer(request: &str, headers: &BTreeMap<String, String>, content: &mut Content) -> Answer {
    let target = request.split(' ').nth(1).unwrap_or("/").to_owned();
    let range = headers.get("range").cloned().unwrap_or_default();
    content.asked.push(format!("{target} {range}").trim_end().to_owned());
    let plain = |status, body: &[u8]| Answer {
        status,
        headers: Vec::new(),
        body: body.to_vec(),
        send: usize::MAX,
    };
    if !content.refusals.is_empty() {
        return plain(content.refusals.remove(0), b"");
    }
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let signed = query.contains(&format!("X-Amz-Credential={}", content.access_key))
        && query.contains("X-Amz-Signature=");
    if !content.access_key.is_empty() && !signed {
        return plain(403, b"");
    }
    if query.contains("list-type=2") {
        return plain(200, list(path, query, content).as_bytes());
    }
    let Some(file) = content.files.get(path).cloned() else { return plain(404, b"") };
    let send = if content.breaks.is_empty() { usize::MAX } else { content.breaks.remove(0) };
    let mut answer = Answer { send, ..plain(200, &file) };
    answer.headers.extend(content_type(path).map(|kind| format!("Content-Type: {kind}")));
    if content.etag.is_empty() {
        return answer;
    }
    answer.headers.push(format!("ETag: {}", content.etag));
    let same = headers.get("if-range").is_none_or(|tag| *tag == content.etag);
    let first = range.strip_prefix("bytes=").and_then(|r| r.trim_end_matches('-').parse().ok());
    if let Some(first) = first.filter(|_| same) {
        let (total, first): (usize, usize) = (file.len(), first);
        if first >= total {
            answer.headers.push(format!("Content-Range: bytes */{total}"));
            return Answer { status: 416, body: Vec::new(), ..answer };
        }
        answer.headers.push(format!("Content-Range: bytes {first}-{}/{total}", total - 1));
        return Answer { status: 206, body: file[first..].to_vec(), ..answer };
    }
    answer
}

/// Returns the type of a file of a web page; browsers run no script without it.
fn content_type(path: &str) -> Option<&'static str> {
    match path.rsplit_once('.')?.1 {
        "html" => Some("text/html; charset=utf-8"),
        "css" => Some("text/css; charset=utf-8"),
        "js" => Some("text/javascript; charset=utf-8"),
        _ => None,
    }
}

/// Returns one page of ListObjectsV2 (Amazon S3 API Reference): keys after the continuation token.
fn list(path: &str, query: &str, content: &Content) -> String {
    let parameter = |name: &str| {
        let found = query.split('&').filter_map(|p| p.split_once('=')).find(|(n, _)| *n == name);
        found.map(|(_, value)| value.replace("%2F", "/")).unwrap_or_default()
    };
    let bucket = format!("{}/", path.trim_end_matches('/'));
    let (prefix, after) = (parameter("prefix"), parameter("continuation-token"));
    let keys = content.files.keys().filter_map(|file| file.strip_prefix(&bucket));
    let rest: Vec<&str> =
        keys.filter(|key| key.starts_with(&prefix) && *key > after.as_str()).collect();
    let page: Vec<&str> = rest.iter().take(content.page.max(1)).copied().collect();
    let mut xml = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">",
    );
    for key in &page {
        xml += &format!(
            "<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>\
             <ETag>\"x\"</ETag><Size>1</Size><StorageClass>STANDARD</StorageClass></Contents>"
        );
    }
    if rest.len() > page.len() {
        xml += &format!("<NextContinuationToken>{}</NextContinuationToken>", page[page.len() - 1]);
    }
    xml + "</ListBucketResult>"
}
