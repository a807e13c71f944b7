package binarycache

import (
	"bytes"
	"errors"
	"io"
)

// checkS3 returns an error if the body of a download from S3 is an error in XML. S3, or a proxy before it, may send the status 200
// before the outcome is known. A retry may succeed, as after the same answer to an upload. Without this check, the file
// would be malformed, and not be requested again.
func (d *download) checkS3() error {
	body := d.response.body
	if d.remote.opts.S3 == nil || !bytes.HasPrefix(body.peek(1), []byte("<")) { // no file of a cache, except a log, begins so
		return nil
	}
	if message, ok := s3Message(body.peek(maxAnswer)); ok {
		return errors.New(message)
	}
	return nil
}

// peek returns up to n bytes, which the next reads return again.
func (b *watchedBody) peek(n int) []byte {
	text, _ := io.ReadAll(io.LimitReader(b, int64(n))) // the next read returns the error, too
	b.src = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(text), b.src), b.src}
	return text
}
