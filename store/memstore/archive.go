package memstore

import (
	"bytes"
	"fmt"
	"io"

	"pix/nar"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// free returns how many more bytes fit into the store.
func (c *contents) free() int64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.opts.MaxSize - c.size
}

// A limitedBuffer is a buffer whose Write returns [ErrFull] after a number of bytes.
type limitedBuffer struct {
	bytes.Buffer
	left int64
}

func (b *limitedBuffer) Write(p []byte) (int, error) {
	if b.left -= int64(len(p)); b.left < 0 {
		return 0, ErrFull
	}
	return b.Buffer.Write(p)
}

// readAll reads a stream that must fit into the store.
func (c *contents) readAll(r io.Reader) ([]byte, error) {
	b := &limitedBuffer{left: c.free()}
	_, err := io.Copy(b, plainReader{r})
	return b.Bytes(), err
}

// A plainReader hides the method WriteTo of a reader, which could write past the limit.
type plainReader struct{ io.Reader }

// readNAR reads an archive that must fit into the store, and returns it with its hash.
func (c *contents) readNAR(r io.Reader) ([]byte, nixhash.Hash, error) {
	b, h := &limitedBuffer{left: c.free()}, nar.NewHasher(nixhash.SHA256)
	_, err := nar.Copy(io.MultiWriter(b, h), r)
	return b.Bytes(), h.Hash(), err
}

// fileNAR returns the archive of a file.
func fileNAR(contents []byte) []byte {
	var b bytes.Buffer
	nar.WriteFile(&b, bytes.NewReader(contents), uint64(len(contents))) // a write to a buffer cannot fail
	return b.Bytes()
}

// fileIn returns the contents of the file in an archive of a single file.
func fileIn(archive []byte) ([]byte, error) {
	r := nar.NewReader(bytes.NewReader(archive))
	e, err := r.Next()
	if err != nil {
		return nil, err
	}
	if e.Kind != nar.Regular {
		return nil, fmt.Errorf("it is a %s instead of a file", e.Kind)
	}
	return io.ReadAll(r)
}

// contentHash returns the hashes of an object by the method and the algorithm of its content address.
func contentHash(info *store.PathInfo, archive []byte) (nar.ContentHashes, error) {
	contents := archive
	switch info.CA.Method() {
	case storepath.Text, storepath.Flat:
		var err error
		if contents, err = fileIn(archive); err != nil {
			return nar.ContentHashes{}, err
		}
	case storepath.Git:
		return nar.ContentHashes{}, errNoGit
	}
	h, err := nar.NewModuloHasher(info.CA.Hash().Algorithm(), info.Path.HashPart())
	if err != nil {
		return nar.ContentHashes{}, err
	}
	h.Write(contents)
	return h.Finish(), nil
}

// A checkedReader reads an archive. At the end it returns an error instead of io.EOF if the hash is wrong.
type checkedReader struct {
	src    *bytes.Reader
	info   *store.PathInfo
	hasher *nar.Hasher
}

func newCheckedReader(o *object) *checkedReader {
	return &checkedReader{bytes.NewReader(o.nar), &o.info, nar.NewHasher(nixhash.SHA256)}
}

func (r *checkedReader) Read(p []byte) (int, error) {
	n, err := r.src.Read(p)
	r.hasher.Write(p[:n])
	if err == io.EOF {
		err = checkHash(r.info, r.hasher.Hash())
	}
	return n, err
}

// checkHash returns io.EOF if an archive has the hash in its info, else a [*store.ModifiedError].
func checkHash(info *store.PathInfo, got nixhash.Hash) error {
	if got != info.NARHash {
		return &store.ModifiedError{Path: info.Path, Expected: info.NARHash, Got: got}
	}
	return io.EOF
}

// Close does nothing.
func (r *checkedReader) Close() error { return nil }
