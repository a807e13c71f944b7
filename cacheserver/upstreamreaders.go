package cacheserver

import (
	"context"
	"io"

	"pix/nar"
	"pix/nixhash"
	"pix/store"
)

// An unverified reader reads a part of an archive. verify waits until the whole archive was verified, and returns an error if it is
// wrong. A part whose verification has not ended must not be sent completely.
type unverified interface{ verify() error }

// A wholeReader reads an archive from an offset on. The archive is read from its beginning to its end, because nothing else
// verifies a part.
type wholeReader struct {
	io.ReadCloser       // the whole archive, verified at its end
	skip          int64 // number of bytes before the offset that were not read yet
}

func (r *wholeReader) Read(p []byte) (int, error) {
	if r.skip > 0 {
		n, err := io.CopyN(io.Discard, r.ReadCloser, r.skip)
		if r.skip -= n; err != nil {
			return 0, err
		}
	}
	return r.ReadCloser.Read(p)
}

func (r *wholeReader) verify() error {
	_, err := io.Copy(io.Discard, r.ReadCloser)
	return err
}

// A growingReader reads an archive that is being fetched.
type growingReader struct {
	ctx    context.Context
	file   *growingFile
	offset int64
}

func (r *growingReader) Read(p []byte) (int, error) {
	n, err := r.file.readAt(r.ctx, p, r.offset)
	r.offset += int64(n)
	return n, err
}

func (r *growingReader) verify() error { return r.file.wait(r.ctx) }

func (r *growingReader) Close() error {
	r.file.close()
	return nil
}

// A keptReader reads a part of a complete file.
type keptReader struct {
	*openFile
	ctx   context.Context
	files *fetchedFiles
}

func (r *keptReader) verify() error { return r.files.verify(r.ctx, r.openFile) }

// newReader returns a reader from an offset on of an archive that get or findWhole has found. A whole archive is verified again
// while it is read, because a power cut may have damaged the file. If so, the file is deleted.
func (c *fetchedFiles) newReader(ctx context.Context, f *openFile, g *growingFile, info *store.PathInfo, offset int64, whole bool) (io.ReadCloser, error) {
	switch {
	case g != nil:
		return &growingReader{ctx, g, offset}, nil
	case whole:
		return &verifiedReader{f, info, nar.NewHasher(nixhash.SHA256), func() { c.remove(info.NARHash) }}, nil
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		f.Close()
		return nil, err
	}
	return &keptReader{f, ctx, c}, nil
}
