package uploads

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"time"

	"pix/internal/compression"
	"pix/internal/contextio"
	"pix/nixhash"
)

// An Archive is a verified archive in a spool.
type Archive struct {
	Name     Name
	FileSize int64 // bytes
	Method   string

	NARHash nixhash.Hash
	NARSize uint64

	by    Sender
	file  string // its name
	limit int64  // largest size of the decompressed archive

	// A client that has uploaded the archive, or has asked whether it exists, sends a narinfo next. The archive is kept
	// until these narinfos have arrived. Two paths with equal contents have one archive.
	promised int
	expires  time.Time
}

// Promise reports whether a client has sent an archive. If so, it is kept for a narinfo that the client sends next. For other
// clients of the uploader it reports false: a stranger must not prolong an archive that counts to the quota of another client.
func (s *Spool) Promise(by Sender, name Name) (size int64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.archives[key{by.Uploader, name}]
	if a == nil || a.by != by {
		return 0, false
	}
	a.promised++
	s.prolong(a)
	return a.FileSize, true
}

// Find returns an archive of an uploader, or nil.
func (s *Spool) Find(uploader string, name Name) *Archive {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.archives[key{uploader, name}]
}

// Done reports that a narinfo of an archive was accepted. The archive is deleted after the last one.
func (s *Spool) Done(a *Archive) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := key{a.by.Uploader, a.Name}
	if s.archives[k] != a {
		return // it has expired
	}
	if a.promised--; a.promised <= 0 {
		s.drop(k)
	}
}

// Open returns the decompressed archive. The caller must verify it again, because the file has been on the disk since.
// Open waits while too many archives are decompressed.
func (s *Spool) Open(ctx context.Context, a *Archive) (io.ReadCloser, error) {
	select {
	case s.decoders <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	r := &decodedReader{spool: s}
	f, err := os.Open(a.file)
	if err == nil {
		r.file = f
		r.Reader, err = a.decode(ctx, f)
	}
	if err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// A decodedReader reads an archive, and holds one of the decoders.
type decodedReader struct {
	io.Reader
	spool *Spool
	file  *os.File
}

func (r *decodedReader) Close() error {
	<-r.spool.decoders
	if r.file == nil {
		return nil
	}
	return r.file.Close()
}

// decode returns the decompressed contents of the file of an archive, and sets its method. The reader fails with an error
// that matches [ErrTooLarge] beyond the limit.
func (a *Archive) decode(ctx context.Context, f *os.File) (io.Reader, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	const bufferSize = 64 << 10
	src := bufio.NewReaderSize(contextio.NewReader(ctx, f), bufferSize)
	if a.Method = methods[a.Name.Ext]; a.Method == "" {
		a.Method = "none"
		if head, _ := src.Peek(len(gzipMagic)); bytes.Equal(head, []byte(gzipMagic)) {
			a.Method = "gzip"
		}
	}
	// With a smaller window than the stream asks for, an archive beyond the limit would fail as a malformed one.
	decoded, err := compression.Decode(a.Method, src, uint64(max(a.limit, compression.MaxWindow)))
	if err != nil {
		return nil, refuse(ErrInvalid, "the upload is not compressed with %s: %v", a.Method, err)
	}
	return &limitedReader{decoded, a.limit, a.limit}, nil
}

// gzipMagic are the first bytes of a gzip stream.
const gzipMagic = "\x1f\x8b"

// A limitedReader fails with an error that matches [ErrTooLarge] beyond a limit.
type limitedReader struct {
	src         io.Reader
	left, limit int64
}

func (r *limitedReader) Read(p []byte) (int, error) {
	if int64(len(p)) > r.left+1 {
		p = p[:r.left+1]
	}
	n, err := r.src.Read(p)
	if int64(n) > r.left {
		return 0, refuse(ErrTooLarge, "the decompressed archive is larger than %d bytes, the limit for a file of this size", r.limit)
	}
	r.left -= int64(n)
	return n, err
}
