//! Signed requests and lists for `s3://BUCKET/KEY`, with the crate rusty-s3.
//!
//! The configuration comes from the usual environment variables: `AWS_ACCESS_KEY_ID`,
//! `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN` (without them requests are anonymous, which
//! public buckets allow), `AWS_REGION` (us-east-1 by default), and `AWS_ENDPOINT_URL` for servers
//! other than Amazon's.

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
    time::Duration,
};

use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle, actions::ListObjectsV2};

use super::download;
use crate::{Error, Result};

/// Validity of a signed address; every attempt signs a new one.
const VALID_FOR: Duration = Duration::from_secs(3_600);

pub(super) fn is_address(url: &str) -> bool {
    url.starts_with("s3://")
}

/// Returns the address for a web client: a signed one for `s3://`, otherwise `url` itself.
pub(super) fn resolve(url: &str) -> Result<Cow<'_, str>> {
    if !is_address(url) {
        return Ok(Cow::Borrowed(url));
    }
    let (bucket, key) = parse(url)?;
    let credentials = Credentials::from_env();
    Ok(Cow::Owned(bucket.get_object(credentials.as_ref(), key).sign(VALID_FOR).into()))
}

/// Lists every file below `url` whose name ends in `suffix`, sorted.
pub(super) fn list(url: &str, suffix: &str) -> Result<Vec<PathBuf>> {
    let (bucket, prefix) = parse(url)?;
    let credentials = Credentials::from_env();
    let mut found = Vec::new();
    let mut token: Option<String> = None;
    loop {
        let mut action = ListObjectsV2::new(&bucket, credentials.as_ref());
        action.with_prefix(prefix);
        if let Some(token) = &token {
            action.with_continuation_token(token.as_str());
        }
        let answer = download::text(url, action.sign(VALID_FOR).as_str())?;
        let page = ListObjectsV2::parse_response(&answer).map_err(|e| Error::S3Server {
            url: url.to_owned(),
            problem: format!("the server's list cannot be read: {e}"),
        })?;
        let keys = page.contents.iter().map(|object| &object.key).filter(|k| k.ends_with(suffix));
        found
            .extend(keys.map(|key| Path::new(&format!("s3://{}/{key}", bucket.name())).to_owned()));
        match page.next_continuation_token {
            Some(next) if token.as_ref() != Some(&next) => token = Some(next),
            _ => break,
        }
    }
    found.sort();
    Ok(found)
}

/// Parses bucket and key of `s3://BUCKET/KEY`.
fn parse(url: &str) -> Result<(Bucket, &str)> {
    let rest = url.strip_prefix("s3://").unwrap_or(url);
    let (name, key) = rest.split_once('/').unwrap_or((rest, ""));
    let variable = |name| std::env::var(name).ok().filter(|v| !v.is_empty());
    let region = variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION"));
    let region = region.unwrap_or_else(|| "us-east-1".into());
    let own = variable("AWS_ENDPOINT_URL_S3").or_else(|| variable("AWS_ENDPOINT_URL"));
    // Certificates do not cover bucket names with dots as part of the host name.
    let style =
        if own.is_some() || name.contains('.') { UrlStyle::Path } else { UrlStyle::VirtualHost };
    let endpoint = own.unwrap_or_else(|| format!("https://s3.{region}.amazonaws.com"));
    let wrong = |problem: String| Error::S3Server { url: url.to_owned(), problem };
    let endpoint = endpoint.parse().map_err(|e| wrong(format!("{endpoint}: {e}")))?;
    if name.is_empty() {
        return Err(Error::NoBucket { url: url.to_owned() });
    }
    let bucket = Bucket::new(endpoint, style, name.to_owned(), region);
    Ok((bucket.map_err(|e| wrong(format!("{e}")))?, key))
}
