package uploads

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"

	"pix/internal/contextio"
	"pix/nar"
	"pix/nixhash"
	"pix/wire"
)

// Receive stores an archive that a client sends. length is its size in bytes, or -1 if it is unknown. When Receive
// returns nil, the archive is in the spool.
//
// Receive refuses an archive before it reads the body if its method, its length or the quota does not allow it.
func (s *Spool) Receive(ctx context.Context, by Sender, name Name, length int64, body io.Reader) error {
	if _, ok := methods[name.Ext]; !ok {
		return refuse(ErrMethod, "archives with the extension %q are not supported", "."+name.Ext)
	}
	if length > s.opts.MaxFile {
		return s.tooLarge()
	}
	r := &reception{spool: s, by: by}
	if err := s.reserve(by, max(length, 0), 1); err != nil {
		return err
	}
	r.reserved = max(length, 0)
	defer r.abandon()
	f, err := os.CreateTemp(s.dir, filePattern)
	if s.isTemp && errors.Is(err, fs.ErrNotExist) && os.Mkdir(s.dir, 0o700) == nil { // systems delete old temporary directories
		f, err = os.CreateTemp(s.dir, filePattern)
	}
	if err != nil {
		return diskError(err)
	}
	r.file = f
	if err := r.receive(ctx, name, body); err != nil {
		return err
	}
	a, err := s.verify(ctx, f, name, r.written)
	if err != nil {
		return err
	}
	a.by, a.file = by, f.Name()
	r.finish(a)
	return nil
}

func (s *Spool) tooLarge() error {
	return refuse(ErrTooLarge, "the archive is larger than %d bytes", s.opts.MaxFile)
}

// A reception is an upload that has not ended.
type reception struct {
	spool    *Spool
	by       Sender
	file     *os.File // nil before it exists, and after it belongs to an archive
	reserved int64    // bytes
	written  int64
	finished bool
}

// receive stores the body in the file, and compares its hash with the name.
func (r *reception) receive(ctx context.Context, name Name, body io.Reader) error {
	hasher := nar.NewHasher(nixhash.SHA256)
	// The reader fails because of the client, and the writer because of the server.
	if _, err := io.Copy(io.MultiWriter(r, hasher), contextio.NewReader(ctx, body)); err != nil {
		return err
	}
	if got := hasher.Hash(); got != name.FileHash {
		return wrongName(name, got)
	}
	return nil
}

// reserveStep is the number of bytes by which the reservation of an upload of unknown length grows.
const reserveStep = 1 << 20

// Write writes to the file within the limits of the client.
func (r *reception) Write(p []byte) (int, error) {
	if int64(len(p)) > r.spool.opts.MaxFile-r.written {
		return 0, r.spool.tooLarge()
	}
	for r.written+int64(len(p)) > r.reserved {
		if err := r.spool.reserve(r.by, reserveStep, 0); err != nil {
			return 0, err
		}
		r.reserved += reserveStep
	}
	n, err := r.file.Write(p)
	r.written += int64(n)
	if err != nil {
		err = diskError(err)
	}
	return n, err
}

// finish gives the file to a verified archive.
func (r *reception) finish(a *Archive) {
	r.file.Close()
	r.finished = true
	r.spool.mu.Lock()
	r.spool.change(r.by, r.written-r.reserved, 0)
	r.spool.mu.Unlock()
	r.spool.add(a)
}

// abandon deletes the file, unless it belongs to an archive.
func (r *reception) abandon() {
	if r.finished {
		return
	}
	if r.file != nil {
		r.file.Close()
		os.Remove(r.file.Name())
	}
	r.spool.mu.Lock()
	defer r.spool.mu.Unlock()
	r.spool.change(r.by, -r.reserved, -1)
}

// verify decompresses a received file. It returns an error that matches [ErrInvalid] unless the contents are one archive.
func (s *Spool) verify(ctx context.Context, f *os.File, name Name, size int64) (*Archive, error) {
	select {
	case s.decoders <- struct{}{}:
		defer func() { <-s.decoders }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	a := &Archive{Name: name, FileSize: size, limit: s.opts.maxArchive(size)}
	src, err := a.decode(ctx, f)
	if err != nil {
		return nil, err
	}
	hasher, in := nar.NewHasher(nixhash.SHA256), wire.NewReader(src, readerBuffer)
	if _, err = nar.Copy(hasher, in); err == nil {
		err = checkEnd(in)
	}
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, ErrTooLarge):
		return nil, err
	default:
		return nil, refuse(ErrInvalid, "the contents of the upload are not an archive: %v", err)
	}
	a.NARHash, a.NARSize = hasher.Hash(), hasher.Size()
	return a, nil
}

// readerBuffer is the buffer size of the reader of a decompressed archive, in bytes.
const readerBuffer = 32 << 10

// checkEnd returns an error unless a stream has ended.
func checkEnd(in *wire.Reader) error {
	switch err := in.Peek(); err {
	case io.EOF:
		return nil
	case nil:
		return errors.New("bytes follow the archive")
	default:
		return err
	}
}
