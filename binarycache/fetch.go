package binarycache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/url"
	"os"

	"pix/internal/contextio"
	"pix/internal/redact"
)

// Fetch returns the file at a URL with the scheme file, http or https, as it is. It does not decode a Content-Encoding,
// which many servers send for archives that are compressed themselves. Logins, proxies, timeouts and retries are the ones
// of the options. A broken download is resumed; if the server has replaced the file, it is an error.
//
// The error is a [*FetchError], or, also while the file is read, a [*RequestError]. The size of the file is not known, so
// the caller must limit it.
func Fetch(ctx context.Context, rawURL string, opts *HTTPOptions) (io.ReadCloser, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, &FetchError{redact.URL(rawURL), redact.Error(err)}
	}
	u.Fragment = ""
	switch u.Scheme {
	case "file":
		return fetchLocal(ctx, u)
	case "http", "https":
		if u.Host == "" {
			return nil, &FetchError{u.Redacted(), errors.New("it has no host")}
		}
	default:
		return nil, &FetchError{u.Redacted(), errors.New("its scheme is not http, https or file")}
	}
	options := HTTPOptions{}
	if opts != nil {
		options = *opts
	}
	options.setDefaults()
	r, err := newRemote(u, &options)
	if err != nil {
		return nil, err
	}
	d := r.newDownload(ctx, u, acceptArchive, math.MaxInt64)
	d.raw = true
	if _, err := d.start(); err != nil {
		r.close()
		return nil, err
	}
	return &fetched{d, r}, nil
}

// A FetchError reports why a URL cannot be fetched, before a request was sent.
type FetchError struct {
	URL string // without a password
	Err error
}

func (e *FetchError) Error() string { return fmt.Sprintf("URL '%s': %v", e.URL, e.Err) }

// Unwrap returns the cause.
func (e *FetchError) Unwrap() error { return e.Err }

// fetchLocal opens a regular file of this machine.
func fetchLocal(ctx context.Context, u *url.URL) (io.ReadCloser, error) {
	if u.Host != "" && u.Host != "localhost" {
		return nil, &FetchError{u.Redacted(), errors.New("it is on another machine")}
	}
	f, _, err := openRegular(u.Path)
	if err != nil {
		return nil, err
	}
	return &localFile{contextio.NewReader(ctx, f), f}, nil
}

// A localFile reads a file until its context ends.
type localFile struct {
	io.Reader
	file *os.File
}

func (f *localFile) Close() error { return f.file.Close() }

// A fetched is a download with its own client.
type fetched struct {
	*download
	remote *remote
}

// Close ends the download, and closes the connections.
func (f *fetched) Close() error {
	err := f.download.Close()
	f.remote.close()
	return err
}
