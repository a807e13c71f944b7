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

// A download reads a file from a server. When the connection breaks, it resumes where it broke,
// invisibly for the reader.
type download struct {
	remote  *remote
	client  *http.Client // sends the next request
	isLarge bool         // it has an element of remote.large
	ctx     context.Context
	url     *url.URL
	accept  string // the header Accept-Encoding
	size    uint64 // an upper bound for the decompressed size
	retrier retrier
	width   *width      // learns from the answers; nil if there is none
	sent    sentRequest // the last request

	raw      bool // the reader gets the body as it is sent
	verified bool // the reader verifies a hash of the file, which detects a mixture of two versions

	response *response
	body     io.Reader    // the body of the response, decompressed
	offset   int64        // the number of bytes read
	readHash maphash.Hash // of these bytes
	version  version      // of the file that they come from
	noRanges bool         // do not request ranges
	err      error
}

// A version identifies a version of a file by the headers of a response.
type version struct {
	etag, modified string // "" if the server does not send it
}

func versionOf(h http.Header) version { return version{h.Get("ETag"), h.Get("Last-Modified")} }

// validator returns the header If-Range of a request for a range, or "" if there is none.
func (v version) validator() string {
	if v.etag == "" || strings.HasPrefix(v.etag, "W/") { // weak validators are not allowed for ranges
		return v.modified
	}
	return v.etag
}

// differs reports whether two responses are certainly from different versions of a file.
func (v version) differs(other version) bool {
	return v.etag != "" && other.etag != "" && v.etag != other.etag ||
		v.modified != "" && other.modified != "" && v.modified != other.modified
}

// errReplaced reports that the bytes read so far are not the beginning of the server's current file.
var errReplaced = errors.New("the file was replaced during the download")

func (r *remote) newDownload(ctx context.Context, u *url.URL, accept string, size uint64) *download {
	return &download{remote: r, client: r.client, ctx: ctx, url: u, accept: accept, size: size, retrier: retrier{opts: r.opts.forCall(ctx)}}
}

// start waits for the beginning of the body. The error is a [*RequestError] or the error of the context.
func (d *download) start() (io.ReadCloser, error) {
	if err := d.connect(); err != nil {
		return nil, err
	}
	return d, nil
}

// readWhole reads a file of at most limit bytes. A broken download starts again from the beginning: small
// files change, and two halves could come from different versions.
func (d *download) readWhole(limit int64) ([]byte, error) {
	defer d.closeResponse()
	for {
		if err := d.connect(); err != nil {
			return nil, err
		}
		b, err := readUpTo(d.body, limit)
		if err == nil {
			d.response.body.drain() // decoders may stop before the end
		}
		if err == nil || err == errTooLong {
			return b, err
		}
		if err := d.waitToRetry(&RequestError{Err: err}, 0); err != nil {
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
			d.readHash.Write(p[:n])
			d.retrier.progress(n)
			return n, nil // the next Read returns the error
		}
		if err == io.EOF {
			d.response.body.drain() // decoders may stop before the end
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
	d.closeResponse()
	return nil
}

func (d *download) closeResponse() {
	d.releaseLarge()
	if d.response != nil {
		d.response.body.Close()
		d.response = nil
	}
}

// resume continues the download after an error.
func (d *download) resume(err error) error {
	if err := d.waitToRetry(&RequestError{Err: err}, 0); err != nil {
		return err
	}
	return d.connect()
}

// waitToRetry closes the response and waits until it is time to retry. If there is no retry, it returns the failure.
func (d *download) waitToRetry(failure *RequestError, atLeast time.Duration) error {
	d.closeResponse()
	if d.ctx.Err() != nil {
		return contextError(d.ctx)
	}
	d.sent.failed(failure)
	failure.URL = d.url.Redacted()
	return d.retrier.wait(d.ctx, failure, atLeast)
}

// connect sends requests until a response has the bytes from the current offset on.
func (d *download) connect() error {
	for {
		failure, wait := d.attempt()
		if failure == nil {
			return nil
		}
		if err := d.waitToRetry(failure, wait); err != nil {
			return err
		}
	}
}

// attempt sends one request. After a failure, it returns the wait that the server asks for.
func (d *download) attempt() (*RequestError, time.Duration) {
	d.sent = d.width.send()
	ranged := d.offset > 0 && !d.noRanges && (d.verified || d.version.validator() != "")
	resp, err := d.send(ranged)
	if err != nil {
		return &RequestError{Err: err}, 0
	}
	d.response = resp
	if resp.StatusCode < 500 && resp.StatusCode != http.StatusTooManyRequests {
		d.sent.answered(resp.latency)
	}
	switch status := resp.StatusCode; {
	case status == http.StatusOK:
		if err = d.checkS3(); err == nil {
			err = d.acceptBody()
		}
		if err == nil {
			err = d.skipRead(ranged)
		}
	case status == http.StatusPartialContent && ranged:
		err = d.acceptRange()
	case status == http.StatusRequestedRangeNotSatisfiable && ranged:
		err = d.acceptEnd()
	default:
		return &RequestError{Status: status, Answer: d.answer()}, retryAfter(resp.Header)
	}
	if err != nil {
		return &RequestError{Err: err}, 0
	}
	return nil, 0
}

// request returns the next request.
func (d *download) request(ranged bool) *request {
	return &request{method: http.MethodGet, url: d.url, header: d.header(ranged)}
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

// acceptBody takes a response that starts at the beginning of the file.
func (d *download) acceptBody() (err error) {
	d.version = versionOf(d.response.Header)
	d.body = d.response.body
	if encoding := contentEncoding(d.response.Header); encoding != "" && !d.raw {
		d.noRanges = true // a range would be one of the compressed bytes
		limited := io.LimitReader(d.response.body, int64(maxCompressedSize(d.size)))
		d.body, err = compression.Decode(encoding, limited, d.size)
	}
	return err
}

// contentEncoding returns the compression method of a body, or "".
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

// skipRead skips the bytes that were read before, because the server sends them again. They must be the same: the
// file may have been replaced in between, and the rest of the new one does not fit the beginning of the old one.
func (d *download) skipRead(ranged bool) error {
	if d.offset == 0 {
		return nil
	}
	var again maphash.Hash
	again.SetSeed(d.readHash.Seed())
	_, err := io.CopyN(&again, d.body, d.offset)
	if err != nil && err != io.EOF {
		return err
	}
	if err == nil && again.Sum64() == d.readHash.Sum64() {
		return nil
	}
	if ranged { // some servers respond to a request for a range with that range, but the status of the whole file
		d.noRanges = true
		return errors.New("the server sent something other than the requested range")
	}
	return errReplaced
}

// acceptRange takes a response with a part of the file.
func (d *download) acceptRange() error {
	if d.version.differs(versionOf(d.response.Header)) {
		d.noRanges = true
		return errors.New("the server sent a range of another version of the file")
	}
	start, _, ok := strings.Cut(strings.TrimPrefix(d.response.Header.Get("Content-Range"), "bytes "), "-")
	if ok && (d.raw || contentEncoding(d.response.Header) == "") && start == strconv.FormatInt(d.offset, 10) {
		d.body = d.response.body
		return nil
	}
	d.noRanges = true
	return errors.New("the server sent another range than the requested one")
}

// acceptEnd takes the refusal of a range that begins at the end of the file: the connection broke after
// the last byte.
func (d *download) acceptEnd() error {
	if d.response.Header.Get("Content-Range") == fmt.Sprintf("bytes */%d", d.offset) {
		d.body = strings.NewReader("")
		return nil
	}
	d.noRanges = true
	return errors.New("the server refused the requested range")
}
