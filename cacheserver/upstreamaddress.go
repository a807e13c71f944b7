package cacheserver

import (
	"cmp"
	"context"
	"errors"
	"io"
	"slices"

	"pix/binarycache"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// checksAddresses reports whether a store has compared the contents of its content-addressed paths with their content addresses. A
// binary cache has not: it may have any archive under a path that follows from a content address.
func checksAddresses(s store.Store) bool {
	_, isUpstream := store.As[*Upstream](s)
	_, isCache := store.As[*binarycache.Store](s)
	return !isUpstream && !isCache
}

// mayHaveAddress reports whether the archive of an unsigned info can be proved to have its content address. If that is the hash
// of an archive, the info is enough. Otherwise the contents must be compared with it. Other contents with a self-reference may
// have the same content address, so a self-reference excludes the proof.
func mayHaveAddress(info *store.PathInfo) bool {
	if !info.IsContentAddressed() || info.CA.Method() == storepath.Git || slices.Contains(info.References, info.Path) {
		return false
	}
	return info.CA.Method() != storepath.NAR || info.CA.Hash().Algorithm() != nixhash.SHA256 || isArchiveAddress(info)
}

// isArchiveAddress reports whether the content address of an info is the hash of its archive.
func isArchiveAddress(info *store.PathInfo) bool {
	return info.IsContentAddressed() && info.CA.Method() == storepath.NAR && info.CA.Hash() == info.NARHash
}

// An addressReader reads a whole archive, and returns an error instead of [io.EOF] unless the contents have the content address
// of an info. Another goroutine computes the address.
type addressReader struct {
	io.ReadCloser
	checked *io.PipeWriter
	wrong   func()        // called if the contents have another address
	done    chan struct{} // closed when the goroutine has ended
	result  error         // of the goroutine
	err     error         // of the last Read
}

// newAddressReader returns a reader of an archive. wrong is called if the contents have another address, and may be nil.
func newAddressReader(ctx context.Context, archive io.ReadCloser, info *store.PathInfo, wrong func()) *addressReader {
	pr, pw := io.Pipe()
	r := &addressReader{ReadCloser: archive, checked: pw, wrong: wrong, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.result = checkAddress(ctx, info, pr)
		pr.CloseWithError(cmp.Or(r.result, io.ErrClosedPipe))
	}()
	return r
}

func (r *addressReader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	n, err := r.ReadCloser.Read(p)
	if n > 0 { // otherwise Write would wait for a read
		if _, failed := r.checked.Write(p[:n]); failed != nil {
			n, err = 0, r.fail(failed)
		}
	}
	if err == io.EOF {
		r.checked.Close()
		if <-r.done; r.result != nil {
			n, err = 0, r.fail(r.result)
		}
	}
	r.err = err
	return n, err
}

// fail returns the error for a result of the goroutine.
func (r *addressReader) fail(err error) error {
	if r.wrong != nil {
		r.wrong()
	}
	return &UpstreamError{err}
}

// Close waits for the goroutine.
func (r *addressReader) Close() error {
	r.checked.CloseWithError(context.Canceled)
	<-r.done
	return r.ReadCloser.Close()
}

// checkAddress returns an error unless an archive has the content address of an info.
func checkAddress(ctx context.Context, info *store.PathInfo, archive io.Reader) error {
	var failed error
	object := &archiveStore{dir: info.Path.Dir(), info: info, archive: archive}
	err := store.VerifyPaths(ctx, object, []storepath.Path{info.Path}, &store.VerifyOptions{NoTrust: true}, func(v *store.PathVerdict) {
		failed = errors.Join(v.Err, v.Modified)
	})
	return cmp.Or(err, failed)
}

// An archiveStore is a store with a single archive.
type archiveStore struct {
	store.Store
	dir     storepath.Dir
	info    *store.PathInfo
	archive io.Reader
}

func (s *archiveStore) Dir() storepath.Dir { return s.dir }

func (s *archiveStore) QueryPathInfo(context.Context, storepath.Path) (*store.PathInfo, error) {
	return s.info, nil
}

func (s *archiveStore) NARFromPath(context.Context, storepath.Path) (io.ReadCloser, error) {
	return io.NopCloser(s.archive), nil
}
