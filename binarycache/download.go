package binarycache

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"pix/internal/compression"
)

// A download is a file that comes from a server. When it breaks, it goes on where it broke,
// and nobody notices but by the time.
type download struct {
	remote   *remote
	ctx      context.Context
	url      *url.URL
	accept   string // in which ways it may be compressed for the way
	size     uint64 // more than this is not wanted
	patience patience

	verified bool // the reader verifies all of it, so a wrong part is found

	answer  *answer
	body    io.Reader    // the body of the answer, decompressed
	offset  int64        // how many bytes were read
	read    maphash.Hash // of these
	version version      // of the file that they belong to
	whole   bool         // it always comes from its beginning
	err     error
}

// A version is what a server says of the version of a file.
type version struct {
	etag, modified string // "" if it does not say
}

func versionOf(h http.Header) version { return version{h.Get("ETag"), h.Get("Last-Modified")} }

// validator returns what a server needs to compare versions before it sends a part; "" if there is none.
func (v version) validator() string {
	if v.etag == "" || strings.HasPrefix(v.etag, "W/") { // a weak one is none for ranges
		return v.modified
	}
	return v.etag
}

// differs reports whether two answers are certainly of different versions.
func (v version) differs(other version) bool {
	return v.etag != "" && other.etag != "" && v.etag != other.etag ||
		v.modified != "" && other.modified != "" && v.modified != other.modified
}

// errReplaced says that what has come is not the beginning of the file that is there now.
var errReplaced = errors.New("the file was replaced during the download")

func (r *remote) newDownload(ctx context.Context, u *url.URL, accept string, size uint64) *download {
	return &download{remote: r, ctx: ctx, url: u, accept: accept, size: size, patience: patience{opts: r.opts.forCall(ctx)}}
}

// start waits until the file begins to come. The error is a [*RequestError], or that of the
// context.
func (d *download) start() (io.ReadCloser, error) {
	if err := d.connect(); err != nil {
		return nil, err
	}
	return d, nil
}

// readWhole reads a file of no more than limit bytes. When it breaks, all comes anew: small
// files change, and two halves may be of different ones.
func (d *download) readWhole(limit int64) ([]byte, error) {
	defer d.hangUp()
	for {
		if err := d.connect(); err != nil {
			return nil, err
		}
		b, err := readUpTo(d.body, limit)
		if err == nil {
			d.answer.body.drain() // decoders may not have seen the end
		}
		if err == nil || err == errTooLong {
			return b, err
		}
		if err := d.wait(&RequestError{Err: err}, 0); err != nil {
			return nil, err
		}
	}
}

func (d *download) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for d.err == nil {
		n, err := d.body.Read(p)
		if n > 0 {
			d.offset += int64(n)
			d.read.Write(p[:n])
			d.patience.progress(n)
			return n, nil // an error comes again
		}
		if err == io.EOF {
			d.answer.body.drain() // decoders may not have seen the end
			d.err = err
		} else if err != nil {
			d.err = d.resume(err)
		}
	}
	return 0, d.err
}

// Close ends the download.
func (d *download) Close() error {
	if d.err == nil {
		d.err = http.ErrBodyReadAfterClose
	}
	d.hangUp()
	return nil
}

func (d *download) hangUp() {
	if d.answer != nil {
		d.answer.body.Close()
		d.answer = nil
	}
}

// resume goes on after an error.
func (d *download) resume(err error) error {
	if err := d.wait(&RequestError{Err: err}, 0); err != nil {
		return err
	}
	return d.connect()
}

// wait hangs up and waits until it is time to try again. It returns the error if it is not.
func (d *download) wait(failure *RequestError, atLeast time.Duration) error {
	d.hangUp()
	if d.ctx.Err() != nil {
		return ended(d.ctx)
	}
	failure.URL = d.url.Redacted()
	return d.patience.wait(d.ctx, failure, atLeast)
}

