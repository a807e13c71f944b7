package binarycache

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"

	"pix/internal/compression"
	"pix/internal/spool"
)

// prepare sends nix-cache-info if the server has none.
func (r *remote) prepare(ctx context.Context, cacheInfo string) error {
	if has, err := r.hasFile(ctx, cacheInfoFile, -1); has || err != nil {
		return err
	}
	return r.write(ctx, cacheInfoFile, strings.NewReader(cacheInfo))
}

// hasFile asks the server with a HEAD request. If the server knows the size of the file, it must be the given one, unless
// that is negative. A server that does not answer HEAD requests is assumed to lack the file.
func (r *remote) hasFile(ctx context.Context, name string, size int64) (bool, error) {
	header := http.Header{"Accept-Encoding": {acceptArchive}}
	got, err := r.exchange(ctx, &request{method: http.MethodHead, url: r.fileURL(name), header: header})
	if failure, ok := errors.AsType[*RequestError](err); ok && (isMissing(failure.Status) || failure.Status == http.StatusMethodNotAllowed) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	unknown := got.length < 0 || contentEncoding(got.header) != ""
	return size < 0 || unknown || got.length == size, nil
}

// A spooledFile is a file on this machine that is sent when it is published.
type spooledFile struct {
	spool.File
	remote *remote
}

func (r *remote) create(string) (newFile, error) { return &spooledFile{remote: r}, nil }

func (f *spooledFile) publish(ctx context.Context, name string) error {
	return f.remote.put(ctx, name, &f.File, "")
}

func (f *spooledFile) discard() { f.Close() }

// write sends a file. It is stored on this machine first, because it may have to be sent again.
func (r *remote) write(ctx context.Context, name string, contents io.Reader) error {
	var file spool.File
	defer file.Close()
	method := r.encoding(name)
	if err := encode(&file, contents, method); err != nil {
		return err
	}
	return r.put(ctx, name, &file, method)
}

// encode compresses contents with a method; "" does not compress them.
func encode(dst io.Writer, contents io.Reader, method string) error {
	encoder, err := compression.Encode(method, dst, 0, 0)
	if err != nil {
		return err
	}
	_, err = io.Copy(encoder, contents)
	if closed := encoder.Close(); err == nil {
		err = closed
	}
	return err
}

// encoding returns the method with which a file is compressed in an upload, or "". An archive has the compression that
// its narinfo names.
func (r *remote) encoding(name string) string {
	method := ""
	switch {
	case strings.HasSuffix(name, ".narinfo"):
		method = r.opts.NarInfoEncoding
	case strings.HasSuffix(name, ".ls"):
		method = r.opts.ListingEncoding
	case strings.HasPrefix(name, "log/"):
		method = r.opts.LogEncoding
	}
	if method == "none" {
		return ""
	}
	return method
}

// contentType returns the header Content-Type that Nix sends with a file.
func contentType(name string) string {
	switch {
	case name == cacheInfoFile:
		return "text/x-nix-cache-info"
	case strings.HasSuffix(name, ".narinfo"):
		return "text/x-nix-narinfo"
	case strings.HasPrefix(name, "nar/"):
		return "application/x-nix-nar"
	case strings.HasPrefix(name, "log/"):
		return "text/plain; charset=utf-8"
	}
	return "application/json"
}

// expectSize is the size in bytes above which a body waits for the server's consent, as in curl. A server that refuses
// the upload answers before it gets the body.
const expectSize = 1 << 20

// put sends a file, which is compressed with a method.
func (r *remote) put(ctx context.Context, name string, file *spool.File, method string) error {
	header := http.Header{"Content-Type": {contentType(name)}, "Accept-Encoding": {acceptArchive}}
	if method != "" {
		header.Set("Content-Encoding", method)
	}
	if file.Size() > expectSize {
		header.Set("Expect", "100-continue")
	}
	if r.opts.S3 != nil {
		return r.putS3(ctx, name, file, header)
	}
	_, err := r.exchange(ctx, &request{method: http.MethodPut, url: r.fileURL(name), header: header, body: file, size: file.Size()})
	return err
}
