//! A request to a server of the test's own, read whole, that waits for its answer.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::phone::PATIENCE;

/// A request that waits for its answer.
pub struct Request {
    /// What came with it; empty when nothing whole did.
    pub body: String,
    stream: TcpStream,
}

impl Request {
    /// Reads one.
    pub async fn read(mut stream: TcpStream) -> Self {
        let mut text = String::new();
        loop {
            let mut buffer = [0; 4096];
            let read = stream.read(&mut buffer).await.unwrap_or(0);
            text.push_str(&String::from_utf8_lossy(&buffer[..read]));
            let length = text
                .lines()
                .find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            let (_, body) = text.split_once("\r\n\r\n").unwrap_or_default();
            if read == 0 || text.contains("\r\n\r\n") && body.len() >= length.unwrap_or(0) {
                let body = body.to_owned();
                return Self { body, stream };
            }
        }
    }

    /// Answers it.
    pub async fn answer(&mut self, status: &str, body: &str) {
        let head = format!(
            "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        // Whoever asked may be gone.
        let _ = self.stream.write_all(format!("{head}{body}").as_bytes()).await;
    }

    /// Waits until whoever asked has hung up.
    pub async fn gone(&mut self) {
        let mut buffer = [0; 1];
        let reading = self.stream.read(&mut buffer);
        let read = tokio::time::timeout(PATIENCE, reading)
            .await
            .expect("the connection is closed");
        assert_eq!(read.unwrap_or(0), 0);
    }
}