// connect asks until the body comes from where it is to go on.
func (d *download) connect() error {
	for {
		failure, wait := d.try()
		if failure == nil {
			return nil
		}
		if err := d.wait(failure, wait); err != nil {
			return err
		}
	}
}

// try asks once. After a failure, it says how long the server wants to be left alone.
func (d *download) try() (*RequestError, time.Duration) {
	ranged := d.offset > 0 && !d.whole && (d.verified || d.version.validator() != "")
	answer, err := d.remote.ask(d.ctx, d.url, d.header(ranged), d.patience.opts)
	if err != nil {
		return &RequestError{Err: err}, 0
	}
	d.answer = answer
	switch status := answer.StatusCode; {
	case status == http.StatusOK:
		err = d.begin()
		if err == nil {
			err = d.skip(ranged)
		}
	case status == http.StatusPartialContent && ranged:
		err = d.goOn()
	case status == http.StatusRequestedRangeNotSatisfiable && ranged:
		err = d.atEnd()
	default:
		answer.body.drain()
		return &RequestError{Status: status}, retryAfter(answer.Header)
	}
	if err != nil {
		return &RequestError{Err: err}, 0
	}
	return nil, 0
}

func (d *download) header(ranged bool) http.Header {
	h := http.Header{"Accept-Encoding": {d.accept}}
	if ranged {
		h.Set("Range", fmt.Sprintf("bytes=%d-", d.offset))
		if validator := d.version.validator(); validator != "" {
			h.Set("If-Range", validator)
		}
		h.Set("Accept-Encoding", acceptArchive)
	}
	return h
}

// begin takes a body that comes from its beginning.
func (d *download) begin() (err error) {
	d.version = versionOf(d.answer.Header)
	d.body = d.answer.body
	if encoding := contentEncoding(d.answer.Header); encoding != "" {
		d.whole = true // a range would be one of what is compressed
		limited := io.LimitReader(d.answer.body, int64(mostCompressed(d.size)))
		d.body, err = compression.Decode(encoding, limited, d.size)
	}
	return err
}

// contentEncoding returns how a body is compressed for the way, by its name here.
func contentEncoding(h http.Header) string {
	switch e := strings.ToLower(strings.TrimSpace(h.Get("Content-Encoding"))); e {
	case "", "identity", "none":
		return ""
	case "x-gzip":
		return "gzip"
	default:
		return e
	}
}

// skip passes over what was read before, because the server sends it again. The bytes must be the same: the file
// may have been replaced in between, and the rest of the new one does not fit the beginning of the old one.
func (d *download) skip(ranged bool) error {
	if d.offset == 0 {
		return nil
	}
	var again maphash.Hash
	again.SetSeed(d.read.Seed())
	_, err := io.CopyN(&again, d.body, d.offset)
	if err != nil && err != io.EOF {
		return err
	}
	if err == nil && again.Sum64() == d.read.Sum64() {
		return nil
	}
	if ranged { // some servers send the part that was asked for as if it were the whole
		d.whole = true
		return errors.New("the server sends something else than was asked for")
	}
	return errReplaced
}

// goOn takes a body that is a part.
func (d *download) goOn() error {
	if d.version.differs(versionOf(d.answer.Header)) {
		d.whole = true
		return errors.New("the server sends a part of another version of the file")
	}
	start, _, ok := strings.Cut(strings.TrimPrefix(d.answer.Header.Get("Content-Range"), "bytes "), "-")
	if ok && contentEncoding(d.answer.Header) == "" && start == strconv.FormatInt(d.offset, 10) {
		d.body = d.answer.body
		return nil
	}
	d.whole = true
	return errors.New("the server sends another part than was asked for")
}

// atEnd takes a refusal to send what is after the end: all had come when the connection
// broke.
func (d *download) atEnd() error {
	if d.answer.Header.Get("Content-Range") == fmt.Sprintf("bytes */%d", d.offset) {
		d.body = strings.NewReader("")
		return nil
	}
	d.whole = true
	return errors.New("the server does not send the part that was asked for")
}
