package cacheserver

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"pix/cacheserver/internal/uploads"
	"pix/internal/compression"
	"pix/internal/spool"
	"pix/store"
)

// readPiece is the number of bytes of a body that a client must send within [Options.StallTimeout].
const readPiece = 64 << 10

// An uploadBody reads the body of a request from a client that must make progress.
type uploadBody struct {
	src     io.Reader
	control *http.ResponseController
	stall   time.Duration
	piece   int   // bytes until the deadline moves
	err     error // the error of the client
}

// limitRest limits the time in which the client may send the rest of a body that is refused. The server reads up to 256 KiB of it
// before it sends the response, for which some of the time to write must be left.
func (p *upload) limitRest() {
	stall := p.h.opts.StallTimeout
	if stall <= 0 || p.body != nil && p.body.err != nil {
		return
	}
	p.w.control.SetReadDeadline(time.Now().Add(stall / 2)) // a reader without deadlines is no connection
}

// open returns the body, which may have at most limit bytes as it is sent; -1 is no limit.
func (p *upload) open(limit int64) io.Reader {
	src := p.r.Body
	if limit >= 0 {
		src = http.MaxBytesReader(p.w.ResponseWriter, src, limit)
	}
	p.body = &uploadBody{src: src, control: p.w.control, stall: p.h.opts.StallTimeout}
	return p.body
}

// Read implements io.Reader.
func (b *uploadBody) Read(buf []byte) (int, error) {
	if b.piece <= 0 && b.stall > 0 {
		b.control.SetReadDeadline(time.Now().Add(b.stall)) // a reader without deadlines is no connection
		b.piece = readPiece
	}
	n, err := b.src.Read(buf)
	b.piece -= n
	if err == io.EOF && b.stall > 0 {
		b.control.SetReadDeadline(time.Time{}) // the server reads on to notice that the client hangs up, and must not time out
	}
	if err != nil && err != io.EOF {
		b.err = err
	}
	return n, err
}

// codings are the methods in Content-Encoding that Nix sends, if the settings of a cache want it.
var codings = map[string]bool{"br": true, "zstd": true, "gzip": true, "xz": true, "bzip2": true, "lz4": true}

// decoded calls use with the decoded body, which may have at most limit bytes. The body is received before it is decoded, so
// that a slow client holds no decoder.
func (p *upload) decoded(ctx context.Context, limit int64, use func(io.Reader) error) error {
	coding := strings.ToLower(p.r.Header.Get("Content-Encoding"))
	if coding != "" && coding != "identity" && !codings[coding] {
		p.w.Header().Set("Accept-Encoding", "br, zstd, gzip, xz, bzip2, lz4")
		return &statusError{http.StatusUnsupportedMediaType, "the Content-Encoding of the upload is not supported"}
	}
	if p.r.ContentLength > limit {
		return errLongBody
	}
	var received spool.File
	defer received.Close()
	_, err := io.Copy(&received, p.open(limit))
	if err == nil {
		err = received.Rewind()
	}
	if err != nil {
		return err
	}
	if err := p.decoders.acquire(ctx); err != nil {
		return err
	}
	defer p.decoders.release()
	src, err := compression.Decode(coding, &received, uint64(limit))
	if err != nil {
		return errBadCoding
	}
	return use(&codedReader{src, limit})
}

var (
	errLongBody  = &statusError{http.StatusRequestEntityTooLarge, "the upload is too large"}
	errBadCoding = &statusError{http.StatusUnprocessableEntity, "the upload cannot be decoded as its Content-Encoding says"}
)

// A codedReader reads a decoded body. It fails beyond a limit of bytes.
type codedReader struct {
	src  io.Reader
	left int64
}

func (r *codedReader) Read(buf []byte) (int, error) {
	if int64(len(buf)) > r.left+1 {
		buf = buf[:r.left+1]
	}
	n, err := r.src.Read(buf)
	if int64(n) > r.left {
		return 0, errLongBody
	}
	r.left -= int64(n)
	if err != nil && err != io.EOF {
		err = errBadCoding
	}
	return n, err
}

// text returns the decoded body, which may have at most limit bytes.
func (p *upload) text(ctx context.Context, limit int64) ([]byte, error) {
	var text bytes.Buffer
	err := p.decoded(ctx, limit, func(r io.Reader) error {
		_, err := text.ReadFrom(r)
		return err
	})
	return text.Bytes(), err
}

// refusal returns the error with which an upload is answered.
func (p *upload) refusal(err error) error {
	if p.body != nil && p.body.err != nil {
		err = bodyError(p.body.err)
	}
	if isDiskFull(err) { // the text may name files of the server
		return &statusError{http.StatusInsufficientStorage, errDiskFull.Error()}
	}
	if status := uploadStatus(err); status != 0 {
		return &statusError{status, oneLine(err.Error())}
	}
	return err
}

// bodyError returns the error for a body that cannot be read.
func bodyError(err error) error {
	switch {
	case errors.As(err, new(*http.MaxBytesError)):
		return errLongBody
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &statusError{http.StatusRequestTimeout, "the upload was too slow"}
	}
	return &statusError{http.StatusBadRequest, "the upload broke off"}
}

// uploadStatus returns the status for errors of stores and of the spool whose text is meant for the uploader, or 0.
func uploadStatus(err error) int {
	if errors.As(err, new(*statusError)) {
		return 0
	}
	switch {
	case errors.Is(err, uploads.ErrInvalid):
		return http.StatusUnprocessableEntity
	case errors.Is(err, uploads.ErrTooLarge):
		return http.StatusRequestEntityTooLarge
	case errors.Is(err, uploads.ErrFull):
		return http.StatusInsufficientStorage
	case errors.Is(err, uploads.ErrMethod):
		return http.StatusUnsupportedMediaType
	case errors.As(err, new(*store.UntrustedError)):
		return http.StatusForbidden
	case errors.As(err, new(*store.InfoError)), errors.As(err, new(*store.MismatchError)),
		errors.As(err, new(*store.MissingReferenceError)), errors.As(err, new(*store.ModifiedError)):
		return http.StatusUnprocessableEntity
	}
	return 0
}

// oneLine returns a text of an error as one line.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
